"""Servers in a process of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from realtime.gallery import SHIPPED
from tests.serving import ROOT


@dataclass
class ServerProcess:
    """A server that has printed its address."""

    process: asyncio.subprocess.Process
    url: str

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int | None, str]:
        """Asks it to end; returns exit code and stderr. Fails when that takes more than 5 s."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(5):
            _, errors = await self.process.communicate()
        return self.process.returncode, errors.decode()


async def launch(*command: str, prefix: Sequence[str] = ()) -> asyncio.subprocess.Process:
    kept = ("HEADCAST_KEYS_DIR", "HEADCAST_WEIGHTS_DIR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADCAST_") or name in kept}
    environment |= {"HEADCAST_AVATARS_DIR": str(SHIPPED), "HEADCAST_NO_STUDIO": "1"}
    return await asyncio.create_subprocess_exec(
        *prefix, sys.executable, *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def server_process(*command: str, patience_s: float = 60.0, prefix: Sequence[str] = ()) -> AsyncIterator[ServerProcess]:
    """Runs `python COMMAND… --port 0`, with `prefix` before it, while the block runs, from when it says that it is ready."""
    process = await launch(*command, "--port", "0", prefix=prefix)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(patience_s):
            line = (await process.stdout.readline()).decode()
        match = re.search(r"https?://localhost:(\d+)", line)
        assert match, (line, (await process.communicate())[1].decode())
        yield ServerProcess(process, f"http://127.0.0.1:{match[1]}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()

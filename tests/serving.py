"""A server in the test's own process, with fakes for the heavy side, and clients in others."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from realtime.config import ServerConfig
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Served:
    """A running server."""

    url: str
    factory: fakes.FakeFactory
    worker: Worker
    sessions: Sessions


@asynccontextmanager
async def serving(factory: fakes.FakeFactory | None = None, config: ServerConfig | None = None, port: int = 0) -> AsyncIterator[Served]:
    """Serves on a port of 127.0.0.1, by default a free one, while the block runs."""
    config = config or fakes.config()
    factory = factory or fakes.FakeFactory(config.size)
    worker = fakes.started_worker(factory)
    sessions = Sessions(config, worker)
    runner = web.AppRunner(build_application(sessions, fakes.gallery(), ROOT / "web"), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield Served(f"http://127.0.0.1:{runner.addresses[0][1]}", factory, worker, sessions)
    finally:
        await sessions.aclose()
        await runner.cleanup()
        worker.close()


async def client(url: str, *arguments: str) -> dict[str, Any]:
    """Runs tests.loopback_client in another process and returns its report."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.loopback_client", "--url", url, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    report: dict[str, Any] = json.loads(output)
    return report

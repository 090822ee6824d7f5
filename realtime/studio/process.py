"""Another program, run to its end in a process group of its own: its lines are read as they come, and nothing of it survives whoever asked for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT_LINES = 60
LINE_BYTES = 1 << 20
NICENESS = 10
"""The live loop comes first."""
SECRETS = ("HEADCAST_TURN_SECRET", "HEADCAST_TURN_SECRET_FILE")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    errors: tuple[str, ...]
    """The last lines of its standard error."""


async def run(command: Sequence[str], hear: Callable[[str], None], scratch: Path) -> Outcome:
    """Runs a program; its standard input ends when this process does.

    Args:
        command: the program and its arguments.
        hear: is told every line of standard output.
        scratch: a folder, made where there is none; what the program puts aside is in there, and gone with it even where it was killed.

    Raises:
        OSError: it cannot be started.
        asyncio.CancelledError, or whatever `hear` raises: its whole group has been killed.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    aside = await asyncio.to_thread(tempfile.mkdtemp, dir=scratch)
    try:
        return await _run(command, hear, {name: value for name, value in os.environ.items() if name not in SECRETS} | {"TMPDIR": aside})
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, aside, True))


async def _run(command: Sequence[str], hear: Callable[[str], None], environment: dict[str, str]) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=LINE_BYTES,
    )
    with suppress(OSError, AttributeError):  # Windows has none
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    errors: deque[str] = deque(maxlen=KEPT_LINES)
    readers = asyncio.gather(_read(process.stdout, hear), _read(process.stderr, errors.append))
    try:
        await readers
        code = await process.wait()
    finally:
        readers.cancel()
        with suppress(ProcessLookupError):
            _kill(process)
        await asyncio.shield(_reaped(process))
    return Outcome(code, tuple(errors))


def _kill(process: asyncio.subprocess.Process) -> None:
    """With all that it started, where the system has process groups."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


async def _reaped(process: asyncio.subprocess.Process) -> None:
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()


async def _read(stream: asyncio.StreamReader | None, hear: Callable[[str], None]) -> None:
    assert stream is not None
    while line := await stream.readline():
        hear(line.decode(errors="replace").rstrip("\r\n"))

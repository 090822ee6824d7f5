"""A virtual camera that is none: a pyvirtualcam backend that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyvirtualcam
from numpy.typing import NDArray
from pyvirtualcam.util import decode_fourcc

from realtime.virtualcam.__main__ import run
from realtime.virtualcam.console import Console
from realtime.virtualcam.feed import Newest, Shot
from realtime.virtualcam.options import Options
from realtime.virtualcam.picture import card
from tests.peers import until

Picture = NDArray[np.uint8]
BACKEND = "headcast-test"
NAME = "a fake camera"


@dataclass
class Machine:
    """The cameras of a machine: how the fake backend behaves, and what came of it."""

    present: bool = True
    opened: int = 0
    closed: int = 0
    format: str = ""
    fps: float = 0.0
    pictures: list[Picture] = field(default_factory=list)
    """(height * 3 / 2, width) each."""

    def unplug(self) -> None:
        self.present = False


@contextmanager
def fake_backend() -> Iterator[Machine]:
    """Registered with pyvirtualcam while the block runs, after those that it has itself."""
    machine = Machine()

    class Backend:
        def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None) -> None:
            if not machine.present or device not in (None, NAME):
                raise RuntimeError("no such camera")
            machine.opened += 1
            machine.format, machine.fps = decode_fourcc(fourcc), fps
            self._shape = (height * 3 // 2, width)

        def close(self) -> None:
            machine.closed += 1

        def send(self, frame: Picture) -> None:
            if not machine.present:
                raise RuntimeError("it was unplugged")
            assert frame.dtype == np.uint8
            assert frame.flags.c_contiguous
            machine.pictures.append(frame.copy().reshape(self._shape))

        def device(self) -> str:
            return NAME

        def native_fourcc(self) -> None:
            return None

    pyvirtualcam.register_backend(BACKEND, Backend)
    try:
        yield machine
    finally:
        pyvirtualcam.camera.BACKENDS.pop(BACKEND)


class Recorded(Newest):
    """Remembers every shot that it was given: one that a newer one replaced at once counts too."""

    def __init__(self, first: Shot) -> None:
        super().__init__(first)
        self.given = [first.i420]

    def put(self, shot: Shot) -> None:
        self.given.append(shot.i420)
        super().put(shot)


class Lines:
    """In the place of stderr."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


@dataclass
class Running:
    """`python -m realtime.virtualcam` on a thread of this process."""

    machine: Machine
    newest: Recorded
    lines: Lines
    codes: list[int]

    @property
    def last(self) -> Picture:
        return self.machine.pictures[-1]

    def ends(self) -> int:
        """Waits for the end by itself; returns the exit code."""
        self._until(lambda: bool(self.codes), "the end", 20.0)
        return self.codes[0]

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
        """Polls until `condition` holds; fails with `what`, and where it ends before."""
        self._until(lambda: bool(self.codes) or condition(), what, timeout_s)
        assert condition(), f"it ended before: {what}\n{self.lines.text}"

    def _until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}\n{self.lines.text}"
            time.sleep(0.01)

    def shows(self, condition: Callable[[Picture], bool], what: str) -> None:
        """Waits for such a picture among those that are sent from now on."""
        begin = len(self.machine.pictures)
        self.until(lambda: any(condition(picture) for picture in tuple(self.machine.pictures[begin:])), what)


@asynccontextmanager
async def running_beside(machine: Machine, options: Options) -> AsyncIterator[Running]:
    """As `running`, in a test whose event loop has something to serve meanwhile."""
    with running(machine, options) as camera:
        yield camera
        camera.newest.stop()
        await until(lambda: camera.codes)


@contextmanager
def running(machine: Machine, options: Options) -> Iterator[Running]:
    newest = Recorded(Shot(card(options.size.avatar, options.surround)))
    lines, codes = Lines(), list[int]()
    thread = threading.Thread(target=lambda: codes.append(run(options, newest, Console(lines))))  # type: ignore[arg-type]
    thread.start()
    try:
        yield Running(machine, newest, lines, codes)
    finally:
        newest.stop()
        thread.join(20)
        assert not thread.is_alive()

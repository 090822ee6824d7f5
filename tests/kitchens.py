"""What renderers in tests are made of: fake ones that do, in their own process, what real ones should never do."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from realtime.errors import NotFound, ServerFull, Unprocessable
from realtime.packets import Lock, Motion, RenderedFrame, VideoPacket
from realtime.reenactor import Reenactor
from tests.fakes import Behaviour, FakeFactory, FakeReenactor


def eat() -> None:
    """All the memory that there is."""
    eaten = []
    while True:
        eaten.append(np.empty(1 << 27, np.uint8))


def refuse() -> None:
    raise Unprocessable("not today")


def put_off() -> None:
    raise ServerFull("come back later", 5)


def fail() -> None:
    raise ValueError("a fake bug")


def blurt(data: bytes) -> None:
    """Says that to the server, past whatever guards what a renderer says, and hangs: the connection to it is the only socket of its process."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    links = {number: os.readlink(f"/proc/self/fd/{number}") for number in numbers if number > 2 and os.path.lexists(f"/proc/self/fd/{number}")}
    os.write(next(number for number, link in links.items() if link.startswith("socket:")), data)
    time.sleep(1000)


def framed(data: bytes) -> bytes:
    """As multiprocessing.connection.Connection sends it."""
    return struct.pack("!i", len(data)) + data


FAULTS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda: time.sleep(1000),
    "half": lambda: blurt(framed(pickle.dumps("x" * 100))[:20]),
    "huge": lambda: blurt(struct.pack("!i", 1 << 30)),
    "garbage": lambda: blurt(framed(b"\x80\xffno pickle")),
    "nonsense": lambda: blurt(framed(pickle.dumps("an answer to another question"))),
    "exit": lambda: os._exit(3),
    "eat": eat,
    "refuse": refuse,
    "put off": put_off,
    "fail": fail,
}
"""Each happens to a reenactor whose background is set to its name."""


class Faulty(FakeReenactor):
    """The picture's first byte tells how many times it was asked; its second is the first byte of the webcam frame, as no real one's may be. An avatar named cy
    is locked."""

    asked = 0

    def set_background(self, name: str) -> None:
        if name in FAULTS:
            FAULTS[name]()
        super().set_background(name)

    def step(self, packet: VideoPacket) -> RenderedFrame:
        self.asked += 1
        frame = super().step(packet)
        frame.i420[0, :2] = self.asked, packet.image[0, 0, 0]
        return replace(frame, lock=Lock.WAITING) if self.avatar_id == "cy" else frame


@dataclass
class FaultyKitchen:
    factory: FakeFactory
    with_motion: bool
    known: dict[str, Path] = field(default_factory=dict)
    loads: deque[Callable[[], object]] = field(default_factory=deque)

    def know(self, avatar_id: str, path: Path) -> None:
        self.known[avatar_id] = path
        if path.name == "gone":
            raise NotFound("that file is gone")

    def motion(self) -> Motion | None:
        return Motion(("jawOpen",), np.full(1, 0.25), np.zeros(3), np.zeros((2, 2)), True) if self.with_motion else None


class FaultyFactory(FakeFactory):
    def create(self, avatar_id: str) -> Reenactor:
        return Faulty(Behaviour(names=("ada", "bo", "cy")), avatar_id, self.size)


def faulty(size: int, with_motion: bool = False) -> FaultyKitchen:
    """A recipe, with `functools.partial`."""
    return FaultyKitchen(FaultyFactory(size=size), with_motion)


def cold(error: Exception) -> FaultyKitchen:
    """A recipe of what cannot be warmed."""
    return FaultyKitchen(FaultyFactory(behaviours=[Behaviour(warm_error=error)]), False)


def loading(size: int, folder: Path) -> FaultyKitchen:
    """A recipe with loads of every kind; those that go well leave a file."""
    kitchen = faulty(size)
    for name in ("crash", "fail", "refuse", "exit", "eat", "hang"):
        kitchen.loads += [partial(_leave, folder, f"before {name}"), FAULTS[name]]
    kitchen.loads.append(partial(_leave, folder, "after all"))
    return kitchen


def barren(size: int, sign: Path) -> FaultyKitchen:
    """A recipe in whose process no other can be forked while there is that file."""
    fork = os.fork

    def sometimes() -> int:
        if sign.exists():
            raise BlockingIOError("no more processes")
        return fork()

    os.fork = sometimes
    return faulty(size)


def changing(size: int, sign: Path) -> FaultyKitchen:
    """A recipe of what can be loaded at first, and a moment later no more; and of something else."""
    kitchen = faulty(size)
    kitchen.loads += [partial(_once, sign), partial(_leave, sign.parent, "after all")]
    return kitchen


def _once(sign: Path) -> None:
    if sign.exists():
        raise NotFound("that file is gone")
    sign.touch()


def stuck(seconds: float) -> FaultyKitchen:
    """A recipe that takes its time."""
    time.sleep(seconds)
    return faulty(96)


def _leave(folder: Path, name: str) -> None:
    with (folder / name).open("a", encoding="ascii") as file:
        file.write("x")


def recipe(size: int = 96, with_motion: bool = False) -> partial[FaultyKitchen]:
    return partial(faulty, size, with_motion)

"""What renderers in tests are made of: fake ones that do, in their own process, what real ones should never do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from realtime.errors import NotFound, Unprocessable
from realtime.packets import Motion, RenderedFrame, VideoPacket
from realtime.reenactor import Reenactor
from tests.fakes import Behaviour, FakeFactory, FakeReenactor


def eat() -> None:
    """All the memory that there is."""
    eaten = []
    while True:
        eaten.append(np.empty(1 << 27, np.uint8))


def refuse() -> None:
    raise Unprocessable("not today")


def fail() -> None:
    raise ValueError("a fake bug")


FAULTS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda: time.sleep(1000),
    "exit": lambda: os._exit(3),
    "eat": eat,
    "refuse": refuse,
    "fail": fail,
}
"""Each happens to a reenactor whose background is set to its name."""


class Faulty(FakeReenactor):
    """The picture's first byte tells how many times it was asked; its second is the first byte of the webcam frame, as no real one's may be."""

    asked = 0

    def set_background(self, name: str) -> None:
        if name in FAULTS:
            FAULTS[name]()
        super().set_background(name)

    def step(self, packet: VideoPacket) -> RenderedFrame:
        self.asked += 1
        frame = super().step(packet)
        frame.i420[0, :2] = self.asked, packet.image[0, 0, 0]
        return frame


@dataclass
class FaultyKitchen:
    factory: FakeFactory
    with_motion: bool
    known: dict[str, Path] = field(default_factory=dict)
    prepared: int = 0

    def know(self, avatar_id: str, path: Path) -> None:
        self.known[avatar_id] = path
        if path.name == "gone":
            raise NotFound("that file is gone")

    def prepare(self) -> bool:
        self.prepared = min(self.prepared + 1, 3)
        return self.prepared < 3

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


def leisurely(size: int) -> FaultyKitchen:
    """A recipe of what never comes to an end of preparing."""
    kitchen = faulty(size)
    kitchen.prepare = lambda: not time.sleep(0.01)  # type: ignore[method-assign, func-returns-value]
    return kitchen


def recipe(size: int = 96, with_motion: bool = False) -> partial[FaultyKitchen]:
    return partial(faulty, size, with_motion)

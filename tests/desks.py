"""A worker without its threads: what a seat is given, and what its listener hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.metrics import SessionMetrics
from realtime.packets import RenderedFrame
from realtime.seat import Seat
from tests.fakes import FakeFactory


@dataclass
class Camera:
    """A webcam frame that remembers whether it was converted."""

    pts_s: float = 0.0
    received_at: float = field(default_factory=time.monotonic)
    converted: bool = False
    broken: bool = False

    def to_rgb(self) -> NDArray[np.uint8]:
        self.converted = True
        if self.broken:
            raise ValueError("a broken frame")
        return np.zeros((4, 4, 3), np.uint8)


@dataclass
class Ear:
    """Remembers what it was told, by whom."""

    frames: list[RenderedFrame] = field(default_factory=list)
    placeholders: list[RenderedFrame] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def on_frame(self, frame: RenderedFrame) -> None:
        self.threads.add(threading.current_thread().name)
        self.frames.append(frame)

    def on_placeholder(self, frame: RenderedFrame) -> None:
        self.placeholders.append(frame)

    def on_lost(self) -> None:
        self.news.append("lost")

    def on_back(self) -> None:
        self.news.append("back")

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


@dataclass
class Desk:
    """Seats whose work is done by hand: no thread, a clock that stands still."""

    factory: FakeFactory
    now: float = 100.0
    seats: list[Seat] = field(default_factory=list)

    def seat(self, avatar_id: str, listener: Ear, metrics: SessionMetrics) -> Seat:
        self.seats.append(Seat(self.factory, avatar_id, listener, metrics, lambda: self.now))
        return self.seats[-1]

    def rest(self) -> int:
        """Works until nothing is left; returns how many pieces there were."""
        pieces = 0
        while (seat := next((seat for seat in self.seats if seat.has_work()), None)) is not None:
            seat.work()
            pieces += 1
        return pieces

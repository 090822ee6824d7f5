"""From a source's newest picture to the virtual camera: a slot of one, a cadence, and the loop that sends. Time is an argument of all that decides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.metrics import Rate, Rolling
from realtime.virtualcam.picture import Canvas

RETRY_S = 2.0
"""A virtual camera that went away is looked for this often."""
REVIEW_S = 1.0


class DeviceError(Exception):
    """There is no virtual camera that can be used; says what to do."""


class SourceFailed(Exception):
    """The source cannot go on, and trying again is of no use; says why."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture for the camera: a card or an avatar, never a webcam's own.

    `i420` is (side * 3 / 2, side), as RenderedFrame's; `received_at` when the frame behind it came, in seconds of this process's monotonic clock, None where
    there is none (a card, the avatar at rest).
    """

    i420: NDArray[np.uint8]
    received_at: float | None = None


class Device(Protocol):
    """A virtual camera that is open (realtime.virtualcam.device)."""

    @property
    def name(self) -> str: ...

    def send(self, i420: NDArray[np.uint8]) -> None:
        """(height * 3 / 2, width). Raises DeviceError where the camera is gone."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where shots come from, on threads of its own."""

    def review(self, now_s: float) -> str:
        """Looks after itself, and says how it goes, for the status line. Raises SourceFailed."""

    @property
    def fps(self) -> float:
        """Frames a second that come in."""

    def close(self) -> None:
        """Ends its threads; may be called twice."""


class Newest:
    """A slot of one between a source and the camera: a newer shot takes the place of one that was not sent."""

    def __init__(self, first: Shot) -> None:
        self._condition = threading.Condition()
        self._shot = first
        self._fresh = True
        self._stopped = False

    @property
    def fresh(self) -> bool:
        """Whether the newest shot was not taken yet."""
        return self._fresh

    @property
    def stopped(self) -> bool:
        return self._stopped

    def put(self, shot: Shot) -> None:
        with self._condition:
            self._shot, self._fresh = shot, True
            self._condition.notify_all()

    def take(self) -> tuple[Shot, bool]:
        """The newest shot, and whether it is taken for the first time."""
        with self._condition:
            fresh, self._fresh = self._fresh, False
            return self._shot, fresh

    def stop(self) -> None:
        """Ends every wait, now and later."""
        self._stopped = True
        with self._condition:
            self._condition.notify_all()

    def wait(self, timeout_s: float, for_fresh: bool) -> None:
        """Until that much time has passed, `stop` was called or, where `for_fresh`, there is a fresh shot."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or (for_fresh and self._fresh), timeout_s)


class Cadence:
    """When pictures go: each fresh one as soon as it is there, but over time no more than `fps`, and the last one again where none comes.

    Pictures are due at a constant rate. A fresh one may go a little early, since sources jitter; a repetition goes late, to leave it the chance.
    """

    EARLY, LATE = 0.25, 0.5
    """Parts of an interval."""

    def __init__(self, fps: float) -> None:
        self._interval_s = 1.0 / fps
        self._due_s: float | None = None

    def wait_s(self, now_s: float, fresh: bool) -> float:
        """How long until a picture is to go, if nothing changes meanwhile; 0: now."""
        if self._due_s is None:
            return 0.0
        at_s = self._due_s - self.EARLY * self._interval_s if fresh else self._due_s + self.LATE * self._interval_s
        return max(0.0, at_s - now_s)

    def sent(self, now_s: float) -> None:
        """One goes now. After a pause the count starts anew: nothing is caught up."""
        due_s = now_s if self._due_s is None else self._due_s
        self._due_s = max(due_s, now_s - self._interval_s) + self._interval_s


class Feed:
    """Sends a source's newest shot to the camera until it is stopped. `run` is for one thread.

    Args:
        newest: what the source puts its shots into.
        device: open already; closed in the end.
        open_device: opens it again where it went away; raises DeviceError.
        canvas: of the camera's size.
        tell: gets the status line, once a second.
        say: gets what the user should read.
        clock: seconds, the one of `Shot.received_at`.
    """

    def __init__(
        self,
        newest: Newest,
        source: Source,
        device: Device,
        open_device: Callable[[], Device],
        canvas: Canvas,
        fps: float,
        tell: Callable[[str], None],
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._newest = newest
        self._source = source
        self._open_device = open_device
        self._canvas = canvas
        self._cadence = Cadence(fps)
        self._tell = tell
        self._say = say
        self._clock = clock
        self._device: Device | None = device
        self._open_at_s = 0.0
        self._review_at_s = clock() + REVIEW_S
        self._sent = Rate()
        self._latency_ms = Rolling(30)

    def run(self) -> None:
        """Returns once `newest` is stopped.

        Raises:
            SourceFailed: nothing more is to come.
        """
        try:
            while not self._newest.stopped:
                self._turn()
        finally:
            self._close_device()

    def _turn(self) -> None:
        """One picture, one wait, or one look for the camera."""
        now = self._clock()
        if now >= self._review_at_s:
            self._review_at_s = now + REVIEW_S
            self._tell(self.status(now))
        if self._device is None:
            self._look_for_device(now)
            return
        fresh = self._newest.fresh
        wait_s = self._cadence.wait_s(now, fresh)
        if wait_s > 0.0:
            self._newest.wait(wait_s, for_fresh=not fresh)
            return
        shot, fresh = self._newest.take()
        try:
            self._device.send(self._canvas.lay(shot.i420))
        except DeviceError as error:
            self._say(f"{error}; looking for it every {RETRY_S:g} s")
            self._close_device()
            self._open_at_s = now + RETRY_S
            return
        self._cadence.sent(now)
        self._sent.tick(now)
        if fresh and shot.received_at is not None:
            self._latency_ms.add((self._clock() - shot.received_at) * 1e3)

    def status(self, now_s: float) -> str:
        """One line: how fast, how late, and what the source says."""
        goes = self._source.review(now_s)
        latency = self._latency_ms.percentiles().p50
        return f"{self._source.fps:.0f} fps in · {self._sent.per_second(now_s):.0f} fps out · {latency:.0f} ms a frame · {goes}"

    def _look_for_device(self, now_s: float) -> None:
        if now_s < self._open_at_s:
            self._newest.wait(self._open_at_s - now_s, for_fresh=False)
            return
        try:
            self._device = self._open_device()
        except DeviceError:
            self._open_at_s = now_s + RETRY_S
            return
        self._say(f"the camera {self._device.name} is back")

    def _close_device(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()

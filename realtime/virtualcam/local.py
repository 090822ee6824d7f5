"""The local way: webcam → the server's own worker and stages → newest picture. No network, no asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable

from realtime.looks import Look
from realtime.memory import settle
from realtime.metrics import Rate, SessionMetrics
from realtime.packets import Lock, RenderedFrame, Tracking
from realtime.reenactor import Reenactor, ReenactorFactory
from realtime.virtualcam.feed import Newest, Shot, SourceFailed
from realtime.virtualcam.options import Options
from realtime.virtualcam.webcam import Webcam, WebcamFrame
from realtime.worker import Worker

SILENCE_S = 2.0
"""A camera that gives nothing for so long has frozen: the avatar rests until it goes on."""
FACES = {Tracking.OK: "face found", Tracking.LOST: "no face", Tracking.MULTIPLE: "several faces"}
LOCKED = {
    Lock.WAITING: "locked to its owner; waiting to recognise you",
    Lock.REFUSED: "locked to its owner; that is somebody else",
    Lock.UNAVAILABLE: "locked to its owner; nobody can be recognised here, see the log",
}


class LocalSource:
    """Drives an avatar with a webcam. Its frames end at the worker: only what the renderer made goes on.

    Args:
        factory: makes the heavy side, on the worker's thread.
        avatar_id: who is shown.
        say: gets what the user should read; called from any thread.
    """

    def __init__(
        self,
        options: Options,
        factory: ReenactorFactory,
        avatar_id: str,
        newest: Newest,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._newest = newest
        self._say = say
        self._clock = clock
        self._tracking, self._lock = Tracking.LOST, Lock.OFF
        self._failure: Exception | None = None
        self._frames = Rate()
        self._heard_s: float | None = None
        self._resting = False
        self._settled = False
        self._closed = False
        self._worker = Worker(_Dresser(factory, options), clock)
        self._seat = self._worker.seat(avatar_id, self, SessionMetrics())
        self._worker.start()
        self._webcam = Webcam(options.camera, _Frames(self), clock)

    @property
    def fps(self) -> float:
        return self._frames.per_second(self._clock())

    def review(self, now_s: float) -> str:
        failure = self._failure or self._worker.failure
        if failure is not None:
            raise SourceFailed(str(failure)) from failure
        if not self._worker.warm:
            return "warming up"
        if not self._settled:
            self._settled = True
            settle()
        if self._heard_s is not None and now_s - self._heard_s > SILENCE_S:
            self.webcam_lost("the webcam has gone quiet; the avatar rests until it goes on")
        return "no picture from the webcam" if self._heard_s is None else LOCKED.get(self._lock, FACES[self._tracking])

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._webcam.close()
            self._worker.close()

    def on_frame(self, frame: RenderedFrame) -> None:
        """The worker's: the driven avatar."""
        self._tracking, self._lock = frame.tracking, frame.lock
        self._newest.put(Shot(frame.i420, frame.received_at))

    def on_placeholder(self, frame: RenderedFrame) -> None:
        """The worker's: the avatar at rest."""
        self._newest.put(Shot(frame.i420))

    def on_lost(self) -> None:
        """The worker's: the avatar rests until it is made anew."""
        self._say("what rendered the avatar broke down; it is started again")

    def on_back(self) -> None:
        """The worker's: it goes on."""
        self._say("the avatar is back")

    def on_failure(self, error: Exception) -> None:
        """The worker's: there is no avatar."""
        self._failure = error

    def webcam_frame(self, frame: WebcamFrame) -> None:
        self._frames.tick(frame.received_at)
        self._heard_s = frame.received_at
        if self._resting:
            self._resting = False
            self._say("the webcam is back")
            self._seat.pause(False)
        self._seat.offer(frame)

    def webcam_lost(self, why: str) -> None:
        self._heard_s = None
        self._say(why)
        self._resting = True
        self._seat.pause(True)


class _Frames:
    """Takes the webcam's calls, whose names are those of the worker's too."""

    def __init__(self, source: LocalSource) -> None:
        self.on_frame = source.webcam_frame
        self.on_lost = source.webcam_lost


class _Dresser:
    """A factory whose avatars look as the options say from their first picture on."""

    def __init__(self, factory: ReenactorFactory, options: Options) -> None:
        self.warm = factory.warm
        self.close = factory.close
        self._factory = factory
        self._look = Look(background=options.background, mirror=options.mirror)

    def create(self, avatar_id: str) -> Reenactor:
        reenactor = self._factory.create(avatar_id)
        for command in self._look.commands:
            command.apply(reenactor)
        return reenactor

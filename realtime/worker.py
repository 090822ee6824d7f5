"""Where the heavy work runs: one named thread for all sessions, each with a seat. Newest frame wins at every hand-over; nobody waits behind another's backlog.

A seat holds at most one frame and a few commands. The thread takes the seats in turn and does one piece of work at each.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.errors import HeadcastError
from realtime.metrics import SessionMetrics
from realtime.packets import PuppetPose, RenderedFrame, Unit, VideoPacket
from realtime.reenactor import Action, Reenactor, ReenactorFactory

logger = logging.getLogger(__name__)

THREAD_NAME = "headcast-worker"
MAX_COMMANDS = 32
QUIET_S = 0.3
"""Without a webcam frame for so long, a command shows its effect on the avatar at rest."""


class SourceFrame(Protocol):
    """A webcam frame that was decoded but not yet converted: only frames that are really used cost that."""

    @property
    def pts_s(self) -> float: ...

    @property
    def received_at(self) -> float: ...

    def to_rgb(self) -> NDArray[np.uint8]:
        """(height, width, 3)."""


class Listener(Protocol):
    """Whom a seat tells what came of its work. Called from the worker's thread: return at once."""

    def on_frame(self, frame: RenderedFrame) -> None:
        """The avatar, driven by the webcam."""

    def on_placeholder(self, frame: RenderedFrame) -> None:
        """The avatar at rest, moved by hand only. `received_at` is when the pose came that it shows for the first time; 0: none is new."""

    def on_failure(self, error: Exception) -> None:
        """The avatar could not be made at all; the seat does nothing more."""


Done = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class _Look:
    """Nothing is done, but the avatar at rest is shown anew."""

    setting = None

    def apply(self, reenactor: Reenactor) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Command:
    action: Action
    done: Done


@dataclass(frozen=True, slots=True)
class _Posed:
    pose: PuppetPose
    received_at: float


class Seat:
    """One session's place at the worker. `offer`, `submit`, `pose`, `pause` and `puppet` are for any thread, the rest is the worker's."""

    def __init__(self, factory: ReenactorFactory, avatar_id: str, listener: Listener, metrics: SessionMetrics, wake: Callable[[], None]) -> None:
        self._factory = factory
        self._avatar_id = avatar_id
        self._listener = listener
        self._metrics = metrics
        self._wake = wake
        self._lock = threading.Lock()
        self._newest: SourceFrame | None = None
        self._commands: deque[_Command] = deque()
        self._reenactor: Reenactor | None = None
        self._failed = False
        self._posed: _Posed | None = None
        self._units: tuple[Unit, ...] | None = None
        self._paused = False
        self._by_hand = False
        self._last_step_s = -QUIET_S
        self._logged: set[type[Exception]] = set()

    @property
    def avatar_id(self) -> str:
        """Which avatar is worn, or will be."""
        return self._avatar_id

    @property
    def units(self) -> tuple[Unit, ...] | None:
        """What of the avatar that is worn may be set by hand; the same object until another is worn. None: it is still being made."""
        return self._units

    def offer(self, frame: SourceFrame) -> None:
        """Hands over a frame; one that still waits is dropped and counted."""
        with self._lock:
            if self._paused or self._by_hand:
                return
            if self._newest is not None:
                self._metrics.dropped_in += 1
            self._newest = frame
        self._wake()

    def submit(self, action: Action, done: Done) -> bool:
        """Has the worker do `action` and then call `done`, with what went wrong if something did. False: too many wait already."""
        with self._lock:
            if len(self._commands) >= MAX_COMMANDS:
                return False
            self._commands.append(_Command(action, done))
        self._wake()
        return True

    def pause(self, enabled: bool) -> None:
        """While paused, frames are let go and the avatar rests."""
        with self._lock:
            self._paused = enabled
            self._newest = None
        self.submit(_Look(), lambda error: None)

    def puppet(self, enabled: bool) -> None:
        """Moved by hand alone, frames are let go and each pose is shown at once."""
        with self._lock:
            self._by_hand = enabled
            self._newest = None
        self.submit(_Look(), lambda error: None)

    def pose(self, pose: PuppetPose, received_at: float) -> None:
        """Hands over what is set by hand from now on; one that still waits is replaced."""
        with self._lock:
            self._posed = _Posed(pose, received_at)
        self._wake()

    def has_work(self) -> bool:
        waits = self._reenactor is None or self._newest is not None or self._posed is not None or bool(self._commands)
        return waits and not self._failed

    def work(self, clock: Callable[[], float]) -> None:
        """Does one piece of work: be made, take a pose, obey a command, or turn one frame into the avatar."""
        if self._reenactor is None:
            self._create()
            return
        with self._lock:
            command = self._commands.popleft() if self._commands else None
            posed, self._posed = self._posed, None
            frame = None
            if command is None:
                frame, self._newest = self._newest, None
        if posed is not None:
            self._reenactor.set_pose(posed.pose)
        if command is not None:
            self._obey(self._reenactor, command)
        if frame is not None:
            self._step(self._reenactor, frame, clock)
        elif self._paused or self._by_hand or clock() - self._last_step_s >= QUIET_S:
            self._rest(self._reenactor, posed.received_at if posed is not None else 0.0)

    def close(self) -> None:
        """Frees the avatar, at once: its megabytes do not wait for the session to be collected. Nothing is asked of the seat afterwards."""
        self._failed = True
        reenactor, self._reenactor, self._newest = self._reenactor, None, None
        if reenactor is not None:
            reenactor.close()

    def _create(self) -> None:
        try:
            self._reenactor = self._factory.create(self._avatar_id)
        except Exception as error:
            self._failed = True
            self._note(error)
            self._listener.on_failure(error)
            return
        self._units = self._reenactor.units
        self._rest(self._reenactor)

    def _obey(self, reenactor: Reenactor, command: _Command) -> None:
        try:
            command.action.apply(reenactor)
        except Exception as error:
            if not isinstance(error, HeadcastError):
                self._note(error)
            command.done(error)
            return
        self._avatar_id, self._units = reenactor.avatar_id, reenactor.units
        command.done(None)

    def _step(self, reenactor: Reenactor, frame: SourceFrame, clock: Callable[[], float]) -> None:
        begin = self._last_step_s = clock()
        try:
            image = frame.to_rgb()
            converted = clock()
            rendered = reenactor.step(VideoPacket(image, frame.pts_s, frame.received_at))
        except Exception as error:
            self._note(error)
            self._rest(reenactor)
            return
        self._metrics.queue_age_ms.add((begin - frame.received_at) * 1e3)
        self._metrics.stage("convert", (converted - begin) * 1e3)
        for name, milliseconds in rendered.stage_ms.items():
            self._metrics.stage(name, milliseconds)
        if not self._paused:
            self._listener.on_frame(rendered)

    def _rest(self, reenactor: Reenactor, received_at: float = 0.0) -> None:
        try:
            shown = replace(reenactor.placeholder(), received_at=received_at)
            if received_at > 0.0:
                for name, milliseconds in shown.stage_ms.items():
                    self._metrics.stage(name, milliseconds)
            self._listener.on_placeholder(shown)
        except Exception as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        """Counts an error, and logs the first of each kind."""
        self._metrics.errors += 1
        if type(error) not in self._logged:
            self._logged.add(type(error))
            logger.error("the avatar's work failed; further errors of this kind are only counted", exc_info=error)


class Worker:
    """The thread. `start()` once, `close()` as often as one likes."""

    def __init__(self, factory: ReenactorFactory, clock: Callable[[], float] = time.monotonic) -> None:
        self._factory = factory
        self._clock = clock
        self._condition = threading.Condition()
        self._seats: list[Seat] = []
        self._left: deque[Seat] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self.warm = False
        """Whether the first frame of a session will not have to wait for anything to load."""
        self.failure: Exception | None = None
        """Why warming up failed, if it did."""
        self.warmed = threading.Event()
        """Set once `warm` or `failure` says how it went."""

    @property
    def alive(self) -> bool:
        """Whether it works, or is still to be started: it has not ended."""
        return self._thread.is_alive() or self._thread.ident is None

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends the thread after the piece of work at hand, or leaves it behind (a daemon) when that takes too long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def seat(self, avatar_id: str, listener: Listener, metrics: SessionMetrics) -> Seat:
        """A place for a new session; its avatar is made right away."""
        seat = Seat(self._factory, avatar_id, listener, metrics, self._wake)
        with self._condition:
            self._seats.append(seat)
            self._condition.notify()
        return seat

    def leave(self, seat: Seat) -> None:
        """Gives a place back; no work begins there any more, and the thread frees what it held."""
        with self._condition:
            if seat in self._seats:
                self._seats.remove(seat)
                self._left.append(seat)
                self._condition.notify()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify()

    def _run(self) -> None:
        try:
            self._factory.warm()
            self.warm = True
        except Exception as error:
            self.failure = error
        self.warmed.set()
        while self._turn():
            pass
        self._clear_away(self._seats)

    def _turn(self) -> bool:
        """Lets whoever is next do one piece of work, and then holds on to nobody while there is none. False: closing."""
        seat = self._next()
        if seat is None:
            return False
        try:
            seat.work(self._clock)
        except Exception:
            logger.exception("a listener failed")
        return True

    def _next(self) -> Seat | None:
        """The seat whose turn it is, which then goes to the end of the line; waits for work. None: closing."""
        with self._condition:
            while not self._closing:
                self._clear_away(self._left)
                position = next((position for position, seat in enumerate(self._seats) if seat.has_work()), None)
                if position is not None:
                    self._seats.append(self._seats.pop(position))
                    return self._seats[-1]
                self._condition.wait()
        self._clear_away(self._left)
        return None

    def _clear_away(self, seats: list[Seat] | deque[Seat]) -> None:
        while seats:
            try:
                seats.pop().close()
            except Exception:
                logger.exception("an avatar could not be freed")

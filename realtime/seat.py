"""One session's place at the worker: at most one webcam frame and a few commands wait there. Newest frame wins.

What a seat drives may live in another process (realtime/renderers) and may be lost: then the avatar is shown at rest, a new one is made, and set as the old one
was.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.errors import HeadcastError, RendererLost
from realtime.metrics import SessionMetrics
from realtime.packets import PuppetPose, RenderedFrame, Unit, VideoPacket
from realtime.reenactor import Action, Reenactor, ReenactorFactory

logger = logging.getLogger(__name__)

MAX_COMMANDS = 32
QUIET_S = 0.3
"""Without a webcam frame for so long, a command shows its effect on the avatar at rest."""
STALL_S = 0.7
"""A piece of work that takes longer lets the avatar rest meanwhile; with the watch's interval well within a second."""
BACK_OFF_S = (0.0, 0.5, 2.0)
"""Before the first, second and third new renderer; another loss after these ends the seat."""
FORGIVEN_AFTER_S = 60.0
"""A loss so long ago no longer counts."""


class SourceFrame(Protocol):
    """A webcam frame that was decoded but not yet converted: only frames that are really used cost that."""

    @property
    def pts_s(self) -> float: ...

    @property
    def received_at(self) -> float: ...

    def to_rgb(self) -> NDArray[np.uint8]:
        """(height, width, 3)."""


class Listener(Protocol):
    """Whom a seat tells what came of its work. Called from the worker's threads: return at once."""

    def on_frame(self, frame: RenderedFrame) -> None:
        """The avatar, driven by the webcam."""

    def on_placeholder(self, frame: RenderedFrame) -> None:
        """The avatar at rest, moved by hand only. `received_at` is when the pose came that it shows for the first time; 0: none is new."""

    def on_lost(self) -> None:
        """What rendered is gone; another is being made."""

    def on_back(self) -> None:
        """It is there again, set as before; what it knew of the driver is not."""

    def on_failure(self, error: Exception) -> None:
        """The avatar could not be made, or was lost too often; the seat does nothing more."""


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
    """One session's place at the worker. `offer`, `submit`, `pose`, `pause`, `puppet`, `leave` and `watch` are for any thread, the rest is its own thread's."""

    def __init__(self, factory: ReenactorFactory, avatar_id: str, listener: Listener, metrics: SessionMetrics, clock: Callable[[], float]) -> None:
        self._factory = factory
        self._avatar_id = avatar_id
        self._listener = listener
        self._metrics = metrics
        self._clock = clock
        self._changed = threading.Condition()
        self._newest: SourceFrame | None = None
        self._commands: deque[_Command] = deque()
        self._reenactor: Reenactor | None = None
        self._failed = self._left = False
        self._posed: _Posed | None = None
        self._units: tuple[Unit, ...] | None = None
        self._paused = False
        self._by_hand = False
        self._last_step_s = -QUIET_S
        self._logged: set[type[Exception]] = set()
        self._settings: dict[str, Action] = {}
        self._pose = PuppetPose()
        self._losses: deque[float] = deque()
        self._not_before_s = 0.0
        self._at_rest: RenderedFrame | None = None
        self._busy_since_s: float | None = None
        self._stalled_since_s: float | None = None

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
        with self._changed:
            if self._paused or self._by_hand:
                return
            if self._newest is not None:
                self._metrics.dropped_in += 1
            self._newest = frame
            self._changed.notify()

    def submit(self, action: Action, done: Done) -> bool:
        """Has the worker do `action` and then call `done`, with what went wrong if something did. False: too many wait already."""
        with self._changed:
            if len(self._commands) >= MAX_COMMANDS:
                return False
            self._commands.append(_Command(action, done))
            self._changed.notify()
        return True

    def pause(self, enabled: bool) -> None:
        """While paused, frames are let go and the avatar rests."""
        with self._changed:
            self._paused = enabled
            self._newest = None
        self.submit(_Look(), lambda error: None)

    def puppet(self, enabled: bool) -> None:
        """Moved by hand alone, frames are let go and each pose is shown at once."""
        with self._changed:
            self._by_hand = enabled
            self._newest = None
        self.submit(_Look(), lambda error: None)

    def pose(self, pose: PuppetPose, received_at: float) -> None:
        """Hands over what is set by hand from now on; one that still waits is replaced."""
        with self._changed:
            self._posed = _Posed(pose, received_at)
            self._changed.notify()

    def leave(self) -> None:
        """No work begins here any more; `serve` frees what is held and returns."""
        with self._changed:
            self._left = True
            self._newest = None
            self._changed.notify()

    def watch(self) -> None:
        """Lets the avatar rest while its thread has been at one piece of work for too long."""
        since = self._busy_since_s
        if since is not None and since != self._stalled_since_s and self._clock() - since > STALL_S:
            self._stalled_since_s = since
            self._metrics.stalls += 1
            self._show_at_rest()

    def serve(self) -> None:
        """Works until the seat is left."""
        while self._wait():
            try:
                self.work()
            except Exception:
                logger.exception("a listener failed")
        self.close()

    def has_work(self) -> bool:
        return self._due_in_s() == 0.0

    def work(self) -> None:
        """Does one piece of work: be made, take a pose, obey a command, or turn one frame into the avatar."""
        self._busy_since_s = self._clock()
        try:
            if self._reenactor is None:
                self._create()
            else:
                self._work(self._reenactor)
        except RendererLost as lost:
            self._recover(lost)
        finally:
            self._busy_since_s = None

    def close(self) -> None:
        """Frees the avatar, at once: its megabytes do not wait for the session to be collected. Nothing is asked of the seat afterwards."""
        self._failed = True
        self._newest = None
        self._free()

    def _wait(self) -> bool:
        """Until there is work. False: the seat was left."""
        with self._changed:
            while not self._left:
                due_in_s = self._due_in_s()
                if due_in_s == 0.0:
                    return True
                self._changed.wait(due_in_s)
        return False

    def _due_in_s(self) -> float | None:
        """When there will be work, as far as is known; 0: now, None: never."""
        if self._failed:
            return None
        if self._reenactor is None:
            return max(0.0, self._not_before_s - self._clock())
        return 0.0 if self._newest is not None or self._posed is not None or self._commands else None

    def _work(self, reenactor: Reenactor) -> None:
        with self._changed:
            posed, self._posed = self._posed, None
        if posed is not None:
            self._pose = posed.pose
            reenactor.set_pose(posed.pose)
        with self._changed:
            command = self._commands.popleft() if self._commands else None
            frame = None
            if command is None:
                frame, self._newest = self._newest, None
        if command is not None:
            self._obey(reenactor, command)
        if frame is not None:
            self._step(reenactor, frame)
        elif self._paused or self._by_hand or self._clock() - self._last_step_s >= QUIET_S:
            self._rest(reenactor, posed.received_at if posed is not None else 0.0)

    def _create(self) -> None:
        try:
            self._reenactor = self._factory.create(self._avatar_id)
            for setting in self._settings.values():
                setting.apply(self._reenactor)
            if self._pose.settings:
                self._reenactor.set_pose(self._pose)
        except RendererLost:
            raise
        except Exception as error:
            self._note(error)
            self._fail(error)
            return
        self._units = self._reenactor.units
        if self._losses:
            self._listener.on_back()
        self._rest(self._reenactor)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._free()
        self._listener.on_failure(error)

    def _free(self) -> None:
        reenactor, self._reenactor = self._reenactor, None
        if reenactor is not None:
            reenactor.close()

    def _recover(self, lost: RendererLost) -> None:
        """Shows the avatar at rest, and has another renderer made in a while, unless too many were lost."""
        self._note(lost)
        self._free()
        now = self._clock()
        while self._losses and now - self._losses[0] > FORGIVEN_AFTER_S:
            self._losses.popleft()
        self._losses.append(now)
        self._show_at_rest()
        if len(self._losses) > len(BACK_OFF_S):
            self._fail(HeadcastError("what renders the avatar broke down again and again; see the server's log"))
            return
        self._metrics.restarts += 1
        self._not_before_s = now + BACK_OFF_S[len(self._losses) - 1]
        self._listener.on_lost()

    def _obey(self, reenactor: Reenactor, command: _Command) -> None:
        try:
            command.action.apply(reenactor)
        except Exception as error:
            if not isinstance(error, HeadcastError):
                self._note(error)
            command.done(error)
            if isinstance(error, RendererLost):
                raise
            return
        if command.action.setting is not None:
            self._settings[command.action.setting] = command.action
        self._avatar_id, self._units = reenactor.avatar_id, reenactor.units
        command.done(None)

    def _step(self, reenactor: Reenactor, frame: SourceFrame) -> None:
        begin = self._last_step_s = self._clock()
        try:
            image = frame.to_rgb()
            converted = self._clock()
            rendered = reenactor.step(VideoPacket(image, frame.pts_s, frame.received_at))
        except RendererLost:
            raise
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
            self._at_rest = shown
            self._listener.on_placeholder(shown)
        except RendererLost:
            raise
        except Exception as error:
            self._note(error)

    def _show_at_rest(self) -> None:
        if self._at_rest is not None:
            self._listener.on_placeholder(replace(self._at_rest, received_at=0.0))

    def _note(self, error: Exception) -> None:
        """Counts an error, and logs the first of each kind."""
        self._metrics.errors += 1
        if type(error) not in self._logged:
            self._logged.add(type(error))
            logger.error("the avatar's work failed; further errors of this kind are only counted", exc_info=error)

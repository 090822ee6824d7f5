"""From a webcam frame to the avatar's parameters: track, solve, refine, retarget; what the live loop and `python -m realtime.drive` have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.confidence import SURE, Confidence, ConfidenceMeter
from realtime.packets import Calibration, DriveMode, FaceObservation, GainGroup, Lock, Motion, VideoPacket

if TYPE_CHECKING:
    from models.baked import BakedAvatar
    from models.driver import DriverProfile
    from models.registration import Registrar
    from realtime.retarget import AvatarRig


class Tracker(Protocol):
    careful: bool
    """Look twice where once is not steady; for the avatar's own person."""

    def track(self, packet: VideoPacket) -> FaceObservation: ...


class Solver(Protocol):
    """Finds out who drives, and their parameters (realtime.subject.SubjectSolver)."""

    @property
    def own(self) -> bool:
        """The latest parameters are the avatar's own person's, and in its convention."""

    @property
    def focal_px(self) -> float: ...

    @property
    def jumped(self) -> bool:
        """The face of the latest frame could not have come there from where it was: another one, perhaps."""

    @property
    def came(self) -> list[HeadParams] | None:
        """The first second of somebody else than before, if that became known with the latest frame."""

    def wear(self, profile: DriverProfile | None) -> None: ...

    def set_mode(self, mode: DriveMode) -> None: ...

    def solve(self, observation: FaceObservation) -> HeadParams | None:
        """None: no face, or none that can be made out."""

    def rest_again(self, observation: FaceObservation, params: HeadParams) -> list[HeadParams] | None:
        """After a frame that was solved: what the driver's first second says by what is known of them now; None: nothing new."""

    def misfit(self, params: HeadParams | None = None) -> float:
        """Median landmark error of these parameters, or of those that were solved, in the latest frame."""


class Driver(Protocol):
    """Turns the driver's parameters into the avatar's (realtime.retarget.Retargeter)."""

    def use(self, avatar: AvatarRig) -> None: ...

    def calibrate(self, mode: Calibration) -> None: ...

    def set_gain(self, group: GainGroup, value: float) -> None: ...

    def retarget(self, params: HeadParams | None, pts_s: float, own: bool, confidence: Confidence) -> HeadParams: ...

    def rest_again(self, frames: list[HeadParams]) -> None:
        """The driver's first second, as it looks by what is known of them now."""

    def welcome(self, frames: list[HeadParams]) -> None:
        """Somebody else drives, of whose first second these are frames."""

    def motion(self) -> Motion:
        """The driver's, in the frame that was retargeted last."""


class Door(Protocol):
    """Lets a frame drive the avatar, or not (realtime.doorkeeper.Doorkeeper)."""

    @property
    def lock(self) -> Lock:
        """Whether the avatar that is worn is driven."""

    def wear(self, avatar: BakedAvatar) -> None: ...

    def look(self, packet: VideoPacket, seen: FaceObservation, jumped: bool) -> Lock: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """An avatar as the stages want it."""

    avatar_id: str
    avatar: BakedAvatar
    rig: AvatarRig
    profile: DriverProfile | None = None
    """Of the avatar's own person."""
    registrar: Registrar | None = None
    """Refines that person's parameters."""


@dataclass(frozen=True, slots=True)
class RefineLimits:
    """What is past them is no refinement, but a mistake: the frame goes on as it was solved."""

    turn_rad: float = 0.1
    move_share: float = 0.025
    """Of the head's distance; towards the camera, where a face hardly shows it, three times as much."""
    error_factor: float = 2.0
    error_more: float = 0.012
    """The median landmark error may grow to so many times what it was and this much more, in inter-ocular distances: landmarks that are off as a whole are
    what a refinement corrects. On a rendered person the true parameters had 1.4 to 2.1 times the error of the solved ones, 0.008."""


@dataclass(frozen=True, slots=True)
class Driven:
    """One frame. `solved` are the driver's parameters (refined, where they were), in the avatar's convention where `own`; `pose` the avatar's.

    Where the `lock` is shut, nothing of the driver goes further: `solved` is None, and `pose` eases to rest.
    """

    observation: FaceObservation
    solved: HeadParams | None
    pose: HeadParams
    own: bool
    stage_ms: dict[str, float]
    confidence: Confidence
    lock: Lock = Lock.OFF


class Driving:
    """The stages of one session, each timed. Synchronous; from one thread only.

    Args:
        tracker: follows one face; keeps state between frames.
        solver: head parameters of that face; keeps state between frames.
        driver: already uses the rig of the avatar that is worn.
        clock: seconds, for the timings.
        door: who may drive; None: anybody.
    """

    def __init__(self, tracker: Tracker, solver: Solver, driver: Driver, clock: Callable[[], float], door: Door | None = None) -> None:
        self._tracker = tracker
        self._solver = solver
        self._driver = driver
        self._clock = clock
        self._door = door
        self._registrar: Registrar | None = None
        self._limits = RefineLimits()
        self._meter = ConfidenceMeter()
        self._came: list[HeadParams] | None = None

    def wear(self, worn: Wardrobe) -> None:
        """Another avatar."""
        self._solver.wear(worn.profile)
        self._driver.use(worn.rig)
        self._registrar = worn.registrar
        if self._door is not None:
            self._door.wear(worn.avatar)

    @property
    def lock(self) -> Lock:
        """Whether the avatar is driven."""
        return Lock.OFF if self._door is None else self._door.lock

    def close(self) -> None:
        """Forgets who drives."""
        if self._door is not None:
            self._door.close()

    def set_mode(self, mode: DriveMode) -> None:
        self._solver.set_mode(mode)

    def calibrate(self, mode: Calibration) -> None:
        self._driver.calibrate(mode)

    def set_gain(self, group: GainGroup, value: float) -> None:
        self._driver.set_gain(group, value)

    def motion(self) -> Motion:
        """The driver's in the latest frame, whoever is worn."""
        return self._driver.motion()

    def step(self, packet: VideoPacket) -> Driven:
        start = self._clock()
        observation = self._tracker.track(packet)
        tracked = self._clock()
        params = self._solver.solve(observation)
        lock = Lock.OFF if self._door is None else self._door.look(packet, observation, self._solver.jumped)
        self._came = self._solver.came or self._came
        if lock.shut:
            params = None
        elif self._came is not None:
            self._driver.welcome(self._came)
            self._came = None
        solved = self._clock()
        own = self._tracker.careful = self._solver.own
        stage_ms = {"track": (tracked - start) * 1e3, "solve": (solved - tracked) * 1e3}
        if own and params is not None and self._registrar is not None:
            params = self._refined(self._registrar, packet, params)
            refined = self._clock()
            stage_ms["refine"], solved = (refined - solved) * 1e3, refined
        again = None if params is None else self._solver.rest_again(observation, params)
        if again is not None:
            self._driver.rest_again(again)
        confidence = SURE if own else self._meter.look(packet.image, observation.landmarks, observation.confidence, packet.pts_s)
        pose = self._driver.retarget(params, packet.pts_s, own, confidence)
        stage_ms["retarget"] = (self._clock() - solved) * 1e3
        return Driven(observation, params, pose, own, stage_ms, confidence, lock)

    def _refined(self, registrar: Registrar, packet: VideoPacket, params: HeadParams) -> HeadParams:
        height, width = packet.image.shape[:2]
        better = registrar.refine(packet.image, params, self._solver.focal_px, (0.5 * width, 0.5 * height))
        return better if self._credible(params, better) else params

    def _credible(self, before: HeadParams, after: HeadParams) -> bool:
        limits = self._limits
        turn = np.linalg.norm(to_axis_angle(to_matrix(after.neck) @ to_matrix(before.neck).T))
        move = np.abs(after.translation - before.translation) / (abs(float(before.translation[2])) * np.array([1.0, 1.0, 3.0]))
        if turn > limits.turn_rad or move.max() > limits.move_share:
            return False
        return self._solver.misfit(after) <= limits.error_factor * self._solver.misfit() + limits.error_more

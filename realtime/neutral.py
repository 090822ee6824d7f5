"""What the driver looks like at rest, measured over a short window: what calibration subtracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from models.face_groups import JAW_OPEN_RAD, by_group
from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.one_euro import Double

FACE_OFFSET_M = np.array([0.0, 0.045, 0.1])
"""From the neck joint to the middle of the face, in the open head."""


@dataclass(frozen=True, slots=True)
class Neutral:
    """The driver at rest, or in one frame. D expression shapes; float64."""

    expression: Double
    """(D,)."""
    turn: Double
    """(3,) axis-angle of the head against the line of sight to it: as it looks, wherever in the picture it is."""
    neck_at: Double
    """(3,) metres, camera space: how far the neck joint is from its place in the head at rest at the camera."""
    gaze: Double
    """(4,) radians: yaw, pitch of the left and of the right eye."""
    jaw: Double
    """(3,) radians."""

    @staticmethod
    def of(params: HeadParams, neck_offset: Double) -> Neutral:
        """The driver of one frame; `neck_offset` (3,) metres, from the root joint to the neck joint."""
        root = to_matrix(params.rotation)
        head = root @ to_matrix(params.neck)
        neck_at = params.translation + root @ neck_offset - neck_offset
        return Neutral(
            params.expression.astype(np.float64),
            to_axis_angle(sight(face_at(neck_at, head)).T @ head),
            neck_at,
            params.gaze.reshape(-1).astype(np.float64),
            params.jaw.astype(np.float64),
        )

    def towards(self, other: Neutral, share: float) -> Neutral:
        """`share` 0: this one; 1: the other. Rotations at rest are small, so their vectors blend."""
        parts = [getattr(self, part.name) + share * (getattr(other, part.name) - getattr(self, part.name)) for part in fields(self)]
        return Neutral(*parts)

    @staticmethod
    def median(frames: Sequence[Neutral]) -> Neutral:
        return Neutral(*(np.median([getattr(frame, part.name) for frame in frames], axis=0) for part in fields(frames[0])))


def face_at(neck_at: Double, head: Double) -> Double:
    """(3,) metres, camera space: how far a face is from its place at rest at the camera, `neck_at` (3,) being its neck and `head` (3, 3) its rotation."""
    place: Double = neck_at + head @ FACE_OFFSET_M - FACE_OFFSET_M
    return place


def sight(place: Double) -> Double:
    """(3, 3): the rotation that carries the camera's axis to the line of sight to `place` (3,), before the camera."""
    yaw, pitch = -np.arctan2(place[0], max(-place[2], 1e-3)), np.arctan2(place[1], max(-place[2], 1e-3))
    return to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class RestCaps:
    """How much of what is seen can belong to a face at rest; what is past it is taken for an expression or a pose. Expression weights per group."""

    brows: float
    lids: float
    mouth: float
    jaw: float
    other: float
    """Principal components, in standard deviations."""
    turn_rad: tuple[float, float, float]
    """Pitch, yaw, roll."""
    gaze_rad: float


@dataclass(frozen=True, slots=True)
class RestSettings:
    automatic: RestCaps = RestCaps(brows=0.3, lids=0.5, mouth=0.0, jaw=0.0, other=0.5, turn_rad=(0.45, 0.35, 0.05), gaze_rad=0.25)
    """Careful: nobody was asked to look neutral. Cameras look up or from aside, but stand level."""
    asked: RestCaps = RestCaps(brows=0.8, lids=0.8, mouth=0.6, jaw=0.4, other=3.0, turn_rad=(0.8, 0.8, 0.6), gaze_rad=0.5)
    """After `calibrate`."""
    automatic_s: float = 1.0
    """Window of the automatic calibration."""
    asked_s: float = 0.4
    """Window after `calibrate`."""
    settle_s: float = 0.15
    """Time constant with which a new rest pose is taken over,"""
    retake_s: float = 0.8
    """and with which one is that changes because more is known of the driver: nobody asked for it, so nobody should see it."""
    recentre_s: float = 20.0
    """Time constant with which the place (not the pose) of the head drifts back to the middle."""


class RestPose:
    """Follows the driver's rest pose: what the first frames show, cautiously; and what is asked for."""

    def __init__(self, groups: Sequence[str], settings: RestSettings) -> None:
        """`groups` of the driver's expression shapes, as in models/face_groups.py."""
        self._groups = groups
        self._settings = settings
        self._frames: list[Neutral] = []
        self._from_s: float | None = None
        self._gathering = True
        self._asked = False
        self._target: Neutral | None = None
        self._taken: Neutral | None = None
        self._settle_s = settings.settle_s
        self._now: Neutral | None = None

    def calibrate(self) -> None:
        """Takes the median of the next frames."""
        self._gathering, self._asked, self._frames, self._from_s = True, True, [], None
        self._settle_s = self._settings.settle_s

    def take(self, seen: Neutral) -> Neutral:
        """Takes that look for the rest pose; returns what of it a face at rest can be."""
        self._gathering, self._asked, self._frames = False, True, []
        self._settle_s = self._settings.settle_s
        self._target = self._capped(seen)
        return self._target

    def begin(self, frames: Sequence[Neutral]) -> None:
        """Somebody else has come, of whose first second these are frames: what was known, or asked for, was of another."""
        self._gathering, self._asked, self._frames = False, False, []
        self._settle_s = self._settings.retake_s
        self._target = self._taken = self._capped(Neutral.median(frames))

    def retake(self, frames: Sequence[Neutral]) -> None:
        """Takes the automatic calibration's own frames once more, made out better; where a pose was asked for, that stays."""
        if self._asked or self._gathering or self._target is None or self._taken is None or not frames:
            return
        seen = self._capped(Neutral.median(frames))
        self._target = replace(seen, neck_at=self._target.neck_at + seen.neck_at - self._taken.neck_at)
        self._taken, self._settle_s = seen, self._settings.retake_s

    def update(self, frame: Neutral, at_s: float, elapsed_s: float) -> tuple[Neutral, Neutral | None]:
        """The rest pose to subtract now, and, in the one frame in which a pose that was asked for is complete, that pose.

        Args: `elapsed_s` since the last call.
        """
        answer = self._gather(frame, at_s) if self._gathering else None
        target = self._target or frame
        drift = 1.0 - float(np.exp(-elapsed_s / self._settings.recentre_s))
        self._target = replace(target, neck_at=target.neck_at + drift * (frame.neck_at - target.neck_at))
        share = 1.0 - float(np.exp(-elapsed_s / self._settle_s))
        self._now = self._target if self._now is None else self._now.towards(self._target, share)
        return self._now, answer

    def _gather(self, frame: Neutral, at_s: float) -> Neutral | None:
        if self._from_s is None or at_s < self._from_s:
            self._from_s = at_s
        self._frames.append(frame)
        full = at_s - self._from_s >= (self._settings.asked_s if self._asked else self._settings.automatic_s)
        if full or not self._asked or self._target is None:
            self._target = self._taken = self._capped(Neutral.median(self._frames))
        if full:
            self._gathering, self._frames = False, []
        return self._target if full and self._asked else None

    def _capped(self, seen: Neutral) -> Neutral:
        caps = self._settings.asked if self._asked else self._settings.automatic
        limits = by_group(caps, self._groups)
        jaw = JAW_OPEN_RAD * caps.jaw
        return Neutral(
            np.clip(seen.expression, -limits, limits),
            np.clip(seen.turn, np.negative(caps.turn_rad), caps.turn_rad),
            seen.neck_at,
            np.clip(seen.gaze, -caps.gaze_rad, caps.gaze_rad),
            np.clip(seen.jaw, -jaw, jaw),
        )

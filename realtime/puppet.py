"""Posing an avatar by hand: named units (ARKit's shapes, the head's and the eyes' angles) on top of what the driver does, or of the avatar at rest.

A unit counts from the avatar's rest: 0 changes nothing, and its ends are those of the trained range. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import TrainedRange
from models.face_groups import JAW_OPEN, JAW_OPEN_RAD
from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.packets import PuppetPose, Unit

Double = NDArray[np.float64]
HEAD_UNITS = ("headYaw", "headPitch", "headRoll")
"""Radians, models/CONVENTIONS.md; the order of the entries of `euler`."""
GAZE_UNITS = ("gazeYaw", "gazePitch")
"""Both eyes together, radians; the lids follow."""
LOOKS = {
    "eyeLookOutLeft": (0, 1.0), "eyeLookInLeft": (0, -1.0), "eyeLookDownLeft": (1, 1.0), "eyeLookUpLeft": (1, -1.0),
    "eyeLookInRight": (2, 1.0), "eyeLookOutRight": (2, -1.0), "eyeLookDownRight": (3, 1.0), "eyeLookUpRight": (3, -1.0),
}  # fmt: skip
"""Which angle of the gaze (yaw, pitch of the left, then of the right eye) goes with a shape of the lids, and in which direction."""
LOOK_SIDE_RAD, LOOK_UP_RAD = 0.5, 0.4
"""How far an eye turns for a shape of one, as models/solving/priors.py has it."""
LEAST_ROOM = 0.02
"""A unit that can move less than this is not offered."""
_AXES = (1, 0, 2)
"""Of the head's units, in an axis-angle vector."""


class Poseable(Protocol):
    """What must be known of an avatar (models.baked.BakedAvatar)."""

    @property
    def expression_names(self) -> tuple[str, ...]: ...

    @property
    def ranges(self) -> TrainedRange: ...

    def neutral(self) -> HeadParams: ...


class Puppet:
    """The hand-made pose of one avatar at a time; one per session.

    Inside, everything that a unit can move is an entry of one vector: the expression (E,), the head's three angles, the gaze's four, the jaw joint's opening.
    """

    def __init__(self, avatar: Poseable) -> None:
        self._pose = PuppetPose()
        self.wear(avatar)

    def wear(self, avatar: Poseable) -> None:
        """Another avatar: what it has of the pose goes on."""
        ranges = avatar.ranges
        self._names = avatar.expression_names
        self._head, self._gaze = len(self._names), len(self._names) + 3
        self._rest_vector = self._vector(avatar.neutral())
        limits = np.vstack([ranges.expression, ranges.neck[list(_AXES)], np.tile(ranges.gaze, (2, 1)), ranges.jaw[:1]]).astype(np.float64)
        self._low, self._high = np.minimum(limits[:, 0], self._rest_vector), np.maximum(limits[:, 1], self._rest_vector)
        self._parts = {name: tuple(self._parts_of(name)) for name in self._unit_names()}
        self.units = tuple(unit for unit in map(self._unit, self._parts) if unit.high - unit.low >= LEAST_ROOM)
        self.take(self._pose)

    def take(self, pose: PuppetPose) -> None:
        """The pose from now on, instead of the one before; units that this avatar does not have wait for one that does."""
        self._pose = pose
        self._change = np.zeros_like(self._rest_vector)
        self._held = np.zeros(len(self._rest_vector), bool)
        self._moved = self._held.copy()
        for setting in pose.settings:
            for entry, downwards, upwards in self._parts.get(setting.name, ()):
                change = (upwards if setting.value > 0.0 else downwards) * setting.value
                self._change[entry] += change
                self._held[entry] |= setting.hold
                self._moved[entry] |= setting.hold or change != 0.0

    def apply(self, params: HeadParams) -> HeadParams:
        """`params` with the pose: units that are held count from rest, whatever is in `params`; the others are added to it. Inside the trained range."""
        moved = self._moved
        if not moved.any():
            return params
        before = self._vector(params)
        wanted = np.where(self._held, self._rest_vector, before) + self._change
        after = np.where(moved, np.clip(wanted, self._low, self._high), before)
        changed = replace(
            params,
            expression=after[: self._head].astype(np.float32),
            gaze=after[self._gaze : self._gaze + 4].reshape(2, 2).astype(np.float32),
            jaw=np.array([after[-1], *params.jaw[1:]], np.float32),
        )
        head = slice(self._head, self._gaze)
        return replace(changed, neck=self._neck(params, after[head])) if moved[head].any() else changed

    def _neck(self, params: HeadParams, angles: Double) -> NDArray[np.float32]:
        """(3,) what the neck does for the head to be turned by `angles` (3,) where the root is; held inside its range."""
        neck = to_axis_angle(to_matrix(params.rotation).T @ from_euler(angles))
        axes = [self._head + _AXES.index(axis) for axis in range(3)]
        return np.clip(neck, self._low[axes], self._high[axes]).astype(np.float32)

    def _vector(self, params: HeadParams) -> Double:
        angles = to_euler(to_matrix(params.rotation) @ to_matrix(params.neck))
        return np.concatenate([params.expression, angles, params.gaze.reshape(-1), params.jaw[:1]]).astype(np.float64)

    def _unit_names(self) -> Sequence[str]:
        jaw = () if JAW_OPEN in self._names else (JAW_OPEN,)
        return (*self._names, *jaw, *HEAD_UNITS, *GAZE_UNITS)

    def _parts_of(self, name: str) -> Iterator[tuple[int, float, float]]:
        """The entries that a unit moves: index, and how far for a unit of -1 (against its sign) and of 1."""
        if name in HEAD_UNITS:
            yield self._head + HEAD_UNITS.index(name), 1.0, 1.0
        elif name in GAZE_UNITS:
            angle = GAZE_UNITS.index(name)
            yield from ((self._gaze + angle, 1.0, 1.0), (self._gaze + 2 + angle, 1.0, 1.0))
            for shape, (entry, sign) in LOOKS.items():
                if shape in self._names and entry % 2 == angle:
                    follows = sign / (LOOK_UP_RAD if angle else LOOK_SIDE_RAD)
                    yield self._names.index(shape), min(follows, 0.0), max(follows, 0.0)
        elif name in self._names:
            yield self._names.index(name), 1.0, 1.0
            if name in LOOKS:
                entry, sign = LOOKS[name]
                turn = sign * (LOOK_UP_RAD if entry % 2 else LOOK_SIDE_RAD)
                yield self._gaze + entry, turn, turn
        else:
            yield len(self._rest_vector) - 1, JAW_OPEN_RAD, JAW_OPEN_RAD

    def _unit(self, name: str) -> Unit:
        """Its ends are those of the first of its entries, from rest."""
        entry, _, scale = self._parts[name][0]
        low, high = (np.array([self._low[entry], self._high[entry]]) - self._rest_vector[entry]) / scale
        return Unit(name, round(float(low), 4), round(float(high), 4))


def to_euler(rotation: Double) -> Double:
    """(3, 3) → yaw, pitch, roll in radians with `rotation = R_y(yaw) @ R_x(pitch) @ R_z(roll)`; pitch between -pi/2 and pi/2."""
    pitch = -np.arcsin(np.clip(rotation[1, 2], -1.0, 1.0))
    return np.array([np.arctan2(rotation[0, 2], rotation[2, 2]), pitch, np.arctan2(rotation[1, 0], rotation[1, 1])])


def from_euler(angles: Double) -> Double:
    """The inverse of `to_euler`."""
    yaw, pitch, roll = angles
    return to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0)) @ to_matrix((0.0, 0.0, roll))

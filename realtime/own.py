"""The avatar's own person drives it: what was solved goes over as it is, but for smoothing and the ends of what the avatar was trained for.

Where they sit as in the clip that the avatar was made of, their place holds absolutely too; elsewhere (another camera, another distance) it is taken relative
to where they sit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.neutral import face_at, sight
from realtime.one_euro import Double

if TYPE_CHECKING:
    from realtime.retarget import AvatarRig


@dataclass(frozen=True, slots=True)
class OwnSettings:
    near: float = 0.15
    """Who sits no farther from the avatar's own place than this share of its distance, towards or away,"""
    aside: float = 0.25
    """and this share of it, sideways, up or down, sits where they sat in the clip."""
    gather_s: float = 0.5
    """Their place is the median over this time."""
    beyond_rad: float = 0.15
    """Turns and gazes bend into at most so much more than the avatar was trained for."""
    reach: float = 0.35
    """How far the head goes from its place at most, in shares of its distance."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the driver sits, metres: `lean` is counted from there, over its distance."""

    seat: Double
    """(3,)."""
    absolute: bool
    """It is the avatar's own place."""


class OwnPath:
    """The way from the own person's parameters to the avatar's; keeps only their place between frames."""

    def __init__(self, settings: OwnSettings) -> None:
        self._settings = settings
        self.forget()

    def forget(self) -> None:
        """The driver's place is not known."""
        self._seen: list[Double] = []
        self._from_s = 0.0
        self.place: Place | None = None
        """Where the driver sits, as far as is known."""
        self._settled = False

    def drive(self, params: HeadParams, at_s: float, avatar: AvatarRig) -> Double:
        """The expression (D,) in the driver's order, turn (3,), gaze (4,), lean (3,) and jaw joint (3,), one after the other: zero is the avatar at rest."""
        place = self._sitting(params, at_s, avatar)
        seen = params.translation.astype(np.float64)
        lean = (seen - place.seat) / abs(place.seat[2])
        turn = params.neck.astype(np.float64)
        if not place.absolute:
            head = to_matrix(turn)
            shown = avatar.default_translation + abs(avatar.default_translation[2]) * lean
            turn = to_axis_angle(sight(face_at(shown, head)) @ sight(face_at(seen, head)).T @ head)
        return np.concatenate([params.expression, turn, params.gaze.reshape(-1), lean, params.jaw]).astype(np.float64)

    def show(self, params: HeadParams, turn: Double, gaze: Double, lean: Double, avatar: AvatarRig) -> HeadParams:
        """`params`, whose expression and jaw are the avatar's already, with the rest of what `drive` gave, smoothed, inside what the avatar can do."""
        settings, distance = self._settings, abs(float(avatar.default_translation[2]))
        return replace(
            params,
            rotation=np.zeros(3, np.float32),
            neck=beyond(turn, avatar.neck_limit, settings.beyond_rad).astype(np.float32),
            gaze=beyond(gaze, np.tile(avatar.gaze_limit, 2), settings.beyond_rad).reshape(2, 2).astype(np.float32),
            translation=(avatar.default_translation + distance * np.clip(lean, -settings.reach, settings.reach)).astype(np.float32),
        )

    def _sitting(self, params: HeadParams, at_s: float, avatar: AvatarRig) -> Place:
        """Judged by the first frame, and once more when the time to gather is over."""
        if self.place is not None and self._settled:
            return self.place
        if not self._seen:
            self._from_s = at_s
        self._seen.append(params.translation.astype(np.float64))
        self._settled = not 0.0 <= at_s - self._from_s < self._settings.gather_s
        if self.place is None or self._settled:
            judged = self._judged(np.median(self._seen, axis=0), avatar.default_translation.astype(np.float64))
            if self.place is None or not (self.place.absolute and judged.absolute):
                self.place = judged
        return self.place

    def _judged(self, seat: Double, own: Double) -> Place:
        distance = abs(own[2])
        away = np.abs(seat - own)
        absolute = bool(away[2] <= self._settings.near * distance and away[:2].max() <= self._settings.aside * distance)
        return Place(own if absolute else seat, absolute)


def beyond(value: Double, limit: NDArray[np.floating], room: float) -> Double:
    """`value` as it is up to the `limit` (a magnitude); beyond, it nears limit + room ever more slowly."""
    size = np.abs(value)
    bent: Double = np.sign(value) * np.where(size <= limit, size, limit + room * -np.expm1(-np.maximum(size - limit, 0.0) / room))
    return bent

"""How strongly the avatar does what the driver does, a part of the face at a time, as the user likes it: 0 not at all, 1 as they do, 2 twice as much.

Lids are different: scaled down they would no longer close, so what is scaled is a small motion of theirs, and a closed eye stays closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.face_groups import group_of
from realtime.one_euro import Double
from realtime.packets import MAX_GAIN, GainGroup

SETTLE_S = 0.15
"""Time constant with which a new gain takes hold."""
SETTLED = 1e-3
LONGEST_STEP_S = 0.2
GROUPS = {"brows": GainGroup.BROWS, "lids": GainGroup.LIDS, "mouth": GainGroup.MOUTH, "jaw": GainGroup.MOUTH}
"""Of expression shapes; those without an ARKit name belong to none and stay as they are."""
TAIL_GROUPS = {"turn": GainGroup.HEAD, "lean": GainGroup.HEAD, "jaw_joint": GainGroup.MOUTH}
WITH_THE_GAZE = "eyeLook"
"""Lids that follow the gaze; like the gaze itself they stay as they are, so that the eyes look where the driver's do."""


class UserGains:
    """Four gains and, at any time, what they make of the vector that the retargeter shows.

    Args:
        names: of the expression shapes that the vector begins with.
        tail: what follows them, with sizes.
        blinks: indices of the `eyeBlink` shapes.
    """

    def __init__(self, names: Sequence[str], tail: Mapping[str, int], blinks: NDArray[np.intp]) -> None:
        shapes = [None if name.startswith(WITH_THE_GAZE) else GROUPS.get(group_of(name)) for name in names]
        parts = [*shapes, *(TAIL_GROUPS.get(name) for name, size in tail.items() for _ in range(size))]
        self._index = {group: np.flatnonzero([part is group for part in parts]) for group in GainGroup}
        self._blinks = blinks
        self._wanted = np.ones(len(parts))
        self._now = np.ones(len(parts))
        self._latest_s: float | None = None

    def set(self, group: GainGroup, value: float) -> None:
        """From now on; what is shown changes over smoothly.

        Raises:
            ValueError: `value` is not between 0 and MAX_GAIN.
        """
        if not 0.0 <= value <= MAX_GAIN:
            raise ValueError(f"a gain: expected a number from 0 to {MAX_GAIN:g}, got {value}")
        self._wanted[self._index[group]] = value

    def apply(self, motion: Double, rest: Double, at_s: float) -> Double:
        """What is shown of `motion` (a vector of differences from rest) at time `at_s` (seconds).

        Args: `rest` (blinks,) weights of the `eyeBlink` shapes that `motion` is a difference from.
        """
        elapsed = 0.0 if self._latest_s is None else float(np.clip(at_s - self._latest_s, 0.0, LONGEST_STEP_S))
        self._latest_s = at_s
        away = self._wanted - self._now
        self._now = np.where(np.abs(away) < SETTLED, self._wanted, self._now - np.expm1(-elapsed / SETTLE_S) * away)
        if (self._now == 1.0).all():
            return motion
        made = self._now * motion
        room = np.maximum(1.0 - rest, 1e-3)
        closing = np.clip(motion[self._blinks] / room, 0.0, 1.0)
        gain = self._now[self._blinks]
        closed = np.where(gain > 0.0, 1.0 - (1.0 - closing) ** gain, 0.0)
        made[self._blinks] = np.where(motion[self._blinks] > 0.0, room * closed, made[self._blinks])
        return made

"""The texture layout: MakeHuman's own islands, turned upright, the face magnified, in slots that do not touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.open_head.eyeball import eyeball_uv
from training.open_head.source import Double

PADDING = 0.005
SLOTS = {
    "head": (0.0, 0.0, 1.0, 0.60),
    "body": (0.0, 0.60, 0.64, 1.0),
    "left_eye": (0.82, 0.60, 1.0, 0.78),
    "right_eye": (0.64, 0.60, 0.82, 0.78),
    "mouth": (0.64, 0.78, 0.82, 0.90),
    "tongue": (0.82, 0.78, 0.91, 0.90),
    "left_socket": (0.955, 0.78, 1.0, 0.90),
    "right_socket": (0.91, 0.78, 0.955, 0.90),
    "upper_teeth": (0.64, 0.90, 0.74, 1.0),
    "lower_teeth": (0.74, 0.90, 0.84, 1.0),
    "left_upper_lashes": (0.92, 0.90, 1.0, 0.95),
    "left_lower_lashes": (0.92, 0.95, 1.0, 1.0),
    "right_upper_lashes": (0.84, 0.90, 0.92, 0.95),
    "right_lower_lashes": (0.84, 0.95, 0.92, 1.0),
}
"""Left, top, right, bottom in texture space."""


@dataclass(frozen=True, slots=True)
class Magnifier:
    """Enlarges what lies within `reach` of `centre` (both in the unit square) by up to 1 + `strength` (below 2.2, so that nothing folds)."""

    centre: tuple[float, float]
    reach: tuple[float, float]
    strength: float

    def apply(self, uv: Double) -> Double:
        """(n, 2) → (n, 2)."""
        offset = (uv - self.centre) / self.reach
        inside = np.maximum(1.0 - (offset**2).sum(1, keepdims=True), 0.0)
        return self.centre + offset * (1.0 + self.strength * inside**2) * np.array(self.reach)


def stretch(values: Double, centre: float, strength: float, width: float) -> Double:
    """Maps 0…1 onto itself, with the density 1 + strength * exp(-((x - centre) / width)²)."""
    grid = np.linspace(0.0, 1.0, 2001)
    density = 1.0 + strength * np.exp(-(((grid - centre) / width) ** 2))
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(values, grid, total / total[-1])


def upright(uv: Double, points: Double) -> Double:
    """(n, 2) of an island, v up → filling the unit square, v down, turned and mirrored so that u follows x and v follows -y of (n, 3)."""
    low, high = uv.min(0), uv.max(0)
    unit = (uv - low) / (high - low)
    candidates = [np.column_stack([a, b]) for x, y in ((0, 1), (1, 0)) for a in (unit[:, x], 1.0 - unit[:, x]) for b in (unit[:, y], 1.0 - unit[:, y])]
    return max(candidates, key=lambda c: _follows(c[:, 0], points[:, 0]) + _follows(c[:, 1], -points[:, 1]))


def magnified_face(unit: Double, eyes: tuple[tuple[float, float], tuple[float, float]], mouth: tuple[float, float]) -> Double:
    """The head's island (n, 2), upright, with its front enlarged, the eyes and the mouth most."""
    for centre in eyes:
        unit = Magnifier(centre, (0.075, 0.15), 1.0).apply(unit)
    unit = Magnifier(mouth, (0.13, 0.16), 0.8).apply(unit)
    return np.column_stack([stretch(unit[:, 0], 0.5, 2.6, 0.19), stretch(unit[:, 1], 0.5 * (eyes[0][1] + mouth[1]), 1.2, 0.22)])


def place(unit: Double, slot: str) -> Double:
    """The unit square (n, 2) → its slot, less the padding."""
    left, top, right, bottom = SLOTS[slot]
    low = np.array([left + PADDING, top + PADDING])
    return low + unit * (np.array([right - PADDING, bottom - PADDING]) - low)


def eye_disc(slot: str) -> tuple[Double, NDArray[np.int32]]:
    """An eyeball's texture coordinates in its slot, and its triangles into them."""
    unit, faces = eyeball_uv()
    return place(unit, slot), faces


def _follows(first: Double, second: Double) -> float:
    return float(np.corrcoef(first, second)[0, 1])

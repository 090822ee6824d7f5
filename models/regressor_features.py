"""What the regressor is shown of a frame: the landmarks as a camera would see them that looks straight at the face, level and as large as any other, and the
tracker's coefficients. So its answer does not depend on where in the picture the face is, how large, or how it is rolled.

Space: `view` is the rotation of that camera, as of a camera in camera space (models/CONVENTIONS.md); a head rotation R in camera space is `view.T @ R` to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.landmark_groups import INNER_LIPS, OUTER_LIPS
from models.landmarker import COEFFICIENT_LANDMARKS, COEFFICIENT_NAMES

Float = NDArray[np.float32]
Double = NDArray[np.float64]

STEADY = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 127, 356, 234, 454, 109, 338, 21, 251, 93, 323)
"""Landmarks that expressions hardly move: they say where the face is and how large."""
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
SEEN = np.unique(np.concatenate([COEFFICIENT_LANDMARKS, OUTER_LIPS, INNER_LIPS, STEADY])).astype(np.int32)
"""(M,) the landmarks that are shown, of the 478."""
FEATURE_COUNT = 3 * len(SEEN) + len(COEFFICIENT_NAMES) + 1
"""Landmarks, coefficients, and the face's size as an angle, which says how strong its perspective is."""
_STEADY_AT, _RIGHT, _LEFT = np.searchsorted(SEEN, STEADY), int(np.searchsorted(SEEN, RIGHT_EYE_OUTER)), int(np.searchsorted(SEEN, LEFT_EYE_OUTER))
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Shown:
    """N frames."""

    features: Float
    """(N, FEATURE_COUNT)."""
    view: Double
    """(N, 3, 3) rotation of the camera that looks at the face."""


def show(landmarks: Float, coefficients: Float, focal: Float | float) -> Shown:
    """Features of N frames; finite for finite landmarks that are not all in one place.

    Args:
        landmarks: (N, 478, 3) x right, y down from the picture's centre, z in the same scale, over the picture's longer side.
        coefficients: (N, 52) of the tracker.
        focal: (N,) or one, over the longer side.
    """
    points = landmarks[:, SEEN].astype(np.float64)
    lens = np.broadcast_to(np.asarray(focal, np.float64), (len(points),))[:, None, None]
    rays = np.stack([points[..., 0], -points[..., 1], -np.broadcast_to(lens[..., 0], points.shape[:2])], -1) / lens
    view = _towards(rays[:, _STEADY_AT].mean(1))
    turned = rays @ view
    flat = turned[..., :2] / np.maximum(-turned[..., 2:], SMALLEST)
    across = flat[:, _LEFT] - flat[:, _RIGHT]
    roll = _about_z(np.arctan2(across[:, 1], across[:, 0]))
    view, flat = view @ roll, flat @ roll[:, :2, :2]
    whole = np.concatenate([flat, -points[..., 2:] / lens], -1)
    steady = whole[:, _STEADY_AT]
    centre = steady.mean(1)
    size = np.maximum(np.sqrt(((steady - centre[:, None]) ** 2).sum(-1).mean(1)), SMALLEST)
    shape = (whole - centre[:, None]) / size[:, None, None]
    features = np.concatenate([shape.reshape(len(points), -1), coefficients.astype(np.float64), 4.0 * size[:, None]], 1)
    return Shown(features.astype(np.float32), view)


def _towards(rays: Double) -> Double:
    """(N, 3, 3): rotations that carry the camera's axis -z to `rays` (N, 3), without roll."""
    back = -rays / np.linalg.norm(rays, axis=1, keepdims=True)
    right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), SMALLEST)
    return np.stack([right, np.cross(back, right), back], 2)


def _about_z(angle: Double) -> Double:
    """(N, 3, 3)."""
    cosine, sine, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([np.stack([cosine, -sine, zero], 1), np.stack([sine, cosine, zero], 1), np.stack([zero, zero, zero + 1.0], 1)], 1)


def mirrored(features: Float, partner: NDArray[np.int32]) -> Float:
    """Features of the mirrored faces. `partner` (M,): which of the shown landmarks lies where each one does on the other side."""
    count = 3 * len(SEEN)
    shape = features[:, :count].reshape(len(features), -1, 3)[:, partner] * np.array([-1.0, 1.0, 1.0], np.float32)
    tail = features[:, count:]
    return np.concatenate([shape.reshape(len(features), -1), tail[:, _SWAPPED], tail[:, -1:]], 1)


def swapped(names: tuple[str, ...]) -> NDArray[np.int32]:
    """For each name the place of that with left and right exchanged; its own where there is none."""

    def other(name: str) -> str:
        if name.endswith("Left"):
            return name.removesuffix("Left") + "Right"
        return name.removesuffix("Right") + "Left" if name.endswith("Right") else name

    return np.array([names.index(other(name)) if other(name) in names else at for at, name in enumerate(names)], np.int32)


_SWAPPED = swapped(COEFFICIENT_NAMES)

"""Axis-angle vectors and rotation matrices (conventions: models/CONVENTIONS.md)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def skew(v: ArrayLike) -> NDArray[np.float64]:
    """The (3, 3) matrix K with `K @ x == cross(v, x)`."""
    x, y, z = np.asarray(v, np.float64)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def to_matrix(axis_angle: ArrayLike) -> NDArray[np.float64]:
    """(3,) axis-angle in radians → (3, 3) rotation (Rodrigues' formula); NaN where it is not finite."""
    x, y, z = np.asarray(axis_angle, np.float64).tolist()
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    if not math.isfinite(angle):
        return np.full((3, 3), np.nan)
    first, second = (1.0, 0.5) if angle < 1e-8 else (math.sin(angle) / angle, (1.0 - math.cos(angle)) / squared)
    return np.array(
        [
            [1.0 - second * (y * y + z * z), second * x * y - first * z, second * x * z + first * y],
            [second * x * y + first * z, 1.0 - second * (x * x + z * z), second * y * z - first * x],
            [second * x * z - first * y, second * y * z + first * x, 1.0 - second * (x * x + y * y)],
        ]
    )


def to_axis_angle(matrix: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rotation → (3,) axis-angle in radians, of length at most pi."""
    r = np.asarray(matrix, np.float64)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = r.tolist()
    x, y, z = zy - yz, xz - zx, yx - xy
    vee = np.array([x, y, z])
    sine, cosine = 0.5 * math.sqrt(x * x + y * y + z * z), 0.5 * (xx + yy + zz - 1.0)
    angle = math.atan2(sine, cosine)
    if sine > 1e-6:
        return vee * (0.5 * angle / sine)
    if cosine > 0.0:
        return 0.5 * vee
    axis = np.sqrt(np.maximum(0.5 * (np.diag(r) + 1.0), 0.0))
    largest = int(np.argmax(axis))
    signs = np.sign(r[largest] + r[:, largest])
    signs[largest] = 1.0
    axis = axis * signs / np.linalg.norm(axis)
    near_half_turn: NDArray[np.float64] = axis * (angle if axis @ vee >= 0.0 else -angle)
    return near_half_turn


def from_gaze(yaw: float, pitch: float) -> NDArray[np.float64]:
    """An eye's rotation: first pitch about +x (down is positive), then yaw about +y; radians."""
    return to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0))

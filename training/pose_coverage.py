"""How far the head turns in a clip, told from the landmarks alone, before anything is fitted: good enough to judge a clip by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIN_DEG = 10.0
LIMIT_DEG = 60.0
EYES, NOSE_ROOT, CHIN = (33, 263), 168, 152
"""Outer corners of the right and left eye, between the eyes, below the mouth."""


@dataclass(frozen=True, slots=True)
class PoseCoverage:
    """Angles in degrees, signs as in models/CONVENTIONS.md; ranges are the 2nd and 98th percentile."""

    yaw_range: tuple[float, float]
    pitch_range: tuple[float, float]
    roll_range: tuple[float, float]
    bins: list[float]
    """Edges, degrees, of both axes of the histogram; what lies beyond counts in the last."""
    histogram: list[list[int]]
    """Frames by yaw (rows) and pitch (columns, relative to the clip's median)."""


def head_angles(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 478, 3) landmarks → (T, 3) yaw, pitch, roll in degrees: the turn of the face's own axes, eye to eye and eyes to chin, in camera space.

    Pitch has an offset that depends on the person; its changes mean something.
    """
    points = landmarks * np.array([1.0, -1.0, -1.0], np.float32)  # image space → camera space: y up, z towards the viewer
    across = points[:, EYES[1]] - points[:, EYES[0]]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = points[:, NOSE_ROOT] - points[:, CHIN]
    up -= (up * across).sum(1, keepdims=True) * across
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    out = np.cross(across, up)
    yaw = np.arctan2(out[:, 0], out[:, 2])
    pitch = -np.arcsin(np.clip(out[:, 1], -1.0, 1.0))
    roll = np.arctan2(across[:, 1], np.hypot(across[:, 0], across[:, 2]))
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], 1)), np.float32)


def pose_coverage(landmarks: NDArray[np.float32]) -> PoseCoverage:
    """Of (T, 478, 3) landmarks."""
    angles = head_angles(landmarks)
    low, high = np.percentile(angles, [2.0, 98.0], axis=0)
    ranges = [(round(float(a), 1), round(float(b), 1)) for a, b in zip(low, high, strict=True)]
    edges = np.arange(-LIMIT_DEG, LIMIT_DEG + BIN_DEG, BIN_DEG)
    inside = np.clip(angles[:, :2] - [0.0, np.median(angles[:, 1])], -LIMIT_DEG, LIMIT_DEG)
    histogram, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=(edges, edges))
    return PoseCoverage(ranges[0], ranges[1], ranges[2], edges.tolist(), histogram.astype(int).tolist())

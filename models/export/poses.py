"""Head parameters as other programs write rotations: quaternions, and yaw, pitch and roll in degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams, joint_rotations
from models.rotations import to_axis_angle, to_matrix

Real = NDArray[np.float64]
JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")


def joint_quaternions(params: HeadParams) -> Real:
    """(5, 4) x, y, z, w: local rotations of root, neck, jaw, left eye, right eye."""
    return np.stack([quaternion(to_axis_angle(matrix)) for matrix in joint_rotations(params)])


def quaternion(axis_angle: Real) -> Real:
    """(3,) radians → (4,) x, y, z, w of unit length."""
    angle = float(np.linalg.norm(axis_angle))
    half = 0.5 if angle < 1e-8 else np.sin(angle / 2.0) / angle
    whole = np.append(half * np.asarray(axis_angle, np.float64), np.cos(angle / 2.0))
    unit: Real = whole / np.linalg.norm(whole)
    return unit


def head_rotation(params: HeadParams) -> Real:
    """(3, 3): how the head is turned in camera space, by root and neck together."""
    return to_matrix(params.rotation) @ to_matrix(params.neck)


def yaw_pitch_roll(matrix: Real) -> Real:
    """(3, 3) → (3,) degrees: rolled about +z first, then pitched about +x, then yawed about +y (models/CONVENTIONS.md).

    Yaw and roll reach from -180 to 180, pitch from -90 to 90; at a pitch of ±90, where only their sum or difference counts, roll is zero.
    """
    pitch = np.arcsin(np.clip(-matrix[1, 2], -1.0, 1.0))
    if abs(matrix[1, 2]) > 1.0 - 1e-9:
        return np.degrees([np.arctan2(-matrix[2, 0], matrix[0, 0]), pitch, 0.0])
    return np.degrees([np.arctan2(matrix[0, 2], matrix[2, 2]), pitch, np.arctan2(matrix[1, 0], matrix[1, 1])])

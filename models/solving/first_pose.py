"""Where a head is, from nothing but its landmarks."""

from __future__ import annotations

import cv2
import numpy as np

from models.rotations import to_matrix
from models.solving.landmark_model import LandmarkModel
from models.solving.residuals import FrameState, Rest, Subject, Target

FACING = np.diag([1.0, -1.0, -1.0])
"""From our camera space (y up, z to the viewer) to OpenCV's (y down, z ahead), and back."""


def first_pose(model: LandmarkModel, subject: Subject, rest: Rest, target: Target) -> FrameState | None:
    """Perspective-n-point on the landmarks that expressions hardly move (SQPnP: Terzakis and Lourakis, ECCV 2020); None where it finds nothing."""
    shapes = len(model.expression_names)
    expression = np.clip(target.prior[6 : 6 + shapes], 0.0, 1.0)
    points = (rest.points + model.expression @ expression)[model.rigid]
    camera = np.diag([subject.focal, subject.focal, 1.0])
    found, turn, shift = cv2.solvePnP(points @ FACING, target.points[model.rigid], camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found or not np.isfinite(turn).all() or not np.isfinite(shift).all():
        return None
    gaze = target.prior[6 + shapes : 10 + shapes].reshape(2, 2)
    return FrameState(FACING @ to_matrix(turn[:, 0]) @ FACING, FACING @ shift[:, 0], expression, gaze, np.zeros(3))

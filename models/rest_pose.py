"""The pose of an avatar that nobody drives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.avatar_parts import POSE_FEATURES, PortraitCamera, TrainedRange, WeightFunction
from models.head import HeadParams

NECK, GAZE = slice(3, 6), slice(9, POSE_FEATURES)
"""In a weight function's features."""
CALMER = 0.8
"""How many standard deviations below its mean a shape that is never negative is at rest: judged by eye on a talking man."""


def rest_pose(camera: PortraitCamera, ranges: TrainedRange, weights: WeightFunction | None) -> HeadParams:
    """All zero, before the avatar's camera; of an avatar learned from a video, what it was learned around.

    A head that is held straight and does nothing may be farther from anything that the video showed than any of its frames: its person may hold the chin up,
    or the camera may have lain below. The expression is calmer than the mean, where one-sided shapes say how it moves.
    """
    still = replace(HeadParams.neutral(len(ranges.expression)), translation=np.array(camera.translation, np.float32))
    if weights is None:
        return still
    active = CALMER * (ranges.expression[:, 0] >= 0.0) * weights.scale[POSE_FEATURES:]
    expression = np.clip(weights.mean[POSE_FEATURES:] - active, *ranges.expression.T)
    gaze = np.clip(weights.mean[GAZE].reshape(2, 2), *ranges.gaze.T)
    neck = np.clip(weights.mean[NECK], *ranges.neck.T)
    return replace(still, expression=expression.astype(np.float32), neck=neck.astype(np.float32), gaze=gaze.astype(np.float32))

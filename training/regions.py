"""Where a frame is judged: the head's mask, its box, the mouth and the eyes. All of it follows from the real frame and the offline fit, so that every way of
driving the avatar is judged in the same place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import NECK, ROOT, HeadModel, joint_rotations, joint_transforms
from training.clip import Clip
from training.fitted import Fitted
from training.metrics import Box

Picture = NDArray[np.uint8]
Float = NDArray[np.float32]
CHIN = 152
CUT_CHIN_SHARE = 0.9
"""The head ends at the height of this much of the chin and the rest of the root joint, which is at the neck's base: half a centimetre below the chin."""
CERTAIN = 128
"""From this matte value on a pixel counts as the person's when the box is drawn."""
DRAWN_FOR_PX = 512.0
"""Size of the pictures that the margins below are for."""
MOUTH_POINTS, LEAST_MOUTH_PX, MOUTH_WIDTH, MOUTH_HEIGHT = (61, 291, 0, 17), 40.0, 0.75, 0.8
EYE_POINTS, EYE_SIDE_PX, EYE_ABOVE_PX, EYE_BELOW_PX = (33, 263, 70, 300), 8.0, 6.0, 16.0


@dataclass(frozen=True, slots=True)
class Regions:
    """Of one frame of S x S pixels. A box is None where there is nothing to judge."""

    mask: Picture
    """(S, S) how much of a pixel is the head: the matte, cut off at `cut`."""
    cut: int
    """First row below the head."""
    head_box: Box | None
    """Around the mask's largest part."""
    mouth: Box | None
    eyes: Box | None

    def on_black(self, frame: Picture) -> Picture:
        """The real head before black."""
        return np.rint(frame * (self.mask[..., None].astype(np.float32) / 255.0)).astype(np.uint8)


class RegionFinder:
    """Finds the regions of a clip's frames."""

    def __init__(self, head: HeadModel, fitted: Fitted, clip: Clip) -> None:
        self._fitted, self._clip = fitted, clip
        rest = head.shaped(fitted.identity, np.zeros(0, np.float32))
        self._joints = head.joints(rest)
        chin = head.landmarks(rest)[CHIN].astype(np.float64)
        self._edge = CUT_CHIN_SHARE * chin + (1.0 - CUT_CHIN_SHARE) * self._joints[ROOT]

    def find(self, frame: int) -> Regions:
        """Of the clip's frame of that number."""
        cut = self._cut(frame)
        mask = self._clip.mattes[frame].copy()
        mask[cut:] = 0
        return Regions(mask, cut, _box_around(mask), mouth_box(self._clip.landmarks[frame], len(mask)), eye_box(self._clip.landmarks[frame], len(mask)))

    def _cut(self, frame: int) -> int:
        """The row at which the head ends."""
        size = self._clip.size
        params = self._fitted.params(frame)
        carry = joint_transforms(self._joints, joint_rotations(params))[NECK]
        _, y, z = carry[:, :3] @ self._edge + carry[:, 3] + params.translation
        if not np.isfinite(y) or z >= 0.0:
            return size
        return min(max(int(size * (0.5 - self._fitted.focal * y / -z)), 0), size)


def _box_around(mask: Picture) -> Box | None:
    count, _, stats, _ = cv2.connectedComponentsWithStats((mask >= CERTAIN).astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    left, top, width, height, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    return Box.around(left, top, left + width, top + height, len(mask))


def mouth_box(landmarks: Float, size: int) -> Box | None:
    """Three quarters of the mouth's width to either side of its middle, and a little less up and down."""
    points = landmarks[list(MOUTH_POINTS), :2]
    x, y = points.mean(0)
    half = MOUTH_WIDTH * max(float(np.ptp(points[:, 0])), LEAST_MOUTH_PX * size / DRAWN_FOR_PX)
    return Box.around(x - half, y - MOUTH_HEIGHT * half, x + half, y + MOUTH_HEIGHT * half, size)


def eye_box(landmarks: Float, size: int) -> Box | None:
    """From the brows to the cheeks, between the eyes' outer corners."""
    points = landmarks[list(EYE_POINTS), :2]
    (left, top), (right, bottom) = points.min(0), points.max(0)
    px = size / DRAWN_FOR_PX
    return Box.around(left - EYE_SIDE_PX * px, top - EYE_ABOVE_PX * px, right + EYE_SIDE_PX * px, bottom + EYE_BELOW_PX * px, size)

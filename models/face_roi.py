"""Regions of interest: the rotated rectangle of a picture that a face network looks at.

Geometry as in MediaPipe's face landmarker graph (Apache-2.0): detections_to_rects, rect_transformation and image_to_tensor calculators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

MARGIN = 1.5
"""A region is this many times the box that it follows."""
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
MIN_ROI_PX = 24.0
MAX_ROI = 3.0
"""Largest region, in longer sides of the picture."""
MAX_SIDE_PX = 32_766
"""cv2.warpAffine takes no larger picture."""


@dataclass(frozen=True, slots=True)
class Roi:
    """A rectangle in image space: centre, width, height in pixels; `rotation_rad` turns its x axis from image right towards image down."""

    x: float
    y: float
    width: float
    height: float
    rotation_rad: float = 0.0

    def to_image(self) -> NDArray[np.float64]:
        """(2, 3): carries (u, v), both 0…1 over the rectangle, into image space."""
        cosine, sine = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        right, down = (cosine * self.width, sine * self.width), (-sine * self.height, cosine * self.height)
        return np.array(
            [
                [right[0], down[0], self.x - 0.5 * (right[0] + down[0])],
                [right[1], down[1], self.y - 0.5 * (right[1] + down[1])],
            ]
        )


def whole_picture(width: int, height: int, rotation_rad: float = 0.0) -> Roi:
    """The square around a picture; `rotation_rad` should be a multiple of a right angle."""
    side = float(max(width, height))
    return Roi(0.5 * width, 0.5 * height, side, side, rotation_rad)


def roi_around_landmarks(landmarks: Float) -> Roi:
    """The square region for the next frame, from (478, 3) landmarks: 1.5 times the longer side of their box, turned by the line between the outer corners
    of the eyes."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    side = MARGIN * float((high - low).max())
    across = landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER]
    centre = 0.5 * (low + high)
    return Roi(float(centre[0]), float(centre[1]), side, side, math.atan2(float(across[1]), float(across[0])))


def alike(first: Roi, second: Roi) -> bool:
    """Whether two regions show a network the same: sides within a tenth, centres within a twentieth of the side, turn within three degrees."""
    turn = math.remainder(second.rotation_rad - first.rotation_rad, 2.0 * math.pi)
    moved = math.hypot(second.x - first.x, second.y - first.y)
    return abs(second.width - first.width) < 0.1 * first.width and moved < 0.05 * first.width and abs(turn) < math.radians(3.0)


def plausible(roi: Roi, width: int, height: int) -> bool:
    """Whether a region may hold a face of a picture of that size: finite, neither a few pixels nor far larger than the picture, its centre inside."""
    sides = (roi.width, roi.height)
    if not all(map(math.isfinite, (roi.x, roi.y, roi.rotation_rad, *sides))):
        return False
    return min(sides) >= MIN_ROI_PX and max(sides) <= MAX_ROI * max(width, height) and 0.0 <= roi.x < width and 0.0 <= roi.y < height


class Cropper:
    """Cuts regions out of pictures, resampled to `size` x `size`, always into the same buffer.

    Bilinear and not anti-aliased; the pixel with index i of the crop shows the picture at `to_image(i / size)` taken as a pixel index: so MediaPipe's OpenCV
    path does it, and the networks' answers only equal MediaPipe's if it is done the same way.
    """

    def __init__(self, size: int, border: int) -> None:
        """`border` is cv2.BORDER_REPLICATE or cv2.BORDER_CONSTANT (black): what lies outside the picture."""
        self._size = size
        self._border = border
        self._crop = np.empty((size, size, 3), np.uint8)

    def crop(self, image: NDArray[np.uint8], roi: Roi) -> NDArray[np.uint8]:
        """(size, size, 3) uint8, valid until the next call. `image` is (height, width, 3) uint8, not empty, no side above MAX_SIDE_PX."""
        crop_to_image = roi.to_image()
        crop_to_image[:, :2] /= self._size
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        cv2.warpAffine(image, crop_to_image, (self._size, self._size), dst=self._crop, flags=flags, borderMode=self._border)
        return self._crop


def usable(image: NDArray[np.uint8]) -> bool:
    """Whether an array is a picture that can be cropped: (height, width, 3) uint8, at least one pixel, not absurdly large."""
    return image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size > 0 and max(image.shape) <= MAX_SIDE_PX

"""Where the head is cut out: a square of one scale for the whole clip, standing still where the head's travel allows, else following it smoothly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.clip import CLIP_PX
from training.survey import Float
from training.video import Image

FACE_SHARE = 0.45
"""The face's usual height, from the highest to the lowest landmark, in the crop's: hair and shoulders have room."""
FACE_CENTRE_Y = 0.495
TIGHTEST = 1.25
"""Smallest crop in heights of the face, where the picture has no room for more."""
UNSCALED = 0.03
"""A scale so near to 1 is 1: nothing is gained by resampling."""
TRAVEL = 0.13
"""As far as the face may go from its usual place in a crop that stands still, in sides."""
OUTLIERS = 0.01
SMOOTH_S = 0.6
"""Standard deviation in time of the path that a moving crop takes."""


@dataclass(frozen=True, slots=True)
class Framing:
    """The crop of T frames."""

    scale: float
    """Pixels of the crop for a pixel of the video."""
    origin: NDArray[np.int32]
    """(T, 2) x, y of the corner in pixels of the crop."""
    extent: tuple[int, int]
    """Width and height of the whole picture in pixels of the crop."""

    @property
    def reading_scale(self) -> float:
        """The scale at which the video is best read for `cut`: never above 1, for a large picture would be held for a small part of it."""
        return min(self.scale, 1.0)

    def cut(self, image: Image, frame: int) -> Image:
        """The crop of a picture read at `reading_scale`; outside the picture its edge goes on."""
        x, y = (int(value) for value in self.origin[frame])
        if self.scale > 1.0:
            step = 1.0 / self.scale
            to_picture = np.array([[step, 0.0, (x + 0.5) * step - 0.5], [0.0, step, (y + 0.5) * step - 0.5]])
            flags = cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
            return np.asarray(cv2.warpAffine(image, to_picture, (CLIP_PX, CLIP_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        columns = np.clip(np.arange(x, x + CLIP_PX), 0, image.shape[1] - 1)
        rows = np.clip(np.arange(y, y + CLIP_PX), 0, image.shape[0] - 1)
        return np.ascontiguousarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][rows - rows[0]][:, columns - columns[0]])

    def outside(self, frame: int) -> NDArray[np.bool_]:
        """(S, S): pixels of the crop that the picture does not reach."""
        x, y = (np.arange(CLIP_PX) + int(value) for value in self.origin[frame])
        return ((y < 0) | (y >= self.extent[1]))[:, None] | ((x < 0) | (x >= self.extent[0]))[None]

    def to_crop(self, landmarks: Float, frame: int) -> Float:
        """(478, 3) in pixels of the video → in pixels of the crop."""
        return landmarks * np.float32(self.scale) - np.array([*self.origin[frame], 0.0], np.float32)


def frame_head(width: int, height: int, boxes: Float, pts_s: NDArray[np.float64]) -> Framing:
    """Args:
    width: of the video's picture, pixels, and its `height`.
    boxes: (T, 4) left, top, right, bottom of the face in the same pixels.
    pts_s: (T,) rising.
    """
    face = float(np.median(boxes[:, 3] - boxes[:, 1]))
    side = min(face / FACE_SHARE, max(min(width, height), TIGHTEST * face))
    scale = CLIP_PX / side
    if abs(scale - 1.0) < UNSCALED:
        scale = 1.0
    extent = (max(1, round(width * scale)), max(1, round(height * scale)))
    centres = scale * 0.5 * (boxes[:, :2] + boxes[:, 2:])
    origin = _path(centres, pts_s) - CLIP_PX * np.array([0.5, FACE_CENTRE_Y])
    return Framing(scale, np.stack([_inside(np.rint(origin[:, axis]), extent[axis]) for axis in (0, 1)], 1).astype(np.int32), extent)


def _path(centres: Float, pts_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 2): where the middle of the crop goes."""
    low, high = np.quantile(centres, [OUTLIERS, 1.0 - OUTLIERS], axis=0)
    if np.all(high - low < 2.0 * TRAVEL * CLIP_PX):
        usual = np.median(centres, 0)
        return np.broadcast_to(np.clip(usual, high - TRAVEL * CLIP_PX, low + TRAVEL * CLIP_PX), centres.shape).astype(np.float64)
    weights = np.exp(-0.5 * ((pts_s[:, None] - pts_s[None]) / SMOOTH_S) ** 2)
    path: NDArray[np.float64] = weights @ centres / weights.sum(1, keepdims=True)
    return path


def _inside(origin: NDArray[np.float64], extent: int) -> NDArray[np.float64]:
    """Keeps the crop in the picture; in the middle of it where the picture is the smaller one."""
    spare = extent - CLIP_PX
    return np.clip(origin, 0, spare) if spare >= 0 else np.full_like(origin, spare // 2)

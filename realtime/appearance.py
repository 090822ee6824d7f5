"""What the followed face looks like, in a few numbers: where light and colour lie on it, and how sharp its picture is.

The face is sampled upright and always at the same size, by its own landmarks, so that it looks much the same however the head moves; what comes before it, a
hand, say, does not. Costs the same whatever the picture's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]
Image = NDArray[np.uint8]

SIDE_PX = 96
CELLS = 6
"""The face is divided into so many cells across and down."""
EYES, MOUTH = (33, 133, 362, 263), (61, 291)
"""Corners of the eyes and of the mouth; numbers as in MediaPipe's face mesh."""
EYES_AT, MOUTH_AT = 0.30, 0.76
"""How far down their middles lie in the sampled square."""
LEAST_CONTRAST = 4.0
"""Grey levels: a darker picture's noise is not blown up to a face."""
CHROMA = 2.0
"""What a level of chroma counts beside a level of light: faces differ little in it."""
LEAST_PX = 4.0


@dataclass(frozen=True, slots=True)
class Look:
    cells: Double
    """(CELLS, CELLS, 4) by row and column: light and both chromas against the face's mean, and the light's scatter; in contrasts: lamps hardly matter."""
    sharpness: float
    """Mean size of the Laplacian over the contrast."""
    contrast: float
    """Standard deviation of the light, in grey levels."""
    axis: Double
    """(2, 2) pixels: the middles of the eyes and of the mouth."""


def look_at(image: Image, landmarks: NDArray[np.floating]) -> Look | None:
    """(H, W, 3) uint8 RGB and (478, 3) landmarks in its pixels → the face's look; None where the landmarks are no face."""
    eyes, mouth = landmarks[list(EYES), :2].mean(0, dtype=np.float64), landmarks[list(MOUTH), :2].mean(0, dtype=np.float64)
    down = mouth - eyes
    length = float(np.hypot(*down))
    if not LEAST_PX <= length < max(image.shape[:2]):
        return None
    scale = SIDE_PX * (MOUTH_AT - EYES_AT) / length
    across, below = down / length @ np.array([[0.0, -1.0], [1.0, 0.0]]), down / length
    turn = scale * np.stack([across, below])
    shift = SIDE_PX * np.array([0.5, EYES_AT]) - turn @ eyes
    face = cv2.warpAffine(image, np.column_stack([turn, shift]), (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colours = cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb)
    light = colours[..., 0]
    spread = float(cv2.meanStdDev(light)[1][0, 0])
    contrast = spread + LEAST_CONTRAST
    sharpness = cv2.norm(cv2.Laplacian(light, cv2.CV_16S), cv2.NORM_L1) / (light.size * contrast)
    means = cv2.resize(colours, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float64)
    squares = cv2.resize(np.square(light, dtype=np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    scatter = np.sqrt(np.maximum(squares - means[..., 0] ** 2, 0.0)) / contrast
    even = (means - means.mean((0, 1))) * (1.0, CHROMA, CHROMA) / contrast
    return Look(np.concatenate([even, scatter[..., None]], axis=-1), sharpness, spread, np.stack([eyes, mouth]))

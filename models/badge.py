"""What tells people that a picture is synthetic: a dark pill with the words "AI avatar" in the lower left corner, to be read in a small tile of a call too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel

TEXT = "AI avatar"
HEIGHT = 0.064
"""Of the picture's: letters of 5 pixels where a picture of 512 is shown at 180."""
SMALLEST_HEIGHT_PX = 14
SHADE, INK = 0.62, 0.96
"""How opaque pill and words are: the words stand out from any backdrop, white or black."""
_OVERSAMPLED = 8


def make_badge(size: int) -> tuple[NDArray[np.uint8], int]:
    """(h, w, 4) RGBA for a picture of `size` pixels, and its distance in pixels from the left and the lower border."""
    import cv2

    height = max(round(size * HEIGHT), SMALLEST_HEIGHT_PX)
    tall = height * _OVERSAMPLED
    scale, stroke = tall * 0.019, max(round(tall * 0.056), 1)
    (text_width, text_height), _ = cv2.getTextSize(TEXT, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    wide = -(-(text_width + round(tall * 0.9)) // _OVERSAMPLED) * _OVERSAMPLED
    pill = np.zeros((tall, wide), np.uint8)
    radius = tall // 2
    for centre in (radius, wide - radius):
        cv2.circle(pill, (centre, radius), radius - 1, 255, -1, cv2.LINE_AA)
    pill[1:-1, radius : wide - radius] = 255
    text = np.zeros((tall, wide), np.uint8)
    origin = ((wide - text_width) // 2, (tall + text_height) // 2)
    cv2.putText(text, TEXT, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, stroke, cv2.LINE_AA)
    small = (wide // _OVERSAMPLED, height)
    shade = cv2.resize(pill, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    ink = cv2.resize(text, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    alpha = np.maximum(SHADE * shade, INK * ink)
    grey = 18.0 + 232.0 * ink
    badge = np.stack([grey, grey, grey, 255.0 * alpha], -1)
    return np.clip(np.rint(badge), 0, 255).astype(np.uint8), max(round(size * 0.025), 4)


@kernel
def lay_badge(badge: NDArray[np.uint8], margin: int, low: int, high: int, out: NDArray[np.uint8]) -> None:
    """Blends the part of the badge in rows low…high - 1 over `out` (H, W, 3)."""
    top = out.shape[0] - margin - badge.shape[0]
    for y in range(max(top, low), min(top + badge.shape[0], high)):
        for x in range(min(badge.shape[1], out.shape[1] - margin)):
            alpha = np.int32(badge[y - top, x, 3])
            for c in range(3):
                mixed = alpha * badge[y - top, x, c] + (np.int32(255) - alpha) * out[y, margin + x, c]
                out[y, margin + x, c] = (mixed + np.int32(127)) // np.int32(255)

"""What a virtual camera shows, as I420: the avatar on a canvas of the camera's size, and a card while there is no avatar."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.yuv import planes

Picture = NDArray[np.uint8]
QUIET = (40, 128, 128)
"""Y, U, V of the card, and of what lies beside the avatar where no plain colour is behind it."""
SHAPE = (62, 128, 128)


def colour_of(text: str) -> tuple[int, int, int]:
    """`#rrggbb` as Y, U, V (BT.601, limited range)."""
    pixels = np.full((2, 2, 3), tuple(bytes.fromhex(text[1:])), np.uint8)
    luma, blue, red = planes(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420), np.uint8))
    return int(luma[0, 0]), int(blue[0, 0]), int(red[0, 0])


def card(size: int, ground: tuple[int, int, int] = QUIET) -> Picture:
    """Head and shoulders of nobody: (size * 3 / 2, size).

    Args:
        ground: Y, U, V of what is around them.
    """
    picture = np.empty((size * 3 // 2, size), np.uint8)
    for plane, level, shape in zip(planes(picture), ground, SHAPE, strict=True):
        side = plane.shape[0]
        plane[:] = level
        cv2.circle(plane, (side // 2, round(0.42 * side)), round(0.17 * side), shape, -1, cv2.LINE_AA)
        cv2.ellipse(plane, (side // 2, side), (round(0.33 * side), round(0.34 * side)), 0, 180, 360, shape, -1, cv2.LINE_AA)
    return picture


class Canvas:
    """Lays square pictures of any size onto one of the camera's, in the middle and as large as they fit.

    Args:
        width, height: of the camera, even.
        surround: Y, U, V of what lies beside the picture.
    """

    def __init__(self, width: int, height: int, surround: tuple[int, int, int] = QUIET) -> None:
        self._side = min(width, height)
        self._i420 = np.empty((height * 3 // 2, width), np.uint8)
        for plane, level in zip(planes(self._i420), surround, strict=True):
            plane[:] = level
        self._top, self._left = (height - self._side) // 4 * 2, (width - self._side) // 4 * 2

    def lay(self, i420: Picture) -> Picture:
        """(height * 3 / 2, width); the same buffer each time.

        Args:
            i420: (side * 3 / 2, side), side even.
        """
        for step, source, target in zip((1, 2, 2), planes(i420), planes(self._i420), strict=True):
            side, top, left = self._side // step, self._top // step, self._left // step
            place = target[top : top + side, left : left + side]
            if source.shape == place.shape:
                place[:] = source
            else:
                place[:] = cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA if source.shape[0] > side else cv2.INTER_LINEAR)
        return self._i420

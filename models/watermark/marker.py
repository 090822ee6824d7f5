"""Lays the mark into pictures: in place, band by band, a little stronger where the picture is busy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel
from models.watermark.pattern import PERIOD_PX, REFERENCE_PX, tile

Picture = NDArray[np.uint8]

STRENGTHS = 0.7, 1.0, 1.5, 2.2
"""Root mean square in grey levels of luma, from flat parts of a picture to busy ones."""
BUSY = 45, 110, 180
"""Sums of the differences between neighbours in a cell from which the next strength is used."""
EDGE = np.int16(8)
"""Grey levels: as more does no difference count, so that a single edge makes no cell busy."""
BLACK, WHITE = np.int16(16), np.int16(235)
CELL_PX = 16
"""Width of a cell; it is two rows high, as the bands of the renderer are cut between any two."""
DARK = 40
"""Mean luma below which flat cells are marked at the next weaker strength, or at none."""


class Marker:
    """Marks pictures of one width.

    Args:
        width: in pixels.
        size: of the picture that the pattern is made for, where that is not as wide: the avatar's beside another picture.
    """

    def __init__(self, width: int, size: int | None = None) -> None:
        period = round(PERIOD_PX * max(1.0, (size or width) / REFERENCE_PX))
        whole = np.tile(tile(period), (1, -(-width // period)))[:, :width]
        levels = np.array((0.0, *STRENGTHS))
        self._levels = np.rint(levels[:, None, None] * whole).astype(np.int8)

    def mark_luma(self, luma: Picture, low: int, high: int) -> None:
        """Adds the mark to rows low…high - 1 (both even) of a (H, width) picture, 16…235, in place. Other rows do not matter; a last odd one is left."""
        lay_mark(self._levels, low, min(high, len(luma) // 2 * 2), luma)

    def mark(self, picture: Picture) -> Picture:
        """Adds the mark to a (H, width, 3) RGB picture in place, each channel alike, and returns it."""
        from models.yuv import luma_of

        luma = luma_of(picture)
        before = luma.astype(np.int16)
        self.mark_luma(luma, 0, len(luma))
        added = np.rint((luma - before) * (255.0 / 219.0)).astype(np.int16)
        picture[...] = np.clip(picture + added[..., None], 0, 255)
        return picture


@kernel
def lay_mark(levels: NDArray[np.int8], low: int, high: int, luma: Picture) -> None:
    """`levels` (L, P, W): the pattern at each strength, none first."""
    width, period = luma.shape[1], levels.shape[1]
    differences = np.empty(width, np.uint8)
    for y in range(low, high, 2):
        upper, lower = luma[y], luma[y + 1]
        for x in range(width - 1):
            here, under = np.int16(upper[x]), np.int16(lower[x])
            aside = min(abs(np.int16(upper[x + 1]) - here), EDGE) + min(abs(np.int16(lower[x + 1]) - under), EDGE)
            differences[x] = np.uint8(aside + min(abs(under - here), EDGE))
        for left in range(0, width, CELL_PX):
            right = min(left + CELL_PX, width)
            busy, light = np.int32(0), np.int32(0)
            for each in differences[left : right - 1]:
                busy += np.int32(each)
            for each in upper[left:right]:
                light += np.int32(each)
            level = 1 + (busy >= BUSY[0]) + (busy >= BUSY[1]) + (busy >= BUSY[2]) - (light < DARK * (right - left))
            for row in range(2):
                line, add = luma[y + row, left:right], levels[level, (y + row) % period, left:right]
                for x in range(right - left):
                    line[x] = np.uint8(min(max(np.int16(line[x]) + np.int16(add[x]), BLACK), WHITE))

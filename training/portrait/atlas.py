"""Where a texture is free: which cells of it charts touch, and the largest rectangle of a shape among the others."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
CELLS = 128
"""Along a side of the texture."""


def taken_cells(uv: NDArray[np.float32], uv_faces: NDArray[np.int32]) -> Bytes:
    """(CELLS, CELLS) 1 where a triangle of texture coordinates (T, 2), (F, 3) is, or next to it."""
    taken = np.zeros((CELLS, CELLS), np.uint8)
    for triangle in uv[uv_faces]:
        cv2.fillConvexPoly(taken, np.rint(triangle * CELLS).astype(np.int32), 1)
    return np.asarray(cv2.dilate(taken, np.ones((3, 3), np.uint8)), np.uint8)


def largest_free(taken: Bytes, aspect: float, widest: int, narrowest: int) -> tuple[float, float, float, float] | None:
    """(left, top, right, bottom), 0…1, of the largest rectangle of that width over height, `narrowest` to `widest` cells wide, in which `taken` (C, C) is zero.

    The lowest one, and of those the leftmost; None: there is none.
    """
    cells, summed = len(taken), cv2.integral(taken)
    for width in range(min(widest, cells), narrowest - 1, -1):
        height = max(int(width / aspect), 4)
        if height > cells:
            continue
        filled = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
        rows, columns = np.nonzero(filled == 0)
        if len(rows):
            row, column = int(rows[-1]), int(columns[rows == rows[-1]][0])
            return column / cells, row / cells, (column + width) / cells, (row + height) / cells
    return None

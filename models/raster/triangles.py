"""Kernels of the CPU rasteriser: triangle set-up, and spans of pixels row by row.

Everything a later stage needs of a triangle lies in one row of `setup`, 16 floats, one cache line. With (dx, dy) the way from the triangle's first corner to a
point, nearness (1 / depth) and the barycentrics times nearness are linear in the picture:
    nearness = NEAR + dx * NEAR_X + dy * NEAR_Y,   b1 = (dx * B1_X + dy * B1_Y) / nearness,   b2 = (dx * B2_X + dy * B2_Y) / nearness
(perspective-correct interpolation: Heckbert and Moreton, "Interpolation for polygon texture mapping and shading", 1991).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel

CORNER_X, CORNER_Y, NEAR, NEAR_X, NEAR_Y, B1_X, B1_Y, B2_X, B2_Y, U0, V0, U1, V1, U2, V2, LEVEL = range(16)
SETUP_COLUMNS = 16
NEAR_PLANE_M = 0.01
SMALLEST_AREA = 1e-7

Float = NDArray[np.float32]
Int = NDArray[np.int32]


@kernel
def set_up(points: Float, faces: Int, first: int, last: int, two_sided: bool, width: int, height: int, setup: Float, box: Int) -> None:
    """Fills the geometric columns of `setup` and `box` (F, 4) for triangles first…last - 1.

    `points` (V, 3): x_px, y_px, depth. `box`: first and last + 1 column and row of the pixels that a triangle touches; all zero if it is not to be drawn.
    """
    for f in range(first, last):
        box[f, 0] = box[f, 1] = box[f, 2] = box[f, 3] = 0
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        if not (z0 >= NEAR_PLANE_M and z1 >= NEAR_PLANE_M and z2 >= NEAR_PLANE_M):
            continue
        x0, y0 = np.float64(points[a, 0]), np.float64(points[a, 1])
        x1, y1 = points[b, 0] - x0, points[b, 1] - y0
        x2, y2 = points[c, 0] - x0, points[c, 1] - y0
        area = x1 * y2 - x2 * y1
        if not (area < -SMALLEST_AREA or (two_sided and area > SMALLEST_AREA)):
            continue
        left, right = x0 + min(0.0, x1, x2), x0 + max(0.0, x1, x2)
        top, bottom = y0 + min(0.0, y1, y2), y0 + max(0.0, y1, y2)
        if not (right > 0.0 and left < width and bottom > 0.0 and top < height):
            continue
        box[f, 0], box[f, 1] = max(math.floor(left), 0), min(math.ceil(right), width)
        box[f, 2], box[f, 3] = max(math.floor(top), 0), min(math.ceil(bottom), height)
        scale = 1.0 / area
        i0, i1, i2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
        w1_x, w1_y, w2_x, w2_y = y2 * scale, -x2 * scale, -y1 * scale, x1 * scale
        setup[f, CORNER_X], setup[f, CORNER_Y], setup[f, NEAR] = points[a, 0], points[a, 1], i0
        setup[f, NEAR_X] = w1_x * (i1 - i0) + w2_x * (i2 - i0)
        setup[f, NEAR_Y] = w1_y * (i1 - i0) + w2_y * (i2 - i0)
        setup[f, B1_X], setup[f, B1_Y] = w1_x * i1, w1_y * i1
        setup[f, B2_X], setup[f, B2_Y] = w2_x * i2, w2_y * i2


@kernel
def top_first(points: Float, a: int, b: int, c: int) -> tuple[int, int, int]:
    """The corners from the top of the picture down."""
    if points[b, 1] < points[a, 1]:
        a, b = b, a
    if points[c, 1] < points[b, 1]:
        b, c = c, b
        if points[b, 1] < points[a, 1]:
            a, b = b, a
    return a, b, c


@kernel
def slope(points: Float, upper: int, lower: int) -> float:
    """Columns a row along an edge; zero for a level one, which no row crosses."""
    rise = np.float64(points[lower, 1]) - np.float64(points[upper, 1])
    return (np.float64(points[lower, 0]) - np.float64(points[upper, 0])) / rise if rise > 0.0 else 0.0


@kernel
def span(points: Float, top: int, middle: int, bottom: int, whole: float, upper: float, lower: float, row: int, width: int) -> tuple[int, int]:
    """First and last + 1 column of a triangle on a row: `top_first` corners, and the slopes from top to bottom, top to middle, middle to bottom.

    An edge is followed from its upper end, whatever triangle it belongs to, and owns the rows from that end (included) to its lower end (excluded); so the two
    triangles of a common edge share no pixel and leave none out.
    """
    y = row + 0.5
    if not np.float64(points[top, 1]) <= y < np.float64(points[bottom, 1]):
        return 0, 0
    one = np.float64(points[top, 0]) + (y - np.float64(points[top, 1])) * whole
    if y < np.float64(points[middle, 1]):
        two = np.float64(points[top, 0]) + (y - np.float64(points[top, 1])) * upper
    else:
        two = np.float64(points[middle, 0]) + (y - np.float64(points[middle, 1])) * lower
    left, right = max(min(one, two), 0.0), min(max(one, two), float(width))
    return math.ceil(left - 0.5), math.ceil(right - 0.5)


@kernel
def rasterize_rows(points: Float, faces: Int, count: int, setup: Float, box: Int, low: int, high: int, face_id: Int, nearness: Float) -> None:
    """Rows low…high - 1 of `face_id` and `nearness` (H, W) from the first `count` triangles that `set_up` has prepared."""
    width = face_id.shape[1]
    face_id[low:high] = -1
    nearness[low:high] = 0.0
    for f in range(count):
        if box[f, 3] <= low or box[f, 2] >= high:
            continue
        a, b, c = top_first(points, faces[f, 0], faces[f, 1], faces[f, 2])
        whole, upper, lower = slope(points, a, c), slope(points, a, b), slope(points, b, c)
        x0, y0, near, near_x, near_y = setup[f, CORNER_X], setup[f, CORNER_Y], setup[f, NEAR], setup[f, NEAR_X], setup[f, NEAR_Y]
        for row in range(max(box[f, 2], low), min(box[f, 3], high)):
            first, last = span(points, a, b, c, whole, upper, lower, row, width)
            here = near + (np.float32(row + 0.5) - y0) * near_y + (np.float32(first + 0.5) - x0) * near_x
            for column in range(first, last):
                if here > nearness[row, column]:
                    nearness[row, column] = here
                    face_id[row, column] = f
                here += near_x


@kernel
def box_around(box: Int, chosen: Int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of the pixels that the chosen triangles touch; all zero if none is drawn."""
    left, right, top, bottom = 1 << 30, 0, 1 << 30, 0
    for k in range(len(chosen)):
        f = chosen[k]
        if box[f, 1] > 0:
            left, right = min(left, box[f, 0]), max(right, box[f, 1])
            top, bottom = min(top, box[f, 2]), max(bottom, box[f, 3])
    return (left, right, top, bottom) if right > 0 else (0, 0, 0, 0)

"""A picture of the face seen straight from the front, drawn in metres and read back at points of the surface."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
PIXELS_PER_METRE = 10_000.0
HALF_WIDTH_M, TOP_M, BOTTOM_M = 0.10, 0.12, -0.14
SUBPIXEL_BITS = 4


class Canvas:
    """One channel, 0…1, over the front of the face."""

    def __init__(self) -> None:
        height = int((TOP_M - BOTTOM_M) * PIXELS_PER_METRE)
        self._image = np.zeros((height, int(2 * HALF_WIDTH_M * PIXELS_PER_METRE)), np.float32)

    def polygon(self, outline: Float, value: float = 1.0) -> None:
        """Fills a closed (N, 2 or more) outline in metres."""
        cv2.fillPoly(self._image, [_fixed(outline)], value, cv2.LINE_AA, SUBPIXEL_BITS)

    def stroke(self, line: Float, width_m: float, value: float = 1.0, taper: float = 0.0) -> None:
        """An open line; with `taper` it thins out towards its end by that share."""
        points = _fixed(line)
        for k in range(len(points) - 1):
            share = k / max(len(points) - 2, 1)
            width = max(1, round(width_m * PIXELS_PER_METRE * (1.0 - taper * share)))
            cv2.line(self._image, points[k].tolist(), points[k + 1].tolist(), value, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def soften(self, sigma_m: float) -> Canvas:
        """Blurs in place."""
        self._image = np.asarray(cv2.GaussianBlur(self._image, (0, 0), sigma_m * PIXELS_PER_METRE), np.float32)
        return self

    def union(self, other: Canvas, share: float) -> Canvas:
        """Lays `share` of the other picture over this one, in place."""
        self._image = np.asarray(1.0 - (1.0 - self._image) * (1.0 - share * other._image), np.float32)
        return self

    def read(self, points: Float, normals: Float) -> Float:
        """(N,) at (N, 3) surface points; fades out where the surface turns away from the front."""
        x = (points[:, 0] + HALF_WIDTH_M) * PIXELS_PER_METRE - 0.5
        y = (TOP_M - points[:, 1]) * PIXELS_PER_METRE - 0.5
        values = _sample(self._image, x, y)
        front = np.clip((normals[:, 2] + 0.05) / 0.3, 0.0, 1.0) * (points[:, 2] > -0.06)
        read: Float = values * front
        return read


def _fixed(line: Float) -> NDArray[np.int32]:
    x = (line[:, 0] + HALF_WIDTH_M) * PIXELS_PER_METRE - 0.5
    y = (TOP_M - line[:, 1]) * PIXELS_PER_METRE - 0.5
    return np.round(np.stack([x, y], -1) * 2**SUBPIXEL_BITS).astype(np.int32)


def _sample(image: NDArray[np.float32], x: Float, y: Float) -> Float:
    """Bilinear, zero outside; cv2.remap takes at most 32,767 columns, hence the reshaping."""
    count = len(x)
    width = 4096
    padded = -(-count // width) * width
    grid_x, grid_y = np.full(padded, -10.0, np.float32), np.full(padded, -10.0, np.float32)
    grid_x[:count], grid_y[:count] = x, y
    read = cv2.remap(image, grid_x.reshape(-1, width), grid_y.reshape(-1, width), cv2.INTER_LINEAR)
    return read.reshape(-1)[:count].astype(np.float64)


def smooth_curve(points: Float, count: int) -> Float:
    """(count, d) along a Catmull-Rom spline through (N, d) points."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0.0, len(points) - 1.0, count)
    k = np.minimum(t.astype(int), len(points) - 2)
    f = (t - k)[:, None]
    a, b, c, d = padded[k], padded[k + 1], padded[k + 2], padded[k + 3]
    curve: Float = 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
    return curve

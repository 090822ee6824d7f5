"""The slow, obvious rasteriser: every triangle against every pixel centre of its box, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.raster import Fragments

NEAR_M = 0.01
SMALLEST_AREA = 1e-7
"""Twice the area, in square pixels, below which a triangle is a line."""


class ReferenceRasterizer:
    """Implements models.raster.Rasterizer for pictures of one size."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height

    def rasterize(self, points: NDArray[np.float32], faces: NDArray[np.int32]) -> Fragments:
        """As models.raster.Rasterizer."""
        face_id = np.full((self.height, self.width), -1, np.int32)
        nearness = np.zeros((self.height, self.width))
        barycentrics = np.zeros((self.height, self.width, 3), np.float32)
        for index, face in enumerate(faces):
            corners = points[face].astype(np.float64)
            if corners[:, 2].min() < NEAR_M:
                continue
            (x0, y0, _), (x1, y1, _), (x2, y2, _) = corners
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area > -SMALLEST_AREA:
                continue
            columns = slice(max(int(np.floor(corners[:, 0].min())), 0), max(min(int(np.ceil(corners[:, 0].max())), self.width), 0))
            rows = slice(max(int(np.floor(corners[:, 1].min())), 0), max(min(int(np.ceil(corners[:, 1].max())), self.height), 0))
            if columns.start >= columns.stop or rows.start >= rows.stop:
                continue
            x, y = np.meshgrid(np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5)
            w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
            w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
            weights = np.stack([1.0 - w1 - w2, w1, w2], -1) / corners[:, 2]
            near = weights.sum(-1)
            seen = (weights >= 0.0).all(-1) & (near > nearness[rows, columns])
            face_id[rows, columns][seen] = index
            nearness[rows, columns][seen] = near[seen]
            barycentrics[rows, columns][seen] = (weights / near[..., None])[seen]
        with np.errstate(divide="ignore"):
            return Fragments(face_id, barycentrics, (1.0 / nearness).astype(np.float32))

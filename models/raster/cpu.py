"""The CPU rasteriser behind the protocol of models.raster: compiled, in bands of rows, into buffers made once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands, kernel, share
from models.raster import Fragments
from models.raster.triangles import B1_X, B1_Y, B2_X, B2_Y, CORNER_X, CORNER_Y, SETUP_COLUMNS, rasterize_rows, set_up


class CpuRasterizer:
    """Implements models.raster.Rasterizer for pictures of one size. The fragments are overwritten by the next call."""

    def __init__(self, width: int, height: int, bands: Bands) -> None:
        self._bands = bands
        self._fragments = Fragments(
            np.empty((height, width), np.int32),
            np.empty((height, width, 3), np.float32),
            np.empty((height, width), np.float32),
        )
        self._setup = np.empty((0, SETUP_COLUMNS), np.float32)
        self._box = np.empty((0, 4), np.int32)

    def rasterize(self, points: NDArray[np.float32], faces: NDArray[np.int32]) -> Fragments:
        """As models.raster.Rasterizer."""
        if len(self._box) < len(faces):
            self._setup = np.empty((len(faces), SETUP_COLUMNS), np.float32)
            self._box = np.empty((len(faces), 4), np.int32)
        out = self._fragments
        height, width = out.face_id.shape

        def prepare(part: int) -> None:
            set_up(points, faces, *share(len(faces), part, self._bands.count), False, width, height, self._setup, self._box)

        def draw(part: int) -> None:
            low, high = share(height, part, self._bands.count)
            rasterize_rows(points, faces, len(faces), self._setup, self._box, low, high, out.face_id, out.depth)
            fill_fragments(self._setup, low, high, out.face_id, out.depth, out.barycentrics)

        self._bands.run(prepare)
        self._bands.run(draw)
        return out


@kernel
def fill_fragments(
    setup: NDArray[np.float32],
    low: int,
    high: int,
    face_id: NDArray[np.int32],
    depth: NDArray[np.float32],
    barycentrics: NDArray[np.float32],
) -> None:
    """Turns nearness into depth, in place, and writes the barycentrics of rows low…high - 1."""
    for row in range(low, high):
        for column in range(face_id.shape[1]):
            f = face_id[row, column]
            near = depth[row, column]
            depth[row, column] = np.float32(1.0) / near
            b1 = b2 = total = np.float32(0.0)
            if f >= 0:
                dx, dy = np.float32(column + 0.5) - setup[f, CORNER_X], np.float32(row + 0.5) - setup[f, CORNER_Y]
                b1 = (dx * setup[f, B1_X] + dy * setup[f, B1_Y]) / near
                b2 = (dx * setup[f, B2_X] + dy * setup[f, B2_Y]) / near
                total = np.float32(1.0)
            barycentrics[row, column, 0] = total - b1 - b2
            barycentrics[row, column, 1] = b1
            barycentrics[row, column, 2] = b2

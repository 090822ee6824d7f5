"""Rasterisers behind one protocol: which triangle each pixel sees, where on it, how far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fragments:
    """What each pixel centre sees.

    `face_id` (H, W) int32, -1 where nothing; `barycentrics` (H, W, 3) float32, perspective-correct, zero where nothing;
    `depth` (H, W) float32, metres in front of the camera, inf where nothing.
    """

    face_id: NDArray[np.int32]
    barycentrics: NDArray[np.float32]
    depth: NDArray[np.float32]


class Rasterizer(Protocol):
    """Draws front-facing triangles with a depth test; the nearest wins, and among equals the lowest index."""

    def rasterize(self, points: NDArray[np.float32], faces: NDArray[np.int32]) -> Fragments:
        """`points` (V, 3) float32: x_px, y_px, depth (models/CONVENTIONS.md); `faces` (F, 3) int32.

        A triangle with a corner nearer than the near plane (1 cm) is left out. The fragments may be buffers that the next call overwrites.
        """
        ...

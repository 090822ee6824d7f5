"""How much sky each point sees: ambient occlusion, from depth pictures taken from many sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands
from models.raster.cpu import CpuRasterizer

Float = NDArray[np.float64]
PICTURE_PX = 640
BIAS_M = 0.0022
LIFT_M = 0.0006
"""Points are tested this far off the surface, so that it does not shadow itself."""


class Sky:
    """A mesh, (V, 3) and (F, 3), seen from evenly spread directions; tells how much of the light around it reaches a point."""

    def __init__(self, vertices: Float, faces: NDArray[np.int32], directions: int = 96) -> None:
        self._centre = 0.5 * (vertices.min(0) + vertices.max(0))
        self._reach = float(np.linalg.norm(vertices - self._centre, axis=1).max())
        rasterizer = CpuRasterizer(PICTURE_PX, PICTURE_PX, Bands(1))
        both = np.concatenate([faces, faces[:, ::-1]]).astype(np.int32)
        self._frames = [_frame(toward) for toward in _sphere(directions)]
        self._depths = [rasterizer.rasterize(self._project(vertices, frame), both).depth.copy() for frame in self._frames]

    def visible(self, points: Float, normals: Float) -> Float:
        """(N,) in 0…1: the cosine-weighted share of the half sphere about `normals` (N, 3) that `points` (N, 3) see.

        Light comes mostly from above and the front, as in the portrait light of the renderer, so those directions weigh more.
        """
        seen, weight = np.zeros(len(points)), np.zeros(len(points))
        for frame, depth in zip(self._frames, self._depths, strict=True):
            toward = frame[2]
            cosine = np.maximum(normals @ toward, 0.0) * (0.75 + 0.35 * toward[1] + 0.25 * toward[2])
            here = self._project(points + normals * LIFT_M, frame)
            column = np.clip(here[:, 0].astype(int), 0, PICTURE_PX - 1)
            row = np.clip(here[:, 1].astype(int), 0, PICTURE_PX - 1)
            open_sky = np.clip((depth[row, column] - here[:, 2] + 2.0 * BIAS_M) / BIAS_M, 0.0, 1.0)
            seen += cosine * open_sky
            weight += cosine
        share: Float = seen / np.maximum(weight, 1e-9)
        return share

    def _project(self, points: Float, frame: Float) -> NDArray[np.float32]:
        """Orthographic: (N, 3) x_px, y_px and metres from a plane safely in front of everything."""
        local = (points - self._centre) @ frame.T
        scale = 0.5 * PICTURE_PX / self._reach * 0.98
        projected = np.stack([0.5 * PICTURE_PX + scale * local[:, 0], 0.5 * PICTURE_PX - scale * local[:, 1], 2.0 * self._reach - local[:, 2]], -1)
        return projected.astype(np.float32)


def _frame(toward: Float) -> Float:
    """(3, 3): right, up and towards the viewer, for a viewer in direction `toward`."""
    across = np.cross((0.0, 1.0, 0.0) if abs(toward[1]) < 0.9 else (1.0, 0.0, 0.0), toward)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(toward, across), toward])


def _sphere(count: int) -> Float:
    """(count, 3) evenly spread unit directions (golden-angle spiral)."""
    k = np.arange(count) + 0.5
    height = 1.0 - 2.0 * k / count
    turn = np.pi * (1.0 + 5.0**0.5) * k
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], -1)

"""How much sky each point sees: ambient occlusion, from depth pictures taken from many sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands
from models.raster.cpu import CpuRasterizer

Float = NDArray[np.float64]
PICTURE_PX = 640
BIAS_M = 0.0022


def ambient_occlusion(points: Float, normals: Float, vertices: Float, faces: NDArray[np.int32], directions: int = 96) -> Float:
    """(N,) in 0…1: the cosine-weighted share of the sphere around `normals` (N, 3) that `points` (N, 3) see past the mesh (V, 3), (F, 3).

    Light comes mostly from above and the front, as in the portrait light of the renderer, so those directions weigh more.
    """
    centre = 0.5 * (vertices.min(0) + vertices.max(0))
    reach = float(np.linalg.norm(vertices - centre, axis=1).max())
    rasterizer = CpuRasterizer(PICTURE_PX, PICTURE_PX, Bands(1))
    both = np.concatenate([faces, faces[:, ::-1]]).astype(np.int32)
    seen, weight = np.zeros(len(points)), np.zeros(len(points))
    for toward in _sphere(directions):
        across = np.cross((0.0, 1.0, 0.0) if abs(toward[1]) < 0.9 else (1.0, 0.0, 0.0), toward)
        across /= np.linalg.norm(across)
        frame = np.stack([across, np.cross(toward, across), toward])
        depth = rasterizer.rasterize(_project(vertices, frame, centre, reach), both).depth
        cosine = np.maximum(normals @ toward, 0.0) * (0.75 + 0.35 * toward[1] + 0.25 * toward[2])
        here = _project(points + normals * 0.0006, frame, centre, reach)
        column = np.clip(here[:, 0].astype(int), 0, PICTURE_PX - 1)
        row = np.clip(here[:, 1].astype(int), 0, PICTURE_PX - 1)
        open_sky = np.clip((depth[row, column] - here[:, 2] + 2.0 * BIAS_M) / BIAS_M, 0.0, 1.0)
        seen += cosine * np.nan_to_num(open_sky, posinf=1.0)
        weight += cosine
    visible: Float = seen / np.maximum(weight, 1e-9)
    return visible


def _sphere(count: int) -> Float:
    """(count, 3) evenly spread unit directions (golden-angle spiral)."""
    k = np.arange(count) + 0.5
    height = 1.0 - 2.0 * k / count
    turn = np.pi * (1.0 + 5.0**0.5) * k
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], -1)


def _project(points: Float, frame: Float, centre: Float, reach: float) -> NDArray[np.float32]:
    """Orthographic: (N, 3) x_px, y_px and metres from a plane safely in front of everything."""
    local = (points - centre) @ frame.T
    scale = 0.5 * PICTURE_PX / reach * 0.98
    return np.stack([0.5 * PICTURE_PX + scale * local[:, 0], 0.5 * PICTURE_PX - scale * local[:, 1], 2.0 * reach - local[:, 2]], -1).astype(np.float32)

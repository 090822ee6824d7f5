"""PyTorch3D's rasteriser behind the protocol of models.raster, for a GPU.

PyTorch3D's normalised device coordinates have +x to the left, +y up and +z into the picture; the shorter side of the picture reaches from -1 to 1, the longer
one further in proportion; a pixel's centre is half a pixel in from its corner (PyTorch3D documentation, "Cameras" and "Rasterizing").
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.raster import Fragments
from models.raster.reference import NEAR_M, SMALLEST_AREA


class PyTorch3dRasterizer:
    """Implements models.raster.Rasterizer for pictures of one size on one device."""

    def __init__(self, width: int, height: int, device: str) -> None:
        self._size = (height, width)
        self._device = torch.device(device)

    def rasterize(self, points: NDArray[np.float32], faces: NDArray[np.int32]) -> Fragments:
        """As models.raster.Rasterizer. What faces away, is a line, or comes too near is sorted out here, so that no convention of PyTorch3D's decides."""
        from pytorch3d.renderer.mesh import rasterize_meshes
        from pytorch3d.structures import Meshes

        drawn = drawable(points, faces)
        height, width = self._size
        if len(drawn) == 0:
            return Fragments(np.full(self._size, -1, np.int32), np.zeros((height, width, 3), np.float32), np.full(self._size, np.inf, np.float32))
        ndc = torch.from_numpy(to_ndc(points, width, height)).to(self._device)
        mesh = Meshes(verts=[ndc], faces=[torch.from_numpy(faces[drawn].astype(np.int64)).to(self._device)])
        face, depth, barycentrics, _ = rasterize_meshes(
            mesh, image_size=self._size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True, clip_barycentric_coords=False, cull_backfaces=False
        )
        return to_fragments(face[0, :, :, 0], depth[0, :, :, 0], barycentrics[0, :, :, 0], drawn)


def drawable(points: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Indices of the triangles of (F, 3) that face the camera and lie wholly beyond the near plane."""
    corners = points[faces].astype(np.float64)
    one, two = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    return np.flatnonzero((area < -SMALLEST_AREA) & (corners[..., 2].min(1) >= NEAR_M)).astype(np.int32)


def to_ndc(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """(V, 3) x_px, y_px, depth → normalised device coordinates, depth as it is."""
    half = min(width, height) / 2.0
    return np.stack([(width / 2.0 - points[:, 0]) / half, (height / 2.0 - points[:, 1]) / half, points[:, 2]], 1).astype(np.float32)


def to_fragments(face: Tensor, depth: Tensor, barycentrics: Tensor, drawn: NDArray[np.int32]) -> Fragments:
    """(H, W) into `drawn` or -1, (H, W), (H, W, 3) → fragments that name the triangles of the whole mesh."""
    index = face.cpu().numpy()
    empty = index < 0
    found = depth.cpu().numpy().astype(np.float32)
    weights = barycentrics.cpu().numpy().astype(np.float32)
    return Fragments(
        np.where(empty, -1, drawn[np.maximum(index, 0)]).astype(np.int32),
        np.where(empty[..., None], np.float32(0.0), weights),
        np.where(empty, np.float32(np.inf), found),
    )

"""The surface laid out in its texture: which point of it each texel is, and what the networks say there, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import AvatarFile
from models.head_torch import project, vertex_normals
from models.raster import Rasterizer
from training.neural.avatar import NeuralAvatar
from training.neural.sampling import bilinear, interpolate
from training.neural.view import look

GUTTER_TEXELS = 4
"""So far outside a chart texels repeat its border, for look-ups between texels."""
DEPTH_TOLERANCE_M = 0.003
LEAST_FACING = 0.1
"""Cosine below which a point is too slanted to be called seen."""
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Texels:
    """The N texels of an R x R texture that a surface covers."""

    side: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    """(N,) each."""
    face: Tensor
    """(N,) of the surface."""
    corners: Tensor
    """(N, 3) vertices."""
    barycentrics: Tensor
    """(N, 3)."""
    uv: Tensor
    """(N, 2) of the texels' centres."""
    origin: NDArray[np.int64]
    """(R, R) which of the N a texel shows: itself, or the nearest within the gutter; -1: nothing."""

    @staticmethod
    def of(avatar: AvatarFile, side: int, rasterizer: Rasterizer, like: Tensor) -> Texels:
        """Draws the surface's texture triangles, either way round; `rasterizer` for pictures of `side` pixels."""
        mesh = avatar.mesh
        surface = mesh.face_layer == 0
        faces = mesh.uv_faces[surface]
        flat = np.concatenate([mesh.uv * side, np.ones((len(mesh.uv), 1))], 1).astype(np.float32)
        turned = faces[:, [0, 2, 1]]
        fragments = rasterizer.rasterize(flat, np.ascontiguousarray(np.concatenate([faces, turned]), np.int32))
        row, column = np.nonzero(fragments.face_id >= 0)
        face = fragments.face_id[row, column].astype(np.int64)
        weights = fragments.barycentrics[row, column].copy()
        back = face >= len(faces)
        weights[back] = weights[back][:, [0, 2, 1]]
        face[back] -= len(faces)
        return Texels(
            side=side,
            row=row,
            column=column,
            face=torch.from_numpy(face).to(like.device),
            corners=torch.from_numpy(mesh.faces[surface][face]).long().to(like.device),
            barycentrics=torch.from_numpy(weights).to(like),
            uv=torch.from_numpy(np.stack([(column + 0.5) / side, (row + 0.5) / side], 1)).to(like),
            origin=_origin(row, column, side),
        )

    def __len__(self) -> int:
        return len(self.row)


def _origin(row: NDArray[np.int64], column: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    import cv2

    empty = np.ones((side, side), np.uint8)
    empty[row, column] = 0
    distance, label = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    index = np.full(int(label.max()) + 1, -1, np.int64)
    index[label[row, column]] = np.arange(len(row))
    return np.where(distance <= GUTTER_TEXELS, index[label], -1)


class TexelColours:
    """What the texture network says of every texel, seen from where the camera is; where it sees nothing, with the texel's usual normal code."""

    def __init__(self, avatar: NeuralAvatar, texels: Texels, rasterizer: Rasterizer) -> None:
        self._avatar, self._texels, self._rasterizer = avatar, texels, rasterizer
        width = avatar.texture.dynamic_layer.layers[0].in_features - avatar.texture.trunk.widths[-1]
        self._sum = avatar.frames.conditions.new_zeros(len(texels), width)
        self._count = avatar.frames.conditions.new_zeros(len(texels), 1)

    @torch.no_grad()
    def look_at(self, vertices: Tensor) -> None:
        """Adds a pose, (V, 3) in camera space, to what is usual."""
        codes, seen = self._codes(vertices)
        self._sum += codes * seen
        self._count += seen

    @torch.no_grad()
    def __call__(self, vertices: Tensor, condition: Tensor) -> Tensor:
        """(N, 3) what is added to the start's colours, for (V, 3) in camera space and a (13 + E,) condition."""
        avatar, texels = self._avatar, self._texels
        overall = self._sum.sum(0) / self._count.sum().clamp(min=1.0)
        usual = torch.where(self._count > 0, self._sum / self._count.clamp(min=1.0), overall)
        codes, seen = self._codes(vertices)
        code = torch.where(seen > 0, codes, usual)
        pieces = [
            avatar.added(texels.corners[piece], texels.barycentrics[piece], texels.uv[piece], code[piece], condition)
            for piece in torch.arange(len(texels), device=code.device).split(PIECE)
        ]
        return torch.cat(pieces) * avatar.scene.learned[texels.face, None]

    def _codes(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """(N, code) at the texels' places in the picture, and (N, 1) whether they are seen there."""
        avatar, texels, frames = self._avatar, self._texels, self._avatar.frames
        view = look(avatar.scene, vertices, frames.focal_px, frames.size, self._rasterizer)
        picture = avatar.codes(view, vertices)
        place = interpolate(vertices, texels.corners, texels.barycentrics)
        points = project(place, frames.focal_px, (frames.size / 2.0, frames.size / 2.0))
        normals = interpolate(vertex_normals(vertices[None], avatar.scene.faces)[0], texels.corners, texels.barycentrics)
        facing = -(normals * torch.nn.functional.normalize(place, dim=1)).sum(1)
        column, row = points[:, :2].floor().long().clamp(0, frames.size - 1).unbind(1)
        inside = ((points[:, :2] >= 0.0) & (points[:, :2] < frames.size)).all(1)
        nearest = torch.from_numpy(view.depth).to(vertices)[row, column]
        seen = inside & (facing > LEAST_FACING) & ((points[:, 2] - nearest).abs() < DEPTH_TOLERANCE_M)
        return bilinear(picture, points[:, :2]), seen[:, None].to(vertices)

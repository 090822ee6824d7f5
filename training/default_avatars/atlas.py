"""The one picture of an avatar: where each part lies in it, and which point of the surface each texel shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands
from models.raster.cpu import CpuRasterizer
from training.default_avatars.parts import Float, Part

WIDTH, HEIGHT = 1024, 1536


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels in the atlas."""

    left: int
    top: int
    width: int
    height: int


HEAD_RECT = Rect(0, 0, 1024, 1024)
HAIR_RECT = Rect(4, 1032, 1016, 400)
COLLAR_RECT = Rect(4, 1440, 700, 40)


@dataclass(frozen=True, slots=True)
class Texels:
    """The N texels that a part covers: `rows`, `columns` in the atlas, `face` of the part and `barycentrics` (N, 3) in it."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    face: NDArray[np.int64]
    barycentrics: Float

    def gather(self, values: Float, faces: NDArray[np.int32]) -> Float:
        """(V, c) at vertices → (N, c) at texels."""
        mixed: Float = np.einsum("nk,nkc->nc", self.barycentrics, values[faces[self.face]])
        return mixed

    def pick(self, chosen: NDArray[np.bool_]) -> Texels:
        """Only the chosen texels."""
        return Texels(self.rows[chosen], self.columns[chosen], self.face[chosen], self.barycentrics[chosen])


def place(part: Part, rect: Rect) -> Part:
    """Moves a part's unit square of texture coordinates into its rectangle of the atlas."""
    origin = np.array([rect.left / WIDTH, rect.top / HEIGHT])
    extent = np.array([rect.width / WIDTH, rect.height / HEIGHT])
    return replace(part, uv=origin + part.uv * extent)


def unit_uv(part: Part, rect: Rect) -> Float:
    """(T, 2) of a placed part, back in its unit square."""
    unit: Float = (part.uv * (WIDTH, HEIGHT) - (rect.left, rect.top)) / (rect.width, rect.height)
    return unit


def texels(part: Part) -> Texels:
    """Every texel whose centre the part's texture triangles cover, of either winding."""
    points = np.ones((len(part.uv), 3), np.float32)
    points[:, 0], points[:, 1] = part.uv[:, 0] * WIDTH, part.uv[:, 1] * HEIGHT
    corners = points[part.uv_faces, :2].astype(np.float64)
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    flipped = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0] > 0.0
    order = np.where(flipped[:, None], part.uv_faces[:, ::-1], part.uv_faces).astype(np.int32)
    fragments = CpuRasterizer(WIDTH, HEIGHT, Bands(1)).rasterize(points, order)
    rows, columns = np.nonzero(fragments.face_id >= 0)
    face = fragments.face_id[rows, columns].astype(np.int64)
    barycentrics = fragments.barycentrics[rows, columns].astype(np.float64)
    barycentrics[flipped[face]] = barycentrics[flipped[face]][:, ::-1]
    return Texels(rows, columns, face, barycentrics)


def bleed(image: NDArray[np.uint8], covered: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fills the gutters with the nearest painted colour, so that filtering never picks up the ground."""
    _, labels = cv2.distanceTransformWithLabels((~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(covered)
    colour = np.zeros((labels.max() + 1, image.shape[2]), np.uint8)
    colour[labels[rows, columns]] = image[rows, columns]
    filled: NDArray[np.uint8] = colour[labels]
    return filled

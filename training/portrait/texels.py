"""What the frames of a clip show of every texel: where each texel lies on the mesh, and its colours over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands, kernel, share
from models.mesh import vertex_normals
from models.raster.cpu import CpuRasterizer

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Bytes = NDArray[np.uint8]
DEPTH_TOLERANCE_M = 0.003
GRAZING, FULL = 0.05, 0.5
"""Cosines to the line of sight: a texel counts for nothing below the first and fully from the second on."""
SEEN = 255
MIXED = 0.6
"""Below this share of the person in a pixel, or so close to it, its colour is too much the background's to be learned: turned to the front it would shine."""
EDGE_PX = 1


@dataclass(frozen=True, slots=True)
class Texels:
    """The N texels of an R x R texture that lie on the mesh."""

    size: int
    index: NDArray[np.int64]
    """(N,) row * R + column."""
    corners: Int
    """(N, 3) vertices of the triangle that a texel lies in."""
    barycentrics: Float
    """(N, 3)."""
    region: Bytes
    """(N,)."""

    @staticmethod
    def of(uv: Float, uv_faces: Int, faces: Int, face_region: Bytes, size: int, bands: Bands) -> Texels:
        """Texel centres are points; charts must not overlap, and may be mirrored."""
        points = np.concatenate([uv * size, np.ones((len(uv), 1), np.float32)], 1).astype(np.float32)
        corners = points[uv_faces][..., :2]
        one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        mirrored = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] > 0.0
        turned = np.where(mirrored[:, None], uv_faces[:, [0, 2, 1]], uv_faces).astype(np.int32)
        seen = CpuRasterizer(size, size, bands).rasterize(points, turned)
        index = np.flatnonzero(seen.face_id.ravel() >= 0)
        face = seen.face_id.ravel()[index]
        weights = seen.barycentrics.reshape(-1, 3)[index]
        weights = np.where(mirrored[face, None], weights[:, [0, 2, 1]], weights)
        return Texels(size, index, faces[face], weights.astype(np.float32), face_region[face])

    def __len__(self) -> int:
        return len(self.index)

    def mean(self, vertex_values: Float) -> Float:
        """(N, …) of per-vertex (V, …)."""
        values: Float = np.einsum("nk,nk...->n...", self.barycentrics, vertex_values[self.corners]).astype(np.float32)
        return values

    def image(self, values: NDArray[Any]) -> Float:
        """(R, R, C) of (N, C), zero off the mesh."""
        out = np.zeros((self.size * self.size, values.shape[1]), np.float32)
        out[self.index] = values
        return out.reshape(self.size, self.size, -1)

    def covered(self) -> Float:
        """(R, R) 1 on the mesh, 0 off it."""
        return self.image(np.ones((len(self), 1), np.float32))[..., 0]


@dataclass(frozen=True, slots=True)
class Samples:
    """T frames' colours of N texels."""

    colour: Bytes
    """(T, N, 3)."""
    weight: Bytes
    """(T, N) 0…255: how well the texel is seen, and that it shows the person."""
    alpha: Bytes
    """(T, N) the matte there."""
    view: Bytes
    """(T, N) 0…255: how well the texel is seen, whatever it shows."""

    @staticmethod
    def empty(frames: int, texels: int) -> Samples:
        """Nothing seen yet."""
        flat = [np.zeros((frames, texels), np.uint8) for _ in range(3)]
        return Samples(np.zeros((frames, texels, 3), np.uint8), *flat)


def collect(texels: Texels, picture: Bytes, matte: Bytes, points: Float, facing: Float, depth: Float, bands: Bands, into: Samples, row: int) -> None:
    """Fills one row of `into` from a frame.

    Args:
        points: (V, 3) x_px, y_px, depth.
        facing: (V,) cosine to the line of sight.
        depth: (H, W) metres to the nearest surface.
    """

    def part(p: int) -> None:
        first, last = share(len(texels), p, bands.count)
        sample_texels(
            texels.corners, texels.barycentrics, points, facing, depth, picture, matte, first, last,
            into.colour[row], into.weight[row], into.alpha[row], into.view[row],
        )  # fmt: skip

    bands.run(part)


def facing_of(vertices: Float, faces: Int) -> Float:
    """(V,) cosine between a vertex's normal and the way to the camera, of (V, 3) in camera space."""
    away = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    cosine: Float = (-(vertex_normals(vertices, faces) * away).sum(1)).astype(np.float32)
    return cosine


@kernel
def sample_texels(
    corners: Int, barycentrics: Float, points: Float, facing: Float, depth: Float, picture: Bytes, matte: Bytes, first: int, last: int,
    colour: Bytes, weight: Bytes, alpha: Bytes, view: Bytes,
) -> None:  # fmt: skip
    """Fills texels first…last - 1 of one frame; bilinear, zero where a texel is hidden, turned away or outside the picture."""
    height, width = depth.shape
    for i in range(first, last):
        weight[i] = 0
        alpha[i] = 0
        view[i] = 0
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        u, v, w = barycentrics[i, 0], barycentrics[i, 1], barycentrics[i, 2]
        cosine = u * facing[a] + v * facing[b] + w * facing[c]
        x = u * points[a, 0] + v * points[b, 0] + w * points[c, 0] - np.float32(0.5)
        y = u * points[a, 1] + v * points[b, 1] + w * points[c, 1] - np.float32(0.5)
        z = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
        if cosine < GRAZING or not (x >= 1.0 and y >= 1.0 and x < width - 2 and y < height - 2):
            continue
        x0, y0 = int(x), int(y)
        if z > depth[int(y + 0.5), int(x + 0.5)] + DEPTH_TOLERANCE_M:
            continue
        fx, fy = x - x0, y - y0
        w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
        for k in range(3):
            value = w00 * picture[y0, x0, k] + w01 * picture[y0, x0 + 1, k] + w10 * picture[y0 + 1, x0, k] + w11 * picture[y0 + 1, x0 + 1, k]
            colour[i, k] = int(value + 0.5)
        cover = w00 * matte[y0, x0] + w01 * matte[y0, x0 + 1] + w10 * matte[y0 + 1, x0] + w11 * matte[y0 + 1, x0 + 1]
        clear = min(1.0, (cosine - GRAZING) / (FULL - GRAZING))
        inner = cover
        for dy in range(-EDGE_PX, EDGE_PX + 1, EDGE_PX):
            for dx in range(-EDGE_PX, EDGE_PX + 1, EDGE_PX):
                inner = min(inner, np.float32(matte[min(max(y0 + dy, 0), height - 1), min(max(x0 + dx, 0), width - 1)]))
        share_of_person = min(1.0, max(0.0, (inner / SEEN - MIXED) / (1.0 - MIXED)))
        weight[i] = int(SEEN * clear * share_of_person * share_of_person)
        alpha[i] = int(cover + 0.5)
        view[i] = int(SEEN * max(clear, 0.15))


def filled(values: NDArray[Any], known: NDArray[Any]) -> Float:
    """(R, R, C) continued into where `known` (R, R), 0…1, is small: weighted means of ever coarser levels (Gortler et al., "The Lumigraph", 1996)."""
    known = known.astype(np.float32)
    levels: list[tuple[Float, Float]] = [(values.astype(np.float32) * known[..., None], known)]
    while min(levels[-1][1].shape) > 2:
        colour, weight = levels[-1]
        size = (max(weight.shape[1] // 2, 1), max(weight.shape[0] // 2, 1))
        smaller = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[1], size[0], -1)
        levels.append((smaller, np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)))
    colour, weight = levels[-1]
    current = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels[:-1]):
        up = cv2.resize(current, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR).reshape(colour.shape)
        trust = np.minimum(weight, 1.0)[..., None]
        current = colour / np.maximum(weight, 1e-6)[..., None] * trust + up * (1.0 - trust)
    return np.asarray(current, np.float32)

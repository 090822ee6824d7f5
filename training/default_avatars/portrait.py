"""A plain, slow, supersampled picture of a figure, for thumbnails."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import PortraitCamera
from models.kernels import Bands
from models.raster.cpu import CpuRasterizer
from training.default_avatars.compose import REGION_INDEX, Figure
from training.default_avatars.parts import Float, vertex_normals

SUPERSAMPLING = 3
KEY, FILL = np.array([-0.47, 0.52, 0.71]), np.array([0.75, 0.10, 0.65])


def portrait(figure: Figure, camera: PortraitCamera, room: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(size, size, 3) RGB of the neutral figure in soft light before `room` (any square RGB)."""
    side = size * SUPERSAMPLING
    vertices = figure.mesh.vertices.astype(np.float64) + camera.translation
    scale = camera.focal * side / -vertices[:, 2]
    x = side * (0.5 + camera.principal[0]) + scale * vertices[:, 0]
    y = side * (0.5 + camera.principal[1]) - scale * vertices[:, 1]
    points = np.stack([x, y, -vertices[:, 2]], -1).astype(np.float32)
    image = np.asarray(cv2.resize(room, (side, side), interpolation=cv2.INTER_CUBIC), np.float64) / 255.0
    nearest = np.full((side, side), np.inf)
    for layer in (0, 1):
        nearest = _draw(image, nearest, figure, vertices, points, layer)
    small = cv2.resize(image.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(small * 255.0), 0, 255).astype(np.uint8)


def _draw(image: Float, nearest: Float, figure: Figure, vertices: Float, points: NDArray[np.float32], layer: int) -> Float:
    """Blends one layer's faces over the image where nothing drawn before is nearer; returns the new depth, (side, side)."""
    mesh = figure.mesh
    chosen = np.flatnonzero(mesh.face_layer == layer)
    fragments = CpuRasterizer(len(image), len(image), Bands(1)).rasterize(points, mesh.faces[chosen])
    hit = (fragments.face_id >= 0) & (fragments.depth < nearest)
    face, share = chosen[fragments.face_id[hit]], fragments.barycentrics[hit].astype(np.float64)
    uv = np.einsum("nk,nkc->nc", share, mesh.uv[mesh.uv_faces[face]].astype(np.float64))
    height, width = figure.texture.shape[:2]
    rows = np.clip((uv[:, 1] * height).astype(int), 0, height - 1)
    columns = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    texel = figure.texture[rows, columns] / 255.0
    normal = np.einsum("nk,nkc->nc", share, vertex_normals(vertices, mesh.faces)[mesh.faces[face]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    light = 0.26 + 0.72 * _wrapped(normal @ KEY) + 0.22 * _wrapped(normal @ FILL) + 0.06 * normal[:, 1]
    eye = np.isin(mesh.face_region[face], [REGION_INDEX["left_eye"], REGION_INDEX["right_eye"]])
    half = KEY + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    glint = 0.9 * eye * np.clip(normal @ half, 0.0, 1.0) ** 260.0
    colour = np.clip(texel[:, :3] * light[:, None] + glint[:, None], 0.0, 1.0)
    alpha = texel[:, 3:] if layer else np.ones((len(face), 1))
    image[hit] += (colour - image[hit]) * alpha
    return np.minimum(nearest, fragments.depth)


def _wrapped(cosine: Float) -> Float:
    lit: Float = np.clip((cosine + 0.3) / 1.3, 0.0, 1.0)
    return lit

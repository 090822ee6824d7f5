"""A mesh in pieces that each have one material: by layer, by region, and by whether their texture is seen through."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import AvatarMesh, Region

Int = NDArray[np.int32]
SURFACE, OVERLAY, UNDER = 0, 1, 2
DRAWN_IN_ORDER = (UNDER, SURFACE, OVERLAY)
OPAQUE = 245
"""Alpha from which on nothing shines through."""
NEAR_TEXELS = 5
"""A triangle is soft where any texel in a square of this size about its corners, sides' middles and centre is."""
LOOKED_AT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]])
"""(7, 3) barycentrics."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """N vertices, each with one place in the texture; M triangles."""

    name: str
    region: Region
    soft: bool
    """The texture's alpha is blended."""
    two_sided: bool
    vertex: Int
    """(N,) into the avatar's vertices."""
    uv: NDArray[np.float32]
    """(N, 2), texture space."""
    faces: Int
    """(M, 3) into `vertex`."""


def primitives(mesh: AvatarMesh, regions: tuple[Region, ...], texture: NDArray[np.uint8]) -> list[Primitive]:
    """All triangles, in the order in which blended layers are to be drawn.

    Args:
        texture: (H, W, 4) RGBA.
    """
    soft = soft_faces(mesh, texture)
    found = []
    for layer in DRAWN_IN_ORDER:
        for see_through in (False, True):
            for index, region in enumerate(regions):
                faces = np.flatnonzero((mesh.face_layer == layer) & (mesh.face_region == index) & (soft == see_through))
                if len(faces):
                    name = f"{region.name}_soft" if see_through and layer != OVERLAY else region.name
                    found.append(_primitive(mesh, faces, name, region, see_through, layer == OVERLAY))
    return found


def soft_faces(mesh: AvatarMesh, texture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(F,) whether the texture (H, W, 4) is seen through in or next to a triangle."""
    height, width = texture.shape[:2]
    lowest = cv2.erode(np.ascontiguousarray(texture[..., 3]), np.ones((NEAR_TEXELS, NEAR_TEXELS)))
    places = np.einsum("pk,fkc->fpc", LOOKED_AT, mesh.uv[mesh.uv_faces].astype(np.float64))
    column = np.clip((places[..., 0] * width).astype(int), 0, width - 1)
    row = np.clip((places[..., 1] * height).astype(int), 0, height - 1)
    soft: NDArray[np.bool_] = (lowest[row, column] < OPAQUE).any(1)
    return soft


def _primitive(mesh: AvatarMesh, faces: NDArray[np.int64], name: str, region: Region, soft: bool, two_sided: bool) -> Primitive:
    corners = np.stack([mesh.faces[faces].ravel(), mesh.uv_faces[faces].ravel()], 1)
    used, place = np.unique(corners, axis=0, return_inverse=True)
    vertex = used[:, 0].astype(np.int32)
    return Primitive(name, region, soft, two_sided, vertex, mesh.uv[used[:, 1]], place.reshape(-1, 3).astype(np.int32))

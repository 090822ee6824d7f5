"""A second, opaque surface a few millimetres beneath hair and ears.

Hair is drawn with soft edges: its alpha is what the matte showed along the outlines of the clip. When the head turns further than it did there, those lines
come to the front; the core, drawn first, shows through them instead of the background. Small and coarse, for nobody sees more of it than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.portrait.capture_mesh import SKIN
from training.portrait.portrait import Portrait, picture

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
DEPTH_M = 0.012
"""Towards the middle of the head: along the normals ears would turn inside out."""
STILL_M = 0.0015
"""Where an expression moves the skin by more, there is no core: lips and lids must not drag one along."""
PICTURE_PX = 96
OPAQUE = 245.0
"""Alpha from which on nothing shines through."""
RINGS = 3
"""So many triangles around soft skin there is a core, too: one looks past its edge at an angle."""


@dataclass(frozen=True, slots=True)
class Core:
    """N vertices that hang beneath those of the portrait."""

    vertices: Float
    """(N, 3) metres, head space."""
    skinning_weights: Float
    """(N, 5)."""
    faces: NDArray[np.int32]
    """(F, 3)."""
    chart: Float
    """(T, 2) 0…1 over the picture."""
    chart_faces: NDArray[np.int32]
    """(F, 3) into `chart`."""
    picture: Bytes
    """(P, P, 4) RGBA, opaque: the portrait's base texture, small."""


def make_core(portrait: Portrait) -> Core:
    """Of the skin that is soft, and round about, where hardly any expression moves it, above the neck's fading."""
    mesh = portrait.mesh
    moved = np.linalg.norm(mesh.expression, axis=2).max(0, initial=0.0)
    still = mesh.of(SKIN) & (moved < STILL_M) & (mesh.fade > 0.95) & _soft(portrait)
    faces = mesh.faces[still[mesh.faces].all(1)]
    charts = mesh.uv_faces[still[mesh.faces].all(1)]
    used, used_charts = np.unique(faces), np.unique(charts)
    shape = mesh.vertices + portrait.shape
    centre = shape[mesh.of(SKIN) & (mesh.fade > 0.95)].mean(0)
    inwards = centre - shape
    inner = shape + DEPTH_M * inwards / np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), 1e-6)
    small = cv2.resize(picture(portrait.base), (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
    small[..., 3] = 255
    return Core(
        vertices=inner[used].astype(np.float32),
        skinning_weights=mesh.skinning_weights[used],
        faces=np.searchsorted(used, faces).astype(np.int32),
        chart=mesh.uv[used_charts],
        chart_faces=np.searchsorted(used_charts, charts).astype(np.int32),
        picture=np.asarray(small, np.uint8),
    )


def _soft(portrait: Portrait) -> NDArray[np.bool_]:
    """(V,) whether the texture is seen through at a vertex, or a few triangles away."""
    mesh, size = portrait.mesh, len(portrait.base)
    column, row = np.clip((mesh.uv * size).astype(int), 0, size - 1).T
    alpha = cv2.erode(np.ascontiguousarray(portrait.base[..., 3]), np.ones((9, 9)))[row, column]
    soft = np.zeros(len(mesh.vertices), bool)
    soft[mesh.faces[alpha[mesh.uv_faces] < OPAQUE]] = True
    for _ in range(RINGS):
        soft[mesh.faces[soft[mesh.faces].any(1)]] = True
    return soft

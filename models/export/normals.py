"""Normals of a mesh, and how a small change of some vertices changes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import SparseBasis
from models.mesh import vertex_normals

Float = NDArray[np.float32]
SMALLEST_TURN = 0.02
"""Changes of a normal by less (radians, about) are left out."""


def unit_normals(vertices: Float, faces: NDArray[np.int32]) -> Float:
    """(V, 3) as `models.mesh.vertex_normals`; +z where a vertex has none."""
    normals = vertex_normals(vertices, faces)
    normals[~normals.any(1)] = (0.0, 0.0, 1.0)
    return normals


def normal_shapes(vertices: Float, faces: NDArray[np.int32], shapes: SparseBasis) -> SparseBasis:
    """For each shape what a weight of one adds to the normals; only around vertices that it moves."""
    before = unit_normals(vertices, faces)
    start, vertex, delta = [0], [np.zeros(0, np.int32)], [np.zeros((0, 3), np.float32)]
    for first, last in zip(shapes.start[:-1], shapes.start[1:], strict=True):
        moved = shapes.vertex[first:last]
        shaped = vertices.copy()
        shaped[moved] += shapes.delta[first:last]
        touched = np.zeros(len(vertices), bool)
        touched[moved] = True
        touched[faces[touched[faces].any(1)]] = True
        around = faces[touched[faces].any(1)]
        change = unit_normals(shaped, around) - before
        kept = np.flatnonzero(touched & (np.linalg.norm(change, axis=1) > SMALLEST_TURN)).astype(np.int32)
        vertex.append(kept)
        delta.append(change[kept])
        start.append(start[-1] + len(kept))
    return SparseBasis(np.array(start, np.int32), np.concatenate(vertex), np.concatenate(delta).astype(np.float32))

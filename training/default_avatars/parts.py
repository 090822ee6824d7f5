"""A piece of an avatar: its surface, how it follows the head, and where its picture lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel

Float = NDArray[np.float64]
Int = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Part:
    """`vertices` (V, 3) metres; `faces`, `uv_faces` (F, 3); `uv` (T, 2) in the part's own texture; `weights` (V, 5) of the joints;
    `expression` (E, V, 3) or None where no expression moves it; `region` (F,) names; `layer` 0 opaque, 1 blended."""

    vertices: Float
    faces: Int
    uv: Float
    uv_faces: Int
    weights: Float
    region: tuple[str, ...]
    layer: int = 0
    expression: Float | None = None

    def moved(self, vertices: Float) -> Part:
        return replace(self, vertices=vertices)


def head_part(head: HeadModel, vertices: Float) -> Part:
    """The whole head with a person's own `vertices` (V, 3)."""
    regions = tuple(head.region_names[index] for index in head.face_region)
    return Part(
        vertices,
        head.faces,
        head.uv.astype(np.float64),
        head.uv_faces,
        head.skinning_weights.astype(np.float64),
        regions,
        0,
        head.expression.astype(np.float64),
    )


def vertex_normals(vertices: Float, faces: Int) -> Float:
    """(V, 3) area-weighted unit normals."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], normals)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def grid_faces(rows: int, columns: int, closed: bool) -> Int:
    """Two triangles a cell of a (rows, columns) grid of vertices, row by row; `closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    right = (column + 1) % columns
    a, b = row * columns + column, row * columns + right
    c, d = a + columns, b + columns
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], 2).reshape(-1, 3).astype(np.int32)


def joined(parts: list[Part]) -> tuple[Float, Int]:
    """(V, 3) vertices and (F, 3) faces of all parts, one after the other."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    return np.concatenate([part.vertices for part in parts]), faces.astype(np.int32)

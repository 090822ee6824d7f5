"""What the renderer derives once from a mesh, and vertex normals in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class VertexFaces:
    """The triangles around each vertex: `face[start[v]:start[v + 1]]`."""

    start: Int
    """(V + 1,)."""
    face: Int
    """(3 F,)."""

    @staticmethod
    def of(faces: Int, vertex_count: int) -> VertexFaces:
        """From (F, 3)."""
        order = np.argsort(faces.ravel(), kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=vertex_count))])
        return VertexFaces(start.astype(np.int32), (order // 3).astype(np.int32))


def vertex_normals(vertices: Float, faces: Int) -> Float:
    """(V, 3) of unit length, the area-weighted mean over the triangles around; zero where there is none."""
    corners = vertices[faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(total, faces[:, corner], across)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    normals: Float = np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)
    return normals


def components(faces: Int, vertex_count: int) -> Int:
    """(F,) number of the connected part (by shared vertices) that each triangle belongs to."""
    label = np.arange(vertex_count)
    while True:
        lowest = label[faces].min(1)
        spread = label.copy()
        for corner in range(3):
            np.minimum.at(spread, faces[:, corner], lowest)
        spread = spread[spread]
        if np.array_equal(spread, label):
            return np.unique(label[faces[:, 0]], return_inverse=True)[1].astype(np.int32)
        label = spread


def open_sides(faces: Int) -> NDArray[np.uint8]:
    """(F,) which sides of a triangle no other one shares: bit k for the side opposite corner k."""
    sides = np.sort(np.stack([np.roll(faces, -1, 1), np.roll(faces, -2, 1)], -1), axis=-1).reshape(-1, 2)
    _, index, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    alone = (count[index.ravel()] == 1).reshape(-1, 3)
    flags: NDArray[np.uint8] = (alone * np.array([1, 2, 4])).sum(1).astype(np.uint8)
    return flags


def vertex_labels(faces: Int, face_label: NDArray[np.uint8], vertex_count: int, label_count: int) -> NDArray[np.uint8]:
    """(V,): of the labels of the triangles around a vertex the most frequent one (of equals the lowest)."""
    votes = np.zeros((vertex_count, label_count), np.int32)
    for corner in range(3):
        np.add.at(votes, (faces[:, corner], face_label), 1)
    winner: NDArray[np.uint8] = votes.argmax(1).astype(np.uint8)
    return winner

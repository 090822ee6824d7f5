"""Finer triangles where a mesh is coarse: heads are modelled finely about the face, and hair needs an outline that is no polygon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Subdivision:
    """How a finer mesh comes from a coarser one."""

    faces: Int
    """(F', 3)."""
    uv_faces: Int
    """(F', 3)."""
    parent: Int
    """(F',) the triangle that each one was a part of."""
    vertex_pairs: Int
    """(N, 2): the new vertices, after the old ones, lie in the middle of these."""
    uv_pairs: Int
    """(M, 2): the same for texture coordinates."""

    def vertices(self, values: Float) -> Float:
        """(…, V, C) → (…, V + N, C)."""
        middle = 0.5 * (values[..., self.vertex_pairs[:, 0], :] + values[..., self.vertex_pairs[:, 1], :])
        return np.concatenate([values, middle], -2, dtype=np.float32)

    def uv(self, values: Float) -> Float:
        """(T, 2) → (T + M, 2)."""
        return np.concatenate([values, 0.5 * (values[self.uv_pairs[:, 0]] + values[self.uv_pairs[:, 1]])], dtype=np.float32)


def subdivide(vertices: Float, faces: Int, uv_faces: Int, chosen: NDArray[np.bool_], longest_m: float) -> Subdivision:
    """Halves every side longer than `longest_m` of the `chosen` (F,) triangles; a triangle is cut by the sides of it that are halved, so no gap opens."""
    halved = _Middles(len(vertices))
    halved_uv = _Middles(int(uv_faces.max()) + 1)
    for face in faces[chosen]:
        for a, b in zip(face, np.roll(face, -1), strict=True):
            if np.linalg.norm(vertices[a] - vertices[b]) > longest_m:
                halved.of(int(a), int(b))
    new_faces, new_uv, parent = [], [], []
    for index, (face, uv) in enumerate(zip(faces.tolist(), uv_faces.tolist(), strict=True)):
        middles = [halved.known(face[k], face[(k + 1) % 3]) for k in range(3)]
        uv_middles = [None if middles[k] is None else halved_uv.of(uv[k], uv[(k + 1) % 3]) for k in range(3)]
        for corners in _parts([middle is not None for middle in middles]):
            new_faces.append([face[c] if c < 3 else middles[c - 3] for c in corners])
            new_uv.append([uv[c] if c < 3 else uv_middles[c - 3] for c in corners])
            parent.append(index)
    return Subdivision(
        np.array(new_faces, np.int32), np.array(new_uv, np.int32), np.array(parent, np.int32), halved.pairs(), halved_uv.pairs()
    )  # fmt: skip


def relocated(division: Subdivision, faces: Int, landmark_faces: Int, barycentrics: Float) -> tuple[Int, Float]:
    """Points (L,) in triangles of the coarser mesh (-1: none) with their barycentrics (L, 3), in triangles of the finer one."""
    new_faces, new_weights = np.full_like(landmark_faces, -1), barycentrics.copy()
    order = np.argsort(division.parent, kind="stable")
    start = np.searchsorted(division.parent[order], np.arange(len(faces) + 1))
    first_new = int(division.faces.max()) + 1 - len(division.vertex_pairs)
    for index, (face, weights) in enumerate(zip(landmark_faces, barycentrics, strict=True)):
        if face < 0:
            continue
        corners = faces[face].tolist()
        place = {vertex: np.eye(3)[k] for k, vertex in enumerate(corners)}
        best = -np.inf
        for child in order[start[face] : start[face + 1]]:
            where = []
            for vertex in division.faces[child].tolist():
                pair = division.vertex_pairs[vertex - first_new] if vertex >= first_new else None
                where.append(place[vertex] if pair is None else 0.5 * (place[int(pair[0])] + place[int(pair[1])]))
            inside = np.linalg.solve(np.array(where).T, weights.astype(np.float64))
            if inside.min() > best:
                best, new_faces[index], new_weights[index] = float(inside.min()), child, inside
    return new_faces, new_weights


class _Middles:
    """Numbers for the middles of sides, the same from either end."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._number: dict[tuple[int, int], int] = {}

    def of(self, a: int, b: int) -> int:
        return self._number.setdefault((min(a, b), max(a, b)), self._first + len(self._number))

    def known(self, a: int, b: int) -> int | None:
        return self._number.get((min(a, b), max(a, b)))

    def pairs(self) -> Int:
        return np.array(list(self._number), np.int32).reshape(-1, 2)


def _parts(halved: list[bool]) -> list[tuple[int, int, int]]:
    """Triangles of corners 0…2 and middles 3…5 (of the sides 0-1, 1-2, 2-0), in the old one's winding."""
    count = sum(halved)
    if count == 0:
        return [(0, 1, 2)]
    if count == 3:
        return [(0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)]
    turn = halved.index(True) if count == 1 else (halved.index(False) + 1) % 3
    a, b, c = turn, (turn + 1) % 3, (turn + 2) % 3
    if count == 1:
        return [(a, 3 + a, c), (3 + a, b, c)]
    return [(a, 3 + a, c), (3 + a, b, 3 + b), (3 + a, 3 + b, c)]

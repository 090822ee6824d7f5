"""MakeHuman's lash strips, shortened: grids of five rows whose first lies on the rim of the lid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.open_head.source import Double, MakeHuman

GROUPS = ("helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2")
LENGTH = {"1": 0.58, "2": 0.7}
"""How much of MakeHuman's length remains: lower lid, upper lid."""


@dataclass(frozen=True)
class Lashes:
    """L lash vertices: their rows among the kept vertices, the rows of the root of each, and how much of their length remains."""

    vertices: NDArray[np.int64]
    roots: NDArray[np.int64]
    length: Double

    @staticmethod
    def none() -> Lashes:
        """No lashes at all."""
        return Lashes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def shorten(self, points: Double) -> Double:
        """(K, 3) → (K, 3)."""
        shorter = points.copy()
        root = points[self.roots]
        shorter[self.vertices] = root + self.length[:, None] * (points[self.vertices] - root)
        return shorter


def find(source: MakeHuman, mean: Double, place: NDArray[np.int64]) -> Lashes:
    """The lashes on the mean adult (N, 3); `place` (N,) gives each vertex's row among the kept ones."""
    vertices, roots, lengths = [], [], []
    body = mean[source.group_vertices("body")]
    for group in GROUPS:
        root_of = _roots(_row_starts(source, group, mean, body), _neighbours(source, group))
        vertices += list(root_of)
        roots += list(root_of.values())
        lengths += [LENGTH[group[-1]]] * len(root_of)
    return Lashes(place[vertices], place[roots], np.array(lengths))


def _neighbours(source: MakeHuman, group: str) -> dict[int, set[int]]:
    around: dict[int, set[int]] = {}
    for polygon, _ in source.groups[group]:
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            around.setdefault(a, set()).add(b)
            around.setdefault(b, set()).add(a)
    return around


def _row_starts(source: MakeHuman, group: str, mean: Double, body: Double) -> list[int]:
    """The root row: of the strip's two long sides that nearer to the skin."""
    around = _neighbours(source, group)
    used = [vertex for polygon, _ in source.groups[group] for vertex in polygon]
    corners = [vertex for vertex in around if used.count(vertex) == 1]
    sides = []
    for start in corners:
        for step in sorted(around[start]):
            side = [start, step]
            while side[-1] not in corners:
                side.append(next(v for v in around[side[-1]] if used.count(v) <= 2 and v not in side))
            sides.append(side)
    longest = max(len(side) for side in sides)
    return min((side for side in sides if len(side) == longest), key=lambda side: _gap(mean[side], body))


def _gap(points: Double, body: Double) -> float:
    return float(np.linalg.norm(points[:, None] - body[None], axis=2).min(1).mean())


def _roots(row: list[int], around: dict[int, set[int]]) -> dict[int, int]:
    """For each vertex beyond the root row the vertex of that row in its column."""
    root_of = {vertex: vertex for vertex in row}
    current = set(row)
    while current:
        following = {n: root_of[v] for v in sorted(current) for n in sorted(around[v]) if n not in root_of}
        root_of |= following
        current = set(following)
    return {vertex: root for vertex, root in root_of.items() if vertex != root}

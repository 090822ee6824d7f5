"""Relaxes a texture island towards the shape of its surface.

SLIM (Rabinovich et al., "Scalable locally injective mappings", ACM TOG 2017) with the symmetric Dirichlet energy; springs hold the outline of each
hole, so that lips and lids, which curl inwards, do not cover it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bmat, coo_matrix, csr_matrix, identity
from scipy.sparse.linalg import spsolve

from training.open_head.cut import boundary_chain
from training.open_head.source import Double

ROUNDS = 70
SPRING = 3.0
SPRING_GROWTH = 1.13
"""Stiffness that holds a hole's outline, beside a triangle's one, in the first round, and its growth from round to round."""


@dataclass(frozen=True)
class _Springs:
    """Of one round: they pull each vertex of the holes, in turn, to its anchor (k, 2)."""

    anchors: Double
    stiffness: float


@dataclass(frozen=True)
class _Island:
    """What stays the same over the rounds: m triangles over n points."""

    triangles: NDArray[np.int64]
    inverse: Double
    """(m, 2, 2) inverse of the two edges of each flat triangle."""
    area: Double
    """(m,)."""
    gradient: csr_matrix
    """(2 m, n) maps a coordinate of the corners to its derivatives over each flat triangle, d/dx rows first."""
    holes: tuple[NDArray[np.int64], ...]
    outlines: tuple[Double, ...]
    """(k, 2) of each hole: its shape at the start, about its middle, as wide as its rim in space."""

    def jacobian(self, uv: Double) -> Double:
        """(m, 2, 2)."""
        return _edges(uv, self.triangles) @ self.inverse

    def energy(self, uv: Double, springs: _Springs) -> float:
        """Of the map, plus that of the springs; infinite where a triangle flips."""
        jacobian = self.jacobian(uv)
        determinant = np.linalg.det(jacobian)
        if determinant.min() <= 0.0:
            return float("inf")
        squared = (jacobian**2).sum((1, 2))
        stretched = springs.stiffness * ((uv[np.concatenate(self.holes)] - springs.anchors) ** 2).sum()
        return float((self.area * (squared + squared / determinant**2)).sum() + stretched)

    def anchors(self, uv: Double) -> Double:
        """Where the holes' vertices would lie if each outline stood about its present middle."""
        return np.concatenate([uv[hole].mean(0) + outline for hole, outline in zip(self.holes, self.outlines, strict=True)])


def relax(uv: Double, points: Double, triangles: NDArray[np.int64], importance: Double) -> Double:
    """Moves (n, 2) so that each triangle (m, 3) keeps the shape it has in space (n, 3) and an area in proportion to importance² (m,); none flips.

    The result has the scale of the importance-weighted surface.
    """
    side = np.array([np.sign(np.linalg.det(_edges(uv, triangles)).sum()), 1.0])
    rest = _flattened(points, triangles) * importance[:, None, None]
    area = 0.5 * np.linalg.det(rest)
    moved = uv * side
    moved = moved * np.sqrt(area.sum() / (0.5 * np.linalg.det(_edges(moved, triangles)).sum()))
    holes = tuple(sorted(_loops(triangles), key=len)[:-1])
    inverse = np.linalg.inv(rest).astype(np.float64)
    outlines = tuple(_outline(moved[hole], points[hole], importance[np.isin(triangles, hole).any(1)].mean()) for hole in holes)
    island = _Island(triangles, inverse, area, _gradient(triangles, inverse, len(uv)), holes, outlines)
    for turn in range(ROUNDS):
        springs = _Springs(island.anchors(moved), SPRING * SPRING_GROWTH**turn)
        moved = _line_search(island, moved, _proxy_minimum(island, moved, springs) - moved, springs)
    relaxed: Double = moved * side
    return relaxed


def _outline(uv: Double, points: Double, importance: float) -> Double:
    outline: Double = (uv - uv.mean(0)) * (importance * np.ptp(points, axis=0).max() / np.ptp(uv, axis=0).max())
    return outline


def _loops(triangles: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The borders, vertex by vertex."""
    after = boundary_chain(triangles)
    loops = []
    while after:
        loop = [next(iter(after))]
        while (step := after.pop(loop[-1])) != loop[0]:
            loop.append(step)
        loops.append(np.array(loop))
    return loops


def _flattened(points: Double, triangles: NDArray[np.int64]) -> Double:
    """(m, 2, 2): the two edges of each triangle, laid flat, as columns."""
    first, second = points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    length = np.linalg.norm(first, axis=1)
    along = (first * second).sum(1) / length
    height = np.linalg.norm(np.cross(first, second), axis=1) / length
    return np.stack([np.stack([length, along], 1), np.stack([np.zeros_like(length), height], 1)], 1)


def _edges(uv: Double, triangles: NDArray[np.int64]) -> Double:
    origin = uv[triangles[:, 0]]
    return np.stack([uv[triangles[:, 1]] - origin, uv[triangles[:, 2]] - origin], 2)


def _gradient(triangles: NDArray[np.int64], inverse: Double, count: int) -> csr_matrix:
    m = len(triangles)
    corner = np.stack([-inverse.sum(1), inverse[:, 0], inverse[:, 1]], 1)
    rows = np.concatenate([np.repeat(np.arange(m), 3), m + np.repeat(np.arange(m), 3)])
    values = np.concatenate([corner[:, :, 0].ravel(), corner[:, :, 1].ravel()])
    return coo_matrix((values, (rows, np.tile(triangles.ravel(), 2))), shape=(2 * m, count)).tocsr()


def _proxy_minimum(island: _Island, uv: Double, springs: _Springs) -> Double:
    """The minimum of the reweighted quadratic that has the energy's gradient at `uv` (Rabinovich et al., section 3)."""
    u, s, vt = np.linalg.svd(island.jacobian(uv))
    near = np.abs(s - 1.0) < 1e-4
    safe = np.where(near, 2.0, s)
    stretch = np.where(near, 2.0, np.sqrt((safe - safe**-3) / (safe - 1.0)))
    weight = u @ (stretch[:, :, None] * u.transpose(0, 2, 1)) * np.sqrt(island.area)[:, None, None]
    goal = weight @ (u @ vt)
    m, n = len(island.triangles), len(uv)
    blocks, sides = [], []
    for row in range(2):
        for axis in range(2):
            part = island.gradient[axis * m : (axis + 1) * m]
            blocks.append([part.multiply(weight[:, row, k][:, None]) for k in range(2)])
            sides.append(goal[:, row, axis])
    pinned = np.concatenate(island.holes)
    root = np.sqrt(springs.stiffness)
    pull = coo_matrix((np.full(len(pinned), root), (np.arange(len(pinned)), pinned)), shape=(len(pinned), n))
    system = bmat([*blocks, [pull, None], [None, pull]]).tocsr()
    normal = (system.T @ system + 1e-9 * identity(2 * n)).tocsc()
    right = system.T @ np.concatenate([*sides, *(root * springs.anchors.T)]) + 1e-9 * uv.T.ravel()
    solution: Double = spsolve(normal, right).reshape(2, n).T
    return solution


def _line_search(island: _Island, uv: Double, direction: Double, springs: _Springs) -> Double:
    """Backtracks until no triangle flips and the energy falls."""
    start = island.energy(uv, springs)
    step = 1.0
    while step > 1e-6:
        moved = uv + step * direction
        if island.energy(moved, springs) < start:
            return moved
        step *= 0.6
    return uv

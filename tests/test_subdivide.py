"""training/portrait/subdivide.py: more triangles, the same surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.flame_like import tiny_face
from training.portrait.subdivide import relocated, subdivide

LONGEST_M = 0.012


def area(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    corners = vertices[faces].astype(np.float64)
    return 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


@pytest.mark.parametrize("every", [1, 2])
def test_the_surface_stays_and_long_sides_go(every: int) -> None:
    head = tiny_face()
    chosen = np.arange(len(head.faces)) % every == 0
    division = subdivide(head.template, head.faces, head.uv_faces, chosen, LONGEST_M)
    vertices, uv = division.vertices(head.template), division.uv(head.uv)
    assert len(division.faces) > len(head.faces)
    before, after = area(head.template, head.faces), np.zeros((len(head.faces), 3))
    np.add.at(after, division.parent, area(vertices, division.faces))
    np.testing.assert_allclose(after, before, atol=1e-8)
    signs = np.einsum("fc,fc->f", area(vertices, division.faces), before[division.parent])
    assert (signs > 0.0).all(), "the winding is the old one's"
    sides = np.linalg.norm(vertices[division.faces] - vertices[np.roll(division.faces, -1, 1)], axis=2)
    longest = np.linalg.norm(head.template[head.faces] - head.template[np.roll(head.faces, -1, 1)], axis=2).max()
    assert sides[chosen[division.parent]].max() <= max(LONGEST_M, 0.9 * longest)
    flat = np.pad(uv, ((0, 0), (0, 1)))
    of_uv = np.zeros((len(head.faces), 3))
    np.add.at(of_uv, division.parent, area(flat, division.uv_faces))
    np.testing.assert_allclose(of_uv, area(np.pad(head.uv, ((0, 0), (0, 1))), head.uv_faces), atol=1e-7)


def test_no_gap_opens() -> None:
    """Every side has as many triangles on it as before: two, or one at a border."""
    head = tiny_face()
    division = subdivide(head.template, head.faces, head.uv_faces, np.arange(len(head.faces)) % 3 == 0, LONGEST_M)

    def alone(faces: NDArray[Any]) -> int:
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        return int((np.unique(sides, axis=0, return_counts=True)[1] != 2).sum())

    assert alone(division.faces) == alone(head.faces) == 0


def test_landmarks_stay_in_place() -> None:
    head = tiny_face()
    faces = head.landmark_faces.copy()
    faces[::50] = -1
    division = subdivide(head.template, head.faces, head.uv_faces, np.ones(len(head.faces), bool), LONGEST_M)
    moved, weights = relocated(division, head.faces, faces, head.landmark_barycentrics)
    np.testing.assert_array_equal(moved < 0, faces < 0)
    known = faces >= 0
    points = np.einsum("lk,lkc->lc", weights[known], division.vertices(head.template)[division.faces[moved[known]]])
    np.testing.assert_allclose(points, head.landmarks(head.template)[known], atol=1e-6)
    assert weights[known].min() > -1e-4
    np.testing.assert_array_equal(division.parent[moved[known]], faces[known])

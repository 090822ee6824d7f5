"""The parts that training/open_head puts together: eyeballs, teeth, the texture's relaxation."""

from __future__ import annotations

import numpy as np
import pytest

from training.open_head import eyeball, teeth
from training.open_head.unwrap import relax


def test_unit_eyeball() -> None:
    vertices, faces = eyeball.unit_eyeball()
    uv, uv_faces = eyeball.eyeball_uv()
    assert vertices.shape == (338, 3)
    assert faces.shape == uv_faces.shape == (672, 3)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals * corners.mean(1)).sum(1).min() > 0.0
    radius = np.linalg.norm(vertices, axis=1)
    assert radius.max() == radius[0] == 1.0 + eyeball.CORNEA
    assert radius.min() > 0.999
    equator = vertices[1 + eyeball.EQUATOR * eyeball.SEGMENTS :][: eyeball.SEGMENTS]
    np.testing.assert_allclose(equator[:, 2], 0.0, atol=1e-12)
    np.testing.assert_allclose(equator.mean(0), 0.0, atol=1e-12)
    flat = uv[uv_faces]
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).max() < 0.0


def test_fit_sphere() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    points = np.array([0.3, -2.0, 1.0]) + 0.7 * points / np.linalg.norm(points, axis=1, keepdims=True)
    centre, radius = eyeball.fit_sphere(points)
    np.testing.assert_allclose(centre, (0.3, -2.0, 1.0), atol=1e-9)
    assert radius == pytest.approx(0.7)


def test_teeth_follow_an_affine_map() -> None:
    rng = np.random.default_rng(0)
    matrix, offset = rng.normal(size=(3, 3)), rng.normal(size=3)
    before, points = rng.normal(size=(20, 3)), rng.normal(size=(7, 3))
    np.testing.assert_allclose(teeth.follow(points, before, before @ matrix.T + offset), points @ matrix.T + offset, atol=1e-9)
    for row in (teeth.UPPER, teeth.LOWER):
        vertices = teeth.row_vertices(row)
        faces = teeth.row_faces(row)
        assert len(vertices) == len(teeth.row_uv(row)) == len(teeth.PROFILE) * teeth.COLUMNS
        normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
        crowns = faces[np.isin(faces, np.arange(teeth.GUM_ROW * teeth.COLUMNS, (teeth.GUM_ROW + 3) * teeth.COLUMNS)).all(1)]
        chosen = np.isin(faces, crowns).all(1) & (np.abs(vertices[faces].mean(1)[:, 0]) < 0.1)
        assert (normals[chosen, 2] > 0.0).all()


def test_relaxing_flattens_what_is_flat_and_flips_nothing() -> None:
    side = np.linspace(0.0, 1.0, 9)
    grid = np.array([(x, y) for y in side for x in side])
    cells = [(r * 9 + c, r * 9 + c + 1, r * 9 + c + 10, r * 9 + c + 9) for r in range(8) for c in range(8) if (r, c) != (4, 4)]
    triangles = np.array([three for a, b, c, d in cells for three in ((a, b, c), (a, c, d))])
    squeezed = np.column_stack([grid[:, 0] ** 2 + 0.1 * grid[:, 0], grid[:, 1] ** 1.5])
    relaxed = relax(squeezed, np.column_stack([grid, np.zeros(81)]), triangles, np.ones(len(triangles)))
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    length = np.linalg.norm(relaxed[edges[:, 0]] - relaxed[edges[:, 1]], axis=1)
    wanted = np.linalg.norm(grid[edges[:, 0]] - grid[edges[:, 1]], axis=1)
    assert np.median(np.abs(length / wanted - 1.0)) < 0.05
    flat = relaxed[triangles]
    first, second = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).min() > 0.0

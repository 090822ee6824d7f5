"""The compiled rasteriser gives what the slow one gives, but for provable ties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from models.kernels import Bands
from models.raster import Fragments
from models.raster.cpu import CpuRasterizer
from models.raster.reference import ReferenceRasterizer
from tests.tiny_avatar import tiny_mesh

Points = NDArray[np.float32]
Faces = NDArray[np.int32]


@pytest.fixture(scope="module", params=[1, 2, 3])
def bands(request: pytest.FixtureRequest) -> Iterator[Bands]:
    made = Bands(request.param)
    yield made
    made.close()


def soup(count: int, size: float, seed: int, width: int = 96, height: int = 80) -> tuple[Points, Faces]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-10, -10, 0.3), (width + 10, height + 10, 2.0), (count, 1, 3))
    points = (centres + rng.normal(0, 1, (count, 3, 3)) * (size, size, 0.05)).astype(np.float32)
    return points.reshape(-1, 3), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def is_tie(points: Points, faces: Faces, pixel: tuple[int, int], one: int, two: int) -> bool:
    """Whether two triangles (-1: none) both may be seen at a pixel centre: on an edge, or equally far, within rounding."""
    y, x = pixel
    depths = []
    for index in (one, two):
        if index < 0:
            continue
        corners = points[faces[index]].astype(np.float64)
        edges = np.roll(corners, -1, 0) - corners
        offset = np.array([x + 0.5, y + 0.5]) - corners[:, :2]
        distance = (edges[:, 0] * offset[:, 1] - edges[:, 1] * offset[:, 0]) / np.linalg.norm(edges[:, :2], axis=1)
        if np.abs(distance).min() < 1e-4:
            return True
        weights = np.linalg.solve(np.vstack([corners[:, :2].T, np.ones(3)]), np.array([x + 0.5, y + 0.5, 1.0]))
        depths.append(1.0 / (weights / corners[:, 2]).sum())
    return len(depths) == 2 and abs(depths[0] - depths[1]) < 1e-5


def assert_equal(fast: Fragments, slow: Fragments, points: Points, faces: Faces) -> None:
    differs = np.argwhere(fast.face_id != slow.face_id)
    assert len(differs) <= 1 + slow.face_id.size // 200
    for y, x in differs:
        assert is_tie(points, faces, (y, x), fast.face_id[y, x], slow.face_id[y, x]), (y, x)
    same = fast.face_id == slow.face_id
    np.testing.assert_allclose(fast.barycentrics[same], slow.barycentrics[same], atol=1e-4)
    np.testing.assert_allclose(fast.depth[same], slow.depth[same], rtol=1e-4)


def check(points: Points, faces: Faces, bands: Bands, width: int = 96, height: int = 80) -> Fragments:
    fast = CpuRasterizer(width, height, bands).rasterize(points, faces)
    slow = ReferenceRasterizer(width, height).rasterize(points, faces)
    assert_equal(fast, slow, points, faces)
    return slow


@pytest.mark.parametrize(("count", "size"), [(400, 3.0), (60, 30.0), (8, 300.0), (500, 0.6)])
def test_random_triangles(bands: Bands, count: int, size: float) -> None:
    seen = check(*soup(count, size, seed=count), bands)
    assert (seen.face_id >= 0).sum() > 20


@pytest.mark.parametrize("depth", [0.3, 0.12])
def test_a_mesh_without_cracks(bands: Bands, depth: float) -> None:
    mesh = tiny_mesh(40)
    camera = mesh.vertices - np.array([0, 0, depth], np.float32)
    points = np.stack([64 + 120 * camera[:, 0] / -camera[:, 2], 64 - 120 * camera[:, 1] / -camera[:, 2], -camera[:, 2]], 1).astype(np.float32)
    seen = check(points, mesh.faces[mesh.face_layer == 0], bands, 128, 128)
    y, x = np.mgrid[:128, :128] + 0.5
    assert (seen.face_id[np.hypot(x - 64, y - 64) < 35] >= 0).all()


def test_shared_edges_through_pixel_centres_are_drawn_once(bands: Bands) -> None:
    grid = np.stack(np.meshgrid(np.arange(0.5, 20), np.arange(0.5, 20), [1.0]), -1).reshape(-1, 3).astype(np.float32)
    k = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    faces = np.concatenate([np.stack([k, k + 20, k + 21], 1), np.stack([k, k + 21, k + 1], 1)]).astype(np.int32)
    fast = CpuRasterizer(24, 24, bands).rasterize(grid, faces)
    assert (fast.face_id[1:19, 1:19] >= 0).all()
    np.testing.assert_array_equal(fast.depth[1:19, 1:19], 1.0)
    assert (fast.face_id[20:] == -1).all()


def test_what_is_left_out(bands: Bands) -> None:
    corners = np.array([[5, 5, 1], [5, 40, 1], [40, 5, 1]], np.float32)
    near = corners.copy()
    near[1, 2] = 0.009
    behind = corners * np.array([1, 1, -1], np.float32)
    line = np.array([[5, 5, 1], [20, 20, 1], [40, 40, 1]], np.float32)
    far_off = corners + np.array([500, -700, 0], np.float32)
    broken = corners.copy()
    broken[0, 0] = np.nan
    points = np.concatenate([corners[::-1], near, behind, line, far_off, np.repeat(corners[:1], 3, 0), broken])
    faces = np.arange(len(points), dtype=np.int32).reshape(-1, 3)
    fast = CpuRasterizer(64, 48, bands).rasterize(points, faces)
    assert (fast.face_id == -1).all()
    assert np.isinf(fast.depth).all()
    assert (fast.barycentrics == 0).all()
    assert (CpuRasterizer(64, 48, bands).rasterize(corners, faces[:1]).face_id == 0).sum() > 500
    check(points[:-3], faces[:-1], bands, 64, 48)


def test_among_equals_the_lowest_index(bands: Bands) -> None:
    corners = np.array([[5, 5, 1], [5, 40, 1], [40, 5, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 1, 2], [1, 2, 0]], np.int32)
    assert set(np.unique(CpuRasterizer(64, 48, bands).rasterize(corners, faces).face_id)) == {-1, 0}


def test_huge_triangle_around_the_picture(bands: Bands) -> None:
    corners = np.array([[-5e5, -5e5, 0.5], [-5e5, 9e5, 0.5], [9e5, -5e5, 0.5]], np.float32)
    assert (check(corners, np.array([[0, 1, 2]], np.int32), bands).face_id == 0).all()


def test_bands_pass_failures_on_and_go_on(bands: Bands) -> None:
    def fail(part: int) -> None:
        if part == bands.count - 1:
            raise ValueError("part")

    with pytest.raises(ValueError, match="part"):
        bands.run(fail)
    done: list[int] = []
    bands.run(done.append)
    assert sorted(done) == list(range(bands.count))

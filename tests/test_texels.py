"""training/portrait/texels.py: where texels lie, what frames show of them, and how the unseen is filled."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.kernels import Bands
from training.portrait.texels import DEPTH_TOLERANCE_M, FULL, GRAZING, MIXED, Samples, Texels, collect, facing_of, filled

SIZE = 64
Float = NDArray[np.float32]


def patch(rows: int, columns: int) -> tuple[Float, NDArray[np.int32]]:
    """(rows * columns, 2) of a slightly crooked grid in 0…1, and its triangles."""
    y, x = np.meshgrid(np.linspace(0.0, 1.0, rows), np.linspace(0.0, 1.0, columns), indexing="ij")
    points = np.stack([x + 0.03 * np.sin(5.0 * y), y + 0.03 * np.sin(4.0 * x)], -1).reshape(-1, 2)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([corner, corner + columns, corner + 1], 1), np.stack([corner + 1, corner + columns, corner + columns + 1], 1)])
    return points.astype(np.float32), faces.astype(np.int32)


@pytest.fixture(scope="module")
def charts() -> tuple[Float, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """uv, uv_faces, faces, face_region of two patches, one plain and one mirrored; the second's mesh has its vertices in another order."""
    points, faces = patch(5, 6)
    plain = 0.05 + points * [0.4, 0.8]
    mirrored = np.array([0.95, 0.05]) + points * [-0.4, 0.8]
    uv = np.concatenate([plain, mirrored]).astype(np.float32)
    uv_faces = np.concatenate([faces, faces + len(points)])
    order = np.random.default_rng(0).permutation(2 * len(points)).astype(np.int32)
    return uv, uv_faces.astype(np.int32), order[uv_faces], np.repeat(np.array([0, 3], np.uint8), len(faces))


def test_texels_lie_where_brute_force_puts_them(charts: tuple[Float, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]) -> None:
    uv, uv_faces, faces, region = charts
    values = np.random.default_rng(1).normal(size=(faces.max() + 1, 2)).astype(np.float32)
    corners = uv[uv_faces].astype(np.float64)
    to_weights = np.linalg.inv(np.concatenate([corners.transpose(0, 2, 1), np.ones((len(corners), 1, 3))], 1))
    for count in (1, 3):
        bands = Bands(count)
        texels = Texels.of(uv, uv_faces, faces, region, SIZE, bands)
        bands.close()
        found = {int(index): row for row, index in enumerate(texels.index)}
        means = texels.mean(values)
        checked = 0
        for index in range(0, SIZE * SIZE, 3):
            centre = (np.array([index % SIZE, index // SIZE]) + 0.5) / SIZE
            weights = to_weights @ np.append(centre, 1.0)
            inside = np.flatnonzero((weights > 1e-3).all(1))
            if (weights.min(1) > -1e-3).any() and not len(inside):
                continue
            assert (index in found) == bool(len(inside))
            if len(inside):
                face, row = int(inside[0]), found[index]
                np.testing.assert_allclose(means[row], weights[face] @ values[faces[face]], atol=2e-4)
                assert texels.region[row] == region[face]
                checked += 1
        assert checked > 500


def test_images_and_coverage(charts: tuple[Float, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]) -> None:
    uv, uv_faces, faces, region = charts
    texels = Texels.of(uv, uv_faces, faces, region, SIZE, Bands(1))
    values = np.arange(2 * len(texels), dtype=np.float32).reshape(-1, 2)
    image = texels.image(values)
    np.testing.assert_array_equal(image.reshape(-1, 2)[texels.index], values)
    np.testing.assert_array_equal(texels.covered() > 0.0, np.bincount(texels.index, minlength=SIZE * SIZE).reshape(SIZE, SIZE) > 0)


HEIGHT, WIDTH, STEP_PX = 48, 56, 12


def plain_samples(texels: Texels, picture: NDArray[np.uint8], matte: NDArray[np.uint8], points: Float, facing: Float, depth: Float) -> dict[str, Float]:
    """Texel by texel, as the docstrings say it."""
    out = {"colour": np.zeros((len(texels), 3)), "weight": np.zeros(len(texels)), "alpha": np.zeros(len(texels)), "view": np.zeros(len(texels))}
    at, cosines = texels.mean(points).astype(np.float64), texels.mean(facing[:, None])[:, 0]
    for i, ((x, y, z), cosine) in enumerate(zip(at, cosines, strict=True)):
        u, v = x - 0.5, y - 0.5
        if cosine < GRAZING or not (1.0 <= u < WIDTH - 2 and 1.0 <= v < HEIGHT - 2) or z > depth[round(v), round(u)] + DEPTH_TOLERANCE_M:
            continue
        column, row = int(u), int(v)
        right, down = u - column, v - row

        def between(image: NDArray[np.uint8], row: int = row, column: int = column, right: float = right, down: float = down) -> NDArray[np.float64]:
            upper = (1 - right) * image[row, column] + right * image[row, column + 1]
            return np.asarray((1 - down) * upper + down * ((1 - right) * image[row + 1, column] + right * image[row + 1, column + 1]))

        clear = np.clip((cosine - GRAZING) / (FULL - GRAZING), 0.0, 1.0)
        cover = float(between(matte))
        out["colour"][i] = between(picture)
        out["weight"][i] = 255.0 * clear * np.clip((cover / 255.0 - MIXED) / (1.0 - MIXED), 0.0, 1.0) ** 2
        out["alpha"][i], out["view"][i] = cover, 255.0 * max(clear, 0.15)
    return {name: values.astype(np.float32) for name, values in out.items()}


def test_samples_are_the_plain_ones() -> None:
    rng = np.random.default_rng(2)
    points, faces = patch(9, 9)
    uv = (0.1 + 0.8 * points).astype(np.float32)
    texels = Texels.of(uv, faces, faces, np.zeros(len(faces), np.uint8), 40, Bands(1))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.stack([100 + 90 * np.sin(x / 4.0), 100 + 90 * np.cos(y / 5.0), x + 2 * y], -1).astype(np.uint8)
    levels = np.array([255, 0, 180, 215, 130], np.uint8)
    matte = levels[np.minimum(x // STEP_PX, len(levels) - 1)]
    seen = np.concatenate([points * [60.0, 52.0] - 2.0, 0.5 + 0.05 * points[:, :1]], 1).astype(np.float32)
    facing = np.clip(1.3 - 1.5 * points[:, 1] + rng.normal(0, 0.02, len(points)), -1, 1).astype(np.float32)
    depth = np.where(y + x < 70, 0.6, 0.3).astype(np.float32)
    depth[:, 30:34] = np.inf
    expected = plain_samples(texels, picture, matte, seen, facing, depth)
    across = (texels.mean(seen)[:, 0] - 0.5) % STEP_PX
    level_matte = (across > 4) & (across < STEP_PX - 5)
    for count in (1, 3):
        bands, samples = Bands(count), Samples.empty(2, len(texels))
        collect(texels, picture, matte, seen, facing, depth, bands, samples, 1)
        bands.close()
        for name, value in expected.items():
            given = getattr(samples, name)
            assert not given[0].any(), "only its own row"
            off = given[1].astype(float) - value
            compared = {"colour": expected["view"] > 0.0, "weight": level_matte}.get(name, slice(None))
            assert (np.abs(off[compared]) > 1.01).mean() < 0.005, name
            if name == "weight":
                assert (off > 1.01).mean() < 0.005, "near an edge of the matte a texel may count for less"
    for part in (expected["view"] == 0.0, (expected["view"] > 0.0) & (expected["weight"] == 0.0), expected["weight"] == 255.0):
        assert (part & level_matte).mean() > 0.01, "every case is there"
    between = level_matte & (expected["weight"] > 5.0) & (expected["weight"] < 250.0)
    assert between.mean() > 0.03


def test_samples_of_a_second_frame_leave_nothing_of_the_first() -> None:
    points, faces = patch(3, 3)
    texels = Texels.of((0.1 + 0.8 * points).astype(np.float32), faces, faces, np.zeros(len(faces), np.uint8), 16, Bands(1))
    seen = np.concatenate([5.0 + points * 30.0, np.full((len(points), 1), 0.5)], 1).astype(np.float32)
    picture, matte = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)
    depth, samples = np.full((HEIGHT, WIDTH), np.inf, np.float32), Samples.empty(1, len(texels))
    collect(texels, picture, matte, seen, np.ones(len(points), np.float32), depth, Bands(1), samples, 0)
    assert (samples.weight == 255).all()
    collect(texels, picture, matte, seen, -np.ones(len(points), np.float32), depth, Bands(1), samples, 0)
    assert max(part.max() for part in (samples.weight, samples.view, samples.alpha)) == 0


def test_facing_is_the_cosine_to_the_camera() -> None:
    """A sheet seen under 60 degrees, off the axis."""
    points, faces = patch(4, 4)
    angle = np.radians(60.0)
    flat = np.concatenate([0.02 * (points - 0.5), np.zeros((len(points), 1))], 1)
    turned = flat @ np.array([[np.cos(angle), 0, -np.sin(angle)], [0, -1, 0], [np.sin(angle), 0, np.cos(angle)]]) + [0.0, 0.0, -50.0]
    towards = facing_of(turned.astype(np.float32), faces)
    np.testing.assert_allclose(towards, towards[0], atol=2e-3)
    assert abs(abs(float(towards[0])) - 0.5) < 2e-3
    np.testing.assert_allclose(facing_of(turned.astype(np.float32), faces[:, ::-1].copy()), -towards, atol=1e-6)
    front = np.concatenate([0.02 * (points - 0.5) * [1, -1], np.full((len(points), 1), -0.5)], 1).astype(np.float32)
    assert (facing_of(front, faces) > 0.99).all(), "counter-clockwise from the camera is towards it"


def test_filled_keeps_what_is_known_and_continues_it() -> None:
    rng = np.random.default_rng(3)
    for shape in ((32, 32), (37, 50)):
        values = rng.uniform(0.0, 255.0, (*shape, 2)).astype(np.float32)
        known = (rng.random(shape) < 0.4).astype(np.float32)
        result = filled(values, known)
        np.testing.assert_allclose(result[known > 0], values[known > 0], atol=0.01)
        low, high = values[known > 0].min(0), values[known > 0].max(0)
        assert (result >= low - 0.1).all()
        assert (result <= high + 0.1).all()
    even = np.full((24, 24, 1), 77.0, np.float32)
    one = np.zeros((24, 24), np.float32)
    one[3, 4] = 1.0
    np.testing.assert_allclose(filled(even * one[..., None], one), even, atol=1e-2)
    half = np.zeros((16, 16, 1), np.float32)
    half[:, 8:] = 100.0
    sides = np.zeros((16, 16), np.float32)
    sides[:, [0, 15]] = 1.0
    row = filled(half, sides)[8, :, 0]
    assert row[2] < 40.0 < 60.0 < row[13]

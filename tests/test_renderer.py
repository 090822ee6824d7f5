"""The fast renderer against the slow one, and its promises: buffers, mirror, badge, no crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import Material
from models.badge import make_badge
from models.baked import bake, pose_vertices
from models.head import HeadParams
from models.image_blob import encode_image
from models.lighting import light_vertices
from models.passes import Passes
from models.shading import draw_overlays, resolve_edges, shade_glossy, shade_rows
from models.texture_basis import blend_blocks
from models.watermark.marker import Marker, lay_mark
from models.yuv import luma_of, planes, to_i420
from realtime.backgrounds import backdrop
from realtime.renderer import AvatarRenderer
from tests.render_reference import render_reference
from tests.tiny_avatar import tiny_avatar

SIZE = 160
Picture = NDArray[np.uint8]


def turned(params: HeadParams, yaw: float = 0.35) -> HeadParams:
    expression = np.zeros_like(params.expression)
    expression[:2] = 0.6
    return replace(params, rotation=np.array([0.1, yaw, 0.05], np.float32), expression=expression, jaw=np.array([0.1, 0, 0], np.float32))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "trained"])
def avatar(request: pytest.FixtureRequest) -> AvatarFile:
    return tiny_avatar(32, trained=request.param)


@pytest.fixture(scope="module")
def renderer(avatar: AvatarFile) -> Iterator[AvatarRenderer]:
    made = AvatarRenderer(bake(avatar), SIZE, 2)
    yield made
    made.close()


def without_badge(size: int = SIZE) -> NDArray[np.bool_]:
    badge, margin = make_badge(size)
    mask = np.ones((size, size), bool)
    mask[size - margin - len(badge) : size - margin, margin : margin + badge.shape[1]] = False
    return mask


def psnr(one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    return float(20 * np.log10(255.0) - 10 * np.log10(np.mean((one - two) ** 2)))


def one_sample(renderer: AvatarRenderer, params: HeadParams, behind: Picture) -> tuple[Picture, NDArray[np.bool_]]:
    """The picture without edge samples, and where the edges are."""
    passes = Passes(renderer.avatar, SIZE, 1)
    passes.begin(renderer.avatar.pose_of(params))
    for step in (passes.pose, passes.prepare, passes.light, passes.rasterize):
        step(0)
    out = behind.copy()
    passes.shade(0, False, out)
    passes.overlay(0, False, out)
    passes.find(0)
    return out, passes.edges.slot >= 0


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_fast_is_near_the_reference_above_all_at_edges(avatar: AvatarFile, renderer: AvatarRenderer, yaw: float) -> None:
    params = turned(renderer.avatar.neutral(), yaw)
    behind = backdrop("checker", SIZE, plate=renderer.avatar.plate)
    exact = render_reference(avatar, params, behind)
    fast = renderer.render(params, "checker", False).astype(float)
    mask = without_badge()
    assert psnr(fast[mask], exact[mask]) > 34.0
    jagged, edges = one_sample(renderer, params, behind)
    edges &= mask
    assert 100 < edges.sum() < SIZE * SIZE // 8
    smooth_error, jagged_error = (np.mean((picture[edges] - exact[edges]) ** 2) for picture in (fast, jagged.astype(float)))
    assert smooth_error < 0.25 * jagged_error


def test_unlit_regions_and_a_texture_basis_are_near_the_reference() -> None:
    """As avatars from videos are: every region shows its texture as it is, and the basis adds to it."""
    lit = tiny_avatar(32, trained=True)
    file = replace(lit, regions=tuple(replace(region, material=Material(lit=False)) for region in lit.regions))
    renderer = AvatarRenderer(bake(file), SIZE, 2)
    params = turned(renderer.avatar.neutral())
    behind = backdrop("checker", SIZE, plate=renderer.avatar.plate)
    fast = renderer.render(params, "checker", False).astype(float)
    renderer.close()
    mask = without_badge()
    assert psnr(fast[mask], render_reference(file, params, behind)[mask]) > 34.0


def test_coverage_of_a_ball_is_its_area() -> None:
    """Moved by fractions of a pixel, the summed light of a white ball on black stays that of the disc: no shimmer, no bias."""
    plain = tiny_avatar(60)
    regions = tuple(replace(region, material=Material(lit=False)) for region in plain.regions)
    ball = plain.mesh.face_region == 0
    mesh = replace(plain.mesh, **{name: getattr(plain.mesh, name)[ball] for name in ("faces", "uv_faces", "face_region", "face_layer")})
    white = encode_image(np.full((64, 64, 4), 255, np.uint8))
    renderer = AvatarRenderer(bake(replace(plain, regions=regions, mesh=mesh, texture=white)), SIZE, 1)
    neutral = renderer.avatar.neutral()
    totals = []
    for step in range(12):
        moved = neutral.translation + np.array([0.00023, 0.00017, 0], np.float32) * step
        picture = renderer.render(replace(neutral, translation=moved), "#000000", False).astype(float)
        totals.append(picture[without_badge()].sum() / 765.0)
    renderer.close()
    area = np.pi * (1.9 * SIZE * 0.1) ** 2 / (0.55**2 - 0.1**2)
    assert np.mean(totals) == pytest.approx(area, rel=0.004)
    assert np.std(totals) < 2.5


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same_picture(avatar: AvatarFile, renderer: AvatarRenderer, threads: int) -> None:
    other = AvatarRenderer(renderer.avatar, SIZE, threads)
    params = turned(renderer.avatar.neutral())
    for _ in range(2):
        one, two = renderer.render(params, "gradient", False), other.render(params, "gradient", False)
        np.testing.assert_array_equal(one, two)
    other.close()


def test_mirror_flips_all_but_the_badge(renderer: AvatarRenderer) -> None:
    params = turned(renderer.avatar.neutral())
    straight, mirrored = renderer.render(params, "gradient", False), renderer.render(params, "gradient", True)
    mask = without_badge()
    both = mask & mask[:, ::-1]
    np.testing.assert_array_equal(straight[:, ::-1][both], mirrored[both])
    behind = np.zeros((SIZE, SIZE, 3), np.uint8)
    assert not np.array_equal(mirrored, straight)
    far = replace(params, translation=np.array([0, 0, 1], np.float32))
    badge = renderer.render(far, "#000000", False) if renderer.avatar.plate is None else None
    if badge is not None:
        np.testing.assert_array_equal(badge, renderer.render(far, "#000000", True))
        assert (badge != behind).any()


def test_without_the_badge_the_picture_is_as_it_is_beneath(renderer: AvatarRenderer) -> None:
    params, mask = turned(renderer.avatar.neutral()), without_badge()
    said = renderer.render(params, "checker").copy()
    renderer.set_badge(False)
    bare, i420 = renderer.render(params, "checker").copy(), renderer.render_i420(params, "checker").copy()
    renderer.set_badge(True)
    np.testing.assert_array_equal(said[mask], bare[mask])
    assert np.abs(said[~mask].astype(int) - bare[~mask]).max() > 50
    unmarked = luma_of(bare)
    assert (planes(i420)[0] != unmarked).any(), "the invisible mark stays"
    np.testing.assert_array_equal(renderer.render(params, "checker"), said)


def test_the_badge_is_always_there(renderer: AvatarRenderer) -> None:
    for background in ("avatar", "gradient", "green", "checker", "#ffffff"):
        picture = renderer.render(renderer.avatar.neutral(), background, False)
        marked = picture[~without_badge()].astype(int)
        assert marked.max() > 225
        assert np.median(marked) < 160


def test_i420_is_the_picture(renderer: AvatarRenderer) -> None:
    params = turned(renderer.avatar.neutral())
    i420 = renderer.render_i420(params, "gradient", True)
    rgb = renderer.render(params, "gradient", True).astype(float)
    assert i420.shape == (SIZE * 3 // 2, SIZE)
    luma, blue, red = planes(i420)
    weights = np.array([0.299, 0.587, 0.114])
    y = rgb @ weights
    unmarked, marker = np.zeros_like(luma), Marker(SIZE)
    to_i420(rgb.astype(np.uint8), 0, SIZE, unmarked, np.zeros_like(blue), np.zeros_like(red))
    marked = unmarked.copy()
    marker.mark_luma(marked, 0, SIZE)
    assert 42 < psnr(marked.astype(float), unmarked.astype(float)) < 60, "marked, but not to be seen"
    np.testing.assert_array_equal(luma, marked)
    np.testing.assert_allclose(unmarked, 16 + 219 / 255 * y, atol=1.5)
    small = rgb.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(blue, 128 + 224 / 255 * (small[..., 2] - small @ weights) / 1.772, atol=1.5)
    np.testing.assert_allclose(red, 128 + 224 / 255 * (small[..., 0] - small @ weights) / 1.402, atol=1.5)


def test_a_picture_outlives_the_next_two(renderer: AvatarRenderer) -> None:
    neutral = renderer.avatar.neutral()
    for render in (renderer.render, renderer.render_i420):
        first = render(neutral, "gradient", False)
        kept = first.copy()
        for yaw in (0.3, -0.3):
            assert render(turned(neutral, yaw), "green", False) is not first
        np.testing.assert_array_equal(first, kept)


def test_parameters_that_are_not_finite_show_the_neutral_face(renderer: AvatarRenderer) -> None:
    neutral = renderer.avatar.neutral()
    expected = renderer.render(neutral, "gradient", False)
    broken = replace(turned(neutral), rotation=np.full(3, np.nan, np.float32))
    np.testing.assert_array_equal(renderer.render(broken, "gradient", False), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"translation": np.array([0, 0, -0.02], np.float32)},
        {"translation": np.array([0, 0, -0.1], np.float32)},
        {"translation": np.array([5, 5, -0.1], np.float32)},
        {"translation": np.array([0, 0, 3], np.float32)},
        {"translation": np.array([0, 0, -1e9], np.float32)},
        {"expression": np.full(3, 1e9, np.float32)},
        {"expression": np.full(90, -3, np.float32)},
        {"rotation": np.array([50, 80, -90], np.float32)},
        {"gaze": np.full((2, 2), 3, np.float32), "jaw": np.full(3, 3, np.float32)},
    ],
)
def test_nothing_hurts_it(renderer: AvatarRenderer, change: dict[str, NDArray[np.float32]]) -> None:
    picture = renderer.render(replace(renderer.avatar.neutral(), **change), "green", False)
    assert picture.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("size", [64, 130, 514, 1024])
def test_sizes_frame_alike(size: int) -> None:
    baked = bake(tiny_avatar(16))
    renderer = AvatarRenderer(baked, size, 2)
    picture = renderer.render(baked.neutral(), "#000000", False)
    upper = picture[: size // 2].max(2) > 0
    assert upper.mean() == pytest.approx(0.393, abs=0.012)
    renderer.close()


def test_sizes_that_cannot_be_encoded_are_refused() -> None:
    baked = bake(tiny_avatar(12))
    for size in (63, 32, 511, 2048):
        with pytest.raises(ValueError, match="even number of pixels"):
            AvatarRenderer(baked, size)


def test_another_avatar(renderer: AvatarRenderer) -> None:
    before = renderer.avatar
    params = turned(before.neutral())
    expected = renderer.render(params, "avatar", False).copy()
    renderer.set_avatar(bake(tiny_avatar(12)))
    assert not np.array_equal(renderer.render(params, "avatar", False), expected)
    renderer.set_avatar(before)
    np.testing.assert_array_equal(renderer.render(params, "avatar", False), expected)


def compiled_after_warm_up(trained: bool) -> int:
    """How many kernels a session with both kinds of avatar compiles after `warm_up`."""
    kernels: list[Any] = [shade_rows, shade_glossy, resolve_edges, draw_overlays, blend_blocks, light_vertices, pose_vertices, to_i420, lay_mark]
    renderer = AvatarRenderer(bake(tiny_avatar(12, trained=trained)), 64)
    renderer.warm_up()
    before = sum(len(kernel.signatures) for kernel in kernels)
    for other in (not trained, trained):
        renderer.set_avatar(bake(tiny_avatar(12, trained=other)))
        for mirror in (False, True):
            renderer.render_i420(renderer.avatar.neutral(), "green", mirror)
    renderer.close()
    return sum(len(kernel.signatures) for kernel in kernels) - before


@pytest.mark.parametrize("trained", [False, True])
def test_warm_up_leaves_nothing_to_compile(trained: bool) -> None:
    code = f"from tests.test_renderer import compiled_after_warm_up as count; print(count({trained}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_close_twice() -> None:
    renderer = AvatarRenderer(bake(tiny_avatar(12)), 64)
    renderer.close()
    renderer.close()

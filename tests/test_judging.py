"""Figures against what they should be: scikit-image, plain sums, the reference FLIP; boxes and masks; renders with and without the bust."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_parts import Region
from models.baked import bake
from models.head import HeadParams, load_head
from models.rotations import to_matrix
from tests.tiny_avatar import tiny_avatar
from training.clip import Clip
from training.evaluate import OPEN_HEAD
from training.fitted import Fitted
from training.judging import Tally, Views, judge, judge_picture
from training.metrics import Box, flip_map, l1, landmark_figures, psnr, ssim
from training.regions import CHIN, RegionFinder, Regions, eye_box, mouth_box
from training.rendering import HeadRenderer, Mark, own_backdrop, static_texture

Picture = NDArray[np.uint8]


def noisy(seed: int, spread: float, size: int = 96) -> tuple[Picture, Picture]:
    """A smooth picture, and the same with noise."""
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (size, size + 8, 3)).astype(np.float64), (0, 0), 3.0)
    first = np.clip(128 + 4.0 * (smooth - 128), 0, 255)
    return first.astype(np.uint8), np.clip(first + rng.normal(0.0, spread, first.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spread", [1.0, 12.0, 60.0])
def test_figures_are_those_of_scikit_image(spread: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, two = noisy(1, spread)
    expected = metrics.structural_similarity(one, two, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2)
    assert ssim(one, two) == pytest.approx(expected, abs=2e-6)
    assert psnr(one, two) == pytest.approx(metrics.peak_signal_noise_ratio(one, two, data_range=255), abs=1e-6)
    assert l1(one, two) == pytest.approx(np.abs(one / 255.0 - two / 255.0).mean(), abs=1e-9)


def test_equal_pictures_have_finite_figures() -> None:
    one, _ = noisy(2, 1.0)
    assert [psnr(one, one), ssim(one, one), l1(one, one)] == pytest.approx([100.0, 1.0, 0.0])


def test_flip_is_the_reference_and_larger_where_the_pictures_differ() -> None:
    reference = pytest.importorskip("flip_evaluator")
    one, two = noisy(3, 12.0)
    two[:, :50] = one[:, :50]
    measure = flip_map()
    assert measure is not None
    errors = measure(one, two)
    assert errors.mean() == pytest.approx(reference.evaluate(one / np.float32(255), two / np.float32(255), "LDR")[1], abs=1e-5)
    assert errors[:, :30].mean() < 0.1 * errors[:, 70:].mean()


def test_a_box_outside_the_picture_is_none() -> None:
    assert Box.around(-20, 10.7, 50, 400, 100) == Box(0, 10, 50, 100)
    assert Box.around(120, 10, 180, 50, 100) is None
    assert Box.around(10, 10, 15, 50, 100) is None


def face_points() -> NDArray[np.float32]:
    """Landmarks whose mouth and eyes stand at known places of a 512 pixel picture."""
    points = np.full((478, 3), 256.0, np.float32)
    mouth, eyes = {61: (220, 340), 291: (300, 340), 0: (260, 320), 17: (260, 360)}, {33: (180, 220), 263: (340, 220), 70: (175, 190), 300: (345, 190)}
    for index, place in (mouth | eyes).items():
        points[index, :2] = place
    return points


def test_mouth_and_eye_boxes_have_the_prototypes_margins() -> None:
    points = face_points()
    halved = points * np.float32(0.5)
    assert mouth_box(points, 512) == Box(200, 292, 320, 388)
    assert eye_box(points, 512) == Box(167, 184, 353, 236)
    assert mouth_box(halved, 256) == Box(100, 146, 160, 194)
    assert eye_box(halved, 256) == Box(83, 92, 176, 118)


def one_frame(neck: tuple[float, float, float]) -> tuple[Clip, Fitted]:
    """A frame in which everything is the person, and a head 0.6 m away."""
    zero = np.zeros((1, 3), np.float32)
    fitted = Fitted(
        1.5, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), np.zeros((1, 51), np.float32), np.array([neck], np.float32), zero,
        np.zeros((1, 2, 2), np.float32), np.array([[0.02, 0.03, -0.6]], np.float32),
    )  # fmt: skip
    matte = np.full((1, 512, 512), 255, np.uint8)
    matte[:, :, :60] = 0
    matte[:, 100:110, 10:20] = 255
    clip = Clip(
        np.full((1, 512, 512, 3), 100, np.uint8), matte, np.zeros(1), face_points()[None], np.zeros((1, 52), np.float32), np.ones(1, np.float32),
        np.zeros((1, 2), np.int32), np.ones(1, bool),
    )  # fmt: skip
    return clip, fitted


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.2, 0.4, 0.1)])
def test_the_head_ends_just_below_the_chin(turn: tuple[float, float, float]) -> None:
    head = load_head(OPEN_HEAD)
    clip, fitted = one_frame(turn)
    regions = RegionFinder(head, fitted, clip).find(0)
    neck, root = head.joints(head.template)[[1, 0]]
    none, still = np.zeros(0, np.float32), np.zeros(3, np.float32)
    params = HeadParams(none, none, still, fitted.neck[0], still, fitted.gaze[0], fitted.translation[0])
    chin = head.landmarks(head.vertices(params))[CHIN]
    carried = to_matrix(fitted.neck[0]) @ (root - neck) + neck + fitted.translation[0]
    point = 0.9 * chin + 0.1 * carried
    expected = 512 * (0.5 - 1.5 * point[1] / -point[2])
    lowest = 512 * (0.5 - 1.5 * chin[1] / -chin[2])
    assert abs(regions.cut - lowest) < 15
    assert abs(regions.cut - expected) < 3.0
    assert not regions.mask[regions.cut :].any()
    assert regions.mask[regions.cut - 1, 300] == 255
    assert regions.head_box == Box(60, 0, 512, regions.cut)


def test_a_head_without_a_chin_is_not_cut_off() -> None:
    clip, fitted = one_frame((0.0, 0.0, 0.0))
    head = load_head(OPEN_HEAD)
    regions = RegionFinder(replace(head, landmark_faces=np.full_like(head.landmark_faces, -1)), fitted, clip).find(0)
    assert regions.cut == 512
    np.testing.assert_array_equal(regions.mask, clip.mattes[0])


def test_a_frame_without_a_person_has_no_head_box() -> None:
    clip, fitted = one_frame((0.0, 0.0, 0.0))
    regions = RegionFinder(load_head(OPEN_HEAD), fitted, replace(clip, mattes=np.zeros_like(clip.mattes))).find(0)
    assert regions.head_box is None
    real = clip.frames[0]
    assert set(judge(real, Views(real, real, real), regions).scores) == {"full", "mouth", "eyes"}


def test_each_region_sees_its_own_part_of_the_picture() -> None:
    real, _ = noisy(4, 1.0, 512)
    real = np.ascontiguousarray(real[:, :512])
    mask = np.zeros((512, 512), np.uint8)
    mask[100:400, 100:400] = 255
    regions = Regions(mask, 400, Box(100, 100, 400, 400), Box(200, 300, 300, 380), Box(180, 180, 320, 240))

    def spoilt(top: int, left: int) -> Picture:
        picture = real.copy()
        picture[top : top + 20, left : left + 20] ^= 64
        return picture

    perfect = Views(real, real, regions.on_black(real))
    assert all(score.psnr == 100.0 for score in judge(real, perfect, regions).scores.values())
    for top, left, hurt in ((20, 20, {"full"}), (150, 110, {"full", "clean", "head_box"}), (320, 220, {"full", "clean", "head_box", "mouth"})):
        picture = spoilt(top, left)
        scores = judge(real, Views(picture, picture, regions.on_black(real)), regions).scores
        assert {name for name, score in scores.items() if score.psnr < 99.0} == hurt
    for views, hurt in ((replace(perfect, black=real // 2), {"black"}), (replace(perfect, over=real // 2), {"head_box", "mouth", "eyes"})):
        assert {name for name, score in judge(real, views, regions).scores.items() if score.psnr < 99.0} == hurt
    assert {name for name, score in judge(real, replace(perfect, full=real // 2), regions).scores.items() if score.psnr < 99.0} == {"full", "clean"}
    assert set(judge_picture(real, real, regions).scores) == {"full", "head_box", "mouth", "eyes"}


def test_means_are_over_the_frames_that_have_the_region() -> None:
    clip, fitted = one_frame((0.0, 0.0, 0.0))
    regions = RegionFinder(load_head(OPEN_HEAD), fitted, clip).find(0)
    real, off = clip.frames[0], clip.frames[0] + np.uint8(10)
    tally = Tally()
    tally.add(judge(real, Views(off, off, regions.on_black(off)), regions))
    tally.add(judge(real, Views(real, real, real), replace(regions, head_box=None, mouth=None)))
    means = tally.means()
    assert means["mouth"]["l1"] == pytest.approx(10 / 255, abs=1e-5)
    assert means["full"]["l1"] == pytest.approx(5 / 255, abs=1e-5)
    assert tally.curve("mouth")[1] is None


def test_landmark_figures_know_distance_and_jitter() -> None:
    base = face_points()
    base[473, :2], base[468, :2] = (300, 220), (200, 220)
    steady = [base + np.float32(k) for k in range(6)]
    shaking = [points + np.array([3.0 * (-1) ** k, 0, 0], np.float32) for k, points in enumerate(steady)]
    figures = landmark_figures(steady, [*shaking[:5], None])
    assert figures is not None
    assert figures.distance_px == pytest.approx(3.0, abs=1e-4)
    assert figures.distance_percent == pytest.approx(3.0, abs=1e-4)
    assert figures.real_jitter_percent == pytest.approx(0.0, abs=1e-4)
    assert figures.rendered_jitter_percent == pytest.approx(12.0, abs=1e-3)
    assert figures.lost == 1
    assert landmark_figures(steady, [None] * 6) is None


def test_head_leaves_the_bust_out_and_all_does_not() -> None:
    file = tiny_avatar(16, trained=True)
    busty = replace(file, regions=tuple(Region("bust", each.material) if each.name == "photo" else each for each in file.regions))
    region = busty.mesh.face_region.copy()
    centre = busty.mesh.vertices[busty.mesh.faces].mean(1)
    region[(centre[:, 1] < -0.03) & (region == 0)] = [each.name for each in busty.regions].index("bust")
    busty = replace(busty, mesh=replace(busty.mesh, face_region=region))
    renderer, size = HeadRenderer(busty, 160), 160
    behind = np.full((size, size, 3), (0, 255, 0), np.uint8)
    params = bake(busty).neutral()
    whole, head = renderer.render(params, behind), renderer.render(params, behind, "head")
    shown = [(picture != behind).any(2) for picture in (whole, head)]
    renderer.close()
    assert shown[1].sum() < 0.85 * shown[0].sum()
    assert not (shown[1] & ~shown[0]).any()
    upper = slice(0, 80)
    np.testing.assert_array_equal(whole[upper], head[upper])
    assert (behind == (0, 255, 0)).all()


def test_static_texture_ignores_the_pose_and_own_backdrop_holds_the_plate() -> None:
    file = tiny_avatar(16, trained=True)
    neutral = bake(file).neutral()
    moved = replace(neutral, gaze=np.full((2, 2), 0.5, np.float32), neck=np.array([0.0, 0.3, 0.0], np.float32))
    state = [bake(static_texture(file)).pose_of(params) for params in (neutral, moved)]
    np.testing.assert_array_equal(state[0].texture, state[1].texture)
    np.testing.assert_array_equal(state[0].dynamic, state[1].dynamic)
    assert not np.array_equal(bake(file).pose_of(neutral).texture, bake(file).pose_of(moved).texture)
    backdrop = own_backdrop(file, 192)
    assert tuple(backdrop[10, 10]) == (20, 60, 90)
    assert tuple(backdrop[160, 96]) == (90, 40, 60)
    assert (own_backdrop(replace(file, plate=None, background=None), 64) == 128).all()


def test_the_mark_is_laid_in_the_lower_left() -> None:
    grey = np.full((256, 256, 3), 120, np.uint8)
    marked = Mark(256).lay(grey.copy())
    change = np.abs(marked.astype(int) - grey).max(2)
    assert 0 < change[:200].max() <= 4, "the invisible mark"
    rows, columns = np.nonzero(change > 8)
    assert rows.min() > 220
    assert columns.max() < 128
    assert math.isclose(columns.min(), 256 * 0.025, abs_tol=2)

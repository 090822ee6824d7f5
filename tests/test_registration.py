"""Registration at run time: colours at vertices, and the steps that they ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_parts import TrainedRange
from models.baked import BakedAvatar, bake
from models.driver import Registration, RegistrationStage
from models.head import HeadParams
from models.registration import Registrar, features
from models.rotations import to_axis_angle, to_matrix
from tests.tiny_avatar import NAMES, tiny_avatar

UNKNOWNS = 10 + len(NAMES)
FOCAL_PX, CENTRE_PX = 300.0, (100.0, 80.0)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """Smooth, 200 wide and 160 high, different in each channel."""
    y, x = np.mgrid[:160, :200] / 30.0
    waves = [np.sin(x + y), np.cos(1.3 * x - y), np.sin(0.7 * x) * np.cos(1.1 * y)]
    return np.rint(120.0 + 70.0 * np.stack(waves, -1)).astype(np.uint8)


@pytest.fixture(scope="module")
def avatar() -> BakedAvatar:
    return bake(tiny_avatar(12, trained=True))


def reference(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Plain: average 3 x 3, interpolate, normalise."""
    padded = np.pad(image.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="edge")
    shifted = [padded[1 + i : padded.shape[0] - 1 + i, 1 + k : padded.shape[1] - 1 + k] for i in (-1, 0, 1) for k in (-1, 0, 1)]
    mean = np.mean(shifted, axis=0)
    colours = []
    for x, y in points.astype(np.float64) + 0.5:
        column, row = int(x), int(y)
        right, down = x - column, y - row
        upper = (1 - right) * mean[row, column] + right * mean[row, column + 1]
        colours.append((1 - down) * upper + down * ((1 - right) * mean[row + 1, column] + right * mean[row + 1, column + 1]))
    found = np.array(colours)
    return ((found - found.mean(0)) / found.std(0)).reshape(-1)


def inside(count: int, margin: float, seed: int = 1) -> NDArray[np.float32]:
    low, high = np.array([margin, margin]), np.array([200.0, 160.0]) - margin
    return np.random.default_rng(seed).uniform(low, high, (count, 2)).astype(np.float32)


def test_features_are_the_plain_ones(picture: NDArray[np.uint8]) -> None:
    points = inside(300, 2.0)
    assert features(picture, points) == pytest.approx(reference(picture, points), abs=2e-4)
    both = np.stack([points, inside(300, 2.0, seed=2)])
    np.testing.assert_array_equal(features(picture, both), [features(picture, one) for one in both])
    assert features(picture, inside(50, 0.0)).shape == (150,)


def test_exposure_and_white_balance_drop_out(picture: NDArray[np.uint8]) -> None:
    points = inside(300, 2.0)
    darker = np.rint(picture * np.array([0.5, 0.7, 0.6]) + np.array([20.0, 0.0, 10.0])).astype(np.uint8)
    assert np.abs(features(darker, points) - features(picture, points)).max() < 0.02


def test_outside_and_flat_pictures_say_nothing(picture: NDArray[np.uint8]) -> None:
    points = inside(300, 2.0)
    points[:3] = (-5.0, 20.0), (np.nan, 20.0), (50.0, np.inf)
    found = features(picture, points).reshape(-1, 3)
    assert not found[:3].any()
    assert found[3:].reshape(-1) == pytest.approx(reference(picture, points[3:]), abs=2e-4)
    assert np.abs(features(np.full_like(picture, 90), points)).max() < 1e-4
    assert not features(picture, np.full((20, 2), -1.0, np.float32)).any()


def registration(avatar: BakedAvatar, matrix: NDArray[np.float32], bias: NDArray[np.float32], stages: int = 1) -> Registration:
    points = matrix.shape[1] // 3
    vertices = np.arange(0, len(avatar.base), len(avatar.base) // points)[:points].astype(np.int32)
    return Registration(vertices, (RegistrationStage(np.zeros(3 * points, np.float32), matrix, bias),) * stages)


def params(yaw: float = 0.2) -> HeadParams:
    plain = HeadParams.neutral(len(NAMES), depth_m=0.55)
    return replace(plain, neck=np.array([0.05, yaw, 0.0], np.float32), expression=np.array([0.3, 0.1, 0.5], np.float32))


def test_the_points_are_the_avatars_vertices(avatar: BakedAvatar) -> None:
    plan = registration(avatar, np.zeros((UNKNOWNS, 90), np.float32), np.zeros(UNKNOWNS, np.float32))
    camera = avatar.pose(params())[plan.vertices]
    expected = np.array(CENTRE_PX) + FOCAL_PX * camera[:, :2] * (1.0, -1.0) / -camera[:, 2:]
    assert Registrar(plan, avatar).points(params(), FOCAL_PX, CENTRE_PX) == pytest.approx(expected, abs=1e-2)


def test_a_stage_adds_what_its_matrix_says(avatar: BakedAvatar, picture: NDArray[np.uint8]) -> None:
    """The rotation from the left, on the neck; the second stage looks where the first one has led."""
    rng = np.random.default_rng(4)
    matrix, bias = rng.normal(0.0, 0.002, (UNKNOWNS, 90)).astype(np.float32), rng.normal(0.0, 0.02, UNKNOWNS).astype(np.float32)
    registrar = Registrar(registration(avatar, matrix, bias, stages=2), avatar)
    now = params()
    for _ in range(2):
        delta = matrix @ features(picture, registrar.points(now, FOCAL_PX, CENTRE_PX)) + bias
        now = replace(
            now,
            neck=to_axis_angle(to_matrix(delta[:3]) @ to_matrix(now.neck)).astype(np.float32),
            translation=now.translation + delta[3:6],
            expression=np.clip(now.expression + delta[6:-4], 0.0, 1.0),
            gaze=now.gaze + delta[-4:].reshape(2, 2),
        )
    found = registrar.refine(picture, params(), FOCAL_PX, CENTRE_PX)
    for one, two in ((found.neck, now.neck), (found.translation, now.translation), (found.expression, now.expression), (found.gaze, now.gaze)):
        assert one == pytest.approx(two, abs=1e-5)
    assert np.abs(found.neck - params().neck).max() > 0.01


def test_expressions_stay_in_the_trained_range(avatar: BakedAvatar, picture: NDArray[np.uint8]) -> None:
    bias = np.zeros(UNKNOWNS, np.float32)
    bias[6:9] = (9.0, -9.0, 0.1)
    narrow = replace(avatar, ranges=replace(TrainedRange.usual(3), expression=np.array([[0.0, 0.6], [0.05, 1.0], [0.0, 1.0]], np.float32)))
    found = Registrar(registration(avatar, np.zeros((UNKNOWNS, 90), np.float32), bias), narrow).refine(picture, params(), FOCAL_PX, CENTRE_PX)
    assert found.expression == pytest.approx([0.6, 0.05, 0.6])


def test_nothing_odd_comes_out(avatar: BakedAvatar, picture: NDArray[np.uint8]) -> None:
    """Odd numbers in the registration, odd parameters, a face at the edge: what was given comes back."""
    bias = np.full(UNKNOWNS, 0.1, np.float32)
    plan = registration(avatar, np.zeros((UNKNOWNS, 90), np.float32), bias)
    aside = replace(params(), translation=np.array([0.4, 0.0, -0.55], np.float32))
    assert Registrar(plan, avatar).refine(picture, aside, FOCAL_PX, CENTRE_PX) is aside
    odd = replace(plan, stages=(replace(plan.stages[0], bias=np.full(UNKNOWNS, np.nan, np.float32)),))
    given = params()
    assert Registrar(odd, avatar).refine(picture, given, FOCAL_PX, CENTRE_PX) is given
    lost = replace(params(), translation=np.full(3, np.nan, np.float32))
    assert features(picture, Registrar(plan, avatar).points(lost, FOCAL_PX, CENTRE_PX)).shape == (90,)

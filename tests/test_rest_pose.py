"""An avatar learned from a video rests where it was learned, not at zero: at first, relative to any driver, and when its own person leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.baked import bake
from models.head import HeadParams
from models.rest_pose import CALMER
from models.rotations import to_axis_angle, to_matrix
from realtime.reenactor import rig_of
from realtime.retarget import Retargeter
from tests.synthetic_face import ARKIT
from tests.test_own import driver as own_driver
from tests.test_retarget import AVATAR_NAMES, RIG, driver, run, weight
from tests.tiny_avatar import tiny_avatar

NECK, GAZE = np.array([-0.2, 0.05, 0.03], np.float32), np.array([[0.02, 0.1], [0.02, 0.1]], np.float32)
EXPRESSION = np.array([0.2, 0.1, 0.15, 0.15, 0.0, 0.3, 0.4], np.float32)
REST = replace(HeadParams.neutral(len(AVATAR_NAMES)), neck=NECK, gaze=GAZE, expression=EXPRESSION)
RESTING = replace(
    RIG, rest=REST, rotation_limit=np.zeros(3), neck_limit=np.array([0.6, 0.45, 0.5]), neck_range=np.array([[-0.6, 0.1], [-0.4, 0.45], [-0.3, 0.5]])
)


def assert_rests(shown: HeadParams) -> None:
    np.testing.assert_allclose(shown.neck, NECK, atol=0.02)
    np.testing.assert_allclose(shown.gaze, GAZE, atol=0.02)
    np.testing.assert_allclose(shown.expression, EXPRESSION, atol=0.03)


def test_a_driver_at_rest_shows_the_avatar_at_rest() -> None:
    assert_rests(run(Retargeter(ARKIT, RESTING), driver(turn=(0.1, 0.0, 0.0)), 2.0))


def test_a_turn_is_added_to_the_rest_and_kept_inside_what_was_seen() -> None:
    retargeter = Retargeter(ARKIT, RESTING)
    run(retargeter, driver(), 2.0)
    up = run(retargeter, driver(turn=(-0.2, 0.0, 0.0)), 1.0, 2.0)
    np.testing.assert_allclose(up.neck, to_axis_angle(to_matrix((-0.2, 0.0, 0.0)) @ to_matrix(NECK)), atol=0.02)
    down = run(retargeter, driver(turn=(0.7, 0.0, 0.0)), 1.0, 3.0)
    assert 0.0 < down.neck[0] <= 0.1 + 0.01, "the clip showed them looking down by 0.1 only, and up by 0.6"


def test_full_expressions_stay_full() -> None:
    retargeter = Retargeter(ARKIT, RESTING)
    run(retargeter, driver(), 2.0)
    assert weight(run(retargeter, driver(mouthSmileLeft=1.0), 1.0, 2.0), "mouthSmileLeft") > 0.95
    half = weight(run(retargeter, driver(mouthSmileLeft=0.5), 1.0, 3.0), "mouthSmileLeft")
    assert 0.5 < half < 0.6


def test_its_own_person_is_absolute_and_leaves_it_at_rest() -> None:
    retargeter = Retargeter(ARKIT, RESTING)
    there = own_driver(turn=(-0.3, 0.2, 0.1), place=(0.0, 0.01, -0.55), mouthSmileLeft=0.5)
    for frame in range(60):
        shown = retargeter.retarget(there, frame / 30, True)
    np.testing.assert_allclose(shown.neck, there.neck, atol=0.005)
    np.testing.assert_allclose(shown.gaze, there.gaze, atol=0.005)
    assert abs(weight(shown, "mouthSmileLeft") - 0.5) < 0.01
    for frame in range(60, 200):
        shown = retargeter.retarget(None, frame / 30, True)
    assert_rests(replace(shown, expression=np.where(np.arange(len(AVATAR_NAMES)) < 6, shown.expression, EXPRESSION)))


def test_an_avatar_with_a_weight_function_rests_near_its_mean() -> None:
    file = tiny_avatar(trained=True)
    assert file.weights is not None
    mean = np.arange(len(file.weights.mean), dtype=np.float32) / 40.0
    scale = np.full(len(mean), 0.1, np.float32)
    file = replace(file, weights=replace(file.weights, mean=mean, scale=scale))
    avatar = bake(file)
    neutral = avatar.neutral()
    np.testing.assert_allclose(neutral.neck, mean[3:6])
    np.testing.assert_allclose(neutral.gaze.ravel(), mean[9:13])
    np.testing.assert_allclose(neutral.expression, mean[13:] - 0.1 * CALMER, rtol=1e-5)
    signed = replace(file.ranges, expression=file.ranges.expression - np.float32(0.5))
    np.testing.assert_allclose(bake(replace(file, ranges=signed)).neutral().expression, mean[13:])
    np.testing.assert_array_equal(neutral.rotation, np.zeros(3))
    np.testing.assert_array_equal(rig_of(avatar).at_rest().neck, neutral.neck)
    np.testing.assert_array_equal(bake(tiny_avatar()).neutral().neck, np.zeros(3))

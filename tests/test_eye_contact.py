"""Who looks at their camera as they did at rest, looks at the avatar's viewer, whatever the head does; who looks away, looks away at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadParams
from models.rotations import to_matrix
from realtime.eye_contact import EyeContactSettings, contact_gaze, towards
from realtime.neutral import face_at, sight
from realtime.packets import GainGroup
from realtime.retarget import AvatarRig, Retargeter, RetargetSettings
from tests.synthetic_face import ARKIT
from tests.test_rest_pose import RESTING
from tests.test_retarget import FRAME_S, RIG, driver, run

Double = NDArray[np.float64]
WITHOUT = replace(RetargetSettings(), eye_contact=EyeContactSettings(0.0, 0.0))
TURNS = ((0.0, 0.35, 0.0), (0.0, -0.35, 0.0), (0.15, 0.2, 0.1), (-0.15, -0.2, -0.1), (0.2, 0.0, 0.0), (0.0, 0.3, 0.2))


def off_viewer_deg(shown: HeadParams, rig: AvatarRig = RIG) -> float:
    """The angle between where the avatar looks and where it looks at its viewer, as it does at rest."""
    head, rest = to_matrix(shown.rotation) @ to_matrix(shown.neck), rig.at_rest()
    at_rest_head, seat = to_matrix(rest.neck), rig.default_translation.astype(np.float64)
    at_rest: Double = sight(face_at(seat, at_rest_head)).T @ towards(at_rest_head, rest.gaze.reshape(-1).astype(np.float64))
    now: Double = sight(face_at(shown.translation.astype(np.float64), head)).T @ towards(head, shown.gaze.reshape(-1).astype(np.float64))
    return float(np.degrees(np.arccos(np.clip(now @ at_rest, -1.0, 1.0))))


def looking(turn: tuple[float, float, float], off: tuple[float, float] = (0.0, 0.0)) -> HeadParams:
    """A driver who turns their head and keeps their eyes on the camera, or `off` it by so much yaw and pitch."""
    straight = driver(turn)
    head = to_matrix(turn)
    neck_at = straight.translation.astype(np.float64)
    wanted = head.T @ sight(face_at(neck_at, head)) @ sight(face_at(neck_at, np.eye(3))).T @ np.array([0.0, 0.0, 1.0])
    yaw, pitch = np.arctan2(wanted[0], wanted[2]) + off[0], -np.arcsin(wanted[1]) + off[1]
    return replace(straight, gaze=np.array([[yaw, pitch]] * 2, np.float32))


def after_rest(params: HeadParams, settings: RetargetSettings | None = None, rig: AvatarRig = RIG, head_gain: float = 1.0) -> HeadParams:
    retargeter = Retargeter(ARKIT, rig, settings)
    run(retargeter, driver(), 2.0)
    retargeter.set_gain(GainGroup.HEAD, head_gain)
    return run(retargeter, params, 1.5, 2.0)


@pytest.mark.parametrize("turn", TURNS)
def test_a_contact_gaze_looks_as_at_rest(turn: tuple[float, float, float]) -> None:
    rest_gaze = np.array([0.05, 0.1, -0.05, 0.1])
    rest_head, seat, place = to_matrix((-0.2, 0.05, 0.03)), np.array([0.0, 0.01, -0.55]), np.array([0.04, -0.02, -0.6])
    head = to_matrix(turn)
    gaze = contact_gaze(head, place, rest_head, seat, rest_gaze)
    now = sight(face_at(place, head)).T @ towards(head, gaze)
    assert now == pytest.approx(sight(face_at(seat, rest_head)).T @ towards(rest_head, rest_gaze), abs=1e-6)
    assert gaze[0] - gaze[2] == pytest.approx(0.1), "the eyes converge as they do at rest"
    assert contact_gaze(rest_head, seat, rest_head, seat, rest_gaze) == pytest.approx(rest_gaze)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("rig", [RIG, RESTING], ids=["at_zero", "elsewhere"])
def test_eyes_on_the_camera_are_eyes_on_the_viewer(turn: tuple[float, float, float], rig: AvatarRig) -> None:
    """Measured three degrees beside it."""
    beside = looking(turn, (0.05, -0.02))
    assert off_viewer_deg(after_rest(beside, rig=rig), rig) < 0.5
    assert off_viewer_deg(after_rest(beside, WITHOUT, rig), rig) > 1.0


def test_also_where_the_user_wants_less_of_the_head() -> None:
    still_looking = looking((0.0, 0.35, 0.0))
    assert off_viewer_deg(after_rest(still_looking, head_gain=0.0)) < 0.5
    assert off_viewer_deg(after_rest(still_looking, WITHOUT, head_gain=0.0)) > 15.0


def test_a_glance_away_is_as_far_and_as_soon() -> None:
    """Fourteen degrees within a frame."""
    gazes = []
    for settings in (None, WITHOUT):
        retargeter = Retargeter(ARKIT, RIG, settings)
        run(retargeter, driver(), 2.0)
        gazes.append([retargeter.retarget(looking((0.0, 0.0, 0.0), (0.25, 0.0)), 2.0 + index * FRAME_S).gaze[0, 0] for index in range(12)])
    assert gazes[0][2] > 0.9 * gazes[1][2]
    assert gazes[0][-1] == pytest.approx(gazes[1][-1], abs=0.005)


def test_a_gaze_leaves_contact_smoothly() -> None:
    """A slow sweep: never back, and never more than twice as fast as the driver's."""
    retargeter = Retargeter(ARKIT, RIG)
    run(retargeter, driver(), 2.0)
    sweep = np.linspace(0.0, 0.35, 200)
    shown = np.array([retargeter.retarget(looking((0.0, 0.0, 0.0), (angle, 0.0)), 2.0 + index * FRAME_S).gaze[0, 0] for index, angle in enumerate(sweep)])
    steps = np.diff(shown)
    assert steps.min() > -1e-4
    assert steps.max() < 2.6 * (sweep[1] - sweep[0])
    assert shown[-1] > 0.95 * sweep[-1]


def test_without_it_a_gaze_is_what_the_driver_does() -> None:
    shown = after_rest(driver(gaze=0.03), WITHOUT)
    assert shown.gaze == pytest.approx(np.full((2, 2), 0.03), abs=1e-3)


def test_the_head_is_left_alone() -> None:
    one, two = after_rest(looking((0.1, 0.3, 0.0))), after_rest(looking((0.1, 0.3, 0.0)), WITHOUT)
    assert np.array_equal(one.neck, two.neck)
    assert np.array_equal(one.rotation, two.rotation)

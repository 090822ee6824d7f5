"""The avatar's own person drives it: what was solved goes over as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.own import beyond
from realtime.retarget import AvatarRig, Retargeter
from tests.synthetic_face import ARKIT

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
NAMES = ("eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "eyeSquintLeft", "onlyTheAvatarHasIt")
RIG = AvatarRig(
    expression_names=NAMES,
    expression_min=np.zeros(len(NAMES)),
    expression_max=np.array([1.0, 0.7, 1.0, 1.0, 1.0]),
    rotation_limit=np.zeros(3),
    neck_limit=np.array([0.3, 0.5, 0.2]),
    gaze_limit=np.array([0.4, 0.3]),
    default_translation=np.array([0.02, 0.01, -0.6]),
)


def driver(turn: tuple[float, float, float] = (0.1, -0.2, 0.05), place: tuple[float, float, float] = (0.0, 0.03, -0.58), **weights: float) -> HeadParams:
    expression = np.zeros(len(ARKIT), np.float32)
    for name, weight in weights.items():
        expression[ARKIT.index(name)] = weight
    plain = HeadParams.neutral(len(ARKIT))
    gaze = np.array([[0.1, -0.05], [0.12, -0.04]], np.float32)
    return replace(plain, expression=expression, neck=np.array(turn, np.float32), gaze=gaze, translation=np.array(place, np.float32))


def run(retargeter: Retargeter, params: HeadParams | None, seconds: float, start_s: float = 0.0, own: bool = True) -> HeadParams:
    """The last of a stretch of the same parameters."""
    for frame in range(max(round(seconds / FRAME_S), 1)):
        shown = retargeter.retarget(params, start_s + frame * FRAME_S, own)
    return shown


def settled(params: HeadParams, rig: AvatarRig = RIG) -> HeadParams:
    return run(Retargeter(ARKIT, rig), params, 1.0)


def test_everything_goes_over_as_it_is() -> None:
    """No rest is subtracted, nothing is scaled, no lid is learned, and the torso stays."""
    given = driver(eyeBlinkLeft=0.35, jawOpen=0.4, mouthSmileLeft=0.2, eyeSquintLeft=0.3, tongueOut=0.5)
    shown = settled(given)
    assert shown.neck == pytest.approx(given.neck, abs=1e-5)
    assert not shown.rotation.any()
    assert shown.translation == pytest.approx(given.translation, abs=1e-5)
    assert shown.gaze == pytest.approx(given.gaze, abs=1e-5)
    assert shown.expression == pytest.approx((0.35, 0.4, 0.2, 0.3, 0.0), abs=1e-4)
    assert not shown.jaw.any()


def test_it_is_there_within_a_third_of_a_second() -> None:
    """The avatar starts at rest and is eased to the driver."""
    made, given = Retargeter(ARKIT, RIG), driver(mouthSmileLeft=0.5)
    assert made.retarget(given, 0.0, True).expression[2] == pytest.approx(0.0, abs=1e-6)
    assert run(made, given, 0.34, FRAME_S).expression[2] == pytest.approx(0.5, abs=1e-3)


def test_limits_bend_only_past_the_trained_range() -> None:
    shown = settled(driver((0.3, 0.9, -0.2), jawOpen=1.0))
    assert shown.neck[[0, 2]] == pytest.approx((0.3, -0.2), abs=1e-4)
    assert 0.5 < shown.neck[1] < 0.65
    assert shown.expression[1] == pytest.approx(0.7)
    values = np.linspace(-3.0, 3.0, 1201)
    bent = np.array([float(beyond(np.array([value]), np.array([0.5]), 0.15)[0]) for value in values])
    assert bent[np.abs(values) <= 0.5] == pytest.approx(values[np.abs(values) <= 0.5])
    assert (np.diff(bent) >= 0.0).all()
    assert np.abs(np.diff(bent)).max() < 0.0051
    assert np.abs(bent).max() <= 0.65


def test_another_distance_is_taken_relative_to_it() -> None:
    """Twice as far away: the avatar stays at its own place, and moves in proportion; the head looks as the driver's does."""
    made, far = Retargeter(ARKIT, RIG), (0.2, 0.0, -1.2)
    shown = run(made, driver(place=far), 1.0)
    assert shown.translation == pytest.approx(RIG.default_translation, abs=1e-4)
    moved = run(made, driver(place=(0.3, 0.0, -1.2)), 1.0, 1.0)
    assert moved.translation - shown.translation == pytest.approx((0.05, 0.0, 0.0), abs=1e-4)
    aside = np.arctan2(far[0], -far[2]) - np.arctan2(RIG.default_translation[0], 0.6)
    assert to_axis_angle(to_matrix(shown.neck) @ to_matrix(driver().neck).T)[1] == pytest.approx(aside, abs=0.03)


@pytest.mark.parametrize(
    ("place", "absolute"), [((0.1, -0.1, -0.67), True), ((0.02, 0.01, -0.75), False), ((0.3, 0.01, -0.6), False), ((0.0, 0.0, -0.45), False)]
)
def test_where_the_driver_sits_decides(place: tuple[float, float, float], absolute: bool) -> None:
    assert np.allclose(settled(driver(place=place)).translation, place, atol=1e-4) is absolute


def test_the_first_frame_alone_does_not_decide() -> None:
    """They lean in when the camera starts, and then sit where they sat in the clip; and the avatar does not jump when that is noticed."""
    made = Retargeter(ARKIT, RIG)
    places = [run(made, driver(place=(0.0, 0.0, -0.48)), 0.1).translation]
    places += [made.retarget(driver(), 0.1 + frame * FRAME_S, True).translation for frame in range(60)]
    assert places[-1] == pytest.approx(driver().translation, abs=1e-4)
    assert np.abs(np.diff(np.array(places)[10:], axis=0)).max() < 0.02


def test_head_and_place_lag_less_than_a_third_of_a_frame() -> None:
    """At the speed of talking people: 0.3 radians and 0.06 metres a second."""
    made = Retargeter(ARKIT, RIG)
    run(made, driver((0.0, -0.3, 0.0), (-0.06, 0.01, -0.6)), 1.0)
    for frame in range(30):
        t = frame * FRAME_S
        shown = made.retarget(driver((0.0, -0.3 + 0.3 * t, 0.0), (-0.06 + 0.06 * t, 0.01, -0.6)), 1.0 + t, True)
    assert (-0.3 + 0.3 * t - shown.neck[1]) / 0.3 < 0.3 * FRAME_S
    assert (-0.06 + 0.06 * t - shown.translation[0]) / 0.06 < 0.3 * FRAME_S


def test_a_lost_face_is_eased_to_rest_and_back() -> None:
    made, given = Retargeter(ARKIT, RIG), driver(mouthSmileLeft=0.6)
    run(made, given, 1.0)
    assert made.retarget(None, 1.1, True).expression[2] == pytest.approx(0.6, abs=1e-3)
    gone = run(made, None, 1.0, 1.2)
    assert np.abs(gone.neck).max() < 1e-6
    assert gone.translation == pytest.approx(RIG.default_translation)
    assert run(made, given, 1.0, 2.2).neck == pytest.approx(given.neck, abs=1e-4)


def test_changing_the_way_is_eased() -> None:
    """From relative to own and back, without a jump; and each is what it is when it has settled."""
    made, given = Retargeter(ARKIT, RIG), driver(mouthSmileLeft=0.6)
    relative = run(made, given, 2.0, own=False)
    steps, before, own = [], relative, relative
    for start_s, way in ((2.0, True), (4.0, False)):
        for frame in range(60):
            shown = made.retarget(given, start_s + frame * FRAME_S, way)
            steps.append(max(np.abs(shown.neck - before.neck).max(), float(np.abs(shown.translation - before.translation).max())))
            before = shown
        own = shown if way else own
    assert max(steps) < 0.05
    assert own.neck == pytest.approx(given.neck, abs=1e-4)
    assert np.abs(relative.neck).max() < 0.05 < np.abs(own.neck - relative.neck).max()
    assert shown.neck == pytest.approx(relative.neck, abs=0.03)


def test_another_avatar_has_another_place() -> None:
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 1.0)
    made.use(replace(RIG, default_translation=np.array([0.0, 0.0, -1.0])))
    assert run(made, driver(), 1.0, 1.0).translation == pytest.approx((0.0, 0.0, -1.0), abs=1e-3)


def test_without_a_turning_torso_the_neck_takes_the_whole_turn() -> None:
    """Anybody drives an avatar whose root does not turn: what the torso would take is not lost."""
    made, plain = Retargeter(ARKIT, RIG), driver((0.0, 0.0, 0.0), (0.0, 0.0, -0.6))
    rooted = replace(plain, rotation=np.array([0.0, 0.2, 0.0], np.float32))
    run(made, plain, 2.0, own=False)
    shown = run(made, rooted, 1.0, 2.0, own=False)
    assert not shown.rotation.any()
    assert shown.neck[1] == pytest.approx(0.2, abs=0.03)

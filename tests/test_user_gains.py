from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.head import HeadParams
from realtime.packets import MAX_GAIN, GainGroup
from realtime.retarget import Retargeter
from tests.synthetic_face import ARKIT
from tests.test_retarget import FRAME_S, RIG, closure, driver, largest, run, turn_of, weight

ACTING = driver((0.1, 0.2, 0.0), (0.03, 0.0, -0.6), gaze=0.1, browInnerUp=0.3, mouthSmileLeft=0.3, jawOpen=0.2, eyeSquintLeft=0.2, eyeSquintRight=0.2)
PARTS = {"brows": "browInnerUp", "lids": "eyeSquintLeft", "mouth": "mouthSmileLeft", "jaw": "jawOpen"}


def acted(gains: dict[GainGroup, float], params: HeadParams = ACTING, own: bool = False) -> HeadParams:
    """What is shown of a driver who first rests and then acts."""
    made = Retargeter(ARKIT, RIG)
    for group, value in gains.items():
        made.set_gain(group, value)
    for frame in range(120):
        shown = made.retarget(driver() if frame < 60 else params, frame * FRAME_S, own)
    return shown


@pytest.fixture(scope="module")
def plain() -> HeadParams:
    return acted({})


@pytest.mark.parametrize("value", [0.0, 0.5, 1.5, 2.0])
@pytest.mark.parametrize(
    ("group", "parts"), [(GainGroup.BROWS, ["brows"]), (GainGroup.LIDS, ["lids"]), (GainGroup.MOUTH, ["mouth", "jaw"]), (GainGroup.HEAD, [])]
)
def test_a_gain_scales_its_group_and_nothing_else(plain: HeadParams, group: GainGroup, parts: list[str], value: float) -> None:
    shown = acted({group: value})
    for part, name in PARTS.items():
        assert weight(shown, name) == pytest.approx((value if part in parts else 1.0) * weight(plain, name), abs=1e-3), part
    head = value if group is GainGroup.HEAD else 1.0
    assert np.linalg.norm(turn_of(shown)) == pytest.approx(head * np.linalg.norm(turn_of(plain)), abs=0.03)
    assert shown.translation[0] - RIG.default_translation[0] == pytest.approx(head * (plain.translation[0] - RIG.default_translation[0]), abs=1e-3)
    assert shown.gaze == pytest.approx(plain.gaze, abs=1e-6), "the eyes look where the driver's do"


def test_one_is_exactly_nothing(plain: HeadParams) -> None:
    shown = acted(dict.fromkeys(GainGroup, 1.0))
    for name in ("expression", "rotation", "neck", "jaw", "gaze", "translation"):
        assert np.array_equal(getattr(shown, name), getattr(plain, name)), name


def test_the_range_of_the_avatar_holds_whatever_the_gain() -> None:
    wild = driver((1.2, 2.0, 1.0), (0.5, 0.5, -0.3), gaze=1.0, browInnerUp=1.0, mouthSmileLeft=1.0, jawOpen=1.0, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    for own in (False, True):
        shown = acted(dict.fromkeys(GainGroup, MAX_GAIN), wild, own)
        assert (shown.expression >= RIG.expression_min).all()
        assert (shown.expression <= RIG.expression_max.astype(np.float32)).all()
        assert np.isfinite(shown.translation).all()
        if not own:
            assert (np.abs(shown.neck) <= RIG.neck_limit + 1e-6).all()
            assert (np.abs(shown.rotation) <= RIG.rotation_limit + 1e-6).all()


@pytest.mark.parametrize("value", [0.3, 0.6, 1.0, 1.6, 2.0])
def test_closed_lids_stay_closed_and_open_ones_open(value: float) -> None:
    shut = driver(eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    assert closure(acted({GainGroup.LIDS: value}, shut), "Right") > 0.98
    assert closure(acted({GainGroup.LIDS: value}, driver()), "Right") < 0.02


def test_half_closed_lids_follow_the_gain() -> None:
    half = driver(eyeBlinkLeft=0.35, eyeBlinkRight=0.35)
    closures = [closure(acted({GainGroup.LIDS: value}, half), "Right") for value in (0.0, 0.5, 1.0, 2.0)]
    assert closures[0] == pytest.approx(0.0, abs=1e-6)
    assert (np.diff(closures) > 0.05).all()


def test_a_gain_takes_hold_smoothly(plain: HeadParams) -> None:
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    run(made, ACTING, 2.0, 2.0)
    made.set_gain(GainGroup.MOUTH, 2.0)
    smile = [weight(plain, "mouthSmileLeft")]
    smile += [weight(made.retarget(ACTING, 4.0 + frame * FRAME_S), "mouthSmileLeft") for frame in range(40)]
    assert smile[-1] == pytest.approx(2.0 * weight(plain, "mouthSmileLeft"), abs=0.01)
    assert max(np.diff(smile)) < 0.25 * (smile[-1] - weight(plain, "mouthSmileLeft"))
    assert (np.diff(smile) >= -1e-6).all()


def test_a_gain_outlives_the_avatar_and_the_driver(plain: HeadParams) -> None:
    made = Retargeter(ARKIT, RIG)
    made.set_gain(GainGroup.BROWS, 0.0)
    run(made, driver(), 2.0)
    made.use(replace(RIG, expression_max=np.ones(len(RIG.expression_names))))
    assert weight(run(made, ACTING, 1.0, 2.0), "browInnerUp") == pytest.approx(0.0, abs=1e-6)
    made.forget()
    run(made, driver(), 2.0, 3.0)
    assert weight(run(made, ACTING, 1.0, 5.0), "browInnerUp") == pytest.approx(0.0, abs=1e-6)


def test_the_own_persons_motion_is_scaled_about_the_avatars_rest() -> None:
    """Whose neck and smile at rest are not zero."""
    resting = replace(HeadParams.neutral(len(RIG.expression_names)), neck=np.array([0.1, 0.0, 0.0], np.float32))
    resting.expression[RIG.expression_names.index("mouthSmileLeft")] = 0.2
    rig = replace(RIG, rest=resting)
    doing = replace(driver(place=(0.0, 0.01, -0.55), mouthSmileLeft=0.5), neck=np.array([0.2, 0.1, 0.0], np.float32))
    idle = replace(driver(place=(0.0, 0.01, -0.55), mouthSmileLeft=0.2), neck=np.array([0.1, 0.0, 0.0], np.float32))
    for gain in (0.0, 1.0, 2.0):
        made = Retargeter(ARKIT, rig)
        made.set_gain(GainGroup.MOUTH, gain)
        made.set_gain(GainGroup.HEAD, gain)
        for params, at_s in ((idle, 0.0), (doing, 2.0)):
            for frame in range(60):
                shown = made.retarget(params, at_s + frame * FRAME_S, own=True)
            beyond = gain if params is doing else 0.0
            assert weight(shown, "mouthSmileLeft") == pytest.approx(0.2 + 0.3 * beyond, abs=0.01)
            assert shown.neck == pytest.approx((0.1 + 0.1 * beyond, 0.1 * beyond, 0.0), abs=0.01)


def test_the_own_persons_eyes_close_too() -> None:
    """Of an avatar whose lids are a little down at rest."""
    resting = HeadParams.neutral(len(RIG.expression_names))
    resting.expression[RIG.expression_names.index("eyeBlinkRight")] = 0.3
    made = Retargeter(ARKIT, replace(RIG, rest=resting))
    made.set_gain(GainGroup.LIDS, 0.5)
    for frame in range(60):
        shown = made.retarget(driver(eyeBlinkRight=1.0), frame * FRAME_S, own=True)
    assert weight(shown, "eyeBlinkRight") == pytest.approx(1.0, abs=0.01)


def test_a_lost_face_eases_to_rest_whatever_the_gain() -> None:
    made = Retargeter(ARKIT, RIG)
    made.set_gain(GainGroup.HEAD, 2.0)
    run(made, driver(), 2.0)
    run(made, ACTING, 1.0, 2.0)
    assert largest(run(made, None, 1.0, 3.0)) < 1e-6


@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan"), float("inf")])
def test_other_values_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        Retargeter(ARKIT, RIG).set_gain(GainGroup.MOUTH, value)

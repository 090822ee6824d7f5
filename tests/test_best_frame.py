from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from models.head import HeadParams
from realtime.errors import Unprocessable
from realtime.packets import Calibration
from realtime.retarget import Retargeter
from tests.synthetic_face import ARKIT
from tests.test_retarget import FRAME_S, RIG, closure, driver, largest, run, turn_of, weight, with_weights

RESTING = {"browInnerUp": 0.2, "mouthSmileLeft": 0.1, "mouthSmileRight": 0.1, "jawOpen": 0.05}
"""What the tracker reads of this person at rest."""
REST = with_weights(driver((0.1, 0.12, 0.03), (0.03, 0.0, -0.5)), RESTING)
OPEN_MOUTH = with_weights(REST, {"jawOpen": 0.6})
ASIDE = replace(REST, rotation=np.array([0.1, 0.8, 0.0], np.float32))
SHUT = with_weights(REST, {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9})


def smiling(frame: int) -> HeadParams:
    return with_weights(REST, {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "browInnerUp": 0.5})


def talking(frame: int) -> HeadParams:
    return with_weights(REST, {"jawOpen": 0.3 + 0.3 * np.sin(0.9 * frame), "mouthSmileLeft": 0.5, "browInnerUp": 0.6})


def shown(made: Retargeter, frames: Iterable[HeadParams | None], start_s: float) -> HeadParams:
    for index, params in enumerate(frames):
        last = made.retarget(params, start_s + index * FRAME_S)
    return last


@pytest.fixture
def retargeter() -> Retargeter:
    """Its driver talked from the start: the automatic calibration could not see them at rest."""
    made = Retargeter(ARKIT, RIG)
    shown(made, map(talking, range(60)), 0.0)
    return made


@pytest.mark.parametrize("else_", [smiling, talking], ids=["smiling", "talking"])
def test_a_short_rest_between_other_things_is_found(retargeter: Retargeter, else_: Callable[[int], HeadParams]) -> None:
    """Half a second of four, three seconds ago, with a blink and a missed frame in it."""
    shown(retargeter, map(else_, range(20)), 2.0)
    pause: list[HeadParams | None] = [REST] * 16
    pause[6:9], pause[10] = [SHUT] * 3, None
    shown(retargeter, pause, 2.7)
    shown(retargeter, map(else_, range(75)), 3.25)
    retargeter.calibrate(Calibration.BEST)
    assert largest(run(retargeter, REST, 1.5, 5.8)) < 0.03
    grin = run(retargeter, smiling(0), 1.0, 7.3)
    assert weight(grin, "mouthSmileLeft") == pytest.approx((0.7 - 0.1) / 0.9, abs=0.03)


def test_no_single_frame_is_trusted(retargeter: Retargeter) -> None:
    """The best frames of a noisy tracker are those in which it reads too little of everything, for a tenth of a second here."""
    rng = np.random.default_rng(2)
    noisy = [replace(REST, rotation=REST.rotation + rng.normal(0.0, 0.01, 3).astype(np.float32)) for _ in range(60)]
    noisy = [with_weights(params, {name: value + float(rng.normal(0.0, 0.03)) for name, value in RESTING.items()}) for params in noisy]
    noisy[30:34] = [replace(REST, expression=np.float32(0.06) * REST.expression)] * 4
    shown(retargeter, noisy, 2.0)
    retargeter.calibrate(Calibration.BEST)
    assert largest(run(retargeter, REST, 1.5, 4.0)) < 0.06


def test_it_changes_over_without_a_jump(retargeter: Retargeter) -> None:
    before = shown(retargeter, [REST] * 60, 2.0)
    retargeter.calibrate(Calibration.BEST)
    steps = []
    for frame in range(30):
        after = retargeter.retarget(REST, 4.0 + frame * FRAME_S)
        steps.append(max(float(np.abs(after.expression - before.expression).max()), float(np.abs(turn_of(after) - turn_of(before)).max())))
        before = after
    assert max(steps) < 0.1


def test_open_eyes_are_learned_from_it() -> None:
    """Of a driver whose open eyes the tracker reads as half closed, and who blinks now and then."""
    made, narrow = Retargeter(ARKIT, RIG), with_weights(REST, {"eyeBlinkLeft": 0.4, "eyeBlinkRight": 0.4})
    shown(made, [SHUT if frame % 40 < 5 else narrow for frame in range(90)], 0.0)
    made.calibrate(Calibration.BEST)
    assert closure(run(made, narrow, 1.0, 3.0), "Left") < 0.05
    assert closure(run(made, SHUT, 1.0, 4.0), "Left") > 0.9


def tossing(frame: int) -> HeadParams:
    return replace(REST, rotation=np.array([0.1, 0.4 * np.sin(0.6 * frame), 0.0], np.float32))


@pytest.mark.parametrize(
    ("did", "says"),
    [
        (lambda frame: None, "no face was seen"),
        (lambda frame: ASIDE, "straight at the camera"),
        (lambda frame: OPEN_MOUTH, "mouth was never closed"),
        (lambda frame: SHUT, "eyes were never"),
        (tossing, "never held still"),
    ],
    ids=["nobody", "aside", "open mouth", "shut eyes", "moving"],
)
def test_where_there_was_no_neutral_look_it_says_what_was_wrong(did: Callable[[int], HeadParams | None], says: str) -> None:
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    before = shown(made, map(did, range(160)), 2.0)
    with pytest.raises(Unprocessable, match=says):
        made.calibrate(Calibration.BEST)
    after = made.retarget(did(159), 2.0 + 159 * FRAME_S)
    assert np.allclose(after.expression, before.expression, atol=0.02), "nothing has changed"


def test_before_any_face_there_is_none() -> None:
    with pytest.raises(Unprocessable, match="no face"):
        Retargeter(ARKIT, RIG).calibrate(Calibration.BEST)


def test_a_face_that_just_came_is_waited_for() -> None:
    made = Retargeter(ARKIT, RIG)
    run(made, REST, 0.4)
    with pytest.raises(Unprocessable, match="only just come into view"):
        made.calibrate(Calibration.BEST)
    run(made, REST, 0.3, 0.4)
    made.calibrate(Calibration.BEST)


def test_another_driver_and_another_clock_begin_anew(retargeter: Retargeter) -> None:
    shown(retargeter, [REST] * 60, 2.0)
    retargeter.forget()
    with pytest.raises(Unprocessable):
        retargeter.calibrate(Calibration.BEST)
    shown(retargeter, [REST] * 60, 100.0)
    retargeter.retarget(REST, 1.0)
    with pytest.raises(Unprocessable):
        retargeter.calibrate(Calibration.BEST)


def test_the_avatars_own_person_is_taken_as_they_are() -> None:
    made = Retargeter(ARKIT, RIG)
    for frame in range(60):
        made.retarget(REST, frame * FRAME_S, own=True)
    with pytest.raises(Unprocessable, match="nothing to calibrate"):
        made.calibrate(Calibration.BEST)


def test_a_head_without_named_shapes_has_a_best_frame_too() -> None:
    """By its jaw joint, its pose and how much of each component there is."""
    made = Retargeter(("expression000", "expression001"), RIG)
    still = replace(HeadParams.neutral(2), expression=np.array([0.4, 0.0], np.float32))
    loud = replace(still, expression=np.array([0.4, 2.5], np.float32))
    wide = replace(still, jaw=np.array([0.3, 0.0, 0.0], np.float32))
    shown(made, [loud] * 40 + [still] * 15 + [wide] * 40, 0.0)
    made.calibrate(Calibration.BEST)
    assert weight(run(made, still, 1.0, 3.2), "jawOpen") == pytest.approx(0.0, abs=0.02)
    assert weight(run(made, wide, 1.0, 4.2), "jawOpen") > 0.5

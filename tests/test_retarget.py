from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.lids import CLOSURE, Lids, LidSettings
from realtime.neutral import RestSettings
from realtime.retarget import AvatarRig, Gains, Retargeter, RetargetSettings, soft_limit
from tests.synthetic_face import ARKIT

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
OPENING = Gains().jaw
AVATAR_NAMES = ("jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "eyeSquintLeft", "onlyTheAvatarHasIt")
RIG = AvatarRig(
    expression_names=AVATAR_NAMES,
    expression_min=np.zeros(len(AVATAR_NAMES)),
    expression_max=np.array([0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    rotation_limit=np.array([0.6, 0.9, 0.6]),
    neck_limit=np.array([0.4, 0.5, 0.4]),
    gaze_limit=np.array([0.6, 0.4]),
    default_translation=np.array([0.0, 0.01, -0.55]),
)


def driver(
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0), place: tuple[float, float, float] = (0.0, 0.0, -0.6), gaze: float = 0.0, **weights: float
) -> HeadParams:
    still, look = np.zeros(3, np.float32), np.full((2, 2), gaze, np.float32)
    plain = HeadParams(np.zeros(0, np.float32), np.zeros(len(ARKIT), np.float32), np.array(turn, np.float32), still, still, look, np.array(place, np.float32))
    return with_weights(plain, weights)


def with_weights(params: HeadParams, weights: Mapping[str, float]) -> HeadParams:
    expression = params.expression.copy()
    for name, value in weights.items():
        expression[ARKIT.index(name)] = value
    return replace(params, expression=expression)


def weight(params: HeadParams, name: str) -> float:
    return float(params.expression[AVATAR_NAMES.index(name)])


def turn_of(params: HeadParams) -> Double:
    return to_axis_angle(to_matrix(params.rotation) @ to_matrix(params.neck))


def run(retargeter: Retargeter, params: HeadParams | None, seconds: float, start_s: float = 0.0) -> HeadParams:
    """The last of a stretch of the same parameters."""
    for frame in range(max(round(seconds / FRAME_S), 1)):
        shown = retargeter.retarget(params, start_s + frame * FRAME_S)
    return shown


@pytest.fixture
def retargeter() -> Retargeter:
    """One that has seen a driver at rest for two seconds, until t = 2."""
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    return made


def largest(params: HeadParams) -> float:
    """How far from the neutral avatar."""
    parts = (params.expression, params.rotation, params.neck, params.jaw, params.gaze, params.translation - RIG.default_translation)
    return max(float(np.abs(part).max()) for part in parts)


def test_a_driver_at_rest_leaves_the_avatar_at_rest() -> None:
    """Whatever their resting face, pose, gaze and place."""
    rest = driver((0.15, 0.1, 0.02), (0.05, -0.03, -0.45), 0.1, browInnerUp=0.2, eyeSquintLeft=0.2, eyeSquintRight=0.2)
    assert largest(run(Retargeter(ARKIT, RIG), rest, 2.0)) < 0.02


def test_before_any_face_the_avatar_is_neutral() -> None:
    shown = Retargeter(ARKIT, RIG).retarget(None, 3.0)
    assert largest(shown) < 1e-6
    assert shown.expression.shape == (len(AVATAR_NAMES),)


def test_names_are_matched_and_ranges_kept(retargeter: Retargeter) -> None:
    shown = run(retargeter, driver(jawOpen=1.0, mouthSmileLeft=0.5, tongueOut=1.0), 1.0, 2.0)
    assert weight(shown, "jawOpen") == pytest.approx(0.8)
    assert weight(shown, "mouthSmileLeft") == pytest.approx(0.5, abs=0.01)
    assert weight(shown, "onlyTheAvatarHasIt") == 0.0


def test_the_full_range_stays_in_reach() -> None:
    """A resting brow of 0.3 is subtracted, and a full one is still full."""
    made = Retargeter(ARKIT, RIG)
    run(made, driver(browInnerUp=0.3), 2.0)
    assert weight(run(made, driver(browInnerUp=0.65), 1.0, 2.0), "browInnerUp") == pytest.approx(0.5, abs=0.02)
    assert weight(run(made, driver(browInnerUp=1.0), 1.0, 3.0), "browInnerUp") == pytest.approx(1.0, abs=0.02)


def test_a_smile_at_the_start_is_no_resting_face() -> None:
    assert weight(run(Retargeter(ARKIT, RIG), driver(mouthSmileLeft=0.7), 2.0), "mouthSmileLeft") > 0.65


def test_calibrate_takes_the_face_as_it_is(retargeter: Retargeter) -> None:
    """Within half a second of frames, and without a jump."""
    odd = driver((0.2, 0.3, 0.1), (0.02, 0.0, -0.5), 0.2, mouthSmileLeft=0.4, browInnerUp=0.5, jawOpen=0.2)
    before = run(retargeter, odd, 1.0, 2.0)
    assert largest(before) > 0.3
    retargeter.calibrate()
    steps, shown = [], before
    for frame in range(36):
        after = retargeter.retarget(odd, 3.0 + frame * FRAME_S)
        steps.append(float(np.abs(after.expression - shown.expression).max()))
        shown = after
    assert largest(shown) < 0.03
    assert max(steps) < 0.15


def test_a_pending_calibration_waits_for_a_face(retargeter: Retargeter) -> None:
    retargeter.calibrate()
    run(retargeter, None, 2.0, 2.0)
    assert largest(run(retargeter, driver((0.0, 0.3, 0.0), mouthSmileLeft=0.4), 1.5, 4.0)) < 0.03


def test_the_turn_is_shared_by_neck_and_torso(retargeter: Retargeter) -> None:
    """Four fifths to one, and together what the driver does against the line of sight."""
    shown = run(retargeter, driver((0.0, 0.2, 0.0)), 1.0, 2.0)
    assert shown.neck[1] == pytest.approx(4.0 * shown.rotation[1], rel=0.01)
    assert turn_of(shown)[1] == pytest.approx(0.2, abs=0.03)
    assert turn_of(run(retargeter, driver((0.1, -0.2, 0.15)), 1.0, 3.0)) == pytest.approx((0.1, -0.2, 0.15), abs=0.04)


def test_a_strong_turn_bends_into_the_limits(retargeter: Retargeter) -> None:
    """Neck first, then torso; monotone, never past the limits."""
    shown = [run(retargeter, driver((0.0, yaw, 0.0)), 1.0, 2.0 + index) for index, yaw in enumerate((0.5, 1.0, 1.5, 3.0))]
    neck, root = [part.neck[1] for part in shown], [part.rotation[1] for part in shown]
    assert all(np.diff([turn_of(part)[1] for part in shown]) > 0.0)
    assert max(neck) <= 0.5
    assert max(root) <= 0.9
    assert neck[1] > 0.45
    assert shown[1].rotation[1] > 0.3


def test_stepping_aside_is_no_turn(retargeter: Retargeter) -> None:
    """A driver who keeps looking at the camera from a little to the side looks straight out of the picture still."""
    aside = driver((0.0, -0.1, 0.0), (0.06, 0.0, -0.6))
    shown = run(retargeter, aside, 0.5, 2.0)
    face = shown.translation + to_matrix(turn_of(shown)) @ (0.0, 0.045, 0.1)
    towards_camera = np.arctan2(-face[0], 0.55)
    assert shown.translation[0] > 0.01
    assert turn_of(shown)[1] == pytest.approx(towards_camera, abs=0.05)


def test_leaning_is_scaled_and_limited(retargeter: Retargeter) -> None:
    """In proportion to the distance from the camera, and a little less than the driver's."""
    near = run(retargeter, driver(place=(0.0, 0.0, -0.55)), 0.5, 2.0)
    assert near.translation[2] == pytest.approx(-0.55 + 0.6 * 0.05 / 0.6 * 0.55, abs=0.003)
    far = run(retargeter, driver(place=(3.0, -3.0, -9.0)), 0.5, 2.5)
    assert np.abs(far.translation - RIG.default_translation).max() <= 0.55 * 0.13 + 1e-6


def test_a_new_seat_becomes_the_middle(retargeter: Retargeter) -> None:
    assert abs(run(retargeter, driver(place=(0.06, 0.0, -0.6)), 1.0, 2.0).translation[0]) > 0.02
    assert abs(run(retargeter, driver(place=(0.06, 0.0, -0.6)), 80.0, 3.0).translation[0]) < 0.002


def test_gaze_is_relative_and_limited(retargeter: Retargeter) -> None:
    assert run(retargeter, driver(gaze=0.2), 1.0, 2.0).gaze == pytest.approx(np.full((2, 2), 0.2), abs=0.01)
    limited = run(retargeter, driver(gaze=2.0), 1.0, 3.0).gaze
    assert (limited <= np.array([0.6, 0.4], np.float32)).all()
    assert (limited > (0.55, 0.37)).all()


def closure(params: HeadParams, side: str) -> float:
    """Of the avatar's lid, by its own shapes."""
    return weight(params, f"eyeBlink{side}") + (CLOSURE["eyeSquint"] * weight(params, "eyeSquintLeft") if side == "Left" else 0.0)


def test_lids_close_for_a_driver_who_never_reaches_one() -> None:
    """A tracker that reads 0.2 for this driver's open eyes and 0.65 for closed ones: open is open, closed is closed."""
    made = Retargeter(ARKIT, RIG)

    def lids(value: float) -> HeadParams:
        return driver(eyeBlinkLeft=value, eyeBlinkRight=value)

    run(made, lids(0.2), 2.0)
    for blink in range(6):
        run(made, lids(0.65), 0.2, 2.0 + blink)
        run(made, lids(0.2), 0.8, 2.2 + blink)
    assert closure(run(made, lids(0.65), 0.3, 8.0), "Left") > 0.85
    assert closure(run(made, lids(0.2), 0.5, 8.3), "Left") < 0.05
    assert 0.3 < closure(run(made, lids(0.4), 0.5, 8.8), "Right") < 0.6


def test_a_blink_shared_out_between_shapes_is_still_a_blink(retargeter: Retargeter) -> None:
    """The same closure by a blink, a glance down and a squint closes the avatar's lid as far, not farther."""
    whole = run(retargeter, driver(eyeBlinkLeft=0.8, eyeBlinkRight=0.8), 0.5, 2.0)
    parts = {f"{shape}{side}": value for shape, value in (("eyeBlink", 0.41), ("eyeLookDown", 0.9), ("eyeSquint", 0.6)) for side in ("Left", "Right")}
    shared = run(retargeter, with_weights(driver(), parts), 0.5, 2.5)
    assert closure(shared, "Left") == pytest.approx(closure(whole, "Left"), abs=0.27)
    assert weight(whole, "eyeBlinkRight") == pytest.approx(1.0, abs=0.02)
    assert closure(shared, "Left") <= 1.0 + 1e-6


def test_lids_move_as_one_unless_they_wink() -> None:
    lids = Lids(ARKIT, LidSettings())
    lids.calibrate(np.zeros(len(ARKIT)))

    def seen(left: float, right: float) -> Double:
        return lids.closure(driver(eyeBlinkLeft=left, eyeBlinkRight=right).expression.astype(float), 0.0)

    together = seen(0.40, 0.44)
    assert together[0] == pytest.approx(together[1], abs=1e-6)
    wink = seen(0.8, 0.05)
    assert wink[0] == pytest.approx(1.0, abs=0.01)
    assert wink[1] < 0.1


def test_a_blink_lags_less_than_a_frame() -> None:
    """A blink of a tenth of a second at 30 frames a second, by the shift that fits best; and no less deep than it was."""
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    times = 2.0 + np.arange(45) * FRAME_S
    truth = np.exp(-(((times - 2.7) / 0.06) ** 2))
    shown = np.array(
        [weight(made.retarget(driver(eyeBlinkLeft=0.8 * v, eyeBlinkRight=0.8 * v), at), "eyeBlinkLeft") for v, at in zip(truth, times, strict=True)]
    )
    shifts = np.arange(0.0, 0.1, 0.001)
    misfit = [float(((np.exp(-(((times - 2.7 - shift) / 0.06) ** 2)) - shown) ** 2).sum()) for shift in shifts]
    assert shifts[int(np.argmin(misfit))] < 0.6 * FRAME_S
    assert shown.max() > 0.9


def test_a_still_face_jitters_less() -> None:
    rng, made = np.random.default_rng(3), Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    given, shown = [], []
    for frame in range(200):
        noise = rng.normal(0.0, 0.012, 4)
        params = driver((0.0, 0.1 * float(noise[0]), 0.0), mouthSmileLeft=0.3 + float(noise[1]), jawOpen=0.3 + float(noise[2]))
        after = made.retarget(params, 2.0 + frame * FRAME_S)
        given.append([params.rotation[1], params.expression[ARKIT.index("mouthSmileLeft")], params.expression[ARKIT.index("jawOpen")]])
        shown.append([turn_of(after)[1], weight(after, "mouthSmileLeft"), weight(after, "jawOpen")])
    jitter = [np.abs(np.diff(np.array(signal)[50:], axis=0)).mean(0) for signal in (given, shown)]
    assert (jitter[1] < 0.6 * jitter[0]).all()


def test_a_lost_face_is_held_then_eased_to_rest(retargeter: Retargeter) -> None:
    talking = driver((0.0, 0.3, 0.0), mouthSmileLeft=0.6)
    seen = run(retargeter, talking, 1.0, 2.0)
    last = 2.0 + 29 * FRAME_S
    assert weight(retargeter.retarget(None, last + 0.19), "mouthSmileLeft") == pytest.approx(weight(seen, "mouthSmileLeft"))
    middle = weight(retargeter.retarget(None, last + 0.35), "mouthSmileLeft")
    assert middle == pytest.approx(0.5 * weight(seen, "mouthSmileLeft"), abs=0.01)
    assert largest(retargeter.retarget(None, last + 0.5)) < 1e-6
    assert largest(retargeter.retarget(None, last + 60.0)) < 1e-6


def test_a_found_face_is_eased_back(retargeter: Retargeter) -> None:
    talking = driver((0.0, 0.3, 0.0), mouthSmileLeft=0.6)
    run(retargeter, talking, 1.0, 2.0)
    run(retargeter, None, 2.0, 3.0)
    back = [weight(retargeter.retarget(talking, 5.0 + frame * FRAME_S), "mouthSmileLeft") for frame in range(12)]
    assert back[0] == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < back[4] < 0.5
    assert back[-1] == pytest.approx(0.6, abs=0.02)
    assert max(np.diff(back)) < 0.15


def test_one_missed_frame_is_no_event(retargeter: Retargeter) -> None:
    """The smile goes on growing; there is no easing back over it."""
    shown = []
    for frame in range(30):
        smile = min(1.0, frame / 20.0)
        params = None if frame == 10 else driver(mouthSmileLeft=smile)
        shown.append(weight(retargeter.retarget(params, 2.0 + frame * FRAME_S), "mouthSmileLeft"))
    assert shown[12] > 0.5
    assert max(np.diff(shown)) < 0.15


def test_odd_parameters_and_times_do_no_harm(retargeter: Retargeter) -> None:
    bad = replace(driver(), rotation=np.array([np.nan, 0.0, 0.0], np.float32))
    for params, at in ((bad, 2.1), (driver(jawOpen=0.5), 2.1), (driver(jawOpen=0.5), 2.1), (driver(), 1.0), (driver(), 1e6), (None, 0.0), (driver(), 1e6 + 1)):
        shown = retargeter.retarget(params, at)
        parts = (shown.expression, shown.rotation, shown.neck, shown.jaw, shown.gaze, shown.translation)
        assert all(np.isfinite(part).all() for part in parts)


def test_another_avatar_keeps_the_resting_face(retargeter: Retargeter) -> None:
    odd = driver((0.2, 0.3, 0.1), browInnerUp=0.5)
    retargeter.calibrate()
    run(retargeter, odd, 1.0, 2.0)
    retargeter.use(replace(RIG, expression_names=("browInnerUp",), expression_min=np.zeros(1), expression_max=np.ones(1)))
    assert float(run(retargeter, odd, 0.5, 3.0).expression[0]) < 0.05
    retargeter.use(RIG)
    retargeter.forget()
    assert largest(retargeter.retarget(None, 4.0)) < 1e-6


def test_a_jaw_joint_and_a_jaw_shape_drive_each_other() -> None:
    """FLAME opens its jaw about a joint, the open head by a shape."""
    flame_rig = replace(RIG, expression_names=("expression000",), expression_min=-np.ones(1), expression_max=np.ones(1))
    shape_to_joint = Retargeter(ARKIT, flame_rig)
    run(shape_to_joint, driver(), 2.0)
    assert run(shape_to_joint, driver(jawOpen=0.6), 0.5, 2.0).jaw == pytest.approx((0.3 * OPENING, 0.0, 0.0), abs=0.01)
    joint_to_shape = Retargeter(("expression000",), RIG)
    still = HeadParams.neutral(1)
    run(joint_to_shape, still, 2.0)
    shown = run(joint_to_shape, replace(still, jaw=np.array([0.3, 0.0, 0.0], np.float32)), 0.5, 2.0)
    assert weight(shown, "jawOpen") == pytest.approx(0.6 * OPENING, abs=0.02)
    assert not shown.jaw.any()


def test_gains_scale_a_group() -> None:
    settings = RetargetSettings(rest=RestSettings(automatic_s=0.2))
    made = Retargeter(ARKIT, RIG, replace(settings, gains=replace(settings.gains, mouth=0.5, turn=0.0)))
    run(made, driver(), 1.0)
    shown = run(made, driver((0.0, 0.3, 0.0), mouthSmileLeft=0.8, jawOpen=0.5), 1.0, 1.0)
    assert weight(shown, "mouthSmileLeft") == pytest.approx(0.4, abs=0.01)
    assert weight(shown, "jawOpen") == pytest.approx(0.5 * OPENING, abs=0.01)
    assert abs(turn_of(shown)[1]) < 0.03


def test_soft_limit() -> None:
    limit = np.array([1.0])
    values = np.linspace(-5.0, 5.0, 2001)
    bent = np.array([float(soft_limit(np.array([value]), limit, 0.8)[0]) for value in values])
    assert bent[np.abs(values) <= 0.8] == pytest.approx(values[np.abs(values) <= 0.8])
    assert np.abs(bent).max() <= 1.0
    slope = np.diff(bent) / np.diff(values)
    assert (slope >= 0.0).all()
    assert np.abs(np.diff(slope)).max() < 0.05
    assert soft_limit(np.array([3.0]), np.zeros(1), 0.8) == pytest.approx([0.0])

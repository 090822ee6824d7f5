from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest

from models.avatar_parts import TrainedRange
from models.face_groups import JAW_OPEN_RAD
from models.head import HeadParams
from models.rotations import to_matrix
from realtime.packets import PuppetPose, UnitSetting
from realtime.puppet import Puppet, from_euler, to_euler

NAMES = ("jawOpen", "eyeLookOutLeft", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutRight", "eyeLookDownLeft", "eyeLookUpLeft", "mouthPucker", "tongueOut")


def usual(names: tuple[str, ...] = NAMES) -> TrainedRange:
    ranges = TrainedRange.usual(len(names))
    if "tongueOut" in names:
        ranges.expression[names.index("tongueOut")] = (0.0, 0.01)
    if "mouthPucker" in names:
        ranges.expression[names.index("mouthPucker")] = (-0.2, 0.7)
    return ranges


@dataclass
class Avatar:
    expression_names: tuple[str, ...] = NAMES
    ranges: TrainedRange = field(default_factory=usual)
    rest: HeadParams | None = None

    def neutral(self) -> HeadParams:
        return self.rest or HeadParams.neutral(len(self.expression_names))


def pose(hold: bool = False, **units: float) -> PuppetPose:
    return PuppetPose(tuple(UnitSetting(name, value, hold) for name, value in units.items()))


def posed(avatar: Avatar, params: HeadParams, *poses: PuppetPose) -> HeadParams:
    puppet = Puppet(avatar)
    puppet.take(PuppetPose(tuple(setting for each in poses for setting in each.settings)))
    return puppet.apply(params)


def driven(**expression: float) -> HeadParams:
    params = HeadParams.neutral(len(NAMES))
    for name, value in expression.items():
        params.expression[NAMES.index(name)] = value
    return replace(params, rotation=np.array([0.02, 0.1, -0.03], np.float32), neck=np.array([0.1, -0.2, 0.05], np.float32))


def weight(params: HeadParams, name: str) -> float:
    return float(params.expression[NAMES.index(name)])


def head(params: HeadParams) -> np.ndarray:
    """Yaw, pitch, roll."""
    return to_euler(to_matrix(params.rotation) @ to_matrix(params.neck))


def test_angles_come_back() -> None:
    angles = np.array([0.7, -0.4, 0.3])
    assert to_euler(from_euler(angles)) == pytest.approx(angles)
    assert from_euler(np.array([0.2, 0.0, 0.0])) == pytest.approx(to_matrix((0.0, 0.2, 0.0)))


def test_nothing_set_changes_nothing() -> None:
    params = driven(jawOpen=0.3)
    assert posed(Avatar(), params) is params


def test_an_offset_is_added_to_what_the_driver_does_and_an_override_replaces_it() -> None:
    params = driven(jawOpen=0.3, mouthPucker=0.2)
    assert weight(posed(Avatar(), params, pose(jawOpen=0.4)), "jawOpen") == pytest.approx(0.7)
    assert weight(posed(Avatar(), params, pose(hold=True, jawOpen=0.4)), "jawOpen") == pytest.approx(0.4)
    assert weight(posed(Avatar(), params, pose(hold=True, jawOpen=0.0)), "jawOpen") == 0.0
    assert weight(posed(Avatar(), params, pose(jawOpen=0.4)), "mouthPucker") == pytest.approx(0.2), "the others stay"


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("value", [-2.0, -0.5, 0.5, 2.0])
@pytest.mark.parametrize("name", [unit.name for unit in Puppet(Avatar()).units])
def test_whatever_is_set_stays_inside_the_trained_range(name: str, value: float, hold: bool) -> None:
    avatar = Avatar()
    shown = posed(avatar, driven(jawOpen=0.9, mouthPucker=0.6), pose(hold=hold, **{name: value}))
    for part, ranges in ((shown.expression, avatar.ranges.expression), (shown.neck, avatar.ranges.neck), (shown.gaze.T, avatar.ranges.gaze[:, None])):
        assert np.all(part >= ranges[..., 0] - 1e-6)
        assert np.all(part <= ranges[..., 1] + 1e-6)
    assert all(np.isfinite(getattr(shown, part.name)).all() for part in fields(shown))


def test_units_are_the_avatars_own_with_their_room_from_rest() -> None:
    rest = replace(HeadParams.neutral(len(NAMES)), neck=np.array([-0.3, 0.0, 0.0], np.float32), gaze=np.full((2, 2), 0.1, np.float32))
    rest.expression[NAMES.index("jawOpen")] = 0.1
    units = {unit.name: (unit.low, unit.high) for unit in Puppet(Avatar(rest=rest)).units}
    assert units["jawOpen"] == pytest.approx((-0.1, 0.9))
    assert units["mouthPucker"] == pytest.approx((-0.2, 0.7))
    assert units["headPitch"] == pytest.approx((-0.1, 0.7), abs=1e-3)
    assert units["gazeYaw"] == pytest.approx((-0.8, 0.6), abs=1e-3)
    assert "tongueOut" not in units, "it cannot move as far as anybody would see"


def test_a_unit_at_its_ends_is_at_the_ends_of_the_range() -> None:
    rest = HeadParams.neutral(len(NAMES))
    rest.expression[NAMES.index("jawOpen")] = 0.1
    avatar = Avatar(rest=rest)
    (jaw,) = (unit for unit in Puppet(avatar).units if unit.name == "jawOpen")
    assert weight(posed(avatar, rest, pose(jawOpen=jaw.low)), "jawOpen") == pytest.approx(0.0, abs=1e-6)
    assert weight(posed(avatar, rest, pose(jawOpen=jaw.high)), "jawOpen") == pytest.approx(1.0, abs=1e-6)
    assert weight(posed(avatar, rest, pose(jawOpen=0.5)), "jawOpen") == pytest.approx(0.6, abs=1e-6)


def test_the_head_turns_by_so_much_more_wherever_the_torso_is() -> None:
    params = driven()
    shown = posed(Avatar(), params, pose(headYaw=0.15))
    assert head(shown) == pytest.approx(head(params) + np.array([0.15, 0.0, 0.0]), abs=1e-6)
    assert np.array_equal(shown.rotation, params.rotation)


def test_a_held_angle_of_the_head_takes_the_torsos_turn_out() -> None:
    params = driven()
    shown = posed(Avatar(), params, pose(hold=True, headYaw=0.3))
    assert head(shown) == pytest.approx((0.3, *head(params)[1:]), abs=1e-6)


def test_both_eyes_look_where_the_gaze_is_set_and_the_lids_follow() -> None:
    shown = posed(Avatar(), driven(), pose(gazeYaw=0.25, gazePitch=0.2))
    assert shown.gaze == pytest.approx(np.array([[0.25, 0.2], [0.25, 0.2]]), abs=1e-6)
    looks = {name: weight(shown, name) for name in NAMES if name.startswith("eyeLook")}
    expected = dict.fromkeys(looks, 0.0) | {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5, "eyeLookDownLeft": 0.5}
    assert looks == pytest.approx(expected, abs=1e-6)


def test_a_look_of_one_eye_turns_that_eye_too() -> None:
    shown = posed(Avatar(), driven(), pose(eyeLookInLeft=0.5, eyeLookUpLeft=0.5))
    assert shown.gaze == pytest.approx(np.array([[-0.25, -0.2], [0.0, 0.0]]), abs=1e-6)
    assert weight(shown, "eyeLookInLeft") == pytest.approx(0.5)


def test_without_a_shape_for_it_the_jaw_joint_opens() -> None:
    names = ("expression000", "expression001")
    avatar = Avatar(names, TrainedRange.usual(2))
    units = {unit.name: unit for unit in Puppet(avatar).units}
    assert units["jawOpen"].high == pytest.approx(0.5 / JAW_OPEN_RAD)
    shown = posed(avatar, HeadParams.neutral(2), pose(jawOpen=0.6, expression001=0.4))
    assert shown.jaw == pytest.approx((0.6 * JAW_OPEN_RAD, 0.0, 0.0))
    assert shown.expression == pytest.approx((0.0, 0.4))


def test_another_avatar_takes_what_it_has_of_the_pose() -> None:
    puppet = Puppet(Avatar())
    puppet.take(pose(jawOpen=0.5, mouthPucker=0.5))
    plain = Avatar(("jawOpen", "browInnerUp"), TrainedRange.usual(2))
    puppet.wear(plain)
    assert puppet.apply(plain.neutral()).expression == pytest.approx((0.5, 0.0))
    puppet.wear(Avatar())
    assert weight(puppet.apply(Avatar().neutral()), "mouthPucker") == pytest.approx(0.5)

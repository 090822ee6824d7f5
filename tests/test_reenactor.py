from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import weights
from models.avatar_parts import TrainedRange
from models.driver import DriverProfile
from models.head import HeadParams
from models.weights import weights_folder
from realtime.confidence import Confidence
from realtime.driving import Driving, Wardrobe
from realtime.errors import NotFound
from realtime.gallery import FIRST, SHIPPED
from realtime.packets import Calibration, DriveMode, FaceObservation, GainGroup, Motion, Tracking, VideoPacket
from realtime.reenactor import LANDMARKER, StagedReenactor, StageFactory, load_avatar

PARAMS = HeadParams.neutral(2)


class Stages:
    """All stages at once; writes down who was called with what."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.tracking = Tracking.OK
        self.own = self.careful = False
        self.errors = (0.01, 0.01)
        self.now = 0.0
        self.buffer = np.zeros((6, 4), np.uint8)

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def track(self, packet: VideoPacket) -> FaceObservation:
        self.log.append(("track", packet.pts_s))
        return FaceObservation(self.tracking, 4, 4, packet.pts_s)

    def solve(self, observation: FaceObservation) -> HeadParams | None:
        self.log.append(("solve", observation.tracking))
        return None if observation.tracking is Tracking.LOST else PARAMS

    def fetch(self, avatar_id: str) -> Wardrobe:
        if avatar_id == "nobody":
            raise NotFound("no such avatar")
        return Wardrobe(avatar_id, Avatar(avatar_id), f"rig of {avatar_id}")  # type: ignore[arg-type]

    focal_px = 100.0
    jumped = False
    came: list[HeadParams] | None = None

    def welcome(self, frames: list[HeadParams]) -> None:
        self.log.append(("welcome", len(frames)))

    def wear(self, profile: DriverProfile | None) -> None:
        self.log.append(("wear", profile))

    def set_mode(self, mode: DriveMode) -> None:
        self.log.append(("set_mode", mode))

    def rest_again(self, *_: object) -> None:
        return None

    def misfit(self, params: HeadParams | None = None) -> float:
        return self.errors[params is not None]

    def use(self, rig: object) -> None:
        self.log.append(("use", rig))

    def calibrate(self, mode: Calibration) -> None:
        self.log.append(("calibrate", mode))

    def set_gain(self, group: GainGroup, value: float) -> None:
        self.log.append(("gain", group, value))

    def retarget(self, params: HeadParams | None, pts_s: float, own: bool, confidence: Confidence) -> HeadParams:
        self.log.append(("retarget", params is None, pts_s))
        return HeadParams.neutral(5)

    def motion(self) -> Motion:
        return Motion(("jawOpen",), np.array([0.5]), np.zeros(3), np.zeros((2, 2)), self.tracking is not Tracking.LOST)

    def set_avatar(self, avatar: object) -> None:
        assert isinstance(avatar, Avatar)
        self.log.append(("set_avatar", avatar.name))

    def set_badge(self, enabled: bool) -> None:
        self.log.append(("badge", enabled))

    def render_i420(self, params: HeadParams, background: str, mirror: bool) -> NDArray[np.uint8]:
        self.log.append(("render", len(params.expression), background, mirror))
        self.buffer += 1
        return self.buffer

    def close(self) -> None:
        self.log.append(("close",))


@dataclass
class Avatar:
    name: str
    expression_names = ("jawOpen", "browInnerUp", "mouthPucker")
    ranges = TrainedRange.usual(3)

    def neutral(self) -> HeadParams:
        return HeadParams.neutral(3)


@pytest.fixture
def stages() -> Stages:
    return Stages()


@pytest.fixture
def reenactor(stages: Stages) -> StagedReenactor:
    driving = Driving(stages, stages, stages, stages.clock)
    return StagedReenactor(driving, stages, stages.fetch("ada"), stages.fetch, stages.clock)


def packet(pts_s: float = 2.0) -> VideoPacket:
    return VideoPacket(np.zeros((4, 4, 3), np.uint8), pts_s, 50.0)


def test_the_stages_run_in_order_and_are_timed(stages: Stages, reenactor: StagedReenactor) -> None:
    frame = reenactor.step(packet())
    assert [entry[0] for entry in stages.log] == ["track", "solve", "retarget", "render"]
    assert list(frame.stage_ms) == ["track", "solve", "retarget", "render"]
    assert frame.stage_ms == pytest.approx(dict.fromkeys(frame.stage_ms, 1.0))
    assert (frame.pts_s, frame.received_at, frame.tracking) == (2.0, 50.0, Tracking.OK)
    assert frame.params is not None
    assert len(frame.params.expression) == 5


class Registrar:
    """Turns the head by `turn`."""

    def __init__(self, turn: float) -> None:
        self.turn = turn
        self.asked: list[tuple[float, tuple[float, float]]] = []

    def refine(self, image: NDArray[np.uint8], params: HeadParams, focal_px: float, centre_px: tuple[float, float]) -> HeadParams:
        self.asked.append((focal_px, centre_px))
        return replace(params, neck=np.array([0.0, self.turn, 0.0], np.float32))


@pytest.mark.parametrize(("turn", "error", "taken"), [(0.03, 0.015, True), (0.3, 0.015, False), (0.03, 0.05, False)])
def test_the_own_persons_parameters_are_refined(stages: Stages, turn: float, error: float, taken: bool) -> None:
    """And go on as they were solved where the refinement is no small one, or does not fit the landmarks."""
    registrar = Registrar(turn)
    driving = Driving(stages, stages, stages, stages.clock)
    driving.wear(replace(stages.fetch("ada"), registrar=registrar))  # type: ignore[arg-type]
    assert "refine" not in driving.step(packet()).stage_ms
    stages.own, stages.errors = True, (0.01, error)
    assert not stages.careful
    driven = driving.step(packet())
    assert stages.careful
    assert driven.solved is not None
    assert driven.solved.neck[1] == pytest.approx(turn if taken else 0.0)
    assert list(driven.stage_ms) == ["track", "solve", "refine", "retarget"]
    assert registrar.asked == [(100.0, (2.0, 2.0))]
    stages.tracking = Tracking.LOST
    assert driving.step(packet()).solved is None
    assert len(registrar.asked) == 1


def test_a_lost_face_goes_through_every_stage_as_none(stages: Stages, reenactor: StagedReenactor) -> None:
    stages.tracking = Tracking.LOST
    frame = reenactor.step(packet(3.0))
    assert frame.tracking is Tracking.LOST
    assert ("solve", Tracking.LOST) in stages.log
    assert ("retarget", True, 3.0) in stages.log


def test_a_frame_handed_out_is_never_written_to_again(reenactor: StagedReenactor) -> None:
    first = reenactor.step(packet())
    kept = first.i420.copy()
    reenactor.step(packet())
    assert np.array_equal(first.i420, kept)


def test_a_frame_that_is_lent_is_the_renderers_own(stages: Stages) -> None:
    driving = Driving(stages, stages, stages, stages.clock)
    reenactor = StagedReenactor(driving, stages, stages.fetch("ada"), stages.fetch, stages.clock, lend=True)
    assert reenactor.step(packet()).i420 is stages.buffer
    assert reenactor.placeholder().i420 is stages.buffer


def test_the_landmarker_is_verified_once_for_all_that_one_factory_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []

    def verify(name: str) -> Path:
        verified.append(name)
        return weights_folder() / name

    monkeypatch.setattr(weights, "installed", verify)
    factory = StageFactory(lambda name: load_avatar(SHIPPED / f"{name}.avatar"), FIRST, 64)
    factory.driving(FIRST)
    factory.driving(FIRST)
    assert verified == [LANDMARKER]


def test_the_placeholder_needs_no_frame(stages: Stages, reenactor: StagedReenactor) -> None:
    reenactor.set_background("green")
    frame = reenactor.placeholder()
    assert stages.log == [("render", 3, "green", False)]
    assert frame.tracking is Tracking.LOST


def test_settings_and_the_avatar_take_hold_with_the_next_frame(stages: Stages, reenactor: StagedReenactor) -> None:
    reenactor.set_background("#102030")
    reenactor.set_mirror(True)
    reenactor.set_avatar("bo")
    reenactor.calibrate(Calibration.BEST)
    reenactor.set_drive(DriveMode.RELATIVE)
    reenactor.set_gain(GainGroup.BROWS, 1.5)
    reenactor.set_badge(False)
    reenactor.step(packet())
    assert stages.log[:4] == [("wear", None), ("use", "rig of bo"), ("set_avatar", "bo"), ("calibrate", "best")]
    assert stages.log[4:7] == [("set_mode", "relative"), ("gain", "brows", 1.5), ("badge", False)]
    assert stages.log[-1] == ("render", 5, "#102030", True)
    assert reenactor.avatar_id == "bo"


def test_the_avatar_worn_already_is_not_put_on_again(stages: Stages, reenactor: StagedReenactor) -> None:
    reenactor.set_avatar("ada")
    assert stages.log == []


def test_closing_frees_the_renderer(stages: Stages, reenactor: StagedReenactor) -> None:
    reenactor.close()
    assert stages.log == [("close",)]


def test_an_avatar_that_cannot_be_worn_leaves_the_old_one_on(stages: Stages, reenactor: StagedReenactor) -> None:
    with pytest.raises(NotFound):
        reenactor.set_avatar("nobody")
    assert reenactor.avatar_id == "ada"
    assert stages.log == []

"""Somebody else sits down before the same session: who was there is forgotten, and the avatar driven as in a session of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.solving.residuals import Subject
from models.weights import weight_path
from realtime.driving import Driving
from realtime.gallery import FIRST, SHIPPED
from realtime.newcomer import Newcomer, NewcomerSettings
from realtime.packets import Calibration, FaceObservation, Lock, Tracking, VideoPacket
from realtime.reenactor import HEAD, LANDMARKER, load_avatar, regressor_of, rig_of
from realtime.renderer import AvatarRenderer
from realtime.retarget import Retargeter
from realtime.subject import SubjectSolver
from realtime.tracking import FaceTracker
from tests.test_reenactor import Stages, packet

FPS, SECONDS = 25, 3
FORMER = Subject(np.ones(4), np.zeros((5, 3)), 1.0)
UP_RAD = 0.2
"""How much higher one person holds the chin than the other."""


@cache
def sitter(name: str, chin_rad: float) -> tuple[FaceObservation, ...]:
    """Three seconds of a default avatar: at rest at first, then talking and turning; as the tracker sees them."""
    renderer, tracker = AvatarRenderer(load_avatar(SHIPPED / f"{name}.avatar"), 320, 1), FaceTracker(FaceLandmarker(weight_path(LANDMARKER), 1))
    neutral, seen = renderer.avatar.neutral(), []
    jaw = renderer.avatar.expression_names.index("jawOpen")
    for number in range(SECONDS * FPS):
        phase = 2.0 * np.pi * max(number - FPS, 0) / 50.0
        expression = neutral.expression.copy()
        expression[jaw] = 0.3 - 0.3 * np.cos(3.0 * phase)
        turn = np.array([0.05 * np.sin(2.0 * phase) - chin_rad, 0.35 * np.sin(phase), 0.0], np.float32)
        picture = renderer.render(replace(neutral, expression=expression, rotation=turn)).copy()
        seen.append(tracker.track(VideoPacket(picture, number / FPS, number / FPS)))
    renderer.close()
    assert all(observation.tracking is Tracking.OK for observation in seen)
    return tuple(seen)


def then(*parts: tuple[FaceObservation, ...] | float) -> list[FaceObservation]:
    """One after the other; a number is so many seconds without a face."""
    frames: list[FaceObservation] = []
    for part in parts:
        count = round(part * FPS) if isinstance(part, float) else 0
        more = [FaceObservation(Tracking.LOST, 320, 320, 0.0)] * count if isinstance(part, float) else list(part)
        frames += [replace(each, pts_s=(len(frames) + k) / FPS) for k, each in enumerate(more)]
    return frames


class Drive:
    """A session's drive without pictures."""

    def __init__(self, head: HeadModel) -> None:
        self.solver = SubjectSolver(head, regressor=regressor_of(HEAD))
        self.driver = Retargeter(head.expression_names, rig_of(load_avatar(SHIPPED / f"{FIRST}.avatar")), neck_offset=self.solver.neck_offset)
        self.came: list[float] = []

    def __call__(self, frames: list[FaceObservation]) -> list[HeadParams]:
        return [self.step(frame) for frame in frames]

    def step(self, frame: FaceObservation) -> HeadParams:
        params = self.solver.solve(frame)
        if self.solver.came is not None:
            self.came.append(frame.pts_s)
            self.driver.welcome(self.solver.came)
        again = None if params is None else self.solver.rest_again(frame, params)
        if again is not None:
            self.driver.rest_again(again)
        return self.driver.retarget(params, frame.pts_s)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(HEAD)


def turns_deg(shown: list[HeadParams]) -> NDArray[np.float64]:
    return np.degrees(np.stack([params.rotation + params.neck for params in shown]).astype(np.float64))


def test_somebody_else_is_driven_as_in_a_session_of_their_own(head: HeadModel) -> None:
    first, second = sitter("mara", 0.0), sitter("theo", UP_RAD)
    drive = Drive(head)
    drive(then(first))
    drive.driver.calibrate(Calibration.NOW)
    shown = drive(then(first, 1.5, second)[len(first) :])[-len(second) :]
    began_s = (len(first) + 1.5 * FPS) / FPS
    assert [came - began_s for came in drive.came] == [pytest.approx(0.85, abs=0.1)]
    alone = Drive(head)(list(second))
    settled = slice(round(2.3 * FPS), None)
    apart = np.abs(turns_deg(shown) - turns_deg(alone)).max(1)
    assert np.abs(turns_deg(shown[: FPS // 2]) - turns_deg(alone[: FPS // 2])).max() > 5.0, "at first, the rest pose of the one who left is in the way"
    assert apart[settled].mean() < 1.0
    expressions = [np.stack([params.expression for params in each[settled]]) for each in (shown, alone)]
    assert np.abs(expressions[0] - expressions[1]).mean() < 0.02


@pytest.mark.parametrize("away_s", [0.4, 0.9, 3.0])
def test_the_same_person_is_known_again(head: HeadModel, away_s: float) -> None:
    drive = Drive(head)
    drive(then(sitter("mara", 0.0), away_s, sitter("mara", 0.0)))
    assert drive.came == []


def looked(newcomer: Newcomer, left: float, seconds: float = 2.0, from_s: float = 10.0, yaw_rad: float = 0.0) -> list[float]:
    """At which times it was known that somebody else has come, where the former's shape leaves `left` times what the average one does."""

    def fit(observation: FaceObservation, subject: Subject | None) -> NDArray[np.float64] | None:
        return np.full((5, 2), 1.0 if subject is None else left)

    times = [from_s + frame / 30.0 for frame in range(round(seconds * 30.0))]
    return [at_s for at_s in times if newcomer.see(FaceObservation(Tracking.OK, 4, 4, at_s), yaw_rad, fit) is not None]


@pytest.mark.parametrize(
    ("away_s", "left", "other"),
    [(2.0, 0.7, True), (2.0, 0.5, False), (0.9, 0.7, False), (-3.0, 0.7, True)],
)
def test_the_rule(away_s: float, left: float, other: bool) -> None:
    newcomer = Newcomer()
    newcomer.returned(away_s, FORMER)
    assert bool(looked(newcomer, left)) is other
    assert looked(newcomer, left, from_s=20.0) == [], "it is asked once"


def test_a_face_that_is_turned_aside_decides_nothing() -> None:
    newcomer = Newcomer()
    newcomer.returned(5.0, FORMER)
    assert looked(newcomer, 0.9, yaw_rad=0.4) == looked(newcomer, 0.9, from_s=12.0, yaw_rad=-0.4) == []
    assert looked(newcomer, 0.9, from_s=14.0) != []


def test_only_frames_without_a_face_are_an_absence(head: HeadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes while a film is paused or a network stands still."""
    absences: list[float] = []
    monkeypatch.setattr(Newcomer, "returned", lambda self, away_s, former: absences.append(away_s))
    film = sitter("mara", 0.0)
    drive = Drive(head)
    drive([*film, *(replace(frame, pts_s=frame.pts_s + SECONDS + 5.0) for frame in film[:5])])
    assert absences == []
    drive([replace(frame, pts_s=frame.pts_s + 20.0) for frame in then(1.4, film[:5])])
    assert absences == [pytest.approx(1.4)]


def test_nobody_is_compared_with_nobody() -> None:
    newcomer = Newcomer()
    newcomer.returned(5.0, None)
    assert looked(newcomer, 0.9) == []


def test_who_leaves_before_it_is_decided_leaves_the_question() -> None:
    newcomer, settings = Newcomer(), NewcomerSettings()
    newcomer.returned(5.0, FORMER)
    assert looked(newcomer, 0.9, 0.5 * settings.window_s) == []
    newcomer.returned(5.0, Subject(np.zeros(4), np.zeros((5, 3)), 1.0))
    assert newcomer._former is FORMER
    assert looked(newcomer, 0.9, from_s=20.0) != []


def test_a_shut_lock_keeps_a_stranger_from_the_rest_pose(stages: Stages) -> None:
    driving = Driving(stages, stages, stages, stages.clock, door := _Door())
    stages.came = [HeadParams.neutral(2)]
    driving.step(packet(2.0))
    assert ("welcome", 1) not in stages.log
    stages.came, door.lock = None, Lock.OPEN
    driving.step(packet(3.0))
    driving.step(packet(4.0))
    assert stages.log.count(("welcome", 1)) == 1


class _Door:
    lock = Lock.WAITING

    def wear(self, avatar: object) -> None:
        pass

    def look(self, packet: VideoPacket, seen: FaceObservation, jumped: bool) -> Lock:
        return self.lock

    def close(self) -> None:
        pass


@pytest.fixture
def stages() -> Stages:
    return Stages()

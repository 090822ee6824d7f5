"""The rest pose keeps up with what is learned of the driver: the first second is made out again, unseen, and never against what was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.head import HeadModel, HeadParams
from realtime.neutral import Neutral, RestPose, RestSettings
from realtime.packets import FaceObservation, Tracking
from realtime.regression import ParameterSolver, SolverSettings
from realtime.rest_frames import RestFrames, RestFramesSettings
from realtime.retarget import Retargeter
from tests.synthetic_face import ARKIT, synthetic_head
from tests.test_regression import motion
from tests.test_retarget import FRAME_S, RIG, driver, run, turn_of
from tests.test_subject import PERSON, seen

SETTINGS = RestFramesSettings()


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return synthetic_head()


def frame(at_s: float) -> FaceObservation:
    return FaceObservation(Tracking.OK, 640, 480, at_s)


def kept(person_at: dict[int, float], frames: int) -> tuple[list[int], list[list[float]]]:
    """When the rest frames were made out again, by frame, and the times of the frames that were."""
    rest, asked, done = RestFrames(), [], []

    def again(observation: FaceObservation) -> HeadParams:
        asked.append(observation.pts_s)
        return driver()

    person = 0.0
    for index in range(frames):
        person = person_at.get(index, person)
        if rest.see(frame(index * FRAME_S), np.full(1, person), again) is not None:
            done.append((index, asked.copy()))
            asked.clear()
    return [at for at, _ in done], [times for _, times in done]


def test_nothing_is_made_out_again_while_nothing_changes() -> None:
    assert kept({}, 300) == ([], [])


def test_frames_all_over_the_first_second_are_made_out_again_when_the_person_changes() -> None:
    at, times = kept({100: 1.0, 200: 2.0}, 300)
    assert len(at) == 2
    assert 100 < at[0] < 100 + (SETTINGS.frames + 2) * SETTINGS.every_s / FRAME_S < 200 < at[1]
    for each in times:
        assert len(each) == SETTINGS.frames
        assert each[0] == 0.0
        assert 0.7 < each[-1] < SETTINGS.window_s
        assert np.diff(each).min() > 0.1


def test_a_step_back_in_time_is_another_driver() -> None:
    rest = RestFrames()
    for index in range(60):
        assert rest.see(frame(10.0 + index * FRAME_S), np.zeros(1), lambda _: driver()) is None
    again: list[float] = []

    def note(observation: FaceObservation) -> HeadParams:
        again.append(observation.pts_s)
        return driver()

    for index in range(90):
        rest.see(frame(index * FRAME_S), np.full(1, 0.05 * index), note)
    assert again
    assert max(again) < 1.0


def test_making_out_an_earlier_frame_changes_nothing_else(head: HeadModel) -> None:
    plain, disturbed = ParameterSolver(head), ParameterSolver(head)
    first = seen(head, 0, PERSON)
    for index in range(40):
        observation = seen(head, index, PERSON)
        one, two = plain.solve(observation), disturbed.solve(observation)
        assert one is not None
        assert two is not None
        assert np.array_equal(one.expression, two.expression)
        assert np.array_equal(one.translation, two.translation)
        assert disturbed.again(first) is not None
        assert plain.error_px == disturbed.error_px
        assert plain.residuals() == pytest.approx(disturbed.residuals())
    assert disturbed.again(FaceObservation(Tracking.LOST, 640, 480, 0.0)) is None


def test_what_is_made_out_again_is_nearer_to_the_truth(head: HeadModel) -> None:
    """A person unlike the average one: what was taken for an expression was their face."""
    solver = ParameterSolver(head, SolverSettings(rotation_precision=0.0, identity_slices=6))
    first, truth = seen(head, 0, PERSON), motion(head, 0)
    early = solver.solve(first)
    for index in range(1, 120):
        solver.solve(seen(head, index, PERSON))
    late = solver.again(first)
    assert early is not None
    assert late is not None
    errors = [np.abs(params.expression - truth.expression).mean() for params in (early, late)]
    assert errors[1] < 0.6 * errors[0]


def test_the_rest_pose_follows_without_a_jump() -> None:
    """The driver has not moved, but is now known to have been turned by six degrees less, with brows a little higher."""
    retargeter = Retargeter(ARKIT, RIG)
    run(retargeter, driver((0.0, 0.1, 0.0)), 2.0)
    now = driver(browInnerUp=0.2)
    turns, brows = [], []
    for index in range(150):
        if index == 0:
            retargeter.rest_again([now] * 6)
        shown = retargeter.retarget(now, 2.0 + index * FRAME_S)
        turns.append(turn_of(shown)[1])
        brows.append(shown.expression[0])
    assert abs(turns[-1]) < 0.01
    assert np.abs(np.diff(turns[5:])).max() < 0.01
    assert brows[-1] < 0.02


def test_a_pose_that_was_asked_for_holds() -> None:
    retargeter = Retargeter(ARKIT, RIG)
    run(retargeter, driver(), 2.0)
    retargeter.calibrate()
    asked = driver((0.0, 0.2, 0.0), browInnerUp=0.4)
    before = run(retargeter, asked, 1.5, 2.0)
    retargeter.rest_again([driver()] * 6)
    after = run(retargeter, asked, 2.0, 3.5)
    assert turn_of(after) == pytest.approx(turn_of(before), abs=1e-3)


def test_no_extreme_is_learned_and_a_seat_is_kept() -> None:
    groups = ["mouth", "brows"]
    rest, still = RestPose(groups, RestSettings()), Neutral(np.zeros(2), np.zeros(3), np.array([0.0, 0.0, -0.6]), np.zeros(4), np.zeros(3))
    for index in range(40):
        rest.update(still, index * FRAME_S, FRAME_S)
    nearer = still.neck_at * 0.9
    rest.retake([replace(still, expression=np.array([0.9, 0.9]), turn=np.array([1.5, 1.5, 1.5]), neck_at=nearer)] * 6)
    for index in range(40, 400):
        now, _ = rest.update(replace(still, neck_at=nearer), index * FRAME_S, FRAME_S)
    caps = RestSettings().automatic
    assert now.expression == pytest.approx([caps.mouth, caps.brows], abs=1e-3)
    assert now.turn == pytest.approx(caps.turn_rad, abs=1e-3)
    assert now.neck_at == pytest.approx(nearer, abs=1e-3)
    rest.retake([])

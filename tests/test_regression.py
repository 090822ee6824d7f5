from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from models.landmarker import COEFFICIENT_NAMES
from models.rotations import to_axis_angle, to_matrix
from models.solving.landmark_model import LID_GAPS, LIP_GAPS, landmark_model
from models.solving.priors import PriorSettings
from realtime.packets import FaceObservation, Tracking
from realtime.regression import ParameterSolver, SolverSettings
from tests.synthetic_face import observe, picture_of, synthetic_head

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
PLAIN = SolverSettings(identity_slices=0, rotation_precision=0.0)
"""The driver is the average person, and depths, which are true only for a far camera, are not used."""
OPEN_HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"


@pytest.fixture(scope="module", params=[False, True], ids=["shapes", "jaw_joint"])
def head(request: pytest.FixtureRequest) -> HeadModel:
    return synthetic_head(jaw_joint=request.param)


def motion(head: HeadModel, frame: int, amount: float = 1.0, seed: int = 5) -> HeadParams:
    """A face that turns, talks and looks about, slowly; without identity."""
    rng = np.random.default_rng(seed)
    count = len(head.expression_names)
    phase, pace = rng.uniform(0.0, 6.3, count + 20), rng.uniform(0.8, 2.2, count + 20)
    wave = np.sin(pace * frame * FRAME_S * 2.0 + phase)
    jaw_joint = "jawOpen" not in head.expression_names
    expression = amount * (wave[:count] if jaw_joint else 0.25 * np.maximum(wave[:count], 0.0))
    if not jaw_joint:
        expression[head.expression_names.index("tongueOut")] = 0.0
    rest = wave[count:]
    return HeadParams(
        identity=np.zeros(0, np.float32),
        expression=expression.astype(np.float32),
        rotation=(np.array([0.15, 0.35, 0.1]) * rest[:3]).astype(np.float32),
        neck=np.zeros(3, np.float32),
        jaw=(np.array([0.12 * (1.0 + rest[3]), 0.02 * rest[4], 0.0]) * jaw_joint).astype(np.float32),
        gaze=(0.15 * np.array([[rest[5], rest[6]], [rest[5], rest[6]]])).astype(np.float32),
        translation=np.array([0.03 * rest[7], 0.02 * rest[8], -0.6 + 0.05 * rest[9]], np.float32),
    )


def turn_error(found: HeadParams, truth: HeadParams) -> float:
    """Degrees."""
    return float(np.degrees(np.linalg.norm(to_axis_angle(to_matrix(found.rotation) @ to_matrix(truth.rotation).T))))


def test_a_head_without_landmarks_is_refused() -> None:
    bare = synthetic_head()
    with pytest.raises(ValueError, match="landmark embedding; 0"):
        ParameterSolver(replace(bare, landmark_faces=np.full(478, -1, np.int32)))


def test_exact_landmarks_are_solved_exactly(head: HeadModel) -> None:
    """An average person and the right focal length: pose, expression, gaze and jaw come back."""
    solver = ParameterSolver(head, PLAIN)
    for frame in range(40):
        truth = motion(head, frame)
        found = solver.solve(observe(head, truth, frame * FRAME_S))
        assert found is not None
        assert turn_error(found, truth) < 0.2
        assert np.abs(found.translation - truth.translation).max() < 0.004
        assert np.abs(found.gaze - truth.gaze).max() < 0.03
        assert np.abs(found.jaw - truth.jaw).max() < 0.02
        assert np.sqrt(((found.expression - truth.expression) ** 2).mean()) < 0.12
    assert solver.focal_px == pytest.approx(640.0)
    assert solver.error_px < 0.3


def test_the_answer_puts_the_head_where_the_landmarks_are(head: HeadModel) -> None:
    """The returned parameters, through the slow forward pass and the solver's focal length, show the observed landmarks."""
    solver = ParameterSolver(head)
    for frame in range(20):
        seen = observe(head, motion(head, frame), frame * FRAME_S)
        found = solver.solve(seen)
    assert found is not None
    assert seen.landmarks is not None
    shown = picture_of(head, found, solver.focal_px, 640, 480)
    used = landmark_model(head, 1).indices
    assert np.linalg.norm((shown - seen.landmarks)[used, :2], axis=1).mean() < 0.5


def test_depths_show_the_rotation_anywhere_in_the_picture() -> None:
    """By the landmarks' depths alone, as precise as a near camera allows; also where the line of sight is far off the axis."""
    head = synthetic_head()
    model = landmark_model(head, 1)
    solver = ParameterSolver(head)
    for x, y in ((0.0, 0.0), (0.2, 0.0), (-0.2, 0.12)):
        for turn in ((0.0, 0.0, 0.0), (0.2, 0.5, 0.1), (-0.2, -0.6, 0.3)):
            truth = replace(motion(head, 0, amount=0.0), rotation=np.array(turn, np.float32), translation=np.array([x, y, -0.7], np.float32))
            seen = observe(head, truth, 0.0)
            target = solver._target(seen)
            assert target is not None
            assert target.rotation is not None
            assert len(target.points) == len(model.indices)
            assert np.degrees(np.linalg.norm(to_axis_angle(target.rotation @ to_matrix(turn).T))) < 4.0
    assert seen.landmarks is not None
    flat = replace(seen, landmarks=seen.landmarks * np.array([1.0, 1.0, 0.0], np.float32))
    target = solver._target(flat)
    assert target is not None
    assert target.rotation is None


def test_error_grows_with_noise() -> None:
    head = synthetic_head()
    errors = []
    for noise in (0.3, 1.2):
        solver, rng = ParameterSolver(head, PLAIN), np.random.default_rng(2)
        errors.append(0.0)
        for frame in range(30):
            truth = motion(head, frame)
            found = solver.solve(observe(head, truth, frame * FRAME_S, noise_px=noise, rng=rng))
            assert found is not None
            errors[-1] += turn_error(found, truth) / 30.0
    assert errors[0] < 0.25
    assert errors[0] < errors[1] < 1.0


def test_lips_and_lids_open_as_far_as_their_edges_show() -> None:
    """Landmarks stray, both ends of a gap together, and the coefficients say nothing: the gaps are what is asked."""
    head, rng = load_head(OPEN_HEAD), np.random.default_rng(6)
    still = replace(HeadParams.neutral(len(head.expression_names)), translation=np.array([0.0, 0.0, -0.5], np.float32))
    without = replace(PLAIN, priors=PriorSettings(lip_gap_scatter=1e3, lid_gap_scatter=1e3))
    errors = []
    for _ in range(12):
        expression = still.expression.copy()
        expression[head.expression_index("jawOpen")] = rng.uniform(0.0, 0.15)
        expression[[head.expression_index(f"eyeBlink{side}") for side in ("Left", "Right")]] = rng.uniform(0.0, 0.9)
        truth = replace(still, expression=expression)
        seen = observe(head, truth, 0.0)
        stray = rng.normal(0.0, 2.0, (478, 2))
        for one, other in LIP_GAPS + LID_GAPS:
            stray[one] = stray[other]
        assert seen.landmarks is not None
        landmarks = seen.landmarks + np.pad(stray, ((0, 0), (0, 1))).astype(np.float32)
        bare = replace(seen, landmarks=landmarks, coefficients=np.zeros(len(COEFFICIENT_NAMES), np.float32))
        found = [ParameterSolver(head, settings).solve(bare) for settings in (PLAIN, without)]
        errors.append([[abs(gap_px(head, params, gap) - gap_px(head, truth, gap)) for gap in ((13, 14), (159, 145))] for params in found if params is not None])
    asked, not_asked = np.mean(errors, 0)
    assert (asked < 0.5 * not_asked).all()
    assert (asked < 0.25).all()


def gap_px(head: HeadModel, params: HeadParams, gap: tuple[int, int]) -> float:
    """Between two landmarks, in the picture."""
    one, other = picture_of(head, params, 640.0, 640, 480)[list(gap), :2]
    return float(np.linalg.norm(one - other))


def test_another_person_and_camera_are_learned() -> None:
    """Somebody else, and a longer lens: pictures fit better and better, poses stay right, and nothing ever jumps."""
    head = synthetic_head()
    person = np.random.default_rng(8).normal(0.0, 1.2, 12).astype(np.float32)
    solver = ParameterSolver(head)
    misses, errors, steps, before = [], [], [], None
    for frame in range(240):
        truth = replace(motion(head, frame), identity=person)
        found = solver.solve(observe(head, truth, frame * FRAME_S, focal_px=760.0))
        assert found is not None
        misses.append(solver.error_px)
        errors.append(turn_error(found, truth))
        if before is not None:
            steps.append(float(np.abs(found.expression - before).max()))
        before = found.expression
    assert np.mean(misses[-60:]) < 0.35 * np.mean(misses[:3])
    assert np.mean(errors[-60:]) < 1.5
    assert 640.0 < solver.focal_px < 760.0
    assert np.percentile(steps, 99) < 0.25
    solver.reset()
    assert solver.focal_px == pytest.approx(640.0)
    assert not solver.settled


def test_landmarks_of_their_own_are_learned() -> None:
    """Somebody whose landmarks sit two millimetres off, in a way that no identity shape explains."""
    head, rng = synthetic_head(), np.random.default_rng(4)
    moved_ones = rng.choice(460, 150, replace=False)
    odd = replace(head, landmark_barycentrics=head.landmark_barycentrics.copy())
    odd.landmark_barycentrics[moved_ones] = np.roll(odd.landmark_barycentrics[moved_ones], 1, axis=1)
    solver, misses = ParameterSolver(head), []
    for frame in range(200):
        solver.solve(observe(odd, motion(odd, frame), frame * FRAME_S))
        misses.append(solver.error_px)
    assert np.mean(misses[-40:]) < 0.4 * np.mean(misses[:3])


def test_after_a_while_without_a_face_learning_starts_again() -> None:
    """It may be somebody else; a short loss is none."""
    head = synthetic_head()
    for gap, again in ((0.4, False), (0.7, True)):
        solver = ParameterSolver(head)
        for frame in range(120):
            solver.solve(observe(head, motion(head, 0), frame * FRAME_S))
        assert solver.settled
        solver.solve(observe(head, motion(head, 0), 119 * FRAME_S + gap))
        assert solver.settled is not again


def test_learning_comes_to_rest() -> None:
    head = synthetic_head()
    solver = ParameterSolver(head)
    for frame in range(120):
        solver.solve(observe(head, motion(head, 0), frame * FRAME_S))
    assert solver.settled


def test_outliers_do_not_pull() -> None:
    """A tenth of the landmarks far off, as behind a hand."""
    head, rng = synthetic_head(), np.random.default_rng(6)
    solver = ParameterSolver(head, PLAIN)
    for frame in range(25):
        truth = motion(head, frame)
        seen = observe(head, truth, frame * FRAME_S)
        assert seen.landmarks is not None
        if frame > 5:
            seen.landmarks[rng.choice(478, 48, replace=False), :2] += rng.normal(0.0, 30.0, (48, 2)).astype(np.float32)
        found = solver.solve(seen)
        assert found is not None
        assert turn_error(found, truth) < 1.0


def test_nothing_odd_comes_out_or_stays() -> None:
    """Whatever a tracker might hand over: None or finite; and the next good frame is solved well."""
    head, rng = synthetic_head(), np.random.default_rng(9)
    solver = ParameterSolver(head)
    good = observe(head, motion(head, 0), 0.0)
    assert good.landmarks is not None
    assert good.coefficients is not None
    odd: list[FaceObservation] = [
        FaceObservation(Tracking.LOST, 640, 480, 0.1),
        replace(good, landmarks=np.full((478, 3), np.nan, np.float32)),
        replace(good, landmarks=np.full((478, 3), 1e30, np.float32)),
        replace(good, landmarks=np.zeros((478, 3), np.float32)),
        replace(good, landmarks=np.zeros((0, 3), np.float32)),
        replace(good, landmarks=rng.normal(300.0, 200.0, (478, 3)).astype(np.float32)),
        replace(good, landmarks=good.landmarks[::-1].copy()),
        replace(good, landmarks=good.landmarks * (1.0, -1.0, 1.0)),
        replace(good, coefficients=np.full(52, np.nan, np.float32)),
        replace(good, coefficients=np.full(52, 1e9, np.float32)),
        replace(good, coefficients=None),
        replace(good, width=0, height=0),
        replace(good, pts_s=float("nan")),
        replace(good, pts_s=-1e9),
        replace(good, landmarks=np.float32(1e-3) * good.landmarks),
        replace(good, landmarks=np.float32(50.0) * good.landmarks),
    ]
    for observation in odd:
        found = solver.solve(observation)
        if found is not None:
            parts = (found.identity, found.expression, found.rotation, found.translation, found.gaze, found.jaw)
            assert all(np.isfinite(part).all() for part in parts)
        truth = motion(head, 3)
        after = solver.solve(observe(head, truth, 0.2))
        assert after is not None
        assert turn_error(after, truth) < 1.5


def test_a_change_of_picture_size_goes_unnoticed() -> None:
    head = synthetic_head()
    solver = ParameterSolver(head, PLAIN)
    for frame in range(20):
        size, focal = ((640, 480), 640.0) if frame < 10 else ((1280, 960), 1280.0)
        truth = motion(head, frame)
        found = solver.solve(observe(head, truth, frame * FRAME_S, focal, size))
        assert found is not None
        assert turn_error(found, truth) < 0.2
        assert solver.focal_px == pytest.approx(focal)


def test_a_lost_face_is_found_anywhere() -> None:
    """Half a second later, upside down nearly, and farther away: a cold start finds it."""
    head = synthetic_head()
    solver = ParameterSolver(head, PLAIN)
    solver.solve(observe(head, motion(head, 0), 0.0))
    assert solver.solve(FaceObservation(Tracking.LOST, 640, 480, 0.1)) is None
    for turn in ((0.0, 1.0, 0.0), (0.4, -1.0, 0.3), (0.0, 0.0, 2.5)):
        truth = replace(motion(head, 4), rotation=np.array(turn, np.float32), translation=np.array([0.1, 0.05, -1.1], np.float32))
        start = 10.0 * (1.0 + sum(turn))
        found = solver.solve(observe(head, truth, start))
        assert found is not None
        assert turn_error(found, truth) < 0.5


def test_a_jump_while_tracked_is_followed() -> None:
    """Another face takes over from one frame to the next: the warm start fails, the cold one does not."""
    head = synthetic_head()
    solver = ParameterSolver(head, PLAIN)
    solver.solve(observe(head, motion(head, 0), 0.0))
    truth = replace(motion(head, 1), rotation=np.array([0.1, -0.8, 0.9], np.float32), translation=np.array([-0.2, 0.05, -1.2], np.float32))
    found = solver.solve(observe(head, truth, FRAME_S))
    assert found is not None
    assert turn_error(found, truth) < 1.0


def test_a_closed_lid_hides_the_gaze() -> None:
    """Where the iris can only be guessed, the guess hardly counts."""
    head = synthetic_head()
    truth = replace(motion(head, 0, amount=0.0), gaze=np.full((2, 2), 0.25, np.float32))
    gaze = []
    for blink in (0.0, 1.0):
        seen = observe(head, truth, 0.0)
        assert seen.coefficients is not None
        seen.coefficients[[COEFFICIENT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]] = blink
        found = ParameterSolver(head).solve(seen)
        assert found is not None
        gaze.append(float(np.abs(found.gaze).mean()))
    assert gaze[1] < 0.6 * gaze[0]

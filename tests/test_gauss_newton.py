from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams
from models.rotations import to_axis_angle, to_matrix
from models.solving.gauss_newton import Bounds, add_priors, align, boxed_step, moved, unknowns
from models.solving.landmark_model import LandmarkModel, landmark_model
from models.solving.residuals import Couplings, FrameState, Linearizer, Rest, Subject, Target, project
from tests.synthetic_face import synthetic_head

Double = NDArray[np.float64]


@pytest.fixture(scope="module", params=[False, True], ids=["shapes", "jaw_joint"])
def head(request: pytest.FixtureRequest) -> HeadModel:
    return synthetic_head(jaw_joint=request.param)


def state_of(model: LandmarkModel, seed: int = 3) -> FrameState:
    rng = np.random.default_rng(seed)
    return FrameState(
        to_matrix((0.2, -0.4, 0.1)),
        np.array([0.03, -0.02, -0.55]),
        rng.uniform(0.0, 0.4, len(model.expression_names)),
        rng.normal(0.0, 0.2, (2, 2)),
        np.array([0.25, 0.05, -0.03]) * model.has_jaw_joint,
    )


def test_landmark_model_equals_the_head(head: HeadModel) -> None:
    """The reduced head is the whole one, up to the change of skinning weights inside a triangle."""
    model = landmark_model(head, 12)
    state = state_of(model)
    subject = Subject(np.random.default_rng(0).normal(0.0, 1.0, 12), np.zeros((len(model.indices), 3)), 1.0)
    rest = Rest.of(model, subject)
    expression = np.zeros(len(head.expression_names), np.float32)
    expression[model.expression_indices] = state.expression
    root = rest.joints[0]
    params = HeadParams(
        subject.identity.astype(np.float32),
        expression,
        to_axis_angle(state.rotation).astype(np.float32),
        np.zeros(3, np.float32),
        state.jaw.astype(np.float32),
        state.gaze.astype(np.float32),
        (state.translation + state.rotation @ root - root).astype(np.float32),
    )
    whole = head.landmarks(head.vertices(params))[model.indices]
    _, camera = project(model, subject, rest, state)
    assert np.abs(camera - whole).max() < (1e-3 if model.has_jaw_joint else 1e-5)
    assert np.sqrt(((camera - whole) ** 2).mean()) < 1e-4


def test_unusable_landmarks_are_left_out(head: HeadModel) -> None:
    model = landmark_model(head, 4)
    assert 7 not in model.indices
    assert 8 not in model.indices
    assert len(model.indices) == 476
    assert "tongueOut" not in model.expression_names


@pytest.mark.parametrize("shared", [False, True])
def test_jacobian_equals_finite_differences(head: HeadModel, shared: bool) -> None:
    """Every column, against moving that unknown a little; gaps do not ask the pose. Robust weights off, joints at rest for the identity (whose pull on them is
    left out)."""
    model = landmark_model(head, 12)
    state = state_of(model)
    if shared:
        state = replace(state, gaze=np.zeros((2, 2)), jaw=np.zeros(3))
    subject = Subject(np.random.default_rng(1).normal(0.0, 1.0, 12), np.zeros((len(model.indices), 3)), 1.1)
    rest = Rest.of(model, subject)
    points, _ = project(model, subject, rest, state)
    size = model.frame_size
    gap_weights = np.linspace(30.0, 90.0, len(model.gaps))
    target = Target(
        points + np.random.default_rng(2).normal(0.0, 0.001, points.shape), model.weights.astype(float), np.zeros(size), np.zeros(size), gap_weights=gap_weights
    )
    linearizer = Linearizer(model, huber_knee=1e9)
    rows = linearizer.linearize(subject, rest, state, target, shared).copy()
    bounds = Bounds(np.full(size, -np.inf), np.full(size, np.inf))
    eyes = state.rotation @ (0.5 * (rest.joints[2] + rest.joints[3])) + state.translation
    scale = subject.focal * model.eye_distance_m / -eyes[2]

    def whitened(places: Double) -> Double:
        """Of the landmarks (L, 2) and, below them, of what lies between the ends of the gaps."""
        between = places[model.gaps[:, 0]] - places[model.gaps[:, 1]]
        return np.concatenate([places * model.weights[:, None], between * gap_weights[:, None]]).T.reshape(-1) / scale

    assert len(model.gaps) == 5
    assert rows[:, -1] == pytest.approx(whitened(points - target.points), abs=1e-4)
    tiny = 1e-6

    def seen(column: int, step: float) -> Double:
        if column < size:
            moved_state = moved(state, step * np.eye(size)[column], bounds, model.has_jaw_joint)
            return project(model, subject, rest, moved_state)[0]
        other = column - size
        if other == 12:
            return project(model, replace(subject, focal=subject.focal * float(np.exp(step))), rest, state)[0]
        person = replace(subject, identity=subject.identity + step * np.eye(12)[other])
        return project(model, person, Rest.of(model, person), state)[0]

    for column in range(rows.shape[1] - 1):
        slope = whitened(seen(column, tiny) - seen(column, -tiny)) / (2.0 * tiny)
        if column < 6:
            slope.reshape(2, -1)[:, len(points) :] = 0.0
        assert rows[:, column] == pytest.approx(slope, abs=2e-5 * max(1.0, float(np.abs(slope).max()))), column


def test_priors_are_the_derivatives_of_their_cost(head: HeadModel) -> None:
    """Gradient and curvature against the cost, written plainly."""
    model, rng = landmark_model(head, 1), np.random.default_rng(7)
    state, size = state_of(model), model.frame_size
    left, right, coupling = np.array([8, size - 2]), np.array([11, size - 1]), np.array([3.0, 7.0])
    precision = np.concatenate([np.zeros(6), rng.uniform(1.0, 5.0, size - 6)])
    prior, seen = rng.normal(size=size), to_matrix((0.05, -0.03, 0.02)) @ state.rotation
    certain = np.array([[50.0, 8.0, -3.0], [8.0, 30.0, 5.0], [-3.0, 5.0, 40.0]])
    target = Target(np.zeros((1, 2)), np.zeros(1), prior, precision, Couplings(left, right, coupling), seen, certain)
    free = Bounds(np.full(size, -np.inf), np.full(size, np.inf))

    def cost(step: Double) -> float:
        there = moved(state, step, free, model.has_jaw_joint)
        stray = unknowns(there, model.has_jaw_joint) - prior
        turn = to_axis_angle(seen @ there.rotation.T)
        return float(0.5 * (precision * stray**2).sum() + 0.5 * (coupling * (stray[left] - stray[right]) ** 2).sum() + 0.5 * turn @ certain @ turn)

    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    add_priors(hessian, gradient, unknowns(state, model.has_jaw_joint), state, target)
    tiny = 1e-4 * np.eye(size)
    assert gradient == pytest.approx([(cost(one) - cost(-one)) / 2e-4 for one in tiny], abs=1e-3)
    for a, b in ((8, 8), (8, 11), (11, 8), (11, 11), (size - 1, size - 2), (20, 20)):
        mixed = (cost(tiny[a] + tiny[b]) - cost(tiny[a] - tiny[b]) - cost(tiny[b] - tiny[a]) + cost(-tiny[a] - tiny[b])) / 4e-8
        assert hessian[a, b] == pytest.approx(mixed, abs=1e-3)


def test_boxed_step_is_the_least_in_the_box() -> None:
    """Against projected gradient descent, run for long."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        half = rng.normal(size=(12, 8))
        hessian, gradient = half.T @ half + 0.1 * np.eye(8), rng.normal(size=8)
        low, high = -rng.uniform(0.0, 0.3, 8), rng.uniform(0.0, 0.3, 8)
        best = np.zeros(8)
        for _ in range(3000):
            best = np.clip(best - (hessian @ best + gradient) / np.linalg.eigvalsh(hessian)[-1], low, high)

        def cost(step: Double, hessian: Double = hessian, gradient: Double = gradient) -> float:
            return float(0.5 * step @ hessian @ step + gradient @ step)

        step = boxed_step(hessian, gradient, low, high)
        assert (step >= low).all()
        assert (step <= high).all()
        assert cost(step) == pytest.approx(cost(best), rel=1e-6)


def test_align_finds_a_rotation() -> None:
    rng = np.random.default_rng(0)
    points, rotation = rng.normal(size=(40, 3)), to_matrix((0.3, -2.0, 0.7))
    assert align(points, 3.0 * points @ rotation.T + (5.0, -2.0, 1.0), rng.uniform(0.1, 1.0, 40)) == pytest.approx(rotation)

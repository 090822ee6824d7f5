"""training/fit/photometric.py: how unknowns move the picture, and that a misplaced face is brought back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, load_head
from models.rotations import to_axis_angle, to_matrix
from tests.flame_like import OPEN_HEAD, open_head_as_flame
from tests.portraits import FOCAL, Painted, painted
from training.fit.photometric import COMPONENT_LIMIT, RegistrationSettings, _Motion, register
from training.fitted import Fitted
from training.portrait.portrait import View
from training.progress import Progress

SIZE = 256
STEP = 1e-3


@pytest.fixture(scope="module", params=["open", "flame"])
def head(request: pytest.FixtureRequest) -> HeadModel:
    return load_head(OPEN_HEAD) if request.param == "open" else open_head_as_flame()


@pytest.fixture(scope="module")
def case(head: HeadModel) -> Painted:
    return painted(head, 3, SIZE)


def changed(fitted: Fitted, frame: int, unknown: int, step: float) -> Fitted:
    """One unknown of a frame moved: neck from the left 3, translation 3, gaze 4, jaw 3, expression."""
    arrays = {name: getattr(fitted, name).astype(np.float64) for name in ("neck", "translation", "gaze", "jaw", "expression")}
    if unknown < 3:
        turn = np.eye(3)[unknown] * step
        arrays["neck"][frame] = to_axis_angle(to_matrix(turn) @ to_matrix(fitted.neck[frame]))
    else:
        name, at = next(
            (name, unknown - first)
            for name, first, last in (("translation", 3, 6), ("gaze", 6, 10), ("jaw", 10, 13), ("expression", 13, 999))
            if unknown < last
        )
        arrays[name][frame].reshape(-1)[at] += step
    return replace(fitted, **{name: value.astype(np.float32) for name, value in arrays.items()})


def test_jacobian_is_the_finite_difference(case: Painted) -> None:
    mesh = case.portrait.mesh
    still = replace(case.portrait, mesh=replace(mesh, correctives=np.zeros((0, len(mesh.vertices), 3), np.float32)))
    fitted, view = case.fitted, View(still.baked(), SIZE)
    motion = _Motion(still, RegistrationSettings())
    frame, weights = 1, mesh.skinning_weights
    whole = np.flatnonzero(weights[:, [NECK, LEFT_EYE, RIGHT_EYE]].max(1) > 0.999)
    hinged = np.flatnonzero((weights[:, JAW] > 0.1) & (weights[:, 0] < 1e-3))
    chosen = np.unique(np.concatenate([whole[:: max(1, len(whole) // 200)], np.flatnonzero(mesh.of("left_eye", "right_eye"))[::9], hinged[::9]]))
    view.look(fitted.params(frame))
    jacobian = motion.jacobian(view, fitted, frame, chosen)
    assert jacobian.shape == (len(chosen), 2, 13 + len(mesh.expression_names))
    unknowns = [*range(13), *(13 + np.flatnonzero(np.abs(mesh.expression[:, chosen]).max((1, 2)) > 1e-3)[::5])]
    assert len(unknowns) > 15
    for unknown in unknowns:
        seen = []
        for step in (-STEP, STEP):
            view.place(changed(fitted, frame, unknown, step).params(frame))
            seen.append(view.points[chosen, :2].astype(np.float64))
        slope = (seen[1] - seen[0]) / (2.0 * STEP)
        jaw = 10 <= unknown < 13
        bent = jaw | (weights[chosen, JAW] * (1.0 - weights[chosen, JAW]) > 1e-3)
        off, size = np.abs(jacobian[..., unknown] - slope).max(1), max(np.abs(slope).max(), 5.0)
        assert off[~bent].max(initial=0.0) < 0.02 * size, unknown
        assert off[bent].max(initial=0.0) < 0.12 * size, "the jaw's angles are added, its axes taken as the head's"


def turned_by(fitted: Fitted, truth: Fitted) -> NDArray[np.float64]:
    """(T,) degrees."""
    turns = [to_axis_angle(to_matrix(one) @ to_matrix(two).T) for one, two in zip(fitted.neck, truth.neck, strict=True)]
    return np.degrees(np.linalg.norm(turns, axis=1))


def misplaced(truth: Fitted) -> Fitted:
    count = len(truth.neck)
    rng = np.random.default_rng(3)
    turn = np.radians(1.5) * rng.choice([-1.0, 1.0], (count, 3)) / np.sqrt(3.0)
    neck = [to_axis_angle(to_matrix(extra) @ to_matrix(old)) for extra, old in zip(turn, truth.neck, strict=True)]
    moved = truth.translation + 0.0015 * rng.choice([-1.0, 1.0], (count, 3))
    return replace(truth, neck=np.array(neck, np.float32), translation=moved.astype(np.float32))


def test_a_small_misplacement_is_taken_back(case: Painted) -> None:
    frames = np.arange(3)
    rounds = partial(register, case.portrait, case.clip, anchor=case.fitted, frames=frames, threads=1, progress=Progress())
    fitted = misplaced(case.fitted)
    first, medians = turned_by(fitted, case.fitted), []
    for number in range(5):
        fitted, flows = rounds(fitted=fitted, settings=RegistrationSettings(rigid=number < 3))
        medians.append(flows.median_px)
    assert medians[0] > 1.0
    assert medians[-1] < 0.25 * medians[0]
    assert first.min() > 1.4
    assert turned_by(fitted, case.fitted).max() < 0.35
    off_mm = 1e3 * np.abs(fitted.translation - case.fitted.translation)
    assert off_mm[:, :2].max() < 0.8
    assert np.abs(fitted.expression - case.fitted.expression).max() < 0.12


def test_what_is_right_stays_and_other_frames_are_not_touched(case: Painted) -> None:
    away = misplaced(case.fitted)
    mixed = replace(case.fitted, neck=np.stack([case.fitted.neck[0], away.neck[1], case.fitted.neck[2]]))
    fitted, flows = register(case.portrait, case.clip, mixed, mixed, np.array([0]), RegistrationSettings(), 1, Progress())
    assert flows.median_px < 0.15
    assert turned_by(fitted, case.fitted)[0] < 0.1
    for name in ("neck", "translation", "gaze", "jaw", "expression"):
        np.testing.assert_array_equal(getattr(fitted, name)[1:], getattr(mixed, name)[1:])
    assert flows.residual.shape == (1, len(case.portrait.mesh.vertices), 2)
    assert flows.visible[0].mean() > 0.1


def test_flows_say_what_the_step_left(case: Painted) -> None:
    """The surface's shape is wrong: no step explains it, and the residual points from where it is to where it should be."""
    bump = np.zeros_like(case.portrait.shape)
    near = np.linalg.norm(case.portrait.mesh.vertices - case.portrait.mesh.landmark(4), axis=1) < 0.02
    bump[near, 0] = 0.003
    truth = View(case.portrait.baked(), SIZE)
    wrong = replace(case.portrait, shape=bump)
    fitted, flows = register(wrong, case.clip, case.fitted, case.fitted, np.array([0]), RegistrationSettings(rigid=True), 1, Progress())
    view = View(wrong.baked(), SIZE)
    view.place(fitted.params(0))
    truth.place(case.fitted.params(0))
    chosen = np.flatnonzero(near & flows.visible[0])
    expected = (truth.points - view.points)[chosen, :2]
    assert len(chosen) > 20
    assert np.median(np.linalg.norm(flows.residual[0, chosen] - expected, axis=1)) < 0.45 * np.median(np.linalg.norm(expected, axis=1))


def test_what_the_step_took_is_not_left(case: Painted) -> None:
    away = misplaced(case.fitted)
    fitted, flows = register(case.portrait, case.clip, away, away, np.array([0]), RegistrationSettings(rigid=True), 1, Progress())
    places = []
    for each in (case.fitted, away, fitted):
        view = View(case.portrait.baked(), SIZE)
        view.place(each.params(0))
        places.append(view.points[:, :2].copy())
    seen = flows.visible[0] & case.portrait.mesh.of("skin") & (case.portrait.mesh.skinning_weights[:, 0] < 0.1)
    off = np.linalg.norm(flows.residual[0] - (places[0] - places[2]), axis=1)[seen]
    taken = np.linalg.norm(places[2] - places[1], axis=1)[seen]
    assert np.median(taken) > 1.0
    assert np.median(off) < 0.3 * np.median(taken)


def test_weights_stay_within_their_limits(case: Painted) -> None:
    """The pictures ask for more than a weight may be."""
    named = "jawOpen" in case.portrait.mesh.expression_names
    low, high = (0.0, 1.0) if named else (-COMPONENT_LIMIT, COMPONENT_LIMIT)
    edge = np.where(np.arange(case.fitted.expression.shape[1]) % 2 == 0, low, high).astype(np.float32)
    wrong = replace(case.fitted, expression=np.tile(edge, (3, 1)))
    fitted, _ = register(case.portrait, case.clip, wrong, wrong, np.arange(3), RegistrationSettings(expression_sigma=0.5), 1, Progress())
    assert fitted.expression.min() >= low - 1e-6
    assert fitted.expression.max() <= high + 1e-6
    assert np.abs(fitted.expression - edge).max() > 0.05, "others did move"


def test_a_face_out_of_the_picture_stays_where_it_was(case: Painted) -> None:
    gone = replace(case.fitted, translation=case.fitted.translation + np.array([3.0, 0.0, 0.0], np.float32))
    fitted, flows = register(case.portrait, case.clip, gone, gone, np.array([0]), RegistrationSettings(), 1, Progress())
    np.testing.assert_array_equal(fitted.translation, gone.translation)
    assert not flows.visible.any()
    assert gone.focal == FOCAL

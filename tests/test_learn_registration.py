"""training/registration.py: an avatar learns to find its own person in pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import bake
from models.driver import Registration
from models.head import HeadParams
from models.registration import Registrar, moved
from models.rotations import to_axis_angle, to_matrix
from tests.neural_clip import charted, unlit
from tests.portraits import blotches
from tests.tiny_avatar import NAMES, tiny_avatar
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.portrait import View
from training.progress import Progress
from training.registration import RegistrationPlan, difference, learn_registration

SIZE, COUNT, TAUGHT = 160, 70, 60
PLAN = RegistrationPlan(points=200, starts=2)


@dataclass(frozen=True)
class Case:
    avatar: AvatarFile
    clip: Clip
    landmarks: Fitted
    fitted: Fitted


def params_at(frame: int, seed: int, spread: float) -> HeadParams:
    rng = np.random.default_rng([seed, frame])
    neck, place, gaze = (rng.normal(0.0, sigma, size) for sigma, size in ((0.12, 3), (0.004, 3), (0.08, (2, 2))))
    parts = (rng.uniform(0.1, 0.9, len(NAMES)), np.zeros(3), neck, np.zeros(3), gaze, place + np.array([0.0, 0.0, -0.5]))
    return HeadParams(np.zeros(0, np.float32), *(np.asarray(spread * part, np.float32) if k < 5 else part.astype(np.float32) for k, part in enumerate(parts)))


def stacked(params: list[HeadParams], focal: float) -> Fitted:
    arrays = {name: np.stack([getattr(each, name) for each in params]) for name in ("expression", "neck", "jaw", "gaze", "translation")}
    return Fitted(focal, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), **arrays)


@pytest.fixture(scope="module")
def case() -> Case:
    """Landmarks that are off by the same and by something else in every frame."""
    avatar = charted(unlit(tiny_avatar(20)))
    view, behind = View(bake(avatar), SIZE), blotches(SIZE, 1, 6.0).astype(np.uint8)
    truth = [params_at(frame, 1, 1.0) for frame in range(COUNT)]
    rng = np.random.default_rng(2)
    starts = []
    for each in truth:
        turn = np.array([0.03, -0.02, 0.01]) + rng.normal(0.0, 0.015, 3)
        starts.append(moved(each, np.concatenate([turn, rng.normal(0.0, 0.001, 3), rng.normal(0.05, 0.05, len(NAMES)), rng.normal(0.0, 0.03, 4)])))
    frames = np.stack([view.draw(each, behind) for each in truth])
    mattes = np.full((COUNT, SIZE, SIZE), 255, np.uint8)
    nothing = np.zeros((COUNT, 478, 3), np.float32), np.zeros((COUNT, 52), np.float32), np.ones(COUNT, np.float32), np.zeros((COUNT, 2), np.int32)
    clip = Clip(frames, mattes, np.arange(COUNT) / 25.0, *nothing, np.arange(COUNT) >= TAUGHT)
    focal = avatar.camera.focal
    return Case(avatar, clip, stacked(starts, focal), stacked(truth, focal))


@pytest.fixture(scope="module")
def learned(case: Case) -> Registration:
    return learn_registration(case.avatar, case.clip, case.landmarks, case.fitted, case.clip.training, PLAN, Progress())


def test_unseen_frames_are_found(case: Case, learned: Registration) -> None:
    registrar = Registrar(learned, bake(case.avatar))
    focal_px, centre = case.fitted.focal * SIZE, (0.5 * SIZE, 0.5 * SIZE)
    errors: dict[str, list[tuple[float, float]]] = {"start": [], "refined": []}
    for frame in range(TAUGHT, COUNT):
        start, truth = case.landmarks.params(frame), case.fitted.params(frame)
        refined = registrar.refine(np.ascontiguousarray(case.clip.frames[frame]), start, focal_px, centre)
        there = registrar.points(truth, focal_px, centre)
        for name, each in (("start", start), ("refined", refined)):
            away = np.linalg.norm(registrar.points(each, focal_px, centre) - there, axis=1).mean()
            errors[name].append((float(np.linalg.norm(difference(each, truth)[:3])), float(away)))
    before, after = (np.array(errors[name]).mean(0) for name in ("start", "refined"))
    assert (after < 0.5 * before).all()


def test_its_size_is_the_plan_s(case: Case, learned: Registration) -> None:
    assert len(learned.stages) == PLAN.stages
    assert 100 < len(learned.vertices) <= PLAN.points
    assert (np.diff(learned.vertices) > 0).all()
    for stage in learned.stages:
        assert stage.matrix.shape == (10 + len(NAMES), 3 * len(learned.vertices))
    on_head = np.unique(case.avatar.mesh.faces[case.avatar.mesh.face_layer == 0])
    assert np.isin(learned.vertices, on_head).all()
    assert case.avatar.mesh.skinning_weights[learned.vertices, 0].max() < 0.3


def test_held_out_frames_are_never_read(case: Case, learned: Registration) -> None:
    """Poisoned, they change nothing."""
    late = np.arange(COUNT) >= TAUGHT

    def poisoned(fitted: Fitted) -> Fitted:
        def spoilt(values: NDArray[np.float32]) -> NDArray[np.float32]:
            copy = values.copy()
            copy[late] = np.nan
            return copy

        parts = (spoilt(part) for part in (fitted.expression, fitted.neck, fitted.jaw, fitted.gaze, fitted.translation))
        return Fitted(fitted.focal, fitted.identity, fitted.offsets, *parts)

    frames = case.clip.frames.copy()
    frames[late] = np.random.default_rng(0).integers(0, 256, frames[late].shape)
    clip = replace(case.clip, frames=frames)
    again = learn_registration(case.avatar, clip, poisoned(case.landmarks), poisoned(case.fitted), case.clip.training, PLAN, Progress())
    np.testing.assert_array_equal(again.vertices, learned.vertices)
    for one, two in zip(again.stages, learned.stages, strict=True):
        np.testing.assert_array_equal(one.matrix, two.matrix)
        np.testing.assert_array_equal(one.bias, two.bias)


@pytest.mark.parametrize("seed", range(4))
def test_moved_undoes_difference(seed: int) -> None:
    start, truth = params_at(0, seed, 1.5), params_at(1, seed, 2.0)
    reached = moved(start, difference(start, truth))
    np.testing.assert_allclose(to_matrix(reached.neck), to_matrix(truth.neck), atol=1e-5)
    for name in ("translation", "expression", "gaze"):
        np.testing.assert_allclose(getattr(reached, name), getattr(truth, name), atol=1e-6)
    delta = np.random.default_rng(seed).normal(0.0, 0.2, 10 + len(NAMES))
    np.testing.assert_allclose(difference(start, moved(start, delta)), delta, atol=1e-5)
    assert np.abs(difference(start, start)).max() < 1e-6


def test_difference_turns_from_the_left() -> None:
    """As models/registration.py steps."""
    start = params_at(0, 3, 1.0)
    turn: NDArray[np.float64] = np.array([0.1, 0.0, 0.0])
    truth = replace(start, neck=to_axis_angle(to_matrix(turn) @ to_matrix(start.neck)).astype(np.float32))
    np.testing.assert_allclose(difference(start, truth)[:3], turn, atol=1e-6)

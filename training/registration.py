"""Teaches an avatar to find its own person in a picture: supervised descent from what the live loop's landmarks give to what the dense fit found.

Only training frames teach. Every one is looked at from several starts: where its landmarks put the face, and from the truth set off as the landmarks of other
frames were off, so that the colours at the vertices learn to say which way is home (models/registration.py takes the same features live).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import BakedAvatar, bake
from models.driver import Registration, RegistrationStage
from models.head import ROOT, HeadParams
from models.registration import Registrar, features, moved
from models.rotations import to_axis_angle, to_matrix
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.portrait import View
from training.progress import Progress

Float = NDArray[np.float32]
Double = NDArray[np.float64]
ROOT_LIMIT = 0.3
"""Vertices that follow the root joint by more say nothing of the face."""
SEEN_SHARE = 0.8
"""A vertex counts where it shows in so many of the frames."""


@dataclass(frozen=True, slots=True)
class RegistrationPlan:
    points: int = 700
    stages: int = 1
    """Stages after the first see what the first has learned by heart, and learn nothing (measured on stretches kept aside)."""
    starts: int = 8
    """Set-off starts a frame, beside the landmarks' own."""
    penalties: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Of the ridge, in mean eigenvalues of the features' covariance; the best on stretches of training frames kept aside is taken."""
    stretch: int = 20
    """Frames in such a stretch; every fifth is kept aside."""


def learn_registration(
    avatar: AvatarFile, clip: Clip, landmarks: Fitted, fitted: Fitted, frames: NDArray[np.int64], plan: RegistrationPlan, progress: Progress
) -> Registration:
    """Args: `landmarks` what landmarks alone give, `fitted` the truth to be found, both of all frames; `frames` (T,) those that may teach."""
    baked = bake(avatar)
    vertices = _vertices(avatar, baked, fitted, frames, clip.size, plan.points)
    truths = [fitted.params(int(frame)) for frame in frames]
    starts = _starts([landmarks.params(int(frame)) for frame in frames], truths, plan.starts)
    kept_aside = np.repeat((np.arange(len(frames)) // plan.stretch) % 5 == 4, plan.starts + 1)
    stages: list[RegistrationStage] = []
    progress.start("registration for live use", plan.stages)
    registrar = Registrar(Registration(vertices, ()), baked)
    for _ in range(plan.stages):
        seen = _look(registrar, clip, frames, starts, avatar.camera.focal)
        wanted = np.array([difference(start, truth) for group, truth in zip(starts, truths, strict=True) for start in group])
        stages.append(_ridge(seen, wanted, kept_aside, plan.penalties))
        stage = stages[-1]
        deltas = ((seen - stage.mean) @ stage.matrix.T + stage.bias).reshape(len(frames), plan.starts + 1, -1)
        starts = [[moved(start, delta) for start, delta in zip(group, rows, strict=True)] for group, rows in zip(starts, deltas, strict=True)]
        progress.advance()
    return Registration(vertices, tuple(stages))


def difference(start: HeadParams, truth: HeadParams) -> Double:
    """(10 + E,): the way from one to the other, as a registration's stages step; models.registration.moved goes it."""
    turn = to_axis_angle(to_matrix(truth.neck) @ to_matrix(start.neck).T)
    parts = (turn, truth.translation - start.translation, truth.expression - start.expression, (truth.gaze - start.gaze).ravel())
    return np.concatenate(parts).astype(np.float64)


def _vertices(avatar: AvatarFile, baked: BakedAvatar, fitted: Fitted, frames: NDArray[np.int64], size: int, count: int) -> NDArray[np.int32]:
    """Vertices of head and eyes that hardly ever hide, evenly over the mesh's order, which follows the surface."""
    view = View(baked, size)
    looks = frames[np.unique(np.linspace(0, len(frames) - 1, min(40, len(frames))).astype(int))]
    shown = np.zeros(len(baked.base))
    for frame in looks:
        view.look(fitted.params(int(frame)))
        seen = np.unique(view.face_id[view.face_id >= 0])
        shown[np.unique(baked.faces[seen])] += 1.0 / len(looks)
    names = [region.name for region in avatar.regions]
    of_head = np.zeros(len(baked.base), bool)
    wanted = [names.index(name) for name in ("skin", "left_eye", "right_eye", "mouth") if name in names]
    of_head[baked.faces[np.isin(baked.face_region, wanted)]] = True
    usable = np.flatnonzero(of_head & (shown > SEEN_SHARE) & (avatar.mesh.skinning_weights[:, ROOT] < ROOT_LIMIT))
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(int))]
    return chosen.astype(np.int32)


def _starts(landmarks: list[HeadParams], truths: list[HeadParams], count: int) -> list[list[HeadParams]]:
    """For each frame its landmarks' parameters, and the truth set off as other frames' landmarks are, by half as much to half as much again."""
    rng = np.random.default_rng(0)
    off = [difference(truth, start) for start, truth in zip(landmarks, truths, strict=True)]
    groups = []
    for start, truth in zip(landmarks, truths, strict=True):
        others = [moved(truth, off[int(rng.integers(len(off)))] * rng.uniform(0.5, 1.5)) for _ in range(count)]
        groups.append([start, *others])
    return groups


def _look(registrar: Registrar, clip: Clip, frames: NDArray[np.int64], starts: list[list[HeadParams]], focal: float) -> Float:
    """(T * starts, F)."""
    centre = (0.5 * clip.size, 0.5 * clip.size)
    rows = []
    for frame, group in zip(frames, starts, strict=True):
        points = np.stack([registrar.points(start, focal * clip.size, centre) for start in group])
        rows.append(features(np.ascontiguousarray(clip.frames[frame]), points))
    return np.concatenate(rows)


def _ridge(seen: Float, wanted: Double, kept_aside: NDArray[np.bool_], penalties: tuple[float, ...]) -> RegistrationStage:
    """Each group of unknowns with the penalty that foretells the stretches kept aside best."""
    learn = ~kept_aside if kept_aside.any() and not kept_aside.all() else np.ones(len(seen), bool)
    judge = ~learn if not learn.all() else learn
    trials = _solutions(seen[learn], wanted[learn], penalties)
    errors = np.array([((seen[judge] - mean) @ matrix.T + bias - wanted[judge]) ** 2 for mean, matrix, bias in trials]).mean(1)
    unknowns = wanted.shape[1]
    groups = [slice(0, 3), slice(3, 6), slice(6, unknowns - 4), slice(unknowns - 4, unknowns)]
    final = _solutions(seen, wanted, penalties)
    mean, matrix, bias = (part.copy() for part in final[0])
    for group in groups:
        best = int(np.argmin(errors[:, group].sum(1)))
        matrix[group], bias[group] = final[best][1][group], final[best][2][group]
    return RegistrationStage(mean.astype(np.float32), matrix.astype(np.float32), bias.astype(np.float32))


def _solutions(seen: Float, wanted: Double, penalties: tuple[float, ...]) -> list[tuple[Double, Double, Double]]:
    """(mean (F,), matrix (U, F), bias (U,)) of the ridge for every penalty, from one eigendecomposition."""
    mean, bias = seen.mean(0, dtype=np.float64), wanted.mean(0)
    centred = (seen - mean.astype(np.float32)).astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(seen))
    projected = vectors.T @ (centred.T @ (wanted - bias).astype(np.float32)).astype(np.float64) / len(seen)
    level = float(values.mean())
    return [(mean, (vectors @ (projected / (np.maximum(values, 0.0) + penalty * level)[:, None])).T, bias) for penalty in penalties]

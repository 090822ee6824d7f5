"""Landmarks → who the person is, the camera, and every frame's pose and expression.

Identity, focal length and the landmarks' offsets are solved over keyframes of the training part (models/solving/identity.py); then every frame, with them held.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models.head import NECK, HeadModel
from models.rotations import to_axis_angle
from models.solving.first_pose import first_pose
from models.solving.gauss_newton import solve_frame
from models.solving.identity import IdentityFit, IdentitySettings
from models.solving.landmark_model import Float, LandmarkModel, landmark_model
from models.solving.priors import Priors, PriorSettings
from models.solving.residuals import Double, FrameState, Linearizer, Rest, Subject, Target
from training.clip import Clip
from training.errors import TrainingError
from training.fitted import Fitted
from training.progress import Progress


@dataclass(frozen=True, slots=True)
class LandmarkFitSettings:
    identity_shapes: int = 80
    """At most so many of the head's."""
    focal: float = 2.0
    """First guess, in picture sides: a crop around the head sees about half of what a phone or a webcam sees."""
    keyframes: int = 48
    iterations: int = 3
    cold_iterations: int = 10
    huber_knee: float = 0.04
    """In inter-ocular distances."""
    largest_error: float = 0.15
    """Median landmark error, in inter-ocular distances, of a frame that is taken as fitted."""
    priors: PriorSettings = field(default_factory=PriorSettings)


@dataclass(frozen=True, slots=True)
class LandmarkFit:
    """Of T frames."""

    model: LandmarkModel
    subject: Subject
    states: tuple[FrameState, ...]
    errors_px: Float
    """(T, L) distance of each landmark to the tracker's, in pixels of the crop."""


def fit_landmarks(clip: Clip, head: HeadModel, progress: Progress, settings: LandmarkFitSettings | None = None) -> LandmarkFit:
    """Solves a clip.

    Raises:
        TrainingError: the landmarks are not those of a face that this head can make.
    """
    chosen = settings or LandmarkFitSettings()
    model = landmark_model(head, chosen.identity_shapes)
    solver = _Solver(model, chosen)
    targets = [solver.target(clip, frame) for frame in range(len(clip.pts_s))]
    subject = _identify(solver, [targets[frame] for frame in clip.training], progress)
    progress.start("pose and expression", len(targets))
    states, errors = [], []
    state = None
    for target in targets:
        state = solver.solve(subject, target, state)
        if state is None:
            raise TrainingError("The face could not be followed through the clip: record one where it stays in view, turned no further than in a half profile.")
        states.append(state)
        errors.append(solver.linearizer.errors * solver.eye_distance(subject, state) * clip.size)
        progress.advance()
    return LandmarkFit(model, subject, tuple(states), np.array(errors, np.float32))


def to_fitted(fit: LandmarkFit, head: HeadModel) -> Fitted:
    """The head turned at its neck, in the head's own expression order."""
    model, subject = fit.model, fit.subject
    expression = np.zeros((len(fit.states), len(head.expression_names)), np.float32)
    expression[:, model.expression_indices] = np.array([state.expression for state in fit.states])
    offsets = np.zeros((len(head.landmark_faces), 3), np.float32)
    offsets[model.indices] = subject.offsets
    identity = subject.identity.astype(np.float32)
    neck_at = head.joints(head.shaped(identity, np.zeros(0, np.float32)))[NECK].astype(np.float64)
    return Fitted(
        focal=float(subject.focal),
        identity=identity,
        offsets=offsets,
        expression=expression,
        neck=np.array([to_axis_angle(state.rotation) for state in fit.states], np.float32),
        jaw=np.array([state.jaw for state in fit.states], np.float32),
        gaze=np.array([state.gaze for state in fit.states], np.float32),
        translation=np.array([state.translation + state.rotation @ neck_at - neck_at for state in fit.states], np.float32),
    )


def _identify(solver: _Solver, targets: list[Target], progress: Progress) -> Subject:
    """The subject, from the most telling frames."""
    settings, model = solver.settings, solver.model
    start = Subject.average(model, settings.focal)
    identity = IdentitySettings(keyframes=settings.keyframes, rounds=14, novelty_degrees=3.0, novelty_expression=0.6)
    fit = IdentityFit(model, solver.linearizer, solver.priors.bounds, start, settings.focal, identity)
    progress.start("keyframes", len(targets))
    state = None
    for target in targets[:: max(1, len(targets) // 240)]:
        state = solver.solve(start, target, state)
        if state is not None and np.median(solver.linearizer.errors) < settings.largest_error:
            fit.offer(state, target)
    progress.start("identity", fit.keyframe_count * identity.rounds)
    while not fit.resting:
        fit.work()
        progress.advance()
    if fit.keyframe_count == 0:
        raise TrainingError("No frame shows a face that the head model can follow: record it from the front, well lit, without a hand before it.")
    return fit.subject


class _Solver:
    """What every frame of a clip is solved with."""

    def __init__(self, model: LandmarkModel, settings: LandmarkFitSettings) -> None:
        self.model = model
        self.settings = settings
        self.priors = Priors(model, settings.priors)
        self.linearizer = Linearizer(model, settings.huber_knee)

    def target(self, clip: Clip, frame: int) -> Target:
        """What frame `frame` shows, in picture sides from the centre. The openings of lips and lids are not asked by themselves: flow and colours place them
        better later on, and a registration taught from there came 0.7 dB nearer to the offline fit."""
        points = clip.landmarks[frame, self.model.indices, :2].astype(np.float64)
        return replace(self.priors.target(points / clip.size - 0.5, clip.coefficients[frame]), gap_weights=None)

    def solve(self, subject: Subject, target: Target, warm: FrameState | None) -> FrameState | None:
        """From the frame before; failing that, from nothing."""
        rest = Rest.of(self.model, subject)
        if warm is not None:
            state = self._iterate(subject, rest, warm, target, self.settings.iterations)
            if state is not None:
                return state
        start = first_pose(self.model, subject, rest, target)
        return None if start is None else self._iterate(subject, rest, start, target, self.settings.cold_iterations)

    def eye_distance(self, subject: Subject, state: FrameState) -> float:
        """In picture sides, as seen straight on."""
        return subject.focal * self.model.eye_distance_m / float(-state.translation[2])

    def _iterate(self, subject: Subject, rest: Rest, state: FrameState, target: Target, iterations: int) -> FrameState | None:
        solved = solve_frame(self.linearizer, self.model, subject, rest, state, target, self.priors.bounds, iterations)
        finite = all(np.isfinite(part).all() for part in (solved.rotation, solved.translation, solved.expression, solved.gaze, solved.jaw))
        good = finite and solved.translation[2] < 0.0 and np.median(self.linearizer.errors) < self.settings.largest_error
        return solved if good else None


def smoothed(states: tuple[FrameState, ...], sigma: float) -> tuple[FrameState, ...]:
    """Poses smoothed over time by a Gaussian of `sigma` frames; expressions and gaze stay, for they are quick."""
    rotations = gaussian_over_time(np.array([state.rotation for state in states]), sigma)
    left, _, right = np.linalg.svd(rotations)
    translations = gaussian_over_time(np.array([state.translation for state in states]), sigma)
    return tuple(replace(state, rotation=r, translation=t) for state, r, t in zip(states, left @ right, translations, strict=True))


def gaussian_over_time(values: Double, sigma: float) -> Double:
    """(T, …) filtered along its first axis, the ends repeated."""
    reach = max(1, int(np.ceil(3.0 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.concatenate([np.repeat(values[:1], reach, 0), values, np.repeat(values[-1:], reach, 0)])
    weighed = [weight * padded[k : k + len(values)] for k, weight in enumerate(kernel / kernel.sum())]
    total: Double = np.sum(weighed, axis=0)
    return total

"""Who the driver is: identity, focal length and where their landmarks lie, from a few keyframes, a slice of work at a time.

All keyframes are solved together. Their own unknowns (pose, expression, gaze, jaw) are eliminated one keyframe at a time with the Schur complement (Triggs
et al., "Bundle Adjustment: A Modern Synthesis", 2000, section 6.1), so a slice costs one keyframe, and the shared system stays small. Rounds that solve for
identity and focal length alternate with rounds that solve, in closed form, for each landmark's offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.solving.gauss_newton import Bounds, boxed_step, moved, normal_equations
from models.solving.landmark_model import LandmarkModel
from models.solving.residuals import Double, FrameState, Linearizer, Rest, Subject, Target, project


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    keyframes: int = 8
    """At most so many are kept; the least telling one makes way for a new one."""
    rounds: int = 8
    """Rounds over all keyframes after the latest one came; then the fit rests."""
    offset_rounds_from: int = 2
    """The first so many rounds leave the landmarks' offsets alone: identity explains what it can first."""
    identity_precision: float = 4.0
    """Of each identity weight, about zero."""
    focal_precision: float = 2500.0
    """Of the log of the focal length, about the first guess: one over 0.02 squared. The landmarks hardly tell it: left free on rendered faces 40 to 70 cm
    from cameras of 0.9 to 1.2, it came to 0.6 to 0.7 with all of them, so that every face was 26 to 38 cm away; given the true person and nothing else to
    learn, it was 10 percent off. On real clips it wandered by 40 percent, and made the fit no better."""
    offset_sigma_m: float = 0.0015
    """How far a person's landmarks lie off the head model's."""
    offset_scatter: float = 0.015
    """In inter-ocular distances: how well one keyframe places a landmark."""
    novelty_degrees: float = 5.0
    """A keyframe tells something new where the head turned this far,"""
    novelty_expression: float = 0.8
    """or the expression changed by this much (length of the difference of the weights)."""
    largest_step: float = 0.1
    """Of the log of the focal length in one round."""


@dataclass(slots=True)
class _Keyframe:
    state: FrameState
    target: Target
    signature: Double
    reduced: tuple[Double, Double] | None = None
    """What the frame's unknowns follow from the shared step: offset (P,) and matrix (P, N + 1)."""


class IdentityFit:
    """Estimates a `Subject`; each `work` call does one keyframe's share of a round (about half a millisecond)."""

    def __init__(self, model: LandmarkModel, linearizer: Linearizer, bounds: Bounds, start: Subject, focal: float, settings: IdentitySettings) -> None:
        """`start` is where the search begins, `focal` what the focal length is drawn to."""
        self._model = model
        self._linearizer = linearizer
        self._bounds = bounds
        self._settings = settings
        self._focal_prior = float(np.log(focal))
        self.subject = start
        """The best estimate so far."""
        self._keyframes: list[_Keyframe] = []
        self._rounds_left = 0
        self._round = 0
        self._next = 0
        self._rest = Rest.of(model, start)
        shared = model.identity.shape[2] + 1
        self._curvature = np.zeros((shared, shared))
        self._gradient = np.zeros(shared)
        self._offset_curvature = np.zeros((len(model.indices), 3, 3))
        self._offset_gradient = np.zeros((len(model.indices), 3))

    @property
    def resting(self) -> bool:
        """Nothing to do until another keyframe comes."""
        return self._rounds_left == 0

    @property
    def keyframe_count(self) -> int:
        return len(self._keyframes)

    def offer(self, state: FrameState, target: Target) -> bool:
        """Keeps the frame if it tells something new; never in the middle of a round."""
        if self._next:
            return False
        signature = self._signature(state)
        distances = [float(np.linalg.norm(signature - kept.signature)) for kept in self._keyframes]
        if distances and min(distances) < 1.0:
            return False
        if len(self._keyframes) == self._settings.keyframes:
            gaps = self._gaps()
            poorest = int(np.argmin(gaps))
            others = distances[:poorest] + distances[poorest + 1 :]
            if min(others) < 1.25 * gaps[poorest]:
                return False
            del self._keyframes[poorest]
        self._keyframes.append(_Keyframe(state, target, signature))
        self._rounds_left = self._settings.rounds
        return True

    def work(self) -> bool:
        """One keyframe's share. True where it finished a round, and so changed `subject`."""
        if self.resting:
            return False
        offsets_turn = self._round >= self._settings.offset_rounds_from and self._round % 2 == 1
        if self._next == 0:
            self._begin(offsets_turn)
        keyframe = self._keyframes[self._next]
        if offsets_turn:
            self._reduce_offsets(keyframe)
        else:
            self._reduce(keyframe)
        self._next += 1
        if self._next < len(self._keyframes):
            return False
        if offsets_turn:
            self._finish_offsets()
        else:
            self._finish()
        self._next = 0
        self._round += 1
        self._rounds_left -= 1
        return True

    def _signature(self, state: FrameState) -> Double:
        """A vector in which frames that tell the same are less than one apart."""
        facing, up = state.rotation[:, 2], state.rotation[:, 1]
        turn = np.degrees(np.concatenate([facing, up])) / self._settings.novelty_degrees
        return np.concatenate([turn, state.expression / self._settings.novelty_expression, state.jaw * 2.0])

    def _gaps(self) -> list[float]:
        """Each keyframe's distance to its nearest neighbour."""
        signatures = np.stack([kept.signature for kept in self._keyframes])
        distances = np.linalg.norm(signatures[:, None] - signatures[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        return [float(gap) for gap in distances.min(1)]

    def _begin(self, offsets_turn: bool) -> None:
        self._rest = Rest.of(self._model, self.subject)
        settings, subject = self._settings, self.subject
        if offsets_turn:
            precision = 1.0 / settings.offset_sigma_m**2
            self._offset_curvature[:] = precision * np.eye(3)
            self._offset_gradient[:] = precision * subject.offsets
            return
        precisions = np.full(len(self._gradient), settings.identity_precision)
        precisions[-1] = settings.focal_precision
        values = np.append(subject.identity, np.log(subject.focal) - self._focal_prior)
        self._curvature[:] = np.diag(precisions)
        self._gradient[:] = precisions * values

    def _reduce(self, keyframe: _Keyframe) -> None:
        """Adds a keyframe to the shared system, its own unknowns eliminated."""
        model, size = self._model, self._model.frame_size
        rows = self._linearizer.linearize(self.subject, self._rest, keyframe.state, keyframe.target, shared=True)
        hessian, gradient, values, normal = normal_equations(rows, keyframe.state, keyframe.target, model.has_jaw_joint, size)
        coupling = normal[:size, size:-1]
        low, high = self._bounds.low - values, self._bounds.high - values
        alone = boxed_step(hessian, gradient, low, high)
        free = np.flatnonzero((alone > low) & (alone < high))
        follow = np.zeros_like(coupling)
        follow[free] = np.linalg.solve(hessian[np.ix_(free, free)], -coupling[free])
        keyframe.reduced = (alone, follow)
        self._curvature += normal[size:-1, size:-1] + coupling.T @ follow
        self._gradient += normal[size:-1, -1] + coupling.T @ alone

    def _finish(self) -> None:
        step = np.linalg.solve(self._curvature, -self._gradient)
        step[-1] = np.clip(step[-1], -self._settings.largest_step, self._settings.largest_step)
        subject = self.subject
        for keyframe in self._keyframes:
            assert keyframe.reduced is not None
            alone, follow = keyframe.reduced
            keyframe.state = moved(keyframe.state, alone + follow @ step, self._bounds, self._model.has_jaw_joint)
        self.subject = Subject(subject.identity + step[:-1], subject.offsets, float(subject.focal * np.exp(step[-1])))

    def _reduce_offsets(self, keyframe: _Keyframe) -> None:
        """Adds what a keyframe says of every landmark's place in head space, the pose held."""
        subject, state = self.subject, keyframe.state
        points, camera = project(self._model, subject, self._rest, state)
        depth = np.maximum(-camera[:, 2], 1e-2)
        scale = subject.focal * self._model.eye_distance_m / max(-state.translation[2], 1e-2)
        view = np.zeros((len(points), 2, 3))
        view[:, 0, 0], view[:, 1, 1] = subject.focal / depth, -subject.focal / depth
        view[:, :, 2] = points / depth[:, None]
        error = points - keyframe.target.points
        robust = np.minimum(1.0, self._linearizer.huber_knee * scale / np.maximum(np.linalg.norm(error, axis=1), 1e-12))
        certainty = robust / (self._settings.offset_scatter * scale) ** 2
        by_head = (view.reshape(-1, 3) @ state.rotation).reshape(view.shape)
        weighed = certainty[:, None, None] * by_head
        self._offset_curvature += weighed.transpose(0, 2, 1) @ by_head
        self._offset_gradient += np.einsum("lic,li->lc", weighed, error)

    def _finish_offsets(self) -> None:
        step = -np.linalg.solve(self._offset_curvature, self._offset_gradient[..., None])[..., 0]
        step[self._model.is_eye] = 0.0
        self.subject = Subject(self.subject.identity, self.subject.offsets + step, self.subject.focal)

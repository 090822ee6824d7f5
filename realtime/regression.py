"""FaceObservation → HeadParams: the pose, expression, gaze and identity of the driver, frame by frame.

A regressor says what it thinks and how sure it is (models/regressor.py); from there a warm-started Gauss-Newton fit brings the head's landmarks to the
tracker's (models/solving/). Without a regressor the tracker's coefficients are the prior. Who the driver is, is learned on the side from keyframes
(models/solving/identity.py) and blended in unseen; or it is known beforehand (models/driver.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models.driver import DriverProfile
from models.head import LANDMARK_COUNT, NECK, ROOT, HeadModel, HeadParams
from models.landmarker import COEFFICIENT_NAMES
from models.regressor import Regressed, Regressor
from models.rotations import to_axis_angle, to_matrix
from models.solving.first_pose import FACING, first_pose
from models.solving.gauss_newton import align, solve_frame
from models.solving.identity import IdentityFit, IdentitySettings
from models.solving.landmark_model import Float, landmark_model
from models.solving.priors import Priors, PriorSettings
from models.solving.residuals import NEAREST_M, Double, FrameState, Linearizer, Rest, Subject, Target, project
from realtime.packets import FaceObservation

FLAT = 0.1
"""Depths that span less than this share of the face's width say nothing."""


@dataclass(frozen=True, slots=True)
class SolverSettings:
    identity_shapes: int = 40
    """So many of the head's identity shapes are estimated."""
    focal: float = 1.0
    """First guess of the focal length over the longer side of the picture: a horizontal field of view of 53 degrees, between laptop webcams (50-60) and wide
    ones (70)."""
    iterations: int = 4
    cold_iterations: int = 8
    huber_knee: float = 0.04
    """In inter-ocular distances."""
    rotation_precision: float = 1e4
    """How much the landmarks' depths say of the head's rotation, in one over radians squared; asked only where neither a regressor nor the shape of a known
    driver says it better."""
    lost_s: float = 0.5
    """After this long without a face the next one is taken as unknown: a cold start, and new keyframes."""
    largest_error: float = 0.15
    """Median landmark error, in inter-ocular distances, above which the fit has gone astray."""
    keyframe_error: float = 0.08
    """The same, above which a frame is no keyframe (a hand before the face, say)."""
    keyframe_yaw_cosine: float = 0.7
    """Keyframes face the camera at least so much (cosine)."""
    identity_slices: int = 1
    """So many keyframes are worked on for each frame: each costs about a millisecond."""
    blend_s: float = 0.4
    """Time constant with which a better identity is taken over."""
    priors: PriorSettings = field(default_factory=PriorSettings)
    identity: IdentitySettings = field(default_factory=lambda: IdentitySettings(keyframes=14, focal_precision=1e4, offset_sigma_m=0.003))
    """The focal length stays within a few percent of the first guess: what a few seconds of a face say of it, is further off than a guess (distances of
    rendered clips 9.5 percent off, with a precision of 2500 10.1, of 400 19)."""


class ParameterSolver:
    """Solves one driver's frames in order; one per session, not shared between threads."""

    def __init__(self, head: HeadModel, settings: SolverSettings | None = None, known: DriverProfile | None = None, regressor: Regressor | None = None) -> None:
        """Args:
            known: who drives: then nothing is learned, and the head turns at its neck.
            regressor: of the same head; not asked about a known driver, whose own landmarks say more. Nor are the openings of lips and lids, as in training.

        Raises:
            ValueError: the head has no landmark embedding, or is not the one of `known` or `regressor`.
        """
        if regressor is not None and (regressor.head, regressor.layout.expression_names) != (head.name, head.expression_names):
            raise ValueError(f"the regressor should be one of the head {head.name!r}, it answers for {regressor.head!r} or for other shapes")
        self._regressor = regressor if known is None else None
        self._settings = settings or SolverSettings()
        if known is not None and (known.head != head.name or len(known.identity) > len(head.identity)):
            raise ValueError(f"the driver should be solved with the head {known.head!r} and its {len(known.identity)} identity shapes, not with {head.name!r}")
        self._model = landmark_model(head, self._settings.identity_shapes if known is None else len(known.identity))
        self._known = known
        self._shape_count = len(head.expression_names)
        self._priors = Priors(self._model, self._settings.priors)
        self._linearizer = Linearizer(self._model, self._settings.huber_knee)
        joints = head.joints(head.template)
        shaped = joints if known is None else head.joints(head.shaped(known.identity, np.zeros(0, np.float32)))
        self._neck = shaped[NECK].astype(np.float64)
        self.neck_offset: Float = joints[NECK] - joints[ROOT]
        """(3,) metres: from the root joint, about which `HeadParams.rotation` turns, to the neck joint, about which a real head does."""
        self._rotation_precision = self._settings.rotation_precision * np.eye(3)
        self._side_px = 1.0
        self.reset()

    def reset(self) -> None:
        """Forgets the driver: another face starts from the average one, or from the known one."""
        self._subject = self._start()
        self._state: FrameState | None = None
        self._seen: Double | None = None
        self._seen_s = 0.0
        self._adopt(self._subject)
        self._start_learning()

    def _start(self) -> Subject:
        known = self._known
        if known is None:
            return Subject.average(self._model, self._settings.focal)
        return Subject(known.identity.astype(np.float64), known.offsets[self._model.indices].astype(np.float64), known.focal)

    @property
    def focal_px(self) -> float:
        """Focal length in pixels of the latest picture; the principal point is its centre."""
        return self._subject.focal * self._side_px

    @property
    def error_px(self) -> float:
        """Mean distance of the latest fit's landmarks to the tracker's, in pixels of the latest picture, one step before the last."""
        if self._state is None:
            return float("nan")
        return float(self._linearizer.errors.mean()) * self._model.eye_distance_m * self.focal_px / float(-self._state.translation[2])

    @property
    def median_error(self) -> float:
        """Median distance of the latest fit's landmarks to the tracker's, in inter-ocular distances, one step before the last."""
        return float(np.median(self._linearizer.errors))

    def residuals(self, params: HeadParams | None = None) -> Double:
        """(L, 2): how far the landmarks lie off the latest frame's, in inter-ocular distances, x right, y down; zero rows where there was none.

        With `params`, which only a known driver's solver takes, for these instead of those that the fit came to.
        """
        state = self._state if params is None else self._state_of(params)
        if self._seen is None or state is None:
            return np.zeros((0, 2))
        points, _ = project(self._model, self._subject, self._rest, state)
        scale = self._subject.focal * self._model.eye_distance_m / max(-float(state.translation[2]), NEAREST_M)
        return (points - self._seen) / scale

    @property
    def learned(self) -> Subject | None:
        """The driver as far as they are known; None: nothing was learned of them."""
        return self._subject if self._known is None and self._subject.identity.any() else None

    @property
    def person(self) -> Double:
        """(N,) the identity weights of the driver, as far as they are known."""
        return self._subject.identity

    @property
    def settled(self) -> bool:
        """Nothing more is to be learned about the driver from the frames so far."""
        return self._known is not None or (self._fit.resting and self._fit.keyframe_count > 0)

    def solve(self, observation: FaceObservation) -> HeadParams | None:
        """The driver's parameters; None where no face is followed or none can be made out. Never raises on odd landmarks; what it returns is finite."""
        target = self._target(observation)
        if target is None:
            return None
        gap = observation.pts_s - self._seen_s
        if self._state is not None and not 0.0 <= gap <= self._settings.lost_s:
            self._state = None
            self._start_learning()
        if self._known is None:
            self._blend(gap)
        state = self._track(target)
        self._state = state
        self._seen = target.points
        if state is None:
            return None
        self._seen_s = observation.pts_s
        if self._known is None:
            self._learn(state, target)
        return self._params(state)

    def again(self, observation: FaceObservation) -> HeadParams | None:
        """What an earlier frame says now that more is known of the driver; nothing is learned of it, and the next frame goes on from the latest one."""
        kept = self._state, self._side_px, self._linearizer.errors.copy()
        self._state = None
        target = self._target(observation)
        state = None if target is None else self._track(target)
        self._state, self._side_px, self._linearizer.errors[:] = kept
        return None if state is None else self._params(state)

    def seen_as(self, observation: FaceObservation, subject: Subject | None) -> Double | None:
        """`residuals` of a frame were the driver that subject, None: the average one; None where it cannot be made out. Nothing is learned of it either."""
        kept, driver = (self._state, self._seen, self._side_px, self._linearizer.errors.copy()), self._subject
        self._state = None
        self._adopt(subject or Subject.average(self._model, self._settings.focal))
        target, found = self._target(observation), None
        if target is not None:
            self._state, self._seen = self._track(target), target.points
            found = None if self._state is None else self.residuals()
        self._state = None
        self._adopt(driver)
        self._state, self._seen, self._side_px, self._linearizer.errors[:] = kept
        return found

    def _target(self, observation: FaceObservation) -> Target | None:
        landmarks, coefficients = observation.landmarks, observation.coefficients
        if landmarks is None or landmarks.shape[0] != LANDMARK_COUNT or min(observation.width, observation.height) < 1 or not np.isfinite(observation.pts_s):
            return None
        points = landmarks[self._model.indices, :2].astype(np.float64)
        if not np.isfinite(points).all() or np.ptp(points, axis=0).min() < 2.0:
            return None
        if coefficients is None or coefficients.shape != (len(COEFFICIENT_NAMES),):
            coefficients = np.zeros(len(COEFFICIENT_NAMES), np.float32)
        self._side_px = float(max(observation.width, observation.height))
        centre = (0.5 * observation.width, 0.5 * observation.height)
        target = self._priors.target((points - centre) / self._side_px, coefficients)
        if self._known is not None:
            return replace(target, gap_weights=None)
        said = self._ask(observation, coefficients)
        if said is not None:
            return self._priors.informed(target, said)
        return replace(target, rotation=self._seen_rotation(target, landmarks[self._model.indices]), rotation_precision=self._rotation_precision)

    def _ask(self, observation: FaceObservation, coefficients: Float) -> Regressed | None:
        if self._regressor is None or observation.landmarks is None or not np.isfinite(observation.landmarks).all():
            return None
        known = np.clip(np.nan_to_num(coefficients), 0.0, 1.0)
        return self._regressor(observation.landmarks, known, (observation.width, observation.height), self._subject.focal)

    def _seen_rotation(self, target: Target, landmarks: Float) -> Double | None:
        """(3, 3): the head's rotation by the landmarks' depths, which the tracker gives along the line of sight to the face; None where it gives none."""
        extent = np.ptp(landmarks, axis=0)
        if not np.isfinite(extent).all() or extent[2] < FLAT * extent[:2].max():
            return None
        rotation = align(self._rest.points, landmarks.astype(np.float64) @ FACING, target.weights**2)
        across, down = target.points.mean(0) / self._subject.focal
        sight = to_matrix((0.0, -np.arctan(across), 0.0)) @ to_matrix((-np.arctan(down), 0.0, 0.0))
        return sight @ rotation

    def _track(self, target: Target) -> FrameState | None:
        """From where the face was; failing that, from nothing."""
        if self._state is not None:
            state = self._iterate(self._state, target, self._settings.iterations)
            if self._plausible(state):
                return state
        start = first_pose(self._model, self._subject, self._rest, target)
        if start is None:
            return None
        state = self._iterate(start, target, self._settings.cold_iterations)
        return state if self._plausible(state) else None

    def _iterate(self, state: FrameState, target: Target, iterations: int) -> FrameState | None:
        try:
            return solve_frame(self._linearizer, self._model, self._subject, self._rest, state, target, self._priors.bounds, iterations)
        except np.linalg.LinAlgError:
            return None

    def _plausible(self, state: FrameState | None) -> bool:
        if state is None or not all(np.isfinite(part).all() for part in (state.rotation, state.translation, state.expression, state.gaze, state.jaw)):
            return False
        return bool(state.translation[2] < 0.0 and np.median(self._linearizer.errors) < self._settings.largest_error)

    def _start_learning(self) -> None:
        self._fit = IdentityFit(self._model, self._linearizer, self._priors.bounds, self._subject, self._settings.focal, self._settings.identity)

    def _learn(self, state: FrameState, target: Target) -> None:
        """A slice of the identity fit."""
        settings = self._settings
        clear = np.median(self._linearizer.errors) < settings.keyframe_error and state.rotation[2, 2] > settings.keyframe_yaw_cosine
        if clear:
            self._fit.offer(state, target)
        for _ in range(settings.identity_slices):
            try:
                self._fit.work()
            except np.linalg.LinAlgError:
                self._start_learning()

    def _blend(self, gap_s: float) -> None:
        """A step towards the identity fit's latest result."""
        share = 1.0 - float(np.exp(-np.clip(gap_s, 0.0, 0.1) / self._settings.blend_s))
        self._adopt(self._subject.towards(self._fit.subject, share))

    def _adopt(self, subject: Subject) -> None:
        """Makes `subject` the driver; the face stays as large in the picture as it was."""
        if self._state is not None:
            depth = np.array([1.0, 1.0, subject.focal / self._subject.focal])
            state = self._state
            self._state = FrameState(state.rotation, state.translation * depth, state.expression, state.gaze, state.jaw)
        self._subject = subject
        self._rest = Rest.of(self._model, subject)

    def _params(self, state: FrameState) -> HeadParams:
        expression = np.zeros(self._shape_count, np.float32)
        expression[self._model.expression_indices] = state.expression
        turn, still = to_axis_angle(state.rotation).astype(np.float32), np.zeros(3, np.float32)
        about = self._rest.joints[0] if self._known is None else self._neck
        return HeadParams(
            identity=self._subject.identity.astype(np.float32),
            expression=expression,
            rotation=turn if self._known is None else still,
            neck=still if self._known is None else turn,
            jaw=state.jaw.astype(np.float32),
            gaze=state.gaze.astype(np.float32),
            translation=(state.translation + state.rotation @ about - about).astype(np.float32),
        )

    def _state_of(self, params: HeadParams) -> FrameState:
        """The inverse of `_params` for a known driver."""
        rotation = to_matrix(params.neck)
        translation = params.translation - rotation @ self._neck + self._neck
        expression = params.expression[self._model.expression_indices].astype(np.float64)
        return FrameState(rotation, translation, expression, params.gaze.astype(np.float64), params.jaw.astype(np.float64))

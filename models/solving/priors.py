"""What the tracker's coefficients, or a regressor, say of a frame's unknowns before any landmark is looked at, and the box that the unknowns stay in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN, JAW_OPEN_RAD, by_group, group_of
from models.landmarker import COEFFICIENT_NAMES
from models.regressor import Regressed
from models.solving.gauss_newton import Bounds
from models.solving.landmark_model import LandmarkModel
from models.solving.residuals import Couplings, Double, Target


@dataclass(frozen=True, slots=True)
class Precisions:
    """Of expression weights, by group (models/face_groups.py)."""

    brows: float
    lids: float
    mouth: float
    jaw: float
    other: float
    """Shapes without an ARKit name: principal components, in standard deviations, about zero."""


@dataclass(frozen=True, slots=True)
class RegressedSettings:
    """How a regressor's answer is weighed against the landmarks."""

    landmark_share: float = 0.2
    """Of the landmarks' weights. They are many, but wrong together: at 0.2, 0.35, 0.6 the lips of rendered people were 0.99, 1.10, 1.20 mm off and their
    poses 1.8, 1.9, 2.1 degrees, while the landmarks of a real man were met to 1.66, 1.56, 1.36 percent of the distance between his eyes."""
    expression_floor: float = 0.05
    """No weight is surer than this,"""
    gaze_floor_rad: float = 0.01
    """nor an angle of an eye or the jaw."""
    brow_precision: float = 0.2
    """Of the brows about the coefficients. The landmarker hardly sees painted brows move, so a regressor that learned from them hardly moves any: brows follow
    their landmarks. Correlation of raised inner and outer brows, read off two avatars and off a man who drives them: with the regressor's .86
    and .55, with these .90 and .86."""


@dataclass(frozen=True, slots=True)
class PriorSettings:
    """Precisions are one over sigma squared, against whitened landmark residuals."""

    landmark_trust: float = 1.5
    """The expected scatter of the landmarks is divided by this: once a subject's offsets are known, they scatter less than over all people."""
    expression: Precisions = Precisions(brows=20.0, lids=20.0, mouth=20.0, jaw=20.0, other=1.0)
    """About the tracker's coefficients. Weaker follows the landmarks closer, stronger is calmer and shares a smile out less between shapes. For 5, 20, 60 on
    a talking man: correlation of the lips' gap with the landmarks' .98, .98, .97; of mouthSmile with its coefficient .6, .9, .95; jitter 71, 49, 38 (e-3)."""
    zero_share: float = 0.1
    """About zero, as a share of the precision about the coefficients."""
    lip_gap_scatter: float = 0.01
    """In inter-ocular distances: how far the landmarks mistake the opening of the mouth. Both ends stray together, so a gap is known better than a place."""
    lid_gap_scatter: float = 0.005
    """The same of an eye."""
    gaze_precision: float = 16.0
    gaze_coupling: float = 60.0
    """Of the difference of the two eyes' angles."""
    side_coupling: float = 40.0
    """Of the difference of a left and a right shape, about that of their coefficients: faces are mostly even, and landmarks are not quite."""
    gaze_yaw_rad: float = 0.5
    """How far an eye turns for an `eyeLookIn` or `eyeLookOut` of one."""
    gaze_pitch_rad: float = 0.4
    """The same for `eyeLookUp` and `eyeLookDown`."""
    gaze_limit_rad: float = 0.7
    jaw_precision: float = 30.0
    jaw_limit_rad: float = 0.7
    component_limit: float = 3.0
    regressed: RegressedSettings = RegressedSettings()


class Priors:
    """Turns coefficients into targets for one head."""

    def __init__(self, model: LandmarkModel, settings: PriorSettings) -> None:
        self._model = model
        self._settings = settings
        names = model.expression_names
        known = np.array([name in COEFFICIENT_NAMES for name in names], bool)
        self._from = np.array([COEFFICIENT_NAMES.index(name) for name in names if name in COEFFICIENT_NAMES], np.int32)
        self._to = 6 + np.flatnonzero(known)
        self._gaze_at = 6 + len(names)
        self._precision = self._precisions(known)
        self._pairs = self._couplings()
        self._brow_shapes = 6 + np.flatnonzero([group_of(name) == "brows" for name in names])
        scatter = np.repeat([settings.lip_gap_scatter, settings.lid_gap_scatter], [len(model.lip_gaps), len(model.lid_gaps)])
        self._gap_weights = 1.0 / scatter
        self.bounds = self._box(known)

    def target(self, points: Double, coefficients: NDArray[np.float32]) -> Target:
        """Args: `points` (L, 2) as in `Target`; `coefficients` (52,) of the tracker, NaN where unknown."""
        settings = self._settings
        known: Double = np.clip(np.nan_to_num(coefficients.astype(np.float64)), 0.0, 1.0)
        prior = np.zeros(len(self._precision))
        prior[self._to] = known[self._from] / (1.0 + settings.zero_share)
        prior[self._gaze_at : self._gaze_at + 4] = self._gaze(known)
        if self._model.has_jaw_joint:
            prior[self._gaze_at + 4] = JAW_OPEN_RAD * known[COEFFICIENT_NAMES.index(JAW_OPEN)]
        return Target(points, self._weights(known), prior, self._precision, self._pairs, gap_weights=self._gap_weights)

    def informed(self, target: Target, said: Regressed) -> Target:
        """`target` with what a regressor of the same head said of the frame in place of the coefficients."""
        settings, shapes = self._settings.regressed, self._model.expression_indices
        prior, precision = np.zeros_like(target.prior), np.zeros_like(target.precision)
        prior[6 : self._gaze_at] = said.expression[shapes]
        precision[6 : self._gaze_at] = 1.0 / (said.expression_spread[shapes] ** 2 + settings.expression_floor**2)
        prior[self._brow_shapes], precision[self._brow_shapes] = target.prior[self._brow_shapes], settings.brow_precision
        angles, spread = said.gaze.reshape(-1), said.gaze_spread.reshape(-1)
        if self._model.has_jaw_joint:
            angles, spread = np.concatenate([angles, said.jaw]), np.concatenate([spread, said.jaw_spread])
        prior[self._gaze_at :] = angles
        precision[self._gaze_at :] = 1.0 / (spread**2 + settings.gaze_floor_rad**2)
        return replace(
            target,
            weights=settings.landmark_share * target.weights,
            prior=prior,
            precision=precision,
            pairs=None,
            rotation=said.rotation,
            rotation_precision=np.linalg.inv(said.rotation_spread).astype(np.float64),
        )

    def _gaze(self, coefficients: Double) -> Double:
        """(4,) radians: yaw, pitch of the left and of the right eye."""

        def difference(positive: str, negative: str) -> float:
            return float(coefficients[COEFFICIENT_NAMES.index(positive)] - coefficients[COEFFICIENT_NAMES.index(negative)])

        yaw, pitch = self._settings.gaze_yaw_rad, self._settings.gaze_pitch_rad
        return np.array(
            [
                yaw * difference("eyeLookOutLeft", "eyeLookInLeft"),
                pitch * difference("eyeLookDownLeft", "eyeLookUpLeft"),
                yaw * difference("eyeLookInRight", "eyeLookOutRight"),
                pitch * difference("eyeLookDownRight", "eyeLookUpRight"),
            ]
        )

    def _weights(self, coefficients: Double) -> Double:
        """(L,): an iris behind a closed lid is only guessed."""
        weights = self._settings.landmark_trust * self._model.weights.astype(np.float64)
        for side, eye in ((1, "eyeBlinkLeft"), (2, "eyeBlinkRight")):
            openness = np.clip(1.5 - 2.0 * coefficients[COEFFICIENT_NAMES.index(eye)], 0.05, 1.0)
            weights[self._model.joint_weights[:, side] > 0.5] *= openness
        return weights

    def _precisions(self, known: NDArray[np.bool_]) -> Double:
        settings, model = self._settings, self._model
        shapes = by_group(settings.expression, [group_of(name) for name in model.expression_names]) * np.where(known, 1.0 + settings.zero_share, 1.0)
        jaw = [settings.jaw_precision] * 3 if model.has_jaw_joint else []
        return np.concatenate([np.zeros(6), shapes, [settings.gaze_precision] * 4, jaw])

    def _couplings(self) -> Couplings:
        names, settings = self._model.expression_names, self._settings
        lefts = [name for name in names if name.endswith("Left") and name.removesuffix("Left") + "Right" in names]
        left = [6 + names.index(name) for name in lefts]
        right = [6 + names.index(name.removesuffix("Left") + "Right") for name in lefts]
        eyes = [self._gaze_at, self._gaze_at + 1]
        precision = [settings.side_coupling] * len(lefts) + [settings.gaze_coupling] * 2
        return Couplings(np.array(left + eyes, np.intp), np.array([*right, *(eye + 2 for eye in eyes)], np.intp), np.array(precision))

    def _box(self, known: NDArray[np.bool_]) -> Bounds:
        settings = self._settings
        free = np.full(6, np.inf)
        limits = [settings.gaze_limit_rad] * 4 + ([settings.jaw_limit_rad] * 3 if self._model.has_jaw_joint else [])
        low = np.concatenate([-free, np.where(known, 0.0, -settings.component_limit), np.negative(limits)])
        high = np.concatenate([free, np.where(known, 1.0, settings.component_limit), limits])
        return Bounds(low, high)

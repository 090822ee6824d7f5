"""What a head's landmarks should look like in a picture, how far off they are, and how that changes with every unknown.

Residuals are whitened and in units of the inter-ocular distance seen in the picture, so that nothing depends on the picture's size. Robust weights: Huber,
"Robust Estimation of a Location Parameter", 1964. Derivative of a rotation by its axis-angle vector: Gallego and Yezzi, "A Compact Formula for the Derivative
of a 3-D Rotation in Exponential Coordinates", 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from models.rotations import from_gaze, skew, to_matrix
from models.solving.landmark_model import Float, LandmarkModel

Double = NDArray[np.float64]

POSE = 6
"""Unknowns of the pose, the first ones."""
NEAREST_M = 0.02
"""No landmark is taken to be nearer to the camera than this."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is in front of the camera: what does not change from frame to frame. N identity shapes, L landmarks; float64.

    `focal` is the focal length over the longer side of the picture.
    """

    identity: Double
    """(N,)."""
    offsets: Double
    """(L, 3) metres, head space: where this person's landmarks lie off the head model's."""
    focal: float

    @staticmethod
    def average(model: LandmarkModel, focal: float) -> Subject:
        return Subject(np.zeros(model.identity.shape[2]), np.zeros((len(model.indices), 3)), focal)

    def towards(self, other: Subject, share: float) -> Subject:
        """`share` 0: this one; 1: the other."""
        keep = 1.0 - share
        return Subject(
            keep * self.identity + share * other.identity,
            keep * self.offsets + share * other.offsets,
            float(self.focal**keep * other.focal**share),
        )


@dataclass(frozen=True, slots=True)
class Rest:
    """A subject's landmarks at rest: `points` (L, 3) and `joints` (4, 3), metres, head space, float64."""

    points: Double
    joints: Double

    @staticmethod
    def of(model: LandmarkModel, subject: Subject) -> Rest:
        identity = subject.identity
        return Rest(model.template + model.identity @ identity + subject.offsets, model.joints + model.joints_identity @ identity)


@dataclass(frozen=True, slots=True)
class FrameState:
    """The unknowns of one frame. `camera = rotation @ head + translation` (3, 3) and (3,) metres; `expression` (K,); `gaze` (2, 2) and `jaw` (3,) radians."""

    rotation: Double
    translation: Double
    expression: Double
    gaze: Double
    jaw: Double


@dataclass(frozen=True, slots=True)
class Couplings:
    """Q pairs of unknowns, each unknown in one pair at most."""

    left: NDArray[np.intp]
    """(Q,) indices of unknowns."""
    right: NDArray[np.intp]
    precision: Double
    """(Q,) of the difference of their distances from the priors."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a frame shows. The priors hold all unknowns of a frame; those of the pose have precision zero."""

    points: Double
    """(L, 2): picture coordinates from the centre over the longer side, y down."""
    weights: Double
    """(L,): one over the expected scatter, in one over inter-ocular distances."""
    prior: Double
    """(P,)."""
    precision: Double
    """(P,)."""
    pairs: Couplings | None = None
    """Which unknowns stray from their priors together: left and right."""
    rotation: Double | None = None
    """(3, 3): what the depths of the landmarks say of the head's rotation; None: nothing."""
    rotation_precision: Double | None = None
    """(3, 3), camera space, one over radians squared; given where `rotation` is."""
    gap_weights: Double | None = None
    """(Q,): one over the expected scatter of each of `LandmarkModel.gaps`, in one over inter-ocular distances; None: they are not asked."""


class Linearizer:
    """Whitened residuals and Jacobian of the landmarks of one head; keeps its buffers, so one per thread.

    All loops run along the landmarks, whose number is much larger than a vector register: numbers of one kind lie side by side.
    """

    def __init__(self, model: LandmarkModel, huber_knee: float) -> None:
        """`huber_knee` in inter-ocular distances."""
        self._model = model
        self.huber_knee = huber_knee
        count, own, people = len(model.indices), model.frame_size, model.identity.shape[2]
        rows = count + len(model.gaps)
        self._expression = np.ascontiguousarray(model.expression.transpose(2, 1, 0))
        self._identity = np.ascontiguousarray(model.identity.transpose(2, 1, 0))
        self._nobody = self._identity[:0]
        self._swinging = np.flatnonzero(model.joint_weights.any(1) | (model.has_jaw_joint & model.jaw_correctives.any((1, 2))))
        self._columns = np.zeros((own + 1, 2, rows), np.float32)
        self._columns_shared = np.zeros((own + people + 2, 2, rows), np.float32)
        self._shaped, self._posed = np.zeros((3, count)), np.zeros((3, count))
        self._whitening, self._no_weights = np.zeros(count), np.zeros(len(model.gaps))
        self._by_rest = np.zeros((2, 3, count), np.float32)
        self._jaw, self._jaw_by = np.eye(3), np.zeros((3, 3, 3))
        self._eyes, self._eyes_by = np.zeros((2, 3, 3)), np.zeros((2, 2, 3, 3))
        self.errors = np.zeros(count)
        """(L,) distance to the target of the latest call, in inter-ocular distances."""

    def linearize(self, subject: Subject, rest: Rest, state: FrameState, target: Target, shared: bool = False) -> Float:
        """(R, P + 1), or with `shared` (R, P + N + 1 + 1): columns are the frame's unknowns, then identity and log focal length, then the residual.

        R = 2 (L + Q): x of the landmarks and of the gaps, then y of both. The array is overwritten by the next call.
        """
        model = self._model
        columns = self._columns_shared if shared else self._columns
        rotation = np.ascontiguousarray(state.rotation)
        if model.has_jaw_joint:
            self._jaw, self._jaw_by = to_matrix(state.jaw), rotation_by_axis_angle(state.jaw)
        _turn_eyes(state.gaze, self._eyes, self._eyes_by)
        _shape(self._shaped, rest.points, self._expression, state.expression)
        if model.has_jaw_joint:
            self._shaped += (model.jaw_correctives @ (self._jaw - np.eye(3)).reshape(-1)).T
        _pose(self._posed, self._shaped, self._swinging, model.joint_weights, rest.joints, self._jaw, self._eyes)
        scale = _project(
            columns,
            self._by_rest,
            self.errors,
            self._whitening,
            self._posed,
            rotation,
            state.translation,
            rest.joints,
            subject.focal,
            target.points,
            target.weights,
            self.huber_knee,
            model.eye_distance_m,
            shared,
        )
        _swing(
            columns[POSE + len(state.expression) :],
            self._by_rest,
            self._shaped,
            self._swinging,
            model.joint_weights,
            model.jaw_correctives,
            rest.joints,
            self._jaw,
            self._jaw_by,
            self._eyes,
            self._eyes_by,
            model.has_jaw_joint,
        )
        _expand(columns[POSE:], self._by_rest, self._expression)
        _expand(columns[model.frame_size :], self._by_rest, self._identity if shared else self._nobody)
        weights = self._no_weights if target.gap_weights is None else target.gap_weights / scale
        _compare(columns, self._whitening, model.gaps, weights, self.huber_knee * scale)
        return columns.reshape(len(columns), -1).T


def rotation_by_axis_angle(axis_angle: Double) -> Double:
    """(3, 3, 3): the derivative of the rotation matrix by each component of its axis-angle vector."""
    squared = float(axis_angle @ axis_angle)
    if squared < 1e-12:
        return np.stack([skew(axis) for axis in np.eye(3)])
    rotation = to_matrix(axis_angle)
    across = (np.eye(3) - rotation).T
    return np.stack([(axis_angle[k] * skew(axis_angle) + skew(np.cross(axis_angle, across[k]))) / squared @ rotation for k in range(3)])


def project(model: LandmarkModel, subject: Subject, rest: Rest, state: FrameState) -> tuple[Double, Double]:
    """(L, 2) picture coordinates from the centre over the longer side, y down, and (L, 3) camera space, metres."""
    eyes = np.stack([from_gaze(yaw, pitch) for yaw, pitch in state.gaze])
    jaw = to_matrix(state.jaw)
    points = rest.points + model.expression @ state.expression + model.jaw_correctives @ (jaw - np.eye(3)).reshape(-1)
    turned = points.copy()
    for joint, rotation in enumerate((jaw, *eyes)):
        arm = points - rest.joints[joint + 1]
        turned += model.joint_weights[:, joint, None] * (arm @ (rotation - np.eye(3)).T)
    camera = turned @ state.rotation.T + state.translation
    depth = np.maximum(-camera[:, 2:], NEAREST_M)
    return subject.focal * camera[:, :2] * (1.0, -1.0) / depth, camera


@numba.njit(cache=True, nogil=True, fastmath=True)
def _shape(shaped: Double, rest: Double, basis: Float, expression: Double) -> None:
    """Writes to `shaped` (3, L) the landmarks before any joint moves them; `basis` (K, 3, L)."""
    shaped[:] = rest.T
    for k in range(basis.shape[0]):
        weight = expression[k]
        if weight != 0.0:
            for c in range(3):
                total, along = shaped[c], basis[k, c]
                for landmark in range(total.shape[0]):
                    total[landmark] += weight * along[landmark]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pose(posed: Double, shaped: Double, swinging: NDArray[np.intp], joint_weights: Float, joints: Double, jaw: Double, eyes: Double) -> None:
    """Writes to `posed` (3, L) what jaw and eyes make of `shaped`."""
    posed[:] = shaped
    for landmark in swinging:
        for joint in range(3):
            share = joint_weights[landmark, joint]
            if share > 0.0:
                rotation = jaw if joint == 0 else eyes[joint - 1]
                for a in range(3):
                    for b in range(3):
                        posed[a, landmark] += share * (rotation[a, b] - (1.0 if a == b else 0.0)) * (shaped[b, landmark] - joints[joint + 1, b])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _project(
    columns: Float, by_head: Float, errors: Double, whitening: Double, posed: Double, rotation: Double, translation: Double, joints: Double, focal: float,
    target: Double, weights: Double, knee: float, eye_distance: float, shared: bool,
) -> float:  # fmt: skip
    """Fills the columns (C, 2, L or more) of pose, residual and, if `shared`, focal length; the errors (L,); what each landmark was multiplied with, (L,); and
    `by_head` (2, 3, L), the derivative by `posed`. Returns the distance between the eyes in picture coordinates."""
    scale = _seen_eye_distance(rotation, translation, joints, focal, eye_distance)
    last = columns.shape[0] - 1
    for landmark in range(errors.shape[0]):
        hx, hy, hz = posed[0, landmark], posed[1, landmark], posed[2, landmark]
        x = rotation[0, 0] * hx + rotation[0, 1] * hy + rotation[0, 2] * hz
        y = rotation[1, 0] * hx + rotation[1, 1] * hy + rotation[1, 2] * hz
        z = rotation[2, 0] * hx + rotation[2, 1] * hy + rotation[2, 2] * hz
        nearness = 1.0 / max(-(z + translation[2]), NEAREST_M)
        across, down = focal * (x + translation[0]) * nearness, -focal * (y + translation[1]) * nearness
        off_x, off_y = across - target[landmark, 0], down - target[landmark, 1]
        error = np.sqrt(off_x * off_x + off_y * off_y) / scale
        errors[landmark] = error
        weight = weights[landmark] / scale * np.sqrt(min(1.0, knee / max(error, 1e-9)))
        whitening[landmark] = weight
        by_side, by_depth_x, by_depth_y = weight * focal * nearness, weight * across * nearness, weight * down * nearness
        columns[0, 0, landmark], columns[0, 1, landmark] = by_depth_x * y, by_depth_y * y + by_side * z
        columns[1, 0, landmark], columns[1, 1, landmark] = by_side * z - by_depth_x * x, -by_depth_y * x
        columns[2, 0, landmark], columns[2, 1, landmark] = -by_side * y, -by_side * x
        columns[3, 0, landmark], columns[3, 1, landmark] = by_side, 0.0
        columns[4, 0, landmark], columns[4, 1, landmark] = 0.0, -by_side
        columns[5, 0, landmark], columns[5, 1, landmark] = by_depth_x, by_depth_y
        columns[last, 0, landmark], columns[last, 1, landmark] = weight * off_x, weight * off_y
        for c in range(3):
            by_head[0, c, landmark] = by_side * rotation[0, c] + by_depth_x * rotation[2, c]
            by_head[1, c, landmark] = -by_side * rotation[1, c] + by_depth_y * rotation[2, c]
        if shared:
            columns[last - 1, 0, landmark], columns[last - 1, 1, landmark] = weight * across, weight * down
    return scale


@numba.njit(cache=True, nogil=True, fastmath=True)
def _seen_eye_distance(rotation: Double, translation: Double, joints: Double, focal: float, eye_distance: float) -> float:
    """In picture coordinates, for a face that looks straight on."""
    depth = -translation[2]
    for b in range(3):
        depth -= rotation[2, b] * 0.5 * (joints[2, b] + joints[3, b])
    return float(focal * eye_distance / max(depth, NEAREST_M))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _swing(
    columns: Float, by_head: Float, shaped: Double, swinging: NDArray[np.intp], joint_weights: Float, correctives: Float, joints: Double, jaw: Double,
    jaw_by: Double, eyes: Double, eyes_by: Double, has_jaw_joint: bool,
) -> None:  # fmt: skip
    """Fills the columns of gaze and jaw, and makes of `by_head` (2, 3, L), the derivative by `posed`, that by `shaped`, in place."""
    old, local = np.empty(3), np.empty((3, 3))
    for landmark in swinging:
        share, x = joint_weights[landmark], shaped[:, landmark]
        for a in range(3):
            for b in range(3):
                one = 1.0 if a == b else 0.0
                local[a, b] = one + share[0] * (jaw[a, b] - one) + share[1] * (eyes[0, a, b] - one) + share[2] * (eyes[1, a, b] - one)
        for i in range(2):
            for c in range(3):
                old[c] = by_head[i, c, landmark]
            for c in range(3):
                by_head[i, c, landmark] = old[0] * local[0, c] + old[1] * local[1, c] + old[2] * local[2, c]
            for eye in range(2):
                for axis in range(2):
                    columns[2 * eye + axis, i, landmark] = share[1 + eye] * _turn(old, eyes_by[eye, axis], x, joints[2 + eye])
            if has_jaw_joint:
                for axis in range(3):
                    total = share[0] * _turn(old, jaw_by[axis], x, joints[1])
                    for c in range(3):
                        for entry in range(9):
                            total += by_head[i, c, landmark] * correctives[landmark, c, entry] * jaw_by[axis, entry // 3, entry % 3]
                    columns[4 + axis, i, landmark] = total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _turn(by_head: Double, rotation_by: Double, x: Double, joint: Double) -> float:
    """`by_head` (3,) @ `rotation_by` (3, 3) @ (`x` - `joint`) (3,)."""
    total = 0.0
    for a in range(3):
        for b in range(3):
            total += by_head[a] * rotation_by[a, b] * (x[b] - joint[b])
    return total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _expand(columns: Float, by_rest: Float, basis: Float) -> None:
    """Writes to the first K `columns` (K or more, 2, L) how the residuals change with weights of the shapes `basis` (K, 3, L); `by_rest` (2, 3, L)."""
    for k in range(basis.shape[0]):
        along_x, along_y, along_z = basis[k, 0], basis[k, 1], basis[k, 2]
        for i in range(2):
            column, by_x, by_y, by_z = columns[k, i], by_rest[i, 0], by_rest[i, 1], by_rest[i, 2]
            for landmark in range(by_x.shape[0]):
                column[landmark] = by_x[landmark] * along_x[landmark] + by_y[landmark] * along_y[landmark] + by_z[landmark] * along_z[landmark]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _compare(columns: Float, whitening: Double, gaps: NDArray[np.int32], weights: Double, knee: float) -> None:
    """Fills the rows (C, 2, L:) of the gaps: how much farther the first landmark of each pair is off than the second.

    The pose's columns stay zero: the head would turn and come nearer to open a mouth.
    """
    last, count = columns.shape[0] - 1, whitening.shape[0]
    for gap in range(gaps.shape[0]):
        one, other = gaps[gap, 0], gaps[gap, 1]
        share_one, share_other = 0.0, 0.0
        if whitening[one] > 0.0 and whitening[other] > 0.0:
            share_one, share_other = 1.0 / whitening[one], 1.0 / whitening[other]
        off_x = share_one * columns[last, 0, one] - share_other * columns[last, 0, other]
        off_y = share_one * columns[last, 1, one] - share_other * columns[last, 1, other]
        weight = weights[gap] * np.sqrt(min(1.0, knee / max(np.sqrt(off_x * off_x + off_y * off_y), 1e-9)))
        for column in range(POSE, last + 1):
            for i in range(2):
                columns[column, i, count + gap] = weight * (share_one * columns[column, i, one] - share_other * columns[column, i, other])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _turn_eyes(gaze: Double, eyes: Double, eyes_by: Double) -> None:
    """Writes `models.rotations.from_gaze` of both eyes, (2, 3, 3), and its derivatives by yaw and pitch, (2, 2, 3, 3); `gaze` (2, 2)."""
    for eye in range(2):
        sy, cy = np.sin(gaze[eye, 0]), np.cos(gaze[eye, 0])
        sp, cp = np.sin(gaze[eye, 1]), np.cos(gaze[eye, 1])
        eyes[eye, 0, 0], eyes[eye, 0, 1], eyes[eye, 0, 2] = cy, sy * sp, sy * cp
        eyes[eye, 1, 0], eyes[eye, 1, 1], eyes[eye, 1, 2] = 0.0, cp, -sp
        eyes[eye, 2, 0], eyes[eye, 2, 1], eyes[eye, 2, 2] = -sy, cy * sp, cy * cp
        for column in range(3):
            eyes_by[eye, 0, 0, column], eyes_by[eye, 0, 1, column] = eyes[eye, 2, column], 0.0
            eyes_by[eye, 0, 2, column] = -eyes[eye, 0, column]
        for row in range(3):
            eyes_by[eye, 1, row, 0] = 0.0
            eyes_by[eye, 1, row, 1], eyes_by[eye, 1, row, 2] = eyes[eye, row, 2], -eyes[eye, row, 1]

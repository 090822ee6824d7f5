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
    rotation_precision: float = 0.0
    """One over radians squared."""


class Linearizer:
    """Whitened residuals and Jacobian of the landmarks of one head; keeps its buffers, so one per thread."""

    def __init__(self, model: LandmarkModel, huber_knee: float) -> None:
        """`huber_knee` in inter-ocular distances."""
        self._model = model
        self.huber_knee = huber_knee
        self._own = model.frame_size
        self._shared = model.identity.shape[2] + 1
        rows = 2 * len(model.indices)
        self._rows = np.zeros((rows, self._own + 1))
        self._rows_shared = np.zeros((rows, self._own + self._shared + 1))
        self._jaw, self._jaw_by = np.eye(3), np.zeros((3, 3, 3))
        self._eyes, self._eyes_by = np.zeros((2, 3, 3)), np.zeros((2, 2, 3, 3))
        self.errors = np.zeros(len(model.indices))
        """(L,) distance to the target of the latest call, in inter-ocular distances."""

    def linearize(self, subject: Subject, rest: Rest, state: FrameState, target: Target, shared: bool = False) -> Double:
        """(2 L, P + 1), or with `shared` (2 L, P + N + 1 + 1): columns are the frame's unknowns, then identity and log focal length, then the residual.

        The array is overwritten by the next call.
        """
        model = self._model
        rows = self._rows_shared if shared else self._rows
        if model.has_jaw_joint:
            self._jaw, self._jaw_by = to_matrix(state.jaw), rotation_by_axis_angle(state.jaw)
        _turn_eyes(state.gaze, self._eyes, self._eyes_by)
        _fill(
            rows,
            self.errors,
            rest.points,
            model.expression,
            model.identity if shared else model.identity[:, :, :0],
            model.jaw_correctives,
            model.joint_weights,
            rest.joints,
            state.expression,
            self._jaw,
            self._jaw_by,
            self._eyes,
            self._eyes_by,
            np.ascontiguousarray(state.rotation),
            state.translation,
            subject.focal,
            target.points,
            target.weights,
            self.huber_knee,
            model.eye_distance_m,
            model.has_jaw_joint,
        )
        return rows


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
def _fill(
    rows: Double, errors: Double, rest: Double, expression_basis: Float, identity_basis: Float, correctives: Float, joint_weights: Float, joints: Double,
    expression: Double, jaw: Double, jaw_by: Double, eyes: Double, eyes_by: Double, rotation: Double, translation: Double, focal: float, target: Double,
    weights: Double, knee: float, eye_distance: float, has_jaw_joint: bool,
) -> None:  # fmt: skip
    """Fills the rows of `Linearizer.linearize` and the errors (L,); arguments as in `LandmarkModel`, `Rest`, `FrameState` and `Target`."""
    shapes, people = expression.shape[0], identity_basis.shape[2]
    gaze_at = 6 + shapes
    jaw_at = gaze_at + 4
    shared_at = jaw_at + (3 if has_jaw_joint else 0)
    last = rows.shape[1] - 1
    scale = _seen_eye_distance(rotation, translation, joints, focal, eye_distance)
    local, turned, view = np.empty((3, 3)), np.empty((3, 3)), np.zeros((2, 3))
    x, posed, y, by_head, by_rest = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for landmark in range(rest.shape[0]):
        basis, share, corrective = expression_basis[landmark], joint_weights[landmark], correctives[landmark]
        _shape_point(x, rest[landmark], basis, expression, corrective, jaw, has_jaw_joint)
        _pose_point(posed, local, x, share, joints, jaw, eyes)
        for a in range(3):
            y[a] = rotation[a, 0] * posed[0] + rotation[a, 1] * posed[1] + rotation[a, 2] * posed[2]
            for b in range(3):
                turned[a, b] = rotation[a, 0] * local[0, b] + rotation[a, 1] * local[1, b] + rotation[a, 2] * local[2, b]
        nearness = 1.0 / max(-(y[2] + translation[2]), NEAREST_M)
        seen = (focal * (y[0] + translation[0]) * nearness, -focal * (y[1] + translation[1]) * nearness)
        error = (seen[0] - target[landmark, 0], seen[1] - target[landmark, 1])
        errors[landmark] = np.sqrt(error[0] * error[0] + error[1] * error[1]) / scale
        weight = weights[landmark] / scale * np.sqrt(min(1.0, knee / max(errors[landmark], 1e-9)))
        view[0, 0], view[1, 1] = weight * focal * nearness, -weight * focal * nearness
        view[0, 2], view[1, 2] = weight * seen[0] * nearness, weight * seen[1] * nearness
        for i in range(2):
            row = rows[2 * landmark + i]
            for b in range(3):
                by_head[b] = view[i, 0] * rotation[0, b] + view[i, 1] * rotation[1, b] + view[i, 2] * rotation[2, b]
                by_rest[b] = view[i, 0] * turned[0, b] + view[i, 1] * turned[1, b] + view[i, 2] * turned[2, b]
            row[0] = view[i, 2] * y[1] - view[i, 1] * y[2]
            row[1] = view[i, 0] * y[2] - view[i, 2] * y[0]
            row[2] = view[i, 1] * y[0] - view[i, 0] * y[1]
            row[3], row[4], row[5] = view[i, 0], view[i, 1], view[i, 2]
            _expand(row, 6, by_rest, basis)
            for eye in range(2):
                for axis in range(2):
                    row[gaze_at + 2 * eye + axis] = _swing(by_head, share[1 + eye], eyes_by[eye, axis], x, joints[2 + eye])
            if has_jaw_joint:
                for axis in range(3):
                    row[jaw_at + axis] = _swing(by_head, share[0], jaw_by[axis], x, joints[1]) + _correct(by_rest, corrective, jaw_by[axis])
            if people > 0:
                _expand(row, shared_at, by_rest, identity_basis[landmark])
                row[shared_at + people] = weight * seen[i]
            row[last] = weight * error[i]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _seen_eye_distance(rotation: Double, translation: Double, joints: Double, focal: float, eye_distance: float) -> float:
    """In picture coordinates, for a face that looks straight on."""
    depth = -translation[2]
    for b in range(3):
        depth -= rotation[2, b] * 0.5 * (joints[2, b] + joints[3, b])
    return float(focal * eye_distance / max(depth, NEAREST_M))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _shape_point(x: Double, rest: Double, basis: Float, expression: Double, corrective: Float, jaw: Double, has_jaw_joint: bool) -> None:
    """Writes to `x` (3,) a landmark before any joint moves it."""
    for c in range(3):
        total = rest[c]
        weights = basis[c]
        for k in range(expression.shape[0]):
            total += weights[k] * expression[k]
        if has_jaw_joint:
            for entry in range(9):
                a, b = entry // 3, entry % 3
                total += corrective[c, entry] * (jaw[a, b] - (1.0 if a == b else 0.0))
        x[c] = total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pose_point(posed: Double, local: Double, x: Double, share: Float, joints: Double, jaw: Double, eyes: Double) -> None:
    """Writes what jaw and eyes make of the point `x`: `posed` (3,), and `local` (3, 3), its derivative by `x`."""
    for a in range(3):
        posed[a] = x[a]
        for b in range(3):
            one = 1.0 if a == b else 0.0
            by_jaw = share[0] * (jaw[a, b] - one)
            by_left = share[1] * (eyes[0, a, b] - one)
            by_right = share[2] * (eyes[1, a, b] - one)
            local[a, b] = one + by_jaw + by_left + by_right
            posed[a] += by_jaw * (x[b] - joints[1, b]) + by_left * (x[b] - joints[2, b]) + by_right * (x[b] - joints[3, b])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _expand(row: Double, start: int, by_rest: Double, basis: Float) -> None:
    """Writes `by_rest` (3,) @ `basis` (3, K) to `row` from column `start` on."""
    along_x, along_y, along_z = basis[0], basis[1], basis[2]
    for k in range(basis.shape[1]):
        row[start + k] = by_rest[0] * along_x[k] + by_rest[1] * along_y[k] + by_rest[2] * along_z[k]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _swing(by_head: Double, share: float, rotation_by: Double, x: Double, joint: Double) -> float:
    """What the point `x` (3,) adds to a row when its joint turns."""
    total = 0.0
    if share > 0.0:
        for a in range(3):
            for b in range(3):
                total += by_head[a] * share * rotation_by[a, b] * (x[b] - joint[b])
    return total


@numba.njit(cache=True, nogil=True, fastmath=True)
def _correct(by_rest: Double, corrective: Float, jaw_by: Double) -> float:
    """What the jaw's correctives (3, 9) add to a row when the jaw turns."""
    total = 0.0
    for c in range(3):
        for entry in range(9):
            total += by_rest[c] * corrective[c, entry] * jaw_by[entry // 3, entry % 3]
    return total


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

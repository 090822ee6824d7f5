"""Samples without drawing: landmarks of a head at random parameters, missed as the tracker misses them, and the coefficients that its network makes of them.

For heads that nobody has painted, such as a user's own FLAME. Shapes with ARKit's names are drawn as in faces.py; others as what they are, principal
components in standard deviations, with a jaw and eyes that turn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN, JAW_OPEN_RAD
from models.head import LANDMARK_COUNT, HeadModel, HeadParams, joint_rotations, skin
from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker
from models.regressor_features import SEEN, STEADY, Shown, show
from models.rotations import to_axis_angle, to_matrix
from training.progress import Progress
from training.regressor.faces import FOCAL, random_frame
from training.regressor.residuals import Residuals
from training.regressor.samples import Samples

Double = NDArray[np.float64]
Float = NDArray[np.float32]

FRAMES_A_PERSON = 20
IDENTITY_DEVIATION = 0.8
COMPONENT_DEVIATION = 0.7
COMPONENTS_USED = 50
JAW_MOVES, JAW_OPENS = 0.6, 1.0
"""In what share of the frames the jaw is open at all, and how far at most, in full openings."""
JAW_ASIDE_RAD = 0.03


def project(head: HeadModel, residuals: Residuals, landmarker: FaceLandmarker, count: int, progress: Progress, seed: int = 0) -> Samples:
    """`count` samples of a head with a landmark embedding."""
    rng = np.random.default_rng(seed)
    face = _Face(head)
    people = -(-count // FRAMES_A_PERSON)
    progress.start("samples", people)
    parts = []
    for person in range(people):
        parts.append(_person(face, residuals, landmarker, person, rng))
        progress.advance()
    return Samples.joined(parts).pick(np.arange(count))


def missed(head: HeadModel, drawn: Samples) -> tuple[Double, Double]:
    """(N, 3) rotations against the camera that looks at the face, and (N, M, 3) by how much the tracker missed the landmarks of drawn samples.

    The true face stands straight ahead, as large as it was seen: where it stood in the picture does not matter.
    """
    face = _Face(head)
    seen = show(drawn.landmarks, drawn.coefficients, drawn.focal)
    towards = np.einsum("nji,njk->nik", seen.view, drawn.rotation.astype(np.float64))
    rotation = np.array([to_axis_angle(matrix) for matrix in towards])
    straight = np.zeros((len(drawn), LANDMARK_COUNT, 3), np.float32)
    steady = np.searchsorted(SEEN, STEADY)
    for k in range(len(drawn)):
        params = HeadParams.neutral(0)
        shot = replace(params, identity=drawn.identity[k], expression=drawn.expression[k], gaze=drawn.gaze[k], jaw=drawn.jaw[k], rotation=rotation[k])
        points = face.landmarks(shot)
        points -= points[steady].mean(0)
        distance = 4.0 * np.sqrt((points[steady] ** 2).sum(1).mean()) / float(seen.features[k, -1])
        depth = distance - points[:, 2]
        straight[k, SEEN] = np.stack([points[:, 0] / depth, -points[:, 1] / depth, -points[:, 2] / distance], 1)
    true = show(straight, drawn.coefficients, 1.0)
    count = 3 * len(SEEN)
    return rotation, (seen.features - true.features)[:, :count].astype(np.float64).reshape(len(drawn), -1, 3)


class _Face:
    """The vertices that carry the landmarks that are seen, as a head of its own."""

    def __init__(self, head: HeadModel) -> None:
        corners = head.faces[head.landmark_faces[SEEN]]
        used, where = np.unique(corners, return_inverse=True)
        self._corners, self._shares = where.reshape(-1, 3), head.landmark_barycentrics[SEEN].astype(np.float64)
        self.head = replace(
            head,
            template=head.template[used],
            identity=head.identity[:, used],
            expression=head.expression[:, used],
            pose_correctives=head.pose_correctives[:, used] if len(head.pose_correctives) else head.pose_correctives,
            skinning_weights=head.skinning_weights[used],
            joint_regressor=np.zeros((len(head.joint_regressor), len(used)), np.float32),
        )
        self._joints = head.joints(head.template)
        self._joints_identity = np.einsum("jv,ivc->ijc", head.joint_regressor, head.identity)

    def landmarks(self, params: HeadParams) -> Double:
        """(M, 3) camera space."""
        head = self.head
        people = len(params.identity)
        joints = self._joints + np.tensordot(params.identity, self._joints_identity[:people], 1)
        rotations = joint_rotations(params)
        shaped = head.shaped(params.identity, params.expression)
        if len(head.pose_correctives):
            shaped = shaped + np.tensordot((rotations[1:] - np.eye(3)).reshape(-1), head.pose_correctives, 1)
        vertices = skin(shaped.astype(np.float32), joints.astype(np.float32), rotations, head.skinning_weights) + params.translation
        return np.einsum("lk,lkc->lc", self._shares, vertices[self._corners].astype(np.float64))


def _person(face: _Face, residuals: Residuals, landmarker: FaceLandmarker, person: int, rng: np.random.Generator) -> Samples:
    head, focal = face.head, float(rng.uniform(*FOCAL))
    identity = np.clip(rng.normal(0.0, IDENTITY_DEVIATION, len(head.identity)), -2.5, 2.5).astype(np.float32)
    resting = replace(HeadParams.neutral(len(head.expression_names)), identity=identity)
    shots = [_acting(head, random_frame(head, resting, focal, rng), rng) for _ in range(FRAMES_A_PERSON)]
    camera = np.stack([face.landmarks(shot) for shot in shots])
    nearness = focal / np.maximum(-camera[..., 2], 1e-3)
    flat = np.stack([camera[..., 0] * nearness, -camera[..., 1] * nearness, _depths(camera, nearness)], -1)
    landmarks = np.zeros((len(shots), LANDMARK_COUNT, 3), np.float32)
    landmarks[:, SEEN] = flat
    rotation = np.stack([to_matrix(shot.rotation) @ to_matrix(shot.neck) for shot in shots])
    shown = show(landmarks, np.zeros((len(shots), len(COEFFICIENT_NAMES)), np.float32), focal)
    landmarks[:, SEEN] = _missed(flat, rotation, shown, residuals, focal, rng)
    return Samples(
        landmarks=landmarks,
        coefficients=np.stack([landmarker.coefficients(points * np.float32(512.0)) for points in landmarks]),
        focal=np.full(len(shots), focal, np.float32),
        rotation=rotation.astype(np.float32),
        expression=np.stack([shot.expression for shot in shots]),
        gaze=np.stack([shot.gaze for shot in shots]),
        jaw=np.stack([shot.jaw for shot in shots]),
        identity=np.stack([shot.identity for shot in shots]),
        person=np.full(len(shots), person, np.int32),
    )


def _depths(camera: Double, nearness: Double) -> Double:
    """(N, M) as the tracker gives them: along the line of sight to the face, in the picture's scale, smaller is nearer."""
    middle = camera.mean(1, keepdims=True)
    sight = -middle / np.linalg.norm(middle, axis=2, keepdims=True)
    depths: Double = -((camera - middle) * sight).sum(2) * nearness.mean(1, keepdims=True)
    return depths


def _missed(flat: Double, rotation: Double, shown: Shown, residuals: Residuals, focal: float, rng: np.random.Generator) -> Double:
    """(N, M, 3) landmarks in the picture as the tracker would put them: `flat` and a residual, turned and scaled as the face is."""
    towards = np.einsum("nji,njk->nik", shown.view, rotation)
    missed = residuals.draw(np.array([to_axis_angle(matrix) for matrix in towards]), rng)
    missed *= focal * 0.25 * shown.features[:, -1].astype(np.float64)[:, None, None]
    aside = np.einsum("nij,nmj->nmi", shown.view[:, :2, :2], missed[..., :2])
    return flat + np.stack([aside[..., 0], -aside[..., 1], -missed[..., 2]], -1)


def _acting(head: HeadModel, params: HeadParams, rng: np.random.Generator) -> HeadParams:
    """With what the head has instead of ARKit's shapes: principal components, and a jaw joint."""
    expression, jaw = params.expression.copy(), params.jaw
    unnamed = [index for index, name in enumerate(head.expression_names) if name not in COEFFICIENT_NAMES and name != "tongueOut"]
    if unnamed:
        used = unnamed[:COMPONENTS_USED]
        expression[used] = rng.normal(0.0, COMPONENT_DEVIATION * rng.uniform(0.0, 1.5), len(used))
    if JAW_OPEN not in head.expression_names and rng.random() < JAW_MOVES:
        jaw = np.array([JAW_OPEN_RAD * JAW_OPENS * rng.beta(1.0, 1.5), *rng.normal(0.0, JAW_ASIDE_RAD, 2)], np.float32)
    return replace(params, expression=expression, jaw=jaw)

"""Some points of a head, posed fast: what the measurements need of thousands of vertices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, joint_rotations, skin
from models.landmark_groups import INNER_LIPS, OUTER_LIPS
from models.solving.landmark_model import LARGEST_SPREAD

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Int = NDArray[np.int32]

LIPS = (*OUTER_LIPS, *INNER_LIPS)
LIP_GAP, LEFT_GAP, RIGHT_GAP, FACE_HEIGHT = (13, 14), (386, 374), (159, 145), (10, 152)
"""Landmarks between which the mouth and the eyes open, and those on the hairline and the chin."""
FIRST_IRIS = 468


@dataclass(frozen=True)
class FacePoints:
    """N vertices of a head without pose correctives, and what moves them."""

    template: Float
    """(N, 3) metres, head space."""
    identity: Float
    """(I, N, 3)."""
    expression: Float
    """(E, N, 3)."""
    weights: Float
    """(N, 5)."""
    joints: Float
    """(5, 3)."""
    joints_identity: Float
    """(I, 5, 3)."""

    @staticmethod
    def of(head: HeadModel, vertices: Int) -> FacePoints:
        """Raises ValueError where the head has pose correctives."""
        if len(head.pose_correctives):
            raise ValueError(f"the head {head.name!r} has pose correctives; the measurements are made for the open head, which has none")
        return FacePoints(
            head.template[vertices],
            head.identity[:, vertices],
            head.expression[:, vertices],
            head.skinning_weights[vertices],
            head.joints(head.template),
            np.einsum("jv,ivc->ijc", head.joint_regressor, head.identity).astype(np.float32),
        )

    def posed(self, params: HeadParams) -> Float:
        """(N, 3) camera space, metres, as HeadModel.vertices."""
        people = len(params.identity)
        shaped = self.template + np.tensordot(params.identity, self.identity[:people], 1) + np.tensordot(params.expression, self.expression, 1)
        joints = self.joints + np.tensordot(params.identity, self.joints_identity[:people], 1)
        return skin(shaped.astype(np.float32), joints.astype(np.float32), joint_rotations(params), self.weights) + params.translation

    def unturned(self, params: HeadParams) -> Double:
        """(N, 3) head space: posed by expression, jaw and gaze alone."""
        still = np.zeros(3, np.float32)
        return self.posed(replace(params, rotation=still, neck=still, translation=still)).astype(np.float64)


@dataclass(frozen=True)
class Marks:
    """Landmarks on a head's surface."""

    corners: FacePoints
    """Of their triangles, three a landmark."""
    shares: Float
    """(L, 3) barycentric."""

    @staticmethod
    def of(head: HeadModel, landmarks: Int) -> Marks:
        """`landmarks` (L,) of the 478, all of which the head has."""
        return Marks(FacePoints.of(head, head.faces[head.landmark_faces[landmarks]].reshape(-1)), head.landmark_barycentrics[landmarks])

    def posed(self, params: HeadParams) -> Double:
        """(L, 3) camera space, metres."""
        return self._blend(self.corners.posed(params))

    def unturned(self, params: HeadParams) -> Double:
        """(L, 3) head space."""
        return self._blend(self.corners.unturned(params))

    def _blend(self, corners: NDArray[np.floating]) -> Double:
        return np.einsum("lk,lkc->lc", self.shares, corners.reshape(-1, 3, 3).astype(np.float64))


def carriers(head: HeadModel, landmarks: tuple[int, ...]) -> Int:
    """Vertices of the triangles on which these landmarks lie."""
    return np.unique(head.faces[head.landmark_faces[list(landmarks)]]).astype(np.int32)


def face_vertices(head: HeadModel) -> Int:
    """Vertices of the triangles of all landmarks that are certain, but those of the irises."""
    certain = np.flatnonzero((head.landmark_spread[:FIRST_IRIS] <= LARGEST_SPREAD) & (head.landmark_faces[:FIRST_IRIS] >= 0))
    return carriers(head, tuple(int(landmark) for landmark in certain))


def gap_marks(head: HeadModel) -> Marks:
    """Both ends of LIP_GAP, LEFT_GAP and RIGHT_GAP in that order."""
    return Marks.of(head, np.array([*LIP_GAP, *LEFT_GAP, *RIGHT_GAP], np.int32))


def gaps(points: NDArray[np.floating]) -> Double:
    """(3,) or (..., 3): the distances between the pairs of (..., 6, C) points."""
    return np.linalg.norm(points[..., ::2, :] - points[..., 1::2, :], axis=-1).astype(np.float64)

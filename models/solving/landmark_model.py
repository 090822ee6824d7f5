"""A head reduced to its landmarks: what the solver needs of it, once per head, so that a frame costs hundreds of points and not thousands of vertices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN
from models.head import JAW, LEFT_EYE, RIGHT_EYE, ROOT, HeadModel

Float = NDArray[np.float32]

UNSOLVED = ("tongueOut",)
"""Expression shapes that no landmark sees."""
LARGEST_SPREAD = 0.16
"""In inter-ocular distances; landmarks that scatter more are not used (the face oval slides along the cheek)."""
IMAGE_SCATTER = 0.015
"""In inter-ocular distances: how far a landmark strays in a picture even where its place on the head is certain (facts of the prototype)."""
LIP_GAPS = ((13, 14), (82, 87), (312, 317))
LID_GAPS = ((159, 145), (386, 374))
"""Landmarks that meet when the mouth or an eye closes."""
RIGID_SPREAD = 0.06
RIGID_MOTION_M = 0.004
"""No expression moves a landmark that fixes the first pose by more than this."""


@dataclass(frozen=True)
class LandmarkModel:
    """L landmarks of a head, N identity shapes, K expression shapes that are solved for; metres, head space, float32.

    A landmark moves with the jaw and the eyes by its mean skinning weight, which is the head's own skinning up to 0.1 mm (the weights hardly change inside
    a triangle); the correctives of the jaw are kept, those of neck and eyes are not.
    """

    indices: NDArray[np.int32]
    """(L,) of the 478."""
    template: Float
    """(L, 3)."""
    identity: Float
    """(L, 3, N)."""
    expression: Float
    """(L, 3, K)."""
    expression_indices: NDArray[np.int32]
    """(K,) into the head's expression names."""
    expression_names: tuple[str, ...]
    """(K)."""
    jaw_correctives: Float
    """(L, 3, 9), for the entries of R - I of the jaw, row by row."""
    joint_weights: Float
    """(L, 3): jaw, left eye, right eye."""
    joints: Float
    """(4, 3) at rest: root, jaw, left eye, right eye."""
    joints_identity: Float
    """(4, 3, N)."""
    weights: Float
    """(L,) one over the expected scatter, in one over inter-ocular distances."""
    has_jaw_joint: bool
    """The jaw opens about its joint (FLAME), not by an expression shape."""
    eye_distance_m: float
    lip_gaps: NDArray[np.int32]
    """(Q1, 2) pairs of indices below L: landmarks that meet when the mouth closes,"""
    lid_gaps: NDArray[np.int32]
    """(Q2, 2) and when an eye does."""

    @cached_property
    def gaps(self) -> NDArray[np.int32]:
        """(Q, 2): those of the lips, then those of the lids."""
        return np.concatenate([self.lip_gaps, self.lid_gaps])

    @cached_property
    def is_eye(self) -> NDArray[np.bool_]:
        """(L,) on an eyeball."""
        mask: NDArray[np.bool_] = self.joint_weights[:, 1:].sum(1) > 0.5
        return mask

    @cached_property
    def rigid(self) -> NDArray[np.int64]:
        """Indices of the landmarks that fix the first pose: certain, and hardly moved by any expression."""
        motion = np.linalg.norm(self.expression, axis=1).max(1, initial=0.0)
        calm = ~self.is_eye & (motion < RIGID_MOTION_M) & (self.joint_weights[:, 0] < 0.5)
        certain = self.weights > 1.0 / np.hypot(IMAGE_SCATTER, RIGID_SPREAD)
        chosen = np.flatnonzero(calm & certain)
        return chosen if len(chosen) >= 12 else np.flatnonzero(~self.is_eye)

    @property
    def frame_size(self) -> int:
        """Unknowns of a frame: rotation 3, translation 3, expression K, gaze 4, and jaw 3 where it is a joint."""
        return 10 + len(self.expression_names) + (3 if self.has_jaw_joint else 0)


def landmark_model(head: HeadModel, identity_count: int) -> LandmarkModel:
    """Reduces `head` to its usable landmarks and the first `identity_count` identity shapes.

    Raises:
        ValueError: where the head has no landmark embedding.
    """
    usable = (head.landmark_faces >= 0) & (head.landmark_spread <= LARGEST_SPREAD)
    indices = np.flatnonzero(usable).astype(np.int32)
    if len(indices) < 50:
        raise ValueError(f"the head {head.name!r} should have a landmark embedding; {len(indices)} of its landmarks are usable")
    solved = [index for index, name in enumerate(head.expression_names) if name not in UNSOLVED]
    weights = _gather(head, indices, head.skinning_weights)[:, [JAW, LEFT_EYE, RIGHT_EYE]]
    has_jaw_joint = JAW_OPEN not in head.expression_names
    if not has_jaw_joint:
        weights[:, 0] = 0.0
    identity = head.identity[:identity_count]
    chosen_joints = head.joint_regressor[[ROOT, JAW, LEFT_EYE, RIGHT_EYE]]
    correctives = _gather(head, indices, head.pose_correctives[9:18]) if len(head.pose_correctives) else np.zeros((9, len(indices), 3), np.float32)
    return LandmarkModel(
        indices=indices,
        template=_gather(head, indices, head.template),
        identity=np.ascontiguousarray(_gather(head, indices, identity).transpose(1, 2, 0)),
        expression=np.ascontiguousarray(_gather(head, indices, head.expression[solved]).transpose(1, 2, 0)),
        expression_indices=np.array(solved, np.int32),
        expression_names=tuple(head.expression_names[index] for index in solved),
        jaw_correctives=np.ascontiguousarray(correctives.transpose(1, 2, 0)),
        joint_weights=weights,
        joints=(chosen_joints @ head.template).astype(np.float32),
        joints_identity=np.einsum("jv,nvc->jcn", chosen_joints, identity).astype(np.float32),
        weights=(1.0 / np.hypot(IMAGE_SCATTER, head.landmark_spread[indices])).astype(np.float32),
        has_jaw_joint=has_jaw_joint,
        eye_distance_m=head.eye_distance_m,
        lip_gaps=_places(indices, LIP_GAPS),
        lid_gaps=_places(indices, LID_GAPS),
    )


def _places(indices: NDArray[np.int32], pairs: tuple[tuple[int, int], ...]) -> NDArray[np.int32]:
    """(Q, 2): where in `indices` (L,) the pairs of landmarks are that are both in it."""
    there = [pair for pair in pairs if np.isin(pair, indices).all()]
    return np.searchsorted(indices, np.array(there, np.int32).reshape(-1, 2)).astype(np.int32)


def _gather(head: HeadModel, landmarks: NDArray[np.int32], values: Float) -> Float:
    """(…, L, C) of (…, V, C), at some of the 478 landmarks."""
    corners = head.faces[head.landmark_faces[landmarks]]
    points: Float = np.einsum("lk,...lkc->...lc", head.landmark_barycentrics[landmarks], values[..., corners, :]).astype(np.float32)
    return points

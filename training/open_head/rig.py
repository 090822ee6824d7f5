"""Skinning weights and joints of the open head: MakeHuman's rig folded into FLAME's five joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT
from training.open_head.eyeball import EQUATOR, SEGMENTS, unit_eyeball
from training.open_head.source import Double, MakeHuman

NECK_SHARE = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75}
"""How far each bone of the neck follows the neck joint; the head follows wholly."""
SUPPORT = 40
"""Vertices that place a joint."""


def skinning_weights(source: MakeHuman, kept: NDArray[np.int64], vertex_count: int) -> Double:
    """(V, 5), rows sum to one; the eyeballs follow the kept vertices."""
    weights = np.zeros((vertex_count, 5))
    for bone, column in source.bone_weights.items():
        chain = source.bone_chain(bone)
        share = column[kept]
        if "jaw" in chain:
            weights[: len(kept), JAW] += share
        elif "head" in chain:
            weights[: len(kept), NECK] += share
        else:
            follow = NECK_SHARE.get(bone, 0.0)
            weights[: len(kept), NECK] += follow * share
            weights[: len(kept), ROOT] += (1.0 - follow) * share
    left, right = eyeball_ranges(len(kept))
    weights[left, LEFT_EYE] = 1.0
    weights[right, RIGHT_EYE] = 1.0
    normalised: Double = weights / weights.sum(1, keepdims=True)
    return normalised


def eyeball_ranges(kept: int) -> tuple[slice, slice]:
    """Which vertices are the left and the right eyeball."""
    count = len(unit_eyeball()[0])
    return slice(kept, kept + count), slice(kept + count, kept + 2 * count)


def joint_regressor(template: Double, joints: Double, heads: Double, head_joints: Double, kept: int) -> Double:
    """(5, V) sparse rows that sum to one and give the joints of the template exactly, those of the samples as well as a few vertices can.

    `template` (V, 3), `joints` (3, 3) root, neck and jaw; `heads` (n, V, 3), `head_joints` (n, 3, 3): the same of n random heads.
    The eyes are the mean of each eyeball's equator.
    """
    rows = np.zeros((5, len(template)))
    for row, joint in enumerate((ROOT, NECK, JAW)):
        distance = np.linalg.norm(template[:kept] * [0.0, 1.0, 1.0] - joints[row] * [0.0, 1.0, 1.0], axis=1) + 0.3 * np.abs(template[:kept, 0])
        support = np.sort(np.argsort(distance, kind="stable")[:SUPPORT])
        rows[joint, support] = _affine_row(template[support], joints[row], heads[:, support], head_joints[:, row])
    for joint, eyeball in zip((LEFT_EYE, RIGHT_EYE), eyeball_ranges(kept), strict=True):
        start = eyeball.start + 1 + EQUATOR * SEGMENTS
        rows[joint, start : start + SEGMENTS] = 1.0 / SEGMENTS
    return rows


def _affine_row(points: Double, joint: Double, samples: Double, sample_joints: Double) -> Double:
    """Least squares over the samples, a little ridge towards the plain mean, exact on the template (Lagrange multipliers)."""
    count = len(points)
    design = samples.transpose(0, 2, 1).reshape(-1, count)
    ridge = 1e-3 * np.trace(design.T @ design) / count
    normal = design.T @ design + ridge * np.eye(count)
    right = design.T @ sample_joints.reshape(-1) + ridge / count
    constraints = np.vstack([np.ones(count), points.T])
    system = np.block([[normal, constraints.T], [constraints, np.zeros((4, 4))]])
    solution = np.linalg.lstsq(system, np.concatenate([right, [1.0], joint]), rcond=None)[0]
    row: Double = solution[:count]
    return row

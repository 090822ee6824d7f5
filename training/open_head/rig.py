"""Skinning weights and joints of the open head: MakeHuman's rig folded into FLAME's five joints."""

from __future__ import annotations

import numpy as np

from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT
from training.open_head.cut import JOINTS, Cut
from training.open_head.eyeball import EQUATOR, SEGMENTS
from training.open_head.source import Double

NECK_SHARE = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75}
"""How far each bone of the neck follows the neck joint; the head follows wholly."""
NECK_HEIGHT = 0.65
"""Where the neck joint lies between the root of the neck (0) and its top (1)."""
SUPPORT = 40
"""Vertices that place a joint."""
EYE_JOINTS = {"left_eye": LEFT_EYE, "right_eye": RIGHT_EYE}


def skinning_weights(cut: Cut) -> Double:
    """(V, 5), rows sum to one."""
    weights = np.zeros((cut.ranges["right_eye"].stop, 5))
    for bone, column in cut.source.bone_weights.items():
        chain = cut.source.bone_chain(bone)
        share = column[cut.sources[: cut.kept]]
        if "jaw" in chain:
            weights[: cut.kept, JAW] += share
        elif "head" in chain:
            weights[: cut.kept, NECK] += share
        else:
            follow = NECK_SHARE.get(bone, 0.0)
            weights[: cut.kept, NECK] += follow * share
            weights[: cut.kept, ROOT] += (1.0 - follow) * share
    for region, joint in {"upper_teeth": NECK, "lower_teeth": JAW, **EYE_JOINTS}.items():
        weights[cut.ranges[region], joint] = 1.0
    normalised: Double = weights / weights.sum(1, keepdims=True)
    return normalised


def rig_joints(cut: Cut, adult: Double) -> Double:
    """(3, 3) root, neck and jaw of an adult (S, 3)."""
    root, top, jaw = (cut.joint(adult, name) for name in JOINTS)
    return np.stack([root, (1.0 - NECK_HEIGHT) * root + NECK_HEIGHT * top, jaw])


def equator(cut: Cut, eye: str) -> slice:
    """The ring of an eyeball's vertices whose mean is its centre."""
    start = cut.ranges[eye].start + 1 + EQUATOR * SEGMENTS
    return slice(start, start + SEGMENTS)


def joint_regressor(cut: Cut, template: Double, joints: Double, heads: Double, head_joints: Double) -> Double:
    """(5, V) sparse rows that sum to one and give the joints of the template exactly, those of the samples as well as a few vertices can.

    `template` (V, 3), `joints` (3, 3) root, neck and jaw; `heads` (n, V, 3), `head_joints` (n, 3, 3): the same of n random heads.
    The eyes are the mean of each eyeball's equator.
    """
    rows = np.zeros((5, len(template)))
    body = template[: cut.kept]
    for row, joint in enumerate((ROOT, NECK, JAW)):
        distance = np.hypot(body[:, 1] - joints[row, 1], body[:, 2] - joints[row, 2]) + 0.3 * np.abs(body[:, 0])
        support = np.sort(np.argsort(distance, kind="stable")[:SUPPORT])
        rows[joint, support] = _affine_row(template[support], joints[row], heads[:, support], head_joints[:, row])
    for eye, joint in EYE_JOINTS.items():
        rows[joint, equator(cut, eye)] = 1.0 / SEGMENTS
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

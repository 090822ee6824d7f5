"""Puts the open head together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.head import LANDMARK_COUNT, HeadModel
from training.open_head.adult import AdultMixer, make_mixer
from training.open_head.cut import REGIONS, Cut, cut_head
from training.open_head.expressions import expression_shapes
from training.open_head.eyeball import unit_eyeball
from training.open_head.identity import BUST_WEIGHT, align, principal_components
from training.open_head.rig import equator, joint_regressor, rig_joints, skinning_weights
from training.open_head.source import Double, MakeHuman
from training.open_head.teeth import LOWER, UPPER, row_vertices
from training.open_head.template import Template, make_template
from training.open_head.texture import texture_layout

METRES = 0.1
"""One decimetre."""
NAME = "open head"
LICENCE = "CC0-1.0"
NO_SPREAD = 9.0
FLIP = np.array([-1.0, 1.0, 1.0])
OPENED = {"jawOpen": 0.6, "eyeWideLeft": 1.0, "eyeWideRight": 1.0}
"""The expression in which the texture is laid out, so that lids and lips stay apart."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What the builder may vary."""

    samples: int = 1200
    """Random adults; each counts with its mirror image."""
    components: int = 80
    seed: int = 0


def build_head(source: MakeHuman, recipe: Recipe) -> HeadModel:
    """The open head, without landmarks yet (training/landmark_embedding.py adds them)."""
    mean = make_mixer(source, np.arange(len(source.vertices)), with_details=False).mean()
    cut = cut_head(source, mean)
    template = make_template(cut)
    heads, joints = _random_heads(cut, template, make_mixer(source, cut.sources), recipe)
    components = principal_components(heads - heads.mean(0), _vertex_weights(template), recipe.components)
    logger.info("identity: %d shapes explain %.1f %% of the variance", recipe.components, 100.0 * components.explained)
    regressor = joint_regressor(cut, template.vertices, rig_joints(cut, cut.mean), heads[::8].astype(np.float64), joints[::8])
    shapes = expression_shapes(cut, template)
    uv, uv_faces = texture_layout(cut, template, template.vertices + sum(weight * shapes[name] for name, weight in OPENED.items()))
    origin = np.mean([template.vertices[equator(cut, eye)].mean(0) for eye in ("left_eye", "right_eye")], 0)
    return HeadModel(
        name=NAME,
        licence=LICENCE,
        template=((template.vertices - origin) * METRES).astype(np.float32),
        identity=(components.basis * METRES).astype(np.float32),
        expression=(np.stack(list(shapes.values())) * METRES).astype(np.float32),
        expression_names=tuple(shapes),
        pose_correctives=np.zeros((0, len(template.vertices), 3), np.float32),
        joint_regressor=regressor.astype(np.float32),
        skinning_weights=skinning_weights(cut).astype(np.float32),
        faces=template.faces,
        uv=uv.astype(np.float32),
        uv_faces=uv_faces,
        face_region=template.regions,
        region_names=REGIONS,
        landmark_faces=np.full(LANDMARK_COUNT, -1, np.int32),
        landmark_barycentrics=np.zeros((LANDMARK_COUNT, 3), np.float32),
        landmark_spread=np.full(LANDMARK_COUNT, NO_SPREAD, np.float32),
    )


def _random_heads(cut: Cut, template: Template, mixer: AdultMixer, recipe: Recipe) -> tuple[NDArray[np.float32], Double]:
    """(2 n, V, 3) aligned on the face, each adult followed by its mirror image, and (2 n, 3, 3) their root, neck and jaw."""
    partner = mirror_vertices(cut)
    face = np.setdiff1d(template.islands["head"], template.islands["body"])
    face = face[template.vertices[face, 2] > template.vertices[face, 2].mean()]
    correction = template.vertices - cut.head_vertices(cut.mean)
    heads = np.empty((2 * recipe.samples, len(template.vertices), 3), np.float32)
    joints = np.empty((2 * recipe.samples, 3, 3))
    for k, adult in enumerate(mixer.samples(recipe.samples, recipe.seed)):
        head = cut.head_vertices(adult) + correction
        rotation, offset, scale = align(head, template.vertices, face)
        placed = scale * head @ rotation.T + offset
        joint = scale * rig_joints(cut, adult) @ rotation.T + offset
        heads[2 * k], heads[2 * k + 1] = placed, placed[partner] * FLIP
        joints[2 * k], joints[2 * k + 1] = joint, joint * FLIP
    return heads, joints


def _vertex_weights(template: Template) -> Double:
    weights = np.ones(len(template.vertices))
    weights[template.islands["body"]] = BUST_WEIGHT
    return weights


def mirror_vertices(cut: Cut) -> NDArray[np.int64]:
    """(V,) the vertex on the other side."""
    kept = cut.sources[: cut.kept]
    partner = np.arange(cut.ranges["right_eye"].stop)
    partner[: cut.kept] = np.searchsorted(kept, cut.source.mirror[kept])
    left, right = cut.ranges["left_eye"], cut.ranges["right_eye"]
    across = _mirrored_rows(unit_eyeball()[0])
    partner[left], partner[right] = right.start + across, left.start + across
    for name, row in (("upper_teeth", UPPER), ("lower_teeth", LOWER)):
        partner[cut.ranges[name]] = cut.ranges[name].start + _mirrored_rows(row_vertices(row))
    return partner


def _mirrored_rows(points: Double) -> NDArray[np.int64]:
    """For each of (n, 3), symmetric about x = 0, its mirror image."""
    rows: NDArray[np.int64] = np.linalg.norm((points * FLIP)[:, None] - points[None], axis=2).argmin(1)
    return rows

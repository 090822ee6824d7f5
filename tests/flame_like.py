"""Heads in FLAME's shape for the training's tests: shapes without ARKit names, a jaw that is a joint, an embedding that looks like a face."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from models.head import JAW, NECK, HeadModel, load_head
from models.landmarks import Embedding, closest_on_surface
from tests.tiny_head import tiny_head
from training.portrait.capture_mesh import UPPER_INNER_LIP

OPEN_HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
SHAPES, IDENTITIES = 12, 8
NOSE_ROOT, UNDER_NOSE, CHIN = 168, 2, 152


def open_head_as_flame() -> HeadModel:
    """The open head without its teeth and tongue: the chin hangs on the jaw's joint, the shapes are mixtures of the open head's others, without names."""
    head = load_head(OPEN_HEAD)
    rng = np.random.default_rng(5)
    others = [index for index, name in enumerate(head.expression_names) if name != "jawOpen" and not name.startswith("eyeLook")]
    jaw_open = np.linalg.norm(head.expression[head.expression_index("jawOpen")], axis=1)
    follows = np.clip(jaw_open / np.percentile(jaw_open, 99.5), 0.0, 1.0)[:, None] * head.skinning_weights[:, NECK, None]
    weights = head.skinning_weights.copy()
    weights[:, [NECK]] -= follows
    weights[:, [JAW]] += follows
    mixture = rng.normal(0.0, 0.35, (SHAPES, len(others))).astype(np.float32)
    names = tuple(f"expression{number:03}" for number in range(SHAPES))
    kept = np.isin(head.face_region, [head.region_names.index(name) for name in ("skin", "left_eye", "right_eye")])
    number = np.full(len(head.faces), -1, np.int32)
    number[kept] = np.arange(kept.sum(), dtype=np.int32)
    correctives = rng.normal(0.0, 1e-4, (36, 1, 3)).astype(np.float32) * np.ones((1, len(head.template), 1), np.float32)
    return replace(
        head,
        name="flame-like",
        identity=head.identity[:IDENTITIES],
        expression=np.tensordot(mixture, head.expression[others], 1).astype(np.float32),
        expression_names=names,
        pose_correctives=correctives,
        skinning_weights=weights,
        faces=head.faces[kept],
        uv_faces=head.uv_faces[kept],
        face_region=head.face_region[kept],
        landmark_faces=np.where(head.landmark_faces >= 0, number[head.landmark_faces], -1).astype(np.int32),
    )


@cache
def tiny_face(seed: int = 0) -> HeadModel:
    """tests.tiny_head with a mouth, a nose and a chin in their places."""
    head = tiny_head(seed, rings=13)
    along = np.linspace(-0.02, 0.02, len(UPPER_INNER_LIP))
    wanted = {index: (x, -0.062 + 8.0 * x * x) for index, x in zip(UPPER_INNER_LIP, along, strict=True)}
    wanted |= {NOSE_ROOT: (0.0, 0.0), UNDER_NOSE: (0.0, -0.04), CHIN: (0.0, -0.1)}
    skin = np.flatnonzero(head.face_region == 0)
    faces, weights = head.landmark_faces.copy(), head.landmark_barycentrics.copy()
    for index, (x, y) in wanted.items():
        faces[index], weights[index] = closest_on_surface(np.array([x, y, 0.05]), head.template, head.faces, skin)
    return Embedding(faces, weights, head.landmark_spread).put_on(head)


def crowded(head: HeadModel) -> HeadModel:
    """The same with a chart for every triangle, in a grid that leaves no room for anything."""
    count = len(head.faces)
    along = int(np.ceil(np.sqrt(count)))
    corner = np.stack(np.divmod(np.arange(count), along)[::-1], 1) / along
    chart = corner[:, None] + np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]]) / along
    return replace(head, uv=chart.reshape(-1, 2).astype(np.float32), uv_faces=np.arange(3 * count, dtype=np.int32).reshape(-1, 3))

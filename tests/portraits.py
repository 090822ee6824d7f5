"""A painted portrait and clips drawn from it: what the fit of pictures is tested on, with every parameter known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.capture_mesh import capture_mesh
from training.portrait.features import learn_features, parameters_of
from training.portrait.portrait import Portrait, View, blank_portrait

PLACE = np.array([0.0, 0.02, -0.55], np.float32)
FOCAL = 2.0


@dataclass(frozen=True, slots=True)
class Painted:
    """A portrait and a clip that shows just that."""

    portrait: Portrait
    clip: Clip
    fitted: Fitted


def blotches(size: int, seed: int, smooth: float) -> NDArray[np.float32]:
    """(size, size, 3) grey levels around 128 with detail of `smooth` pixels."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (size, size, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), smooth), np.float32)
    return np.clip(128.0 + 45.0 * soft / soft.std(), 5.0, 250.0).astype(np.float32)


def moves(head: HeadModel, count: int, seed: int = 0, turn: float = 0.3) -> Fitted:
    """Turns to both sides and a face that moves, smoothly and at random."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    neck = np.stack([0.35 * turn * np.cos(2.0 * phase), turn * np.sin(phase), 0.2 * turn * np.sin(2.0 * phase)], 1)
    expression = np.zeros((count, len(head.expression_names)))
    named = "jawOpen" in head.expression_names
    chosen = rng.choice(expression.shape[1], 6, replace=False)
    expression[:, chosen] = rng.uniform(0.05, 0.5, (count, 6)) if named else rng.normal(0.0, 0.5, (count, 6))
    jaw = np.zeros((count, 3)) if named else np.stack([0.1 + 0.1 * np.sin(phase), 0.02 * np.cos(phase), 0.0 * phase], 1)
    parts = {
        "expression": expression,
        "neck": neck,
        "jaw": jaw,
        "gaze": 0.1 * rng.normal(size=(count, 2, 2)),
        "translation": PLACE + 0.006 * rng.normal(size=(count, 3)),
    }
    arrays = {name: value.astype(np.float32) for name, value in parts.items()}
    return Fitted(FOCAL, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), **arrays)


def painted(head: HeadModel, count: int = 4, size: int = 256, held_out: int = 0, shape: NDArray[np.float32] | None = None) -> Painted:
    """`shape`: (V, 3) metres that the true surface lies off the mesh."""
    mesh, fitted = capture_mesh(head, np.zeros(0, np.float32)), moves(head, count)
    blank = blank_portrait(mesh, FOCAL, PLACE, learn_features(parameters_of(fitted), mesh.expression_names, 2), 256)
    base = np.concatenate([blotches(512, 1, 3.0), np.full((512, 512, 1), 255.0, np.float32)], 2)
    portrait = replace(blank, base=base, shape=blank.shape if shape is None else shape)
    view, behind = View(portrait.baked(), size), blotches(size, 2, 8.0).astype(np.uint8)
    frames, mattes = [], []
    for k in range(count):
        frames.append(view.draw(fitted.params(k), behind))
        mattes.append(np.where(view.face_id >= 0, 255, 0).astype(np.uint8))
    nothing = np.zeros((count, 478, 3), np.float32), np.zeros((count, 52), np.float32), np.ones(count, np.float32), np.zeros((count, 2), np.int32)
    clip = Clip(np.stack(frames), np.stack(mattes), np.arange(count) / 25.0, *nothing, np.arange(count) >= count - held_out)
    return Painted(portrait, clip, fitted)

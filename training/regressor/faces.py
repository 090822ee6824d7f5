"""Faces, poses and cameras drawn at random: what the regressor is to tell apart. Seeded by the caller's generator; one call, one frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams
from models.rotations import to_axis_angle, to_matrix

Double = NDArray[np.float64]

ACTIVE = {
    "browDown": 0.2, "browInnerUp": 0.25, "browOuterUp": 0.2, "eyeSquint": 0.2, "eyeWide": 0.15, "cheekPuff": 0.05, "cheekSquint": 0.15, "noseSneer": 0.12,
    "jawForward": 0.04, "jawLeft": 0.04, "jawRight": 0.04, "jawOpen": 0.5, "mouthClose": 0.08, "mouthDimple": 0.1, "mouthFrown": 0.12, "mouthFunnel": 0.15,
    "mouthLeft": 0.05, "mouthRight": 0.05, "mouthLowerDown": 0.2, "mouthUpperUp": 0.2, "mouthPress": 0.15, "mouthPucker": 0.2, "mouthRollLower": 0.1,
    "mouthRollUpper": 0.1, "mouthShrugLower": 0.12, "mouthShrugUpper": 0.1, "mouthSmile": 0.4, "mouthStretch": 0.15,
}  # fmt: skip
"""In what share of the frames a shape, or both sides of it, is anything but zero."""
AT_REST = 0.12
"""Share of frames with a face at rest."""
BLINKS, WINKS = 0.25, 0.04
ONE_SIDED = 0.12
"""Share of the active pairs of which one side alone moves."""
UNEVEN = 0.3
LIDS_FOLLOW_RAD = 0.4
"""A gaze so far down or up goes with a whole `eyeLookDown` or `eyeLookUp`; to the sides,"""
LOOK_SIDE_RAD = 0.5
TORSO = 0.3
"""Of a turn; the neck makes the rest."""


FOCAL = (0.85, 1.5)
"""Of a square picture's side: 61 to 37 degrees of view."""
DISTANCE_M = (0.35, 0.9)
OFF_MIDDLE = 0.45
"""How far the head may be off the middle, in shares of the half picture."""


def random_frame(head: HeadModel, resting: HeadParams, focal: float, rng: np.random.Generator) -> HeadParams:
    """Of the person whose identity and expression at rest are `resting`, before a camera of that focal length over the picture's side."""
    gaze = np.clip(rng.normal(0.0, (0.22, 0.14)), (-0.55, -0.36), (0.55, 0.36))
    look = np.stack([gaze, gaze]) + rng.normal(0.0, 0.015, (2, 2))
    expression = resting.expression.astype(np.float64)
    if rng.random() > AT_REST:
        expression = expression + _expression(head, rng)
    expression += _lids(head, look, rng)
    turn = _turn(rng)
    distance = float(np.exp(rng.uniform(*np.log(DISTANCE_M))))
    aside = rng.uniform(-1.0, 1.0, 2) * OFF_MIDDLE * 0.5 * distance / focal
    return replace(
        resting,
        expression=np.clip(expression, 0.0, 1.0).astype(np.float32),
        rotation=(TORSO * turn).astype(np.float32),
        neck=((1.0 - TORSO) * turn).astype(np.float32),
        gaze=look.astype(np.float32),
        translation=np.array([aside[0], aside[1], -distance], np.float32),
    )


def _turn(rng: np.random.Generator) -> Double:
    """(3,) axis-angle; mostly as one sits before a webcam, in a third of the frames anything up to 50 degrees of yaw."""
    wide = rng.random() < 0.35
    yaw = rng.uniform(-50.0, 50.0) if wide else rng.normal(0.0, 14.0)
    pitch = rng.uniform(-27.0, 27.0) if wide else rng.normal(0.0, 8.0)
    roll = rng.uniform(-20.0, 20.0) if wide else rng.normal(0.0, 6.0)
    yaw, pitch, roll = np.radians(np.clip((yaw, pitch, roll), (-55.0, -30.0, -25.0), (55.0, 30.0, 25.0)))
    turn = to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0)) @ to_matrix((0.0, 0.0, roll))
    return to_axis_angle(turn)


def _expression(head: HeadModel, rng: np.random.Generator) -> Double:
    names = head.expression_names
    weights = np.zeros(len(names))
    for shape, share in ACTIVE.items():
        if rng.random() > share:
            continue
        size = rng.beta(1.0, 1.5)
        sides = [names.index(each) for each in (shape, f"{shape}Left", f"{shape}Right") if each in names]
        one = rng.integers(len(sides)) if len(sides) == 2 and rng.random() < ONE_SIDED else None
        for at, index in enumerate(sides):
            weights[index] = size * rng.uniform(1.0 - UNEVEN, 1.0) if one in (None, at) else 0.0
    if "mouthClose" in names and "jawOpen" in names:
        weights[names.index("mouthClose")] *= weights[names.index("jawOpen")]
    return weights


def _lids(head: HeadModel, look: Double, rng: np.random.Generator) -> Double:
    """What blinks and the gaze do to the lids."""
    names = head.expression_names
    weights = np.zeros(len(names))
    follow = rng.uniform(0.6, 1.1)
    closed = float(rng.choice([1.0, rng.uniform(0.0, 1.0)])) if rng.random() < BLINKS else 0.0
    wink = int(rng.integers(2)) if rng.random() < WINKS else None
    for eye, side in enumerate(("Left", "Right")):
        outwards = look[eye, 0] if side == "Left" else -look[eye, 0]
        for name, amount in (
            ("eyeLookDown", follow * look[eye, 1] / LIDS_FOLLOW_RAD),
            ("eyeLookUp", -follow * look[eye, 1] / LIDS_FOLLOW_RAD),
            ("eyeLookOut", outwards / LOOK_SIDE_RAD),
            ("eyeLookIn", -outwards / LOOK_SIDE_RAD),
            ("eyeBlink", rng.uniform(0.7, 1.0) if wink == eye else closed * rng.uniform(0.92, 1.0)),
        ):
            if name + side in names:
                weights[names.index(name + side)] = np.clip(amount, 0.0, 1.0)
    return weights

"""The ARKit shapes of the open head: MakeHuman's face units, with lids that clear the new eyeballs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.open_head.adult import EYE_OPENING
from training.open_head.source import Double, MakeHuman

LID_CLEARANCE = 0.004
"""How far the outer side of the lids stays off the eyeball, decimetres."""
STEPS = (1.0, 0.75, 0.5, 0.25)


def expression_shapes(source: MakeHuman, kept: NDArray[np.int64], vertex_count: int) -> dict[str, Double]:
    """(V, 3) by name, decimetres. The eyeballs (after the kept vertices) do not move: gaze turns them."""
    units = source.face_units()
    for side in ("Left", "Right"):
        units[f"eyeBlink{side}"] = units[f"eyeBlink{side}"] - EYE_OPENING * units[f"eyeWide{side}"]
    shapes = {}
    for name, displacement in units.items():
        shapes[name] = np.zeros((vertex_count, 3))
        shapes[name][: len(kept)] = displacement[kept]
    return shapes


def push_out(points: Double, lids: NDArray[np.int64], centre: Double, radius: float) -> Double:
    """(V, 3) displacement that carries those `lids` vertices which are nearer than `radius` to the eye's centre out to it."""
    offset = points[lids] - centre
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    push = np.zeros_like(points)
    push[lids] = offset / distance * np.maximum(radius - distance, 0.0)
    return push


def clear_eyeball(template: Double, shape: Double, lids: NDArray[np.int64], centre: Double, radius: float) -> Double:
    """The shape (V, 3), changed so that the lids stay out of the eyeball all the way from the template to its full weight."""
    cleared = shape.copy()
    for step in STEPS:
        cleared += push_out(template + step * cleared, lids, centre, radius) / step
    return cleared

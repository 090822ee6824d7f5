"""The ARKit shapes of the open head: MakeHuman's face units, with lids that clear the new eyeballs and a tongue that sinks with the jaw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.open_head.adult import EYE_OPENING
from training.open_head.cut import Cut
from training.open_head.source import Double
from training.open_head.template import LID_CLEARANCE, Template, lip_rim, neighbour_mean, push_out, ramp

BLINK_SCALE = 0.88
"""MakeHuman's closed lid lies well below the lower one."""
TONGUE_LIFT = {"jawOpen": -0.03, "tongueOut": 0.06}
"""How much higher than the target a shape takes the tongue's front, decimetres."""
CREASED = ("mouthSmileLeft", "mouthSmileRight")
CREASE_STEPS = 4
STEPS = (1.0, 0.75, 0.5, 0.25)


def expression_shapes(cut: Cut, template: Template) -> dict[str, Double]:
    """(V, 3) by name, decimetres. The eyeballs do not move: gaze turns them."""
    units = cut.source.face_units()
    for side in ("Left", "Right"):
        units[f"eyeBlink{side}"] = BLINK_SCALE * units[f"eyeBlink{side}"] - EYE_OPENING * units[f"eyeWide{side}"]
    rest = cut.head_vertices(cut.mean)
    shapes = {}
    for name, unit in units.items():
        shape = cut.head_vertices(cut.mean + unit[cut.sources]) - rest
        shape[cut.ranges["left_eye"]] = shape[cut.ranges["right_eye"]] = 0.0
        shapes[name] = shape
    for name, lift in TONGUE_LIFT.items():
        shapes[name][template.tongue, 1] += lift * _tongue_front(template)
    for name in CREASED:
        shapes[name] = _ironed(template, shapes[name])
    for eye in template.eyes:
        lids = template.lids(eye)
        for name, shape in shapes.items():
            shapes[name] = clear_eyeball(template.vertices, shape, lids, eye.centre, eye.radius + LID_CLEARANCE)
    return shapes


def clear_eyeball(template: Double, shape: Double, lids: NDArray[np.int64], centre: Double, radius: float) -> Double:
    """The shape (V, 3), changed so that the lids stay out of the eyeball all the way from the template to its full weight."""
    cleared = shape.copy()
    for step in STEPS:
        cleared += push_out(template + step * cleared, lids, centre, radius) / step
    return cleared


def _tongue_front(template: Template) -> Double:
    """0 at the tongue's root to 1 over its front."""
    z = template.vertices[template.tongue, 2]
    return ramp(z - z.min() - 0.15, 0.3)


def _ironed(template: Template, shape: Double) -> Double:
    """The shape (V, 3), smoothed a little over the cheeks, where the target folds too sharply; lips and all but the skin keep their own."""
    skin = template.islands["head"]
    points = template.vertices
    distance = np.linalg.norm(points[skin][:, None] - points[lip_rim(template)][None], axis=2).min(1)
    amount = np.zeros((len(points), 1))
    amount[skin, 0] = ramp(distance - 0.06, 0.06)
    for _ in range(CREASE_STEPS):
        shape = shape + 0.5 * amount * (neighbour_mean(template, shape) - shape)
    return shape

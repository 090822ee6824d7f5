"""Procedural teeth: one strip a row, from the gum over the crowns to their inner side, each tooth slightly domed.

Laid out in decimetres about the midpoint between the eyes of the mean adult; another adult's teeth follow MakeHuman's own by an affine map.
In the texture u runs along the arch from the person's right to their left in proportion to its length, v down; TOOTH_WIDTHS_MM gives the borders
between the teeth in u, GUM_ROW the row of the strip on which the crowns begin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.open_head.source import Double

TOOTH_WIDTHS_MM = (8.5, 6.5, 7.5, 7.0, 7.0, 9.5, 9.0)
"""From the middle outwards."""
COLUMNS = 4 * len(TOOTH_WIDTHS_MM) + 1
GUM_ROW = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of teeth, decimetres."""

    front: float
    """z of the front teeth."""
    depth: float
    """How far the arch reaches back."""
    width: float
    """Half the width between the last teeth's outer sides."""
    edge: float
    """y of the front teeth's biting edge."""
    crown: float
    """Height of the front teeth."""
    up: float
    """Where the gum lies: +1 above the edge, -1 below."""
    rise: float
    """How much higher the biting edge lies at the last teeth."""


UPPER = Row(front=0.205, depth=0.45, width=0.285, edge=-0.690, crown=0.088, up=1.0, rise=0.012)
LOWER = Row(front=0.172, depth=0.44, width=0.27, edge=-0.676, crown=0.075, up=-1.0, rise=0.012)
PROFILE = ((-0.030, 2.0), (0.006, 1.45), (0.0, 1.0), (0.010, 0.5), (0.0, 0.0), (-0.028, 0.02), (-0.070, 0.7))
"""From the gum's far edge to the inner side: (outwards in decimetres, height in crowns from the biting edge)."""


def row_vertices(row: Row) -> Double:
    """(len(PROFILE) * COLUMNS, 3): the profile's points, each from the person's right to their left."""
    along = _columns()
    angle = along * np.radians(84.0)
    x, z = row.width * np.sin(angle), row.front - row.depth * (1.0 - np.cos(angle))
    normal = np.stack([row.depth * np.sin(angle), row.width * np.cos(angle)], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    middle = (np.arange(COLUMNS) % 2).astype(float)
    lines = []
    for out, height in PROFILE:
        crown = row.crown * (1.0 - 0.35 * np.abs(along))
        dome = 0.007 * (middle - 0.5) if 0.0 < height < 1.0 and out > -0.05 else 0.0 * middle
        notch = 0.006 * (1.0 - middle) if height < 0.1 else -0.006 * (1.0 - middle) if height == 1.0 else 0.0 * middle
        y = row.edge + row.rise * np.abs(along) ** 1.5 + row.up * (height * crown + notch)
        lines.append(np.stack([x + (out + dome) * normal[:, 0], y, z + (out + dome) * normal[:, 1]], 1))
    return np.concatenate(lines)


def row_uv(row: Row) -> Double:
    """(len(PROFILE) * COLUMNS, 2) in the unit square."""
    u = 0.5 + 0.5 * _columns()
    v = np.arange(len(PROFILE)) / (len(PROFILE) - 1)
    if row.up < 0.0:
        v = 1.0 - v
    return np.stack([np.tile(u, len(PROFILE)), np.repeat(v, COLUMNS)], 1)


def row_faces(row: Row) -> NDArray[np.int32]:
    """(2 * (len(PROFILE) - 1) * (COLUMNS - 1), 3), counter-clockwise from outside; diagonals mirror at the middle."""
    faces = []
    for line in range(len(PROFILE) - 1):
        for column in range(COLUMNS - 1):
            a, b = line * COLUMNS + column, line * COLUMNS + column + 1
            c, d = a + COLUMNS, b + COLUMNS
            faces += [(a, c, d), (a, d, b)] if column < COLUMNS // 2 else [(a, c, b), (b, c, d)]
    table = np.array(faces, np.int32)
    return table if row.up > 0.0 else np.ascontiguousarray(table[:, ::-1])


def follow(points: Double, before: Double, after: Double) -> Double:
    """Moves (n, 3) by the affine map that best carries `before` (m, 3) into `after` (m, 3)."""
    centre = before.mean(0)
    matrix = np.linalg.lstsq(np.column_stack([before - centre, np.ones(len(before))]), after, rcond=None)[0]
    moved: Double = np.column_stack([points - centre, np.ones(len(points))]) @ matrix
    return moved


def _columns() -> Double:
    """Borders and middles of the teeth along the arch, -1…1."""
    borders = np.concatenate([[0.0], np.cumsum(TOOTH_WIDTHS_MM)])
    half = np.sort(np.concatenate([borders, 0.5 * (borders[1:] + borders[:-1])])) / borders[-1]
    return np.concatenate([-half[:0:-1], half])

"""The texture atlas: slots that do not touch, and how an island is put into one."""

from __future__ import annotations

import numpy as np

from training.open_head.source import Double

PADDING = 0.006
SLOTS = {
    "head": (0.0, 0.0, 1.0, 0.66),
    "body": (0.0, 0.66, 0.58, 1.0),
    "right_eye": (0.58, 0.66, 0.75, 0.83),
    "left_eye": (0.75, 0.66, 0.92, 0.83),
    "right_socket": (0.92, 0.66, 1.0, 0.745),
    "left_socket": (0.92, 0.745, 1.0, 0.83),
    "upper_teeth": (0.58, 0.83, 0.80, 0.88),
    "lower_teeth": (0.58, 0.88, 0.80, 0.93),
    "mouth": (0.80, 0.83, 0.92, 0.93),
    "tongue": (0.92, 0.83, 1.0, 0.93),
    "right_upper_lashes": (0.58, 0.93, 0.79, 0.965),
    "left_upper_lashes": (0.79, 0.93, 1.0, 0.965),
    "right_lower_lashes": (0.58, 0.965, 0.79, 1.0),
    "left_lower_lashes": (0.79, 0.965, 1.0, 1.0),
}
"""Left, top, right, bottom in texture space."""


def upright(uv: Double, points: Double) -> Double:
    """(n, 2) of an island, v up → filling the unit square, v down, turned and mirrored so that u follows x and v follows -y of (n, 3)."""
    low, high = uv.min(0), uv.max(0)
    unit = (uv - low) / (high - low)
    candidates = [np.column_stack([a, b]) for x, y in ((0, 1), (1, 0)) for a in (unit[:, x], 1.0 - unit[:, x]) for b in (unit[:, y], 1.0 - unit[:, y])]
    return max(candidates, key=lambda c: _follows(c[:, 0], points[:, 0]) + _follows(c[:, 1], -points[:, 1]))


def place(unit: Double, slot: str) -> Double:
    """The unit square (n, 2) → its slot, less the padding."""
    left, top, right, bottom = SLOTS[slot]
    low = np.array([left + PADDING, top + PADDING])
    placed: Double = low + unit * (np.array([right - PADDING, bottom - PADDING]) - low)
    return placed


def _follows(first: Double, second: Double) -> float:
    return float(np.corrcoef(first, second)[0, 1])

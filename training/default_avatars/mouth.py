"""Teeth, gums, tongue and the inside of the mouth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.noise import fractal_noise

Float = NDArray[np.float64]
TOOTH = np.array([0.90, 0.87, 0.80])
GUM = np.array([0.70, 0.40, 0.40])
TONGUE = np.array([0.74, 0.40, 0.40])
CAVITY = np.array([0.30, 0.11, 0.11])
TOOTH_EDGES_M = {
    "upper_teeth": (0.0, 0.0086, 0.0152, 0.0226, 0.0292, 0.0358, 0.0440),
    "lower_teeth": (0.0, 0.0054, 0.0112, 0.0176, 0.0244, 0.0312, 0.0400),
}
"""Arc lengths from the midline at which one tooth meets the next (mean adult crown widths; Wheeler's Dental Anatomy, chapter 1)."""


def paint_teeth(points: Float, row: str) -> Float:
    """(N, 3) sRGB on a row of teeth; the midline is x = 0, the arch opens backwards."""
    front = points[:, 2].max()
    half_width = np.abs(points[:, 0]).max()
    arc = _arc_length(np.abs(points[:, 0]), half_width, front - points[:, 2].min())
    low, high = points[:, 1].min(), points[:, 1].max()
    root = (points[:, 1] - low) / (high - low) if row == "upper_teeth" else (high - points[:, 1]) / (high - low)
    gap = np.min([np.abs(arc - edge) for edge in TOOTH_EDGES_M[row]], axis=0)
    groove = np.clip(1.0 - gap / 0.0007, 0.0, 1.0)
    crown = np.min([np.abs(arc - 0.5 * (a + b)) / (b - a) for a, b in zip(TOOTH_EDGES_M[row], TOOTH_EDGES_M[row][1:], strict=False)], axis=0)
    gum_line = 0.70 - 0.13 * np.clip(crown * 2.0, 0.0, 1.0) ** 2
    colour = TOOTH * (1.0 + 0.05 * (0.5 - root))[:, None] * np.ones((len(points), 1))
    colour *= (1.0 - 0.42 * groove)[:, None]
    colour *= (1.0 - 0.45 * np.clip((arc - 0.014) / 0.026, 0.0, 1.0))[:, None]
    gum = np.clip((root - gum_line) / 0.06, 0.0, 1.0)[:, None]
    return np.clip(colour + (GUM - colour) * gum, 0.0, 1.0)


def paint_tongue(points: Float, seed: int) -> Float:
    """(N, 3) sRGB; darker to the throat, a furrow along the middle."""
    bumps = fractal_noise(points / 0.0022, seed, 3)
    furrow = np.exp(-0.5 * (points[:, 0] / 0.0016) ** 2)
    depth = np.clip((points[:, 2].max() - points[:, 2]) / 0.045, 0.0, 1.0)
    shade = (1.0 + 0.08 * bumps) * (1.0 - 0.22 * furrow) * (1.0 - 0.6 * depth)
    return np.clip(TONGUE * shade[:, None], 0.0, 1.0)


def paint_cavity(points: Float, lips_z: float, seed: int) -> Float:
    """(N, 3) sRGB: wet red behind the lips, soon dark."""
    depth = np.clip((lips_z - points[:, 2]) / 0.030, 0.0, 1.0)
    shade = (1.0 - 0.82 * depth) * (1.0 + 0.08 * fractal_noise(points / 0.004, seed, 2))
    return np.clip(CAVITY * 1.25 * shade[:, None], 0.0, 1.0)


def _arc_length(x: Float, half_width: float, depth: float) -> Float:
    """Along the parabola z = -depth (x / half_width)², from its vertex."""
    samples = np.linspace(0.0, half_width, 200)
    slope = 2.0 * depth * samples / half_width**2
    length = np.concatenate([[0.0], np.cumsum(0.5 * (np.hypot(1, slope[1:]) + np.hypot(1, slope[:-1])) * np.diff(samples))])
    arc: Float = np.interp(x, samples, length)
    return arc

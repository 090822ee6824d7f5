"""Eyeballs: sclera, iris and pupil by the angle from the eye's axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.noise import fractal_noise, value_noise

Float = NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class EyeLook:
    """sRGB colours 0…1; the iris from its rim to the pupil."""

    iris: Colour
    iris_inner: Colour
    sclera: Colour = (0.90, 0.88, 0.87)
    iris_radius_rad: float = 0.50
    pupil_radius_rad: float = 0.20


def paint_eye(points: Float, centre: Float, look: EyeLook, seed: int) -> Float:
    """(N, 3) sRGB at (N, 3) points of an eyeball about `centre` that looks along +z."""
    ray = points - centre
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    angle = np.arccos(np.clip(ray[:, 2], -1.0, 1.0))
    around = np.arctan2(ray[:, 1], ray[:, 0])
    circle = np.stack([np.cos(around), np.sin(around)], -1)

    colour = np.tile(np.array(look.sclera), (len(points), 1))
    rim_pink = np.clip((angle - 0.75) / 0.7, 0.0, 1.0)[:, None]
    colour += (np.array([0.80, 0.62, 0.58]) - colour) * 0.55 * rim_pink
    veins = np.clip(1.0 - np.abs(fractal_noise(points / 0.0035, seed, 3)) * 14.0, 0.0, 1.0) * np.clip((angle - 0.70) / 0.4, 0.0, 1.0)
    colour += (np.array([0.80, 0.45, 0.42]) - colour) * 0.22 * veins[:, None]

    inside = np.clip(angle / look.iris_radius_rad, 0.0, 1.2)
    fibres = value_noise(np.concatenate([circle * 13.0, (inside * 1.6)[:, None]], 1), seed + 1)
    fine = value_noise(np.concatenate([circle * 30.0, (inside * 2.2)[:, None]], 1), seed + 2)
    blend = np.clip((0.78 - inside + 0.14 * fibres) / 0.45, 0.0, 1.0)[:, None]
    iris = np.array(look.iris) + (np.array(look.iris_inner) - np.array(look.iris)) * blend
    iris = iris * (1.0 + 0.22 * fibres + 0.12 * fine)[:, None]
    below = np.clip(0.5 - 0.5 * ray[:, 1] / np.maximum(np.sin(angle), 1e-3), 0.0, 1.0)
    iris *= (0.86 + 0.32 * below)[:, None]
    limbal = _step((inside - 0.80) / 0.20)[:, None]
    iris *= 1.0 - 0.62 * limbal
    colour += (iris - colour) * _step((look.iris_radius_rad + 0.018 - angle) / 0.036)[:, None]
    colour += (np.array([0.025, 0.020, 0.022]) - colour) * _step((look.pupil_radius_rad + 0.012 - angle) / 0.024)[:, None]
    return np.clip(colour, 0.0, 1.0)


def lid_shadow(points: Float, centre: Float, radius: float) -> Float:
    """(N,) factor: the upper lid and its lashes shade the top of the eye."""
    height = (points[:, 1] - centre[1]) / radius
    shade: Float = 1.0 - 0.42 * _step((height - 0.02) / 0.42)
    return shade


def _step(t: Float) -> Float:
    t = np.clip(t, 0.0, 1.0)
    smooth: Float = t * t * (3.0 - 2.0 * t)
    return smooth

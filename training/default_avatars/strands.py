"""The streaky picture of hair (rows along the strand, columns across), and cloth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.noise import fractal_noise, value_noise

Float = NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class HairLook:
    """sRGB colours 0…1 from root to tip, the sheen, and single grey hairs (share)."""

    root: Colour
    tip: Colour
    sheen: Colour
    sheen_strength: float = 0.30
    sheen_at: float = 0.30
    grey: float = 0.0
    contrast: float = 1.0
    curly: bool = False


def paint_hair(u: Float, v: Float, look: HairLook, seed: int) -> Float:
    """(N, 3) sRGB at strand coordinates u across (wraps at 1), v along, 0 root … 0.93 tip … 1 underside."""
    if look.curly:
        return _paint_curls(u, v, look, seed)
    ring = np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], -1)
    drift = 0.10 * value_noise(np.concatenate([ring * 2.0, (v * 2.5)[:, None]], 1), seed)
    wide = value_noise(np.concatenate([ring * 14.0, (v * 1.3 + drift)[:, None]], 1), seed + 1)
    strand = value_noise(np.concatenate([ring * 46.0, (v * 2.2 + drift)[:, None]], 1), seed + 2)
    fine = value_noise(np.concatenate([ring * 110.0, (v * 3.5 + drift)[:, None]], 1), seed + 3)
    along = np.clip(v / 0.93, 0.0, 1.0)[:, None]
    colour = np.array(look.root) + (np.array(look.tip) - np.array(look.root)) * along**1.3
    streak = 0.16 * wide + 0.20 * strand + 0.16 * fine
    colour = colour * (1.0 + look.contrast * streak)[:, None]
    if look.grey > 0.0:
        white = np.clip((strand + 0.6 * fine) * 1.4 - 1.2 + 1.6 * look.grey, 0.0, 1.0)[:, None]
        colour += (np.array([0.72, 0.71, 0.70]) - colour) * white
    band = np.exp(-0.5 * ((v - look.sheen_at - 0.05 * wide) / 0.075) ** 2)
    gloss = look.sheen_strength * band * np.clip(0.55 + 0.6 * strand + 0.4 * fine, 0.0, 1.0)
    colour += (np.array(look.sheen) - colour) * gloss[:, None]
    inside = np.clip((v - 0.935) / 0.02, 0.0, 1.0)[:, None]
    return np.clip(colour * (1.0 - 0.55 * inside), 0.0, 1.0)


def paint_cloth(points: Float, colour: Colour, weave: float, seed: int) -> Float:
    """(N, 3) sRGB of knitted cloth at (N, 3) points in metres."""
    thread = value_noise(points / (0.0016, 0.0009, 0.0016), seed)
    folds = fractal_noise(points / (0.035, 0.09, 0.05), seed + 3, 3)
    shade = 1.0 + weave * thread + 0.09 * folds
    return np.clip(np.array(colour) * shade[:, None], 0.0, 1.0)


def paint_rib(u: Float, v: Float, colour: Colour, ribs: int = 130) -> Float:
    """(N, 3) sRGB of a ribbed collar; u around the neck, v around the roll."""
    rib = 0.5 + 0.5 * np.cos(2.0 * np.pi * ribs * u)
    shade = 0.86 + 0.16 * rib
    return np.clip(np.array(colour) * shade[:, None] * np.ones_like(v)[:, None], 0.0, 1.0)


def _paint_curls(u: Float, v: Float, look: HairLook, seed: int) -> Float:
    """Tight curls: small round lights in the dark."""
    ring = np.concatenate([np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)], -1) * 26.0, (v * 60.0)[:, None]], 1)
    warp = np.stack([value_noise(ring * 0.6 + k, seed + k) for k in range(3)], -1)
    curls = value_noise(ring + 0.9 * warp, seed + 7)
    fine = value_noise(ring * 2.7 + 1.5 * warp, seed + 9)
    light = np.clip(0.5 + 0.55 * curls + 0.35 * fine, 0.0, 1.0)[:, None]
    colour = np.array(look.root) + (np.array(look.tip) - np.array(look.root)) * light**1.5
    return np.clip(colour, 0.0, 1.0)

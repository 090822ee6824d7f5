"""A room out of focus: a wall, the light of a window, a shelf and a lamp, in a person's colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
SIZE_PX = 384


@dataclass(frozen=True, slots=True)
class Room:
    """sRGB colours 0…1."""

    wall: Colour
    light: Colour
    furniture: Colour
    window_left: bool = True


def paint_room(room: Room, seed: int) -> NDArray[np.uint8]:
    """(SIZE_PX, SIZE_PX, 3) RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX] / SIZE_PX
    side = x if room.window_left else 1.0 - x
    wall, light, furniture = (np.array(colour) for colour in (room.wall, room.light, room.furniture))
    image = wall * (1.04 - 0.22 * y - 0.10 * side)[..., None]
    image += (light - image) * (0.55 * np.exp(-((side - 0.05) ** 2) / 0.10 - (y - 0.25) ** 2 / 0.20))[..., None]
    _lay(image, side, y, (0.02, 0.20, 0.06, 0.52), light * 1.05, 0.75)
    _lay(image, side, y, (0.10, 0.112, 0.06, 0.52), wall * 0.8, 0.6)
    _lay(image, side, y, (0.70, 1.00, 0.36, 0.39), furniture * 0.75, 0.9)
    left = 0.72
    while left < 0.96:
        width, height = rng.uniform(0.016, 0.04), rng.uniform(0.07, 0.15)
        tint = furniture * rng.uniform(0.7, 1.25) + (light - furniture) * rng.uniform(0.0, 0.35)
        _lay(image, side, y, (left, left + width, 0.36 - height, 0.36), tint, 0.9)
        left += width + (rng.uniform(0.02, 0.06) if rng.random() < 0.25 else 0.0)
    blurred = cv2.GaussianBlur(np.clip(image, 0.0, 1.0).astype(np.float32), (0, 0), SIZE_PX * 0.022)
    return np.clip(np.round(blurred * 255.0), 0, 255).astype(np.uint8)


def _lay(image: Array, x: Array, y: Array, box: tuple[float, float, float, float], colour: Array, share: float) -> None:
    """Mixes `colour` into a box (left, right, top, bottom)."""
    inside = (x >= box[0]) & (x < box[1]) & (y >= box[2]) & (y < box[3])
    image[inside] += (colour - image[inside]) * share

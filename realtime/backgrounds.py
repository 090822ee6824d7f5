"""What stands behind the avatar, drawn once per change: `avatar`, `gradient`, `green`, `checker` or `#rrggbb`."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
GREEN = (0x00, 0xB1, 0x40)
"""The usual chroma-key green."""
CHECKER = ((204, 204, 204), (255, 255, 255))
CHECKS_ACROSS = 32
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_BLOBS = (
    # centre x, y and radius in picture heights, colour, strength
    (0.18, 0.20, 0.55, (126, 154, 200), 0.9),
    (0.85, 0.12, 0.50, (94, 116, 176), 0.8),
    (0.78, 0.75, 0.60, (214, 160, 140), 0.75),
    (0.10, 0.85, 0.55, (70, 76, 126), 0.8),
)
_BASE = (98, 110, 156)


def backdrop(name: str, size: int, own: Picture | None = None, plate: Picture | None = None) -> Picture:
    """(size, size, 3) RGB.

    Args:
        name: one of the five kinds.
        own: (h, w, 3), the avatar's; `avatar` without it is `gradient`.
        plate: (h, w, 4), laid over whatever it is.

    Raises:
        ValueError: no such background.
    """
    if name == "avatar" and own is not None:
        picture = _fitted(own, size)
    elif name in ("avatar", "gradient"):
        picture = gradient(size)
    elif name == "green":
        picture = np.full((size, size, 3), GREEN, np.uint8)
    elif name == "checker":
        picture = checker(size)
    elif _COLOUR.fullmatch(name):
        picture = np.full((size, size, 3), tuple(bytes.fromhex(name[1:])), np.uint8)
    else:
        raise ValueError(f"background: expected avatar, gradient, green, checker or #rrggbb, got {name!r:.40}")
    return picture if plate is None else _over(picture, _fitted(plate, size))


def gradient(size: int) -> Picture:
    """Soft, out-of-focus colours, cool above and warm at one side; dithered below one grey level, so that no bands are seen."""
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    total = np.tile(np.array(_BASE, np.float32), (size, size, 1))
    for centre_x, centre_y, radius, colour, strength in _BLOBS:
        cover = strength * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2.0 * (0.55 * radius) ** 2))[..., None]
        total += cover * (np.array(colour, np.float32) - total)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (size, size, 1))
    return _bytes(total + noise)


def checker(size: int) -> Picture:
    """The pattern that stands for transparency."""
    row = np.arange(size) * CHECKS_ACROSS // size
    return np.array(CHECKER, np.uint8)[(row[:, None] + row) % 2]


def _fitted(picture: Picture, size: int) -> Picture:
    """The largest centred square, scaled."""
    import cv2

    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC), np.uint8)


def _over(picture: Picture, plate: Picture) -> Picture:
    alpha = plate[..., 3:].astype(np.float32) / 255.0
    return _bytes(plate[..., :3] * alpha + picture * (1.0 - alpha))


def _bytes(values: NDArray[np.floating]) -> Picture:
    rounded: Picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded

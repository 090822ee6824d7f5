"""A texture for fast minified look-ups: one flat buffer of RGBA words, in levels half an octave apart, so that no step between two levels is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True)
class Texture:
    """L levels, each about 1 / sqrt(2) of the one before; straight alpha, colours continued where alpha is zero."""

    texels: NDArray[np.uint32]
    """All levels one after the other, rows from the top; red in the lowest byte, then green, blue, alpha."""
    level: NDArray[np.int32]
    """(L, 3): first texel, width, height."""

    @staticmethod
    def of(image: NDArray[np.uint8]) -> Texture:
        """From (H, W, 4) RGBA."""
        levels = _levels(image)
        table, start = [], 0
        for level in levels:
            table.append((start, level.shape[1], level.shape[0]))
            start += level.shape[0] * level.shape[1]
        words = [np.ascontiguousarray(level).view("<u4").ravel() for level in levels]
        return Texture(np.concatenate(words).astype(np.uint32), np.array(table, np.int32))

    def image(self, index: int) -> NDArray[np.uint8]:
        """(h, w, 4) of one level."""
        start, width, height = self.level[index]
        return self.texels[start : start + width * height].astype("<u4").view(np.uint8).reshape(height, width, 4)


def _levels(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Weighs colours by alpha on the way down, and fills what stays without colour from the coarser level on the way up."""
    import cv2

    height, width = image.shape[:2]
    alpha = image[..., 3:].astype(np.float32) / 255.0
    base = np.concatenate([image[..., :3] * alpha, alpha], 2)
    count = max(1, 1 + int(2 * np.log2(min(height, width) / SMALLEST_SIDE)))
    sizes = [(max(round(width * 0.5 ** (k / 2)), 2), max(round(height * 0.5 ** (k / 2)), 2)) for k in range(count)]
    weighed = [base] + [cv2.resize(base, size, interpolation=cv2.INTER_AREA) for size in sizes[1:]]
    levels: list[NDArray[np.uint8]] = []
    coarser: NDArray[np.float32] | None = None
    for level in reversed(weighed):
        cover = level[..., 3:]
        mean = level[..., :3].sum((0, 1)) / max(float(cover.sum()), 1e-6)
        under = np.broadcast_to(mean, level[..., :3].shape) if coarser is None else cv2.resize(coarser, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        colour = (level[..., :3] + 0.01 * under) / (cover + 0.01)
        coarser = np.where(cover > 0.9, level[..., :3] / np.maximum(cover, 0.9), colour).astype(np.float32)
        levels.append(np.clip(np.rint(np.concatenate([coarser, 255.0 * cover], 2)), 0, 255).astype(np.uint8))
    return levels[::-1]

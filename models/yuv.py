"""RGB to I420 as video encoders take it: BT.601, limited range, chroma the mean of four pixels (ITU-R BT.601-7, 8-bit integer form)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel

Picture = NDArray[np.uint8]


@kernel
def to_i420(rgb: Picture, low: int, high: int, luma: Picture, blue: Picture, red: Picture) -> None:
    """Rows low…high - 1 (both even) of `rgb` (H, W, 3) into `luma` (H, W), `blue` and `red` (H / 2, W / 2)."""
    width = rgb.shape[1]
    for y in range(low, high):
        line, to = rgb[y].reshape(3 * width), luma[y]
        for x in range(width):
            r, g, b = np.int32(line[3 * x]), np.int32(line[3 * x + 1]), np.int32(line[3 * x + 2])
            to[x] = np.uint8((np.int32(66) * r + np.int32(129) * g + np.int32(25) * b + np.int32(4224)) >> 8)
    sums = np.empty(3 * width, np.int32)
    for y in range(low // 2, high // 2):
        upper, lower = rgb[2 * y].reshape(3 * width), rgb[2 * y + 1].reshape(3 * width)
        for k in range(3 * width):
            sums[k] = np.int32(upper[k]) + np.int32(lower[k])
        for x in range(width // 2):
            r, g, b = sums[6 * x] + sums[6 * x + 3], sums[6 * x + 1] + sums[6 * x + 4], sums[6 * x + 2] + sums[6 * x + 5]
            blue[y, x] = np.uint8((np.int32(112) * b - np.int32(38) * r - np.int32(74) * g + np.int32(131584)) >> 10)
            red[y, x] = np.uint8((np.int32(112) * r - np.int32(94) * g - np.int32(18) * b + np.int32(131584)) >> 10)


def planes(i420: Picture) -> tuple[Picture, Picture, Picture]:
    """Views of a (H * 3 / 2, W) picture: Y (H, W), U and V (H / 2, W / 2)."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    chroma = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], chroma[0], chroma[1]


def luma_of(rgb: Picture) -> Picture:
    """(H, W) luma of a (H, W, 3) picture, as `to_i420` makes it."""
    luma: Picture = ((rgb.astype(np.int32) @ np.array((66, 129, 25), np.int32) + 4224) >> 8).astype(np.uint8)
    return luma

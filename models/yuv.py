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
        line = rgb[y]
        for x in range(width):
            luma[y, x] = (np.int32(66) * line[x, 0] + np.int32(129) * line[x, 1] + np.int32(25) * line[x, 2] + np.int32(4224)) >> 8
    for y in range(low // 2, high // 2):
        upper, lower = rgb[2 * y], rgb[2 * y + 1]
        for x in range(width // 2):
            r = np.int32(upper[2 * x, 0]) + upper[2 * x + 1, 0] + lower[2 * x, 0] + lower[2 * x + 1, 0]
            g = np.int32(upper[2 * x, 1]) + upper[2 * x + 1, 1] + lower[2 * x, 1] + lower[2 * x + 1, 1]
            b = np.int32(upper[2 * x, 2]) + upper[2 * x + 1, 2] + lower[2 * x, 2] + lower[2 * x + 1, 2]
            blue[y, x] = (np.int32(112) * b - np.int32(38) * r - np.int32(74) * g + np.int32(131584)) >> 10
            red[y, x] = (np.int32(112) * r - np.int32(94) * g - np.int32(18) * b + np.int32(131584)) >> 10


def planes(i420: Picture) -> tuple[Picture, Picture, Picture]:
    """Views of a (H * 3 / 2, W) picture: Y (H, W), U and V (H / 2, W / 2)."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    chroma = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], chroma[0], chroma[1]

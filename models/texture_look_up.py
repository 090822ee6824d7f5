"""Kernels that look a texture up: which of its levels a triangle takes, and the colour between texels, the basis added."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.kernels import Scalar, kernel
from models.raster.triangles import B1_X, B1_Y, B2_X, B2_Y, LEVEL, NEAR, U0, U1, U2, V0, V1, V2

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Flags = NDArray[np.uint8]
Words = NDArray[np.uint32]
Residual = NDArray[np.uint64] | None
ZERO, HALF, ONE, TOP = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(255.0)
LEVEL_MASK, UNLIT_FLAG, GLOSSY_FLAG = 31, 32, 64
"""The column LEVEL of `setup`: the texture's level, plus 32 for triangles that no light changes, plus 64 for those of glossy regions."""


@kernel
def set_up_texture(corner_uv: Float, level: Int, flags: Flags, box: Int, first: int, last: int, setup: Float) -> None:
    """Fills the texture columns of `setup` for triangles first…last - 1: the level with about one texel a pixel, `flags` (F,), the corners in its texels."""
    texels = np.float32(level[0, 1]) * np.float32(level[0, 2])
    for f in range(first, last):
        if box[f, 1] == 0:
            continue
        u0, v0, u1, v1, u2, v2 = corner_uv[f, 0], corner_uv[f, 1], corner_uv[f, 2], corner_uv[f, 3], corner_uv[f, 4], corner_uv[f, 5]
        per_texture = abs((u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0))
        inverse_area = abs(setup[f, B1_X] * setup[f, B2_Y] - setup[f, B1_Y] * setup[f, B2_X]) / (setup[f, NEAR] * setup[f, NEAR])
        ratio = per_texture * inverse_area * texels
        chosen = min(int(math.log2(ratio) + 0.5), len(level) - 1) if ratio > ONE else 0
        width, height = np.float32(level[chosen, 1]), np.float32(level[chosen, 2])
        setup[f, U0], setup[f, V0] = u0 * width - HALF, v0 * height - HALF
        setup[f, U1], setup[f, V1] = u1 * width - HALF, v1 * height - HALF
        setup[f, U2], setup[f, V2] = u2 * width - HALF, v2 * height - HALF
        setup[f, LEVEL] = np.float32(chosen + flags[f])


@kernel
def look_up(texels: Words, start: Scalar, width: Scalar, height: Scalar, u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Bilinear RGBA, 0…255, at texel coordinates; two channels at a time in one word."""
    u = min(max(u, ZERO), np.float32(width) - np.float32(1.01))
    v = min(max(v, ZERO), np.float32(height) - np.float32(1.01))
    column, row = np.int32(u), np.int32(v)
    along, across = np.uint32((u - np.float32(column)) * np.float32(256.0)), np.uint32((v - np.float32(row)) * np.float32(256.0))
    w3 = np.uint32((along * across) >> np.uint32(8))
    w1, w2 = np.uint32(along - w3), np.uint32(across - w3)
    w0 = np.uint32(np.uint32(256) - w1 - w2 - w3)
    here = np.int64(start) + row * width + column
    t0, t1, t2, t3 = texels[here], texels[here + 1], texels[here + width], texels[here + width + 1]
    mask, eight, sixteen, low = np.uint32(0x00FF00FF), np.uint32(8), np.uint32(16), np.uint32(0xFFFF)
    even = np.uint32((t0 & mask) * w0 + (t1 & mask) * w1 + (t2 & mask) * w2 + (t3 & mask) * w3)
    odd = np.uint32(((t0 >> eight) & mask) * w0 + ((t1 >> eight) & mask) * w1 + ((t2 >> eight) & mask) * w2 + ((t3 >> eight) & mask) * w3)
    scale = np.float32(1.0 / 256.0)
    red, green = np.float32(np.int32(even & low)) * scale, np.float32(np.int32(odd & low)) * scale
    return red, green, np.float32(np.int32(even >> sixteen)) * scale, np.float32(np.int32(odd >> sixteen)) * scale


@kernel
def look_up_residual(residual: NDArray[np.uint64], x: Scalar, y: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Bilinear red, green, blue, alpha to add, in grey levels, at its own texel coordinates; two channels at a time in one word."""
    last = np.float32(residual.shape[0]) - np.float32(1.01)
    x, y = min(max(x, ZERO), last), min(max(y, ZERO), last)
    column, row = np.int32(x), np.int32(y)
    along, across = np.int32((x - np.float32(column)) * np.float32(256.0)), np.int32((y - np.float32(row)) * np.float32(256.0))
    corner = np.int32((along * across) >> 8)
    w0, w1, w2, w3 = np.uint64(256 - along - across + corner), np.uint64(along - corner), np.uint64(across - corner), np.uint64(corner)
    signs = np.uint64(0x8000800080008000)
    t0, t1 = residual[np.uint64(row), np.uint64(column)] ^ signs, residual[np.uint64(row), np.uint64(column + 1)] ^ signs
    t2, t3 = residual[np.uint64(row + 1), np.uint64(column)] ^ signs, residual[np.uint64(row + 1), np.uint64(column + 1)] ^ signs
    mask, sixteen = np.uint64(0x0000FFFF0000FFFF), np.uint64(16)
    even = np.uint64((t0 & mask) * w0 + (t1 & mask) * w1 + (t2 & mask) * w2 + (t3 & mask) * w3)
    odd = np.uint64(((t0 >> sixteen) & mask) * w0 + ((t1 >> sixteen) & mask) * w1 + ((t2 >> sixteen) & mask) * w2 + ((t3 >> sixteen) & mask) * w3)
    low, half, scale, zero = np.uint64(0xFFFFFFFF), np.uint64(32), np.float32(1.0 / (256.0 * 64.0)), np.float32(32768.0 / 64.0)
    red, green = np.float32(np.int32(even & low)) * scale - zero, np.float32(np.int32(odd & low)) * scale - zero
    return red, green, np.float32(np.int32(even >> half)) * scale - zero, np.float32(np.int32(odd >> half)) * scale - zero


@kernel
def colour_at(texels: Words, start: Scalar, width: Scalar, height: Scalar, residual: Residual, u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Unlit colour and alpha, 0…255, at the texel coordinates of one level."""
    red, green, blue, alpha = look_up(texels, start, width, height, u, v)
    if residual is not None:
        side = np.float32(residual.shape[0])
        r, g, b, a = look_up_residual(residual, (u + HALF) * (side / np.float32(width)) - HALF, (v + HALF) * (side / np.float32(height)) - HALF)
        return red + r, green + g, blue + b, min(max(alpha + a, ZERO), TOP)
    return red, green, blue, alpha

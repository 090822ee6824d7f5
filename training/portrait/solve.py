"""Ridge regressions, one for each texel, on the features of the frames that show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels import Bands, kernel, share

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Bytes = NDArray[np.uint8]


def ridge(colour: Bytes, weight: Bytes, phi: Float, level: Int, penalty: Float, constant_penalty: float, prior: Float, bands: Bands) -> Float:
    """(N, 1 + K, C): base colour and one coefficient a feature.

    Args:
        colour: (T, N, C).
        weight: (T, N), 255 is one.
        phi: (LEVELS, T, K).
        level: (N,) which row of `phi` a texel uses.
        penalty: (N,) of the features' coefficients.
        constant_penalty: of the base colour's distance from `prior` (N, C).
    """
    n, channels = colour.shape[1:]
    out = np.zeros((n, 1 + phi.shape[2], channels), np.float32)

    def part(p: int) -> None:
        first, last = share(n, p, bands.count)
        solve_texels(colour, weight, phi, level, penalty, constant_penalty, prior, first, last, out)

    bands.run(part)
    return out


@kernel
def solve_texels(
    colour: Bytes, weight: Bytes, phi: Float, level: Int, penalty: Float, constant_penalty: float, prior: Float, first: int, last: int, out: Float
) -> None:
    """Normal equations and Cholesky, texel by texel."""
    frames, channels = colour.shape[0], colour.shape[2]
    k = phi.shape[2] + 1
    a = np.empty((k, k), np.float32)
    b = np.empty((k, channels), np.float32)
    row = np.empty(k, np.float32)
    row[0] = 1.0
    for i in range(first, last):
        a[:] = 0.0
        b[:] = 0.0
        g = level[i]
        for t in range(frames):
            w = np.float32(weight[t, i]) * np.float32(1.0 / 255.0)
            if w <= 0.0:
                continue
            for p in range(1, k):
                row[p] = phi[g, t, p - 1]
            for c in range(channels):
                r = w * (np.float32(colour[t, i, c]) - prior[i, c])
                for p in range(k):
                    b[p, c] += row[p] * r
            for p in range(k):
                scaled = w * row[p]
                for q in range(p + 1):
                    a[p, q] += scaled * row[q]
        a[0, 0] += constant_penalty
        for p in range(1, k):
            a[p, p] += penalty[i]
        cholesky_solve(a, b)
        for p in range(k):
            for c in range(channels):
                out[i, p, c] = b[p, c] + (prior[i, c] if p == 0 else np.float32(0.0))


@kernel
def cholesky_solve(a: Float, b: Float) -> None:
    """Solves `a` x = `b` in place, `a` (K, K) symmetric and positive, its lower half given and overwritten."""
    k, channels = b.shape
    for p in range(k):
        for q in range(p + 1):
            s = a[p, q]
            for r in range(q):
                s -= a[p, r] * a[q, r]
            if p == q:
                a[p, p] = np.sqrt(max(s, np.float32(1e-6)))
            else:
                a[p, q] = s / a[q, q]
    for c in range(channels):
        for p in range(k):
            s = b[p, c]
            for r in range(p):
                s -= a[p, r] * b[r, c]
            b[p, c] = s / a[p, p]
        for p in range(k - 1, -1, -1):
            s = b[p, c]
            for r in range(p + 1, k):
                s -= a[r, p] * b[r, c]
            b[p, c] = s / a[p, p]

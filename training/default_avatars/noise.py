"""Smooth, repeatable noise over space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def value_noise(points: Array, seed: int) -> Array:
    """(…, d) points, d = 1…3, → (…) in [-1, 1]; one feature per unit; cubic-smoothed lattice noise."""
    cell = np.floor(points).astype(np.int64)
    fraction = points - cell
    blend = fraction * fraction * (3.0 - 2.0 * fraction)
    total = np.zeros(points.shape[:-1])
    for corner in np.ndindex(*(2,) * points.shape[-1]):
        weight = np.prod([blend[..., axis] if bit else 1.0 - blend[..., axis] for axis, bit in enumerate(corner)], axis=0)
        total += weight * _hash(cell + np.array(corner), seed)
    return total


def fractal_noise(points: Array, seed: int, octaves: int = 4, gain: float = 0.5) -> Array:
    """A sum of octaves of `value_noise`, about in [-1, 1]."""
    total = np.zeros(points.shape[:-1])
    amplitude, norm = 1.0, 0.0
    for octave in range(octaves):
        total += amplitude * value_noise(points * 2.0**octave, seed + octave)
        norm += amplitude
        amplitude *= gain
    return total / norm


def _hash(cell: NDArray[np.int64], seed: int) -> Array:
    primes = np.array([73856093, 19349663, 83492791], np.uint64)[: cell.shape[-1]]
    h = (cell.astype(np.uint64) * primes).sum(-1) + np.uint64((seed * 2654435761) % 2**32)
    h ^= h >> np.uint64(15)
    h *= np.uint64(2246822519)
    h ^= h >> np.uint64(13)
    h *= np.uint64(3266489917)
    h ^= h >> np.uint64(16)
    return (h & np.uint64(0xFFFFFF)).astype(np.float64) / 0x7FFFFF - 1.0

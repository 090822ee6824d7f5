"""A clean procedural eyeball: rings about the optical axis, a slight cornea, a disc of its own in texture space.

The iris is the disc of angle LIMBUS about the optical axis. In the texture the projection is azimuthal: the distance from the disc's
centre grows with the angle, so the iris fills the inner `disc_radius(LIMBUS)` of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.open_head.source import Double

SEGMENTS = 24
LIMBUS = np.radians(24.0)
RINGS = np.radians([5.0, 10.0, 15.0, 20.0, 24.0, 28.0, 34.0, 42.0, 52.0, 64.0, 77.0, 90.0, 115.0, 145.0])
EQUATOR = 11
CORNEA = 0.02
"""How far the cornea's apex stands out, in eyeball radii."""


def unit_eyeball() -> tuple[Double, NDArray[np.int32]]:
    """(338, 3) about the centre of rotation, radius one, looking along +z, and (672, 3) triangles. First the front pole, then the rings, then the back pole."""
    around = 2.0 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    radius = 1.0 + CORNEA * np.cos(np.minimum(RINGS / LIMBUS, 1.0) * 0.5 * np.pi) ** 2
    rings = np.stack(
        [
            np.outer(radius * np.sin(RINGS), np.cos(around)),
            np.outer(radius * np.sin(RINGS), np.sin(around)),
            np.outer(radius * np.cos(RINGS), np.ones(SEGMENTS)),
        ],
        -1,
    )
    vertices = np.concatenate([[[0.0, 0.0, 1.0 + CORNEA]], rings.reshape(-1, 3), [[0.0, 0.0, -1.0]]])
    return vertices, _triangles(1 + SEGMENTS * len(RINGS))


def eyeball_uv() -> tuple[Double, NDArray[np.int32]]:
    """Texture coordinates in the unit square, v down and u as an onlooker sees the eye, (361, 2), and (672, 3) triangles into them."""
    around = 2.0 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    distance = disc_radius(RINGS)
    rings = np.stack([np.outer(distance, np.cos(around)), np.outer(distance, -np.sin(around))], -1).reshape(-1, 2)
    edge = np.stack([np.cos(around + np.pi / SEGMENTS), -np.sin(around + np.pi / SEGMENTS)], -1)
    triangles = _triangles(1 + SEGMENTS * len(RINGS))
    triangles[-SEGMENTS:][triangles[-SEGMENTS:] == 1 + SEGMENTS * len(RINGS)] += np.arange(SEGMENTS, dtype=np.int32)
    return 0.5 + 0.5 * np.concatenate([[[0.0, 0.0]], rings, edge]), triangles


def disc_radius(angle: Double) -> Double:
    """Where an angle from the optical axis (radians) lies in the disc, of radius one: the front takes nearly all of it."""
    return np.interp(angle, np.radians([0.0, 90.0, 145.0, 180.0]), [0.0, 0.86, 0.96, 1.0])


def fit_sphere(points: Double) -> tuple[Double, float]:
    """Centre (3,) and radius of the least-squares sphere through (n, 3)."""
    matrix = np.column_stack([2.0 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(matrix, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def _triangles(back_pole: int) -> NDArray[np.int32]:
    after = (np.arange(SEGMENTS) + 1) % SEGMENTS
    here = np.arange(SEGMENTS)
    front = np.stack([np.zeros(SEGMENTS, int), 1 + here, 1 + after], -1)
    strips = []
    for ring in range(len(RINGS) - 1):
        inner, outer = 1 + ring * SEGMENTS, 1 + (ring + 1) * SEGMENTS
        strips += [np.stack([inner + here, outer + here, outer + after], -1), np.stack([inner + here, outer + after, inner + after], -1)]
    last = 1 + (len(RINGS) - 1) * SEGMENTS
    back = np.stack([last + here, np.full(SEGMENTS, back_pole), last + after], -1)
    return np.concatenate([front, *strips, back]).astype(np.int32)

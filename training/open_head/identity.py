"""The identity basis: principal components of random adults, aligned on the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.open_head.source import Double

BUST_WEIGHT = 0.2
"""How much a vertex of the bust counts beside one of the head, so that the axes describe faces."""


@dataclass(frozen=True)
class Components:
    """`basis` (K, V, 3) for one standard deviation each; `explained`: their share of the (weighted) variance."""

    basis: Double
    explained: float


def align(points: Double, reference: Double, chosen: NDArray[np.int64]) -> tuple[Double, Double, float]:
    """The similarity that carries (n, 3) onto the reference on the chosen rows (Umeyama 1991): rotation (3, 3), offset (3,), scale."""
    centre, target = points[chosen].mean(0), reference[chosen].mean(0)
    source, wanted = points[chosen] - centre, reference[chosen] - target
    u, values, vt = np.linalg.svd(wanted.T @ source)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((values * signs).sum() / (source**2).sum())
    return rotation, target - scale * rotation @ centre, scale


def principal_components(deviations: NDArray[np.float32], weights: Double, count: int) -> Components:
    """Of (n, V, 3) deviations from their mean, each vertex counted by `weights` (V,)."""
    samples = len(deviations)
    weighted = (deviations * weights[None, :, None].astype(np.float32)).reshape(samples, -1)
    values, vectors = np.linalg.eigh((weighted @ weighted.T).astype(np.float64))
    order = np.argsort(values)[::-1][:count]
    basis = (vectors[:, order] / np.sqrt(samples)).T @ deviations.reshape(samples, -1).astype(np.float64)
    basis *= np.where(basis[np.arange(count), np.abs(basis).argmax(1)] < 0.0, -1.0, 1.0)[:, None]
    return Components(basis.reshape(count, -1, 3), float(values[order].sum() / values.sum()))

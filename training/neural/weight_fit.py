"""A weight function that gives, for a frame's features, what a basis should be weighted with; in closed form.

Two kinds are tried: a linear one, and one with a layer of rectified units, of which the first are the features and their negatives (so that it can do all
that the linear one can), the others random directions (Huang et al., "Extreme learning machine", Neurocomputing 2006). Both are solved by ridge regression;
stretches of frames left out in turn decide which, and how much ridge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Times the number of frames."""
FOLDS = 5
RANDOM_UNITS = 96


def fit_layers(conditions: Real, targets: Real, seed: int = 0) -> Layers:
    """One or two (weight, bias).

    Args:
        conditions: (T, 13 + E) standardised and clipped features.
        targets: (T, O); outputs count by their size, so they should be of one unit.
    """
    hidden = _hidden_layer(conditions.shape[1], seed)
    designs = {False: conditions, True: np.maximum(conditions @ hidden[0].T + hidden[1], 0.0)}
    _, deep, ridge = min((_left_out_error(design, targets, ridge), deep, ridge) for deep, design in designs.items() for ridge in RIDGES)
    weight, bias = _ridge(designs[deep], targets, ridge)
    last = (weight.T.astype(np.float32), bias.astype(np.float32))
    return ((hidden[0].astype(np.float32), hidden[1].astype(np.float32)), last) if deep else (last,)


def hidden_units(inputs: int) -> int:
    """Of the larger of the two kinds."""
    return 2 * inputs + RANDOM_UNITS


def apply(layers: Layers, conditions: Real) -> Real:
    """(T, O)."""
    x = conditions
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight.T + bias, 0.0)
    weight, bias = layers[-1]
    return np.asarray(x @ weight.T + bias, np.float64)


def _hidden_layer(inputs: int, seed: int) -> tuple[Real, Real]:
    rng = np.random.default_rng(seed)
    directions = rng.normal(0.0, 1.0 / np.sqrt(inputs), (RANDOM_UNITS, inputs))
    weight = np.concatenate([np.eye(inputs), -np.eye(inputs), directions])
    return weight, np.concatenate([np.zeros(2 * inputs), rng.normal(0.0, 0.5, RANDOM_UNITS)])


def _ridge(design: Real, targets: Real, ridge: float) -> tuple[Real, Real]:
    """(inputs, O), (O,): the constant is free."""
    middle, mean = design.mean(0), targets.mean(0)
    centred = design - middle
    gram = centred.T @ centred + ridge * len(design) * np.eye(design.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (targets - mean))
    return weight, mean - middle @ weight


def _left_out_error(design: Real, targets: Real, ridge: float) -> float:
    folds = np.arange(len(design)) * FOLDS // len(design)
    total = 0.0
    for fold in range(FOLDS):
        kept = folds != fold
        if kept.all() or not kept.any():
            continue
        weight, bias = _ridge(design[kept], targets[kept], ridge)
        total += float(((design[~kept] @ weight + bias - targets[~kept]) ** 2).sum())
    return total

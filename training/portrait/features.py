"""Which few numbers of a frame's parameters the texture and the offsets follow.

The neck's rotation, and principal components of expression and gaze: once as the upper face sees them, once as the lower, and mixed in between, since brows
say nothing of lips. All of it is one linear map of the clipped, standardised parameters: what a models.avatar_parts.WeightFunction computes live.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import POSE_FEATURES
from models.face_groups import group_of
from training.fitted import Fitted

Float = NDArray[np.float32]
LEVELS = 9
"""Steps between upper and lower face."""
OTHER_HALF = 0.25
"""What a parameter of the other half of the face weighs."""
GAZE_WEIGHT = 1.5
SMALLEST_SPREAD = 0.02
NECK, GAZE = slice(3, 6), slice(9, 13)


@dataclass(frozen=True, slots=True)
class Features:
    """K features at each of LEVELS heights of the face, from P = 13 + E parameters."""

    mean: Float
    """(P,)."""
    scale: Float
    """(P,)."""
    clip: float
    maps: Float
    """(LEVELS, K, P): the first is the upper face's."""

    @property
    def count(self) -> int:
        return int(self.maps.shape[1])

    def __call__(self, parameters: Float) -> Float:
        """(T, P or more) → (LEVELS, T, K); shapes learned later say nothing."""
        inside = np.clip((parameters[:, : len(self.mean)] - self.mean) / self.scale, -self.clip, self.clip)
        weights: Float = np.einsum("tp,lkp->ltk", inside, self.maps).astype(np.float32)
        return weights


def parameters_of(fitted: Fitted) -> Float:
    """(T, 13 + E) as models.avatar_parts.features orders them."""
    count = len(fitted.neck)
    parts = [np.zeros((count, 3), np.float32), fitted.neck, fitted.jaw, fitted.gaze.reshape(count, 4), fitted.expression]
    return np.concatenate(parts, 1).astype(np.float32)


def learn_features(parameters: Float, names: tuple[str, ...], components: int, clip: float = 2.5) -> Features:
    """From the training frames' (T, P): 3 of the neck and `components` principal ones."""
    mean, spread = parameters.mean(0), parameters.std(0)
    scale = np.maximum(spread, SMALLEST_SPREAD)
    upper = np.array([group_of(name) in ("brows", "lids") for name in names])
    halves = [_half(parameters - mean, scale, side, components) for side in (upper, ~upper)]
    lower_share = np.linspace(0.0, 1.0, LEVELS)[:, None, None]
    maps = (1.0 - lower_share) * halves[0] + lower_share * halves[1]
    return Features(mean.astype(np.float32), scale.astype(np.float32), clip, maps.astype(np.float32))


def _half(centred: Float, scale: Float, own: NDArray[np.bool_], components: int) -> NDArray[np.float64]:
    """(3 + components, P) of standardised parameters, for the half of the face that `own` (E,) shapes move."""
    weight = np.zeros(centred.shape[1])
    weight[GAZE] = GAZE_WEIGHT * (1.0 if own.any() and own[0] else OTHER_HALF)
    weight[POSE_FEATURES:] = np.where(own, 1.0, OTHER_HALF)
    weight[6:9] = 1.0
    _, sizes, axes = np.linalg.svd((centred * weight).astype(np.float64), full_matrices=False)
    spread = sizes[:components] / np.sqrt(len(centred)) + 1e-4
    component = axes[:components] * weight / np.maximum(spread, 0.05 * spread[0])[:, None] * scale
    rows = np.zeros((3 + components, centred.shape[1]))
    rows[[0, 1, 2], [3, 4, 5]] = 1.0
    rows[3 : 3 + len(component)] = component
    return rows

"""Does the avatar do what the driver does? The landmarker looks at both, and what it reads off them is correlated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker
from models.weights import weight_path

Array = NDArray[np.float64]
TEMPLES = (234, 454)
"""Landmarks on the person's right and left temple."""
INNER_LIPS, IRISES = (13, 14), (468, 473)
SIGNALS = ("mouth", "jaw", "left_lid", "right_lid", "smile", "yaw")
"""Opening of the mouth (gap of the inner lips in eye distances); coefficients jawOpen, eyeBlinkLeft, eyeBlinkRight, mean of mouthSmile; yaw in radians."""
LAGS_S = np.arange(-0.10, 0.61, 0.01)
REQUIRED = {"mouth": 0.80, "jaw": 0.80, "left_lid": 0.70, "right_lid": 0.70, "smile": 0.70, "yaw": 0.90}
LIVELY = {"mouth": 0.02, "jaw": 0.05, "left_lid": 0.05, "right_lid": 0.05, "smile": 0.03, "yaw": 0.02}
"""Standard deviation (eye distances; coefficients; radians) below which a driver's signal is noise, and its correlation says nothing.

The coefficient jawOpen is such in ordinary speech: 0.026 over the whole of talking_man, at its floor but for a few frames. The gap of the lips is not."""


@dataclass(frozen=True, slots=True)
class Expressions:
    """`time_s` (N,); `values` (N, 6) in the order of SIGNALS, NaN where no face was found."""

    time_s: Array
    values: Array

    def lively(self) -> list[str]:
        """Names of the signals in which something happens."""
        spread = np.nanstd(self.values, axis=0)
        return [name for name, deviation in zip(SIGNALS, spread, strict=True) if deviation > LIVELY[name]]


@dataclass(frozen=True, slots=True)
class Following:
    """Pearson correlation by signal at the one lag (seconds, avatar after driver) that fits all signals best; share of avatar frames with a face."""

    correlation: dict[str, float]
    lag_s: float
    seen: float


def read_expressions(frames: Iterable[NDArray[np.uint8]], time_s: Array) -> Expressions:
    """Looks at each (H, W, 3) RGB frame on its own, without any memory of the last."""
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"))
    rows = []
    for frame in frames:
        result = landmarker.detect_and_landmark(frame)
        rows.append(np.full(len(SIGNALS), np.nan) if result is None else _signals(result.landmarks, result.coefficients))
    return Expressions(np.asarray(time_s, np.float64), np.array(rows, np.float64).reshape(-1, len(SIGNALS)))


def _signals(landmarks: NDArray[np.float32], coefficients: NDArray[np.float32]) -> Array:
    def of(name: str) -> float:
        return float(coefficients[COEFFICIENT_NAMES.index(name)])

    right, left = landmarks[list(TEMPLES)]
    yaw = float(np.arctan2(left[2] - right[2], left[0] - right[0]))
    gap, eyes = (float(np.linalg.norm(landmarks[a, :2] - landmarks[b, :2])) for a, b in (INNER_LIPS, IRISES))
    smile = 0.5 * (of("mouthSmileLeft") + of("mouthSmileRight"))
    return np.array([gap / eyes, of("jawOpen"), of("eyeBlinkLeft"), of("eyeBlinkRight"), smile, yaw])


def compare(driver: Expressions, avatar: Expressions) -> Following:
    """Correlates the avatar with the driver's signals, read at the avatar's times less the lag."""
    seen = np.asarray(~np.isnan(avatar.values).any(1))
    best = Following({}, 0.0, float(seen.mean()))
    score = -np.inf
    for lag in LAGS_S:
        correlation = {name: _correlate(driver, avatar, seen, column, lag) for column, name in enumerate(SIGNALS)}
        total = sum(correlation[name] for name in driver.lively())
        if total > score:
            best, score = Following(correlation, float(lag), best.seen), total
    return best


def _correlate(driver: Expressions, avatar: Expressions, seen: NDArray[np.bool_], column: int, lag_s: float) -> float:
    known = ~np.isnan(driver.values[:, column])
    at = avatar.time_s[seen] - lag_s
    inside = (at >= driver.time_s[known][0]) & (at <= driver.time_s[known][-1])
    if inside.sum() < 10:
        return -1.0
    expected = np.interp(at[inside], driver.time_s[known], driver.values[known, column])
    found = avatar.values[seen, column][inside]
    if expected.std() < 1e-9 or found.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(expected, found)[0, 1])

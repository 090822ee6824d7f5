"""How much a signal trembles, learned from the signal itself: a motion is smooth from one frame to the next, noise is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]

QUANTILE = 0.2
"""What is followed of the second differences: low, so that motion, which comes and goes, hardly counts."""
PER_DEVIATION = 0.62
"""That quantile of the size of x[t] - 2 x[t - 1] + x[t - 2] over the standard deviation of white noise x: 0.253 times the square root of 6."""
RATE, FIRST_RATE, FIRST_FRAMES = 0.03, 0.3, 60
"""Share by which the estimate moves in a frame; quicker at first, falling to the former over so many frames."""
FLOOR = 1e-9


class NoiseMeter:
    """Standard deviation of the noise of each component of a vector, in the vector's units; frames are taken to come evenly.

    Follows a quantile by small steps up and down, as in Robbins and Monro, "A Stochastic Approximation Method", 1951, on a logarithmic scale.
    """

    def __init__(self) -> None:
        self._last: list[Double] = []
        self._quantile: Double | None = None
        self._frames = 0

    def restart(self) -> None:
        """The next frame does not follow the last one; what was learned stays."""
        self._last = []

    def __call__(self, value: Double) -> Double:
        """(N,) what is known after this frame (N,); zero before anything is."""
        self._last = [*self._last[-2:], value]
        if len(self._last) < 3:
            return np.zeros(value.shape) if self._quantile is None else self._quantile / PER_DEVIATION
        before, middle, now = self._last
        tremble = np.maximum(np.abs(now - 2.0 * middle + before), FLOOR)
        if self._quantile is None:
            self._quantile = tremble
        rate = max(RATE, FIRST_RATE * (1.0 - self._frames / FIRST_FRAMES))
        self._frames += 1
        self._quantile = self._quantile * np.where(tremble > self._quantile, 1.0 + rate * QUANTILE, 1.0 - rate * (1.0 - QUANTILE))
        return self._quantile / PER_DEVIATION

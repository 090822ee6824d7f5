"""The One-Euro filter: little jitter at rest, little lag in motion (Casiez, Roussel and Vogel, "1 € Filter", CHI 2012), on vectors and uneven time stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]

LONGEST_GAP_S = 1.0
"""After a longer gap the past says nothing: the filter starts anew."""


@dataclass(frozen=True, slots=True)
class OneEuroSettings:
    min_cutoff_hz: float
    """Cutoff at rest: lower is calmer."""
    beta: float
    """How much the cutoff rises with speed, in hertz per unit a second: higher lags less."""
    derivative_cutoff_hz: float = 1.0
    """Cutoff of the speed's own smoothing: higher notices the start of a motion sooner."""


class OneEuroFilter:
    """Filters a vector; each component has a speed and a cutoff of its own."""

    def __init__(self, settings: OneEuroSettings) -> None:
        self._settings = settings
        self._at_s: float | None = None
        self._value: Double = np.zeros(0)
        self._speed: Double = np.zeros(0)

    def reset(self) -> None:
        self._at_s = None

    def __call__(self, value: Double, at_s: float) -> Double:
        """The filtered value at time `at_s` (seconds). A repeated time gives the last value again; a step back in time or a long gap starts anew."""
        elapsed = 0.0 if self._at_s is None else at_s - self._at_s
        if self._at_s is None or elapsed < 0.0 or elapsed > LONGEST_GAP_S:
            self._value, self._speed = value.astype(np.float64), np.zeros(value.shape)
        elif elapsed > 0.0:
            settings = self._settings
            speed = (value - self._value) / elapsed
            self._speed = self._speed + smoothing(settings.derivative_cutoff_hz, elapsed) * (speed - self._speed)
            cutoff = settings.min_cutoff_hz + settings.beta * np.abs(self._speed)
            self._value = self._value + smoothing(cutoff, elapsed) * (value - self._value)
        else:
            return self._value.copy()
        self._at_s = at_s
        return self._value.copy()


def smoothing(cutoff_hz: Double | float, elapsed_s: float) -> Double:
    """The weight of the newest sample in a first-order low-pass with this cutoff: 1 / (1 + tau / elapsed), tau = 1 / (2 pi cutoff)."""
    radians = np.asarray(2.0 * np.pi * cutoff_hz * elapsed_s)
    return radians / (radians + 1.0)

"""The One-Euro filter: little jitter at rest, little lag in motion (Casiez, Roussel and Vogel, "1 € Filter", CHI 2012), on vectors and uneven time stamps.

Beyond the paper: a signal that trembles more than usual is calmed more, and what is not to be trusted is followed slowly, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from realtime.noise import NoiseMeter

Double = NDArray[np.float64]

LONGEST_GAP_S = 1.0
"""After a longer gap the past says nothing: the filter starts anew."""


LEAST_CALM = 0.3
"""The cutoff at rest falls to this share of itself at most."""


@dataclass(frozen=True, slots=True)
class OneEuroSettings:
    """Numbers, or vectors of one for each component."""

    min_cutoff_hz: float | Double
    """Cutoff at rest: lower is calmer."""
    beta: float | Double
    """How much the cutoff rises with speed, in hertz per unit a second: higher lags less."""
    derivative_cutoff_hz: float | Double = 1.0
    """Cutoff of the speed's own smoothing: higher notices the start of a motion sooner."""
    quiet: float | Double = np.inf
    """Standard deviation of the noise that the above is made for. Of more, the cutoff at rest falls in proportion, and the speeds that noise alone makes raise
    it less."""

    @staticmethod
    def joined(parts: Iterable[tuple[OneEuroSettings, int]]) -> OneEuroSettings:
        """Of a vector whose parts, one after the other, have settings and a size each."""
        listed = list(parts)
        sizes = [size for _, size in listed]
        return OneEuroSettings(*(np.repeat([float(getattr(one, part.name)) for one, _ in listed], sizes) for part in fields(OneEuroSettings)))


class OneEuroFilter:
    """Filters a vector; each component has a speed and a cutoff of its own."""

    def __init__(self, settings: OneEuroSettings) -> None:
        self._settings = settings
        self._noise = NoiseMeter() if np.isfinite(settings.quiet).any() else None
        self._at_s: float | None = None
        self._value: Double = np.zeros(0)
        self._speed: Double = np.zeros(0)

    def reset(self) -> None:
        self._at_s = None

    def __call__(self, value: Double, at_s: float, trust: Double | float = 1.0) -> Double:
        """The filtered value at time `at_s` (seconds). A repeated time gives the last value again; a step back in time or a long gap starts anew.

        Args: `trust`: 0…1, one for all or for each component: how far the value is followed; at 0 the last one stays.
        """
        elapsed = 0.0 if self._at_s is None else at_s - self._at_s
        if self._at_s is None or elapsed < 0.0 or elapsed > LONGEST_GAP_S:
            self._value, self._speed = value.astype(np.float64), np.zeros(value.shape)
            if self._noise is not None:
                self._noise.restart()
        elif elapsed > 0.0:
            settings = self._settings
            speed = (value - self._value) / elapsed
            self._speed = self._speed + smoothing(settings.derivative_cutoff_hz, elapsed) * (speed - self._speed)
            self._value = self._value + trust * smoothing(self._cutoff(value, elapsed), elapsed) * (value - self._value)
        else:
            return self._value.copy()
        self._at_s = at_s
        return self._value.copy()

    def _cutoff(self, value: Double, elapsed_s: float) -> Double:
        settings, speed = self._settings, np.abs(self._speed)
        if self._noise is None:
            return np.asarray(settings.min_cutoff_hz + settings.beta * speed)
        noise = self._noise(value)
        calm = np.clip(settings.quiet / np.maximum(noise, 1e-12), LEAST_CALM, 1.0)
        excess = np.maximum(noise - settings.quiet, 0.0) / elapsed_s
        return np.asarray(calm * settings.min_cutoff_hz + settings.beta * np.maximum(speed - excess, 0.0))


def smoothing(cutoff_hz: Double | float, elapsed_s: float) -> Double:
    """The weight of the newest sample in a first-order low-pass with this cutoff: 1 / (1 + tau / elapsed), tau = 1 / (2 pi cutoff)."""
    radians = np.asarray(2.0 * np.pi * cutoff_hz * elapsed_s)
    return radians / (radians + 1.0)

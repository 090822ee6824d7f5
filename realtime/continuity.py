"""Carries a signal on over a break in what it is measured from: the step of that moment is no motion but the measurement's own, and is taken out again.

What is measured under a smear, a mosaic or a hand is off by an amount that hardly changes while it lasts, so that motion can still be followed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.one_euro import LONGEST_GAP_S, Double


@dataclass(frozen=True, slots=True)
class ContinuitySettings:
    clear_s: float = 0.2
    """Time constant with which a step that was taken out is let in again where the measurement is good,"""
    doubtful_s: float = 8.0
    """and where it is not."""
    speed_s: float = 0.05
    """Time constant of the speed with which a motion is carried on over a break."""
    coast_s: float = 0.1
    """And of that motion's end."""


class Continuity:
    """For one vector."""

    def __init__(self, settings: ContinuitySettings | None = None) -> None:
        self._settings = settings or ContinuitySettings()
        self.reset()

    def reset(self) -> None:
        """The next value is taken as it is."""
        self._last: Double | None = None
        self._out: Double | float = 0.0
        self._speed: Double | float = 0.0
        self._at_s = 0.0

    def __call__(self, value: Double, at_s: float, unbroken: float, trust: Double, usual: Double, moving: Double) -> Double:
        """`value` (N,) less what came in by breaks.

        Args:
            unbroken: 0…1, the share of the step since the last value that is motion.
            trust: (N,) 0…1, how good the measurement is.
            usual: (N,) a surprise in a step, against the motion so far, that is nothing unusual; twice that, and it is all taken out.
            moving: (N,) 0…1, how far a motion is carried on over a break.
        """
        elapsed = at_s - self._at_s
        if self._last is None or not 0.0 <= elapsed <= LONGEST_GAP_S:
            self._out = self._speed = 0.0
        elif elapsed > 0.0:
            settings, step = self._settings, value - self._last
            surprise = step - elapsed * moving * self._speed
            taken = step - (1.0 - unbroken) * np.clip(np.abs(surprise) / usual - 1.0, 0.0, 1.0) * surprise
            rate = trust / settings.clear_s + (1.0 - trust) / settings.doubtful_s
            self._out = (self._out + step - taken) * np.exp(-elapsed * rate)
            slowed = self._speed * np.exp(-elapsed / settings.coast_s)
            seen = self._speed - np.expm1(-elapsed / settings.speed_s) * (step / elapsed - self._speed)
            self._speed = unbroken * seen + (1.0 - unbroken) * slowed
        self._last, self._at_s = value.copy(), at_s
        return np.asarray(value - self._out)

"""Blinks: from what a driver's lids do, open to closed, to lids that close.

Several shapes lower a lid (a blink, a glance down, a squint), and the solver shares a blink out between them. So what is carried over is the sum, the closure
of the lid; the avatar's `eyeBlink` makes up what its other shapes leave of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtime.one_euro import Double

BLINK = "eyeBlink"
CLOSURE = {BLINK: 1.0, "eyeLookDown": 0.26, "eyeSquint": 0.26, "eyeWide": -0.31, "cheekSquint": 0.08, "eyeLookUp": 0.1}
"""How far a full shape closes the gap between the lids, in full blinks: measured on the open head."""
SIDES = ("Left", "Right")


@dataclass(frozen=True, slots=True)
class LidSettings:
    opened: float = 0.3
    """Closure of a driver's open eye before much was seen."""
    opened_range: tuple[float, float] = (0.0, 0.5)
    """What can be learned for it."""
    opened_share: float = 0.15
    """The open eye is where the lid is above it in this share of the time."""
    opened_rate: float = 0.06
    """How fast it is learned, in closures a second."""
    closed: float = 0.8
    """Closure of a driver's closed eye before a blink was seen."""
    closed_range: tuple[float, float] = (0.55, 1.0)
    """What can be learned for it: at once where it is more, from blinks where it is less."""
    blink_share: float = 0.7
    """What comes back within `blink_s` from this share of it, or more, was a blink."""
    blink_s: float = 0.5
    blink_weight: float = 0.4
    """How far one blink pulls what is known of the closed eye."""
    margin: float = 0.95
    """A lid counts as closed from this share of it on."""
    agreement: tuple[float, float] = (0.06, 0.25)
    """Lids that differ by less than the first close as one; from the second on it is a wink."""


class Lids:
    """Learns the range of the driver's own lids, carries it over to the avatar's, and keeps both lids together unless they wink."""

    def __init__(self, names: Sequence[str], settings: LidSettings) -> None:
        self._settings = settings
        blinks = [names.index(BLINK + side) for side in SIDES if BLINK + side in names]
        self.blinks = np.array(blinks if len(blinks) == 2 else [], np.intp)
        """(2,) indices of the `eyeBlink` shapes; empty where the head has none, and then nothing here does anything."""
        self.weights = np.array([[CLOSURE.get(name.removesuffix(side), 0.0) * name.endswith(side) for name in names] for side in SIDES])
        """(2, D): what each shape closes of the left and of the right lid, in full blinks."""
        self._opened: Double | None = None
        self._closed = np.full(2, settings.closed)
        self._peak = np.zeros(2)
        self._down_s = np.zeros(2)

    def calibrate(self, rest: Double) -> None:
        """`rest` (D,) is the expression of a driver who was asked to relax: their eyes are open."""
        self._opened = np.clip(self.weights @ rest, *self._settings.opened_range)

    def closure(self, seen: Double, elapsed_s: float) -> Double:
        """(2,) how far the lids are closed: 0 open, 1 closed, below 0 wide open. `seen` (D,) is the driver's expression, `elapsed_s` since the last call."""
        settings = self._settings
        now = self.weights @ seen
        if self._opened is None:
            self._opened = np.clip(now, settings.opened_range[0], settings.opened)
        pull = np.where(now < self._opened, settings.opened_share - 1.0, settings.opened_share)
        self._opened = np.clip(self._opened + settings.opened_rate * elapsed_s * pull, *settings.opened_range)
        self._learn_blinks(now, elapsed_s)
        closure = np.minimum((now - self._opened) / np.maximum(settings.margin * self._closed - self._opened, 0.05), 1.0)
        difference = float(closure[0] - closure[1])
        low, high = settings.agreement
        apart = 0.5 * difference * float(np.clip((abs(difference) - low) / (high - low), 0.0, 1.0))
        together: Double = closure.mean() + np.array([apart, -apart])
        return together

    def _learn_blinks(self, now: Double, elapsed_s: float) -> None:
        """How far the driver's lids go when they close, from the blinks in which they do."""
        settings = self._settings
        assert self._opened is not None
        down = now > 0.5 * (self._opened + settings.blink_share * self._closed)
        over = ~down & (self._peak >= settings.blink_share * self._closed) & (self._down_s < settings.blink_s)
        self._closed = np.where(over, self._closed + settings.blink_weight * (self._peak - self._closed), self._closed)
        self._closed = np.clip(np.maximum(self._closed, now), *settings.closed_range)
        self._peak = np.where(down, np.maximum(self._peak, now), 0.0)
        self._down_s = np.where(down, self._down_s + elapsed_s, 0.0)

    def resolve(self, expression: Double) -> None:
        """Where `expression` (D,) holds closures for its two `eyeBlink`, writes the weights that reach them together with its other shapes."""
        if len(self.blinks):
            closure = expression[self.blinks]
            expression[self.blinks] = 0.0
            expression[self.blinks] = np.clip(closure - self.weights @ np.clip(expression, 0.0, 1.0), 0.0, 1.0)

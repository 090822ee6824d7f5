"""A face that comes and goes: held for a moment when it is lost, eased to rest, eased back when it is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.one_euro import Double


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    hold_s: float = 0.2
    """A lost face is held this long,"""
    release_s: float = 0.3
    """and then eased to rest in this time."""
    return_s: float = 0.3
    """A found face is eased back in this time;"""
    missed_s: float = 0.09
    """one that was away for less than this, in the time that it was away."""


class Presence:
    """Blends a vector that is zero at rest."""

    def __init__(self, size: int, settings: PresenceSettings) -> None:
        self._settings = settings
        self._shown: Double = np.zeros(size)
        self._held: Double = self._shown
        self._from: Double = self._shown
        self._seen_s: float | None = None
        self._found_s = 0.0
        self._return_s = 0.0
        self.lost = True
        """No face in the latest frame, or no frame yet."""

    def show(self, live: Double, at_s: float) -> Double:
        """What to show while the face is there."""
        if self.lost:
            away = np.inf if self._seen_s is None else abs(at_s - self._seen_s)
            self._from, self._found_s, self._return_s = self._shown, at_s, away if away < self._settings.missed_s else self._settings.return_s
            self.lost = False
        share = ease((at_s - self._found_s) / self._return_s) if self._return_s > 0.0 else 1.0
        self._shown = self._held = self._from + share * (live - self._from)
        self._seen_s = at_s
        return self._shown

    def miss(self, at_s: float) -> Double:
        """What to show while it is not."""
        self.lost = True
        gone = 0.0 if self._seen_s is None else at_s - self._seen_s
        self._shown = self._held * (1.0 - ease((gone - self._settings.hold_s) / self._settings.release_s))
        return self._shown


def ease(share: float) -> float:
    """0…1 with a soft start and end; clamped outside."""
    x = min(max(share, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)

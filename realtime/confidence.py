"""How far a frame's landmarks can be trusted, by what the picture of the face does: a smear, a mosaic or a hand shifts them while their own network is as sure
of them as ever.

Two things are told: how good each part of the face is to be seen, and whether the picture went on from the last one, so that what the landmarks did meanwhile
is motion, or broke off, so that it may be anything. Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.appearance import Image, Look, look_at
from realtime.one_euro import Double
from realtime.presence import ease

WHOLE, MOUTH, EYES = (slice(0, 6), slice(0, 6)), (slice(4, 6), slice(1, 5)), (slice(1, 3), slice(0, 6))
"""Rows and columns of a look's cells."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """0…1 each: 1 as good as ever, 0 not to be trusted."""

    clear: float = 1.0
    """The picture of the face is as sharp as usual, and its network is sure that it is one."""
    mouth: float = 1.0
    """Nothing covers the mouth,"""
    eyes: float = 1.0
    """and nothing the eyes and brows."""
    unbroken: float = 1.0
    """How far the picture goes on from the last frame's: where it breaks off, the landmarks' step says nothing."""

    @property
    def pose(self) -> float:
        """Of the head: a cover anywhere shifts all landmarks."""
        return min(self.clear, self.mouth, self.eyes)


SURE = Confidence()


@dataclass(frozen=True, slots=True)
class ConfidenceSettings:
    """Pairs: where doubt begins, and where it is complete.

    Measured on three clips as they are, and with a smear, a mosaic, a flat hand or half a cover put into them. Change: mean difference of a part's cells from
    frame to frame, less what is the motion's; as they are at most 0.19 of the whole, 0.21 of the eyes, and 0.24 of the mouth but for 0.36 under a real hand;
    where something comes or goes 0.19 to 0.7, and at the mouth 0.4 to 0.95 under a hand. Logarithm of the sharpness: at most 0.36 from frame to frame in quick
    motion, more than 1.0 where a smear or a mosaic begins.
    """

    whole_change: tuple[float, float] = (0.20, 0.27)
    mouth_change: tuple[float, float] = (0.26, 0.40)
    eyes_change: tuple[float, float] = (0.22, 0.32)
    sharpness_change: tuple[float, float] = (0.4, 0.8)
    moved_changes: float = 0.7
    """A face that moves is sampled less steadily too: this much of a change for each distance from the eyes to the mouth is its motion's."""
    unclear_changes: float = 0.7
    """A face that is not clear is sampled less steadily, and changes by so much more."""
    broken_s: float = 0.067
    """A break is over after so long: the landmarks follow what the picture does within a few frames."""
    blurred: tuple[float, float] = (0.60, 0.35)
    """Sharpness over the person's usual: 0.65 in the quickest motion, 0.2 to 0.45 under a smear or a mosaic."""
    usual_up_s: float = 0.5
    usual_down_s: float = 15.0
    """Time constants with which the usual sharpness follows a sharper and a less sharp picture: a camera that stays blurred is believed in the end."""
    covered: tuple[float, float] = (0.22, 0.40)
    """Difference of a part from what it was before the picture broke off."""
    mouth_s: float = 3.0
    """After so long the new look is what the mouth looks like,"""
    eyes_s: float = 1.5
    """or the eyes: they are rarely covered for long, and nothing is as odd as eyes that do not move."""
    least_contrast: float = 8.0
    """Grey levels. In a darker picture noise makes the differences: nothing is said of covers and sharpness."""
    presence: tuple[float, float] = (0.98, 0.55)
    """Of the landmark network."""


class ConfidenceMeter:
    """Watches one face."""

    def __init__(self, settings: ConfidenceSettings | None = None) -> None:
        self._settings = settings or ConfidenceSettings()
        self.reset()

    def reset(self) -> None:
        """Another face."""
        self._last: Look | None = None
        self._usual = 0.0
        self._at_s = 0.0
        self._broke = 0.0
        self._was_clear = 1.0
        self._before: Look | None = None
        self._before_s = 0.0
        self._hit = (False, False)

    def look(self, image: Image, landmarks: NDArray[np.floating] | None, presence: float, at_s: float) -> Confidence:
        """Of the frame at time `at_s` (seconds): (H, W, 3) uint8 RGB, (478, 3) in its pixels and the landmark network's own confidence, 0…1."""
        seen = None if landmarks is None or not np.isfinite(landmarks).all() else look_at(image, landmarks)
        if seen is None:
            self._last = None
            return SURE
        elapsed = at_s - self._at_s
        self._at_s = at_s
        last = self._last if 0.0 <= elapsed < 0.5 else None
        self._last = seen
        broke = 0.0 if last is None else self._break(last, seen)
        self._broke = max(broke, self._broke - max(elapsed, 0.0) / self._settings.broken_s)
        clear = self._clear(seen, elapsed if last is not None else 0.0) * doubt(presence, self._settings.presence)
        self._was_clear = clear
        mouth, eyes = self._uncovered(seen, at_s)
        return Confidence(clear, mouth, eyes, 1.0 - self._broke)

    def _break(self, last: Look, seen: Look) -> float:
        """0…1, how far the picture breaks off between two frames; notes what may be covered from now on, or is no longer."""
        settings = self._settings
        unsteady = 1.0 + (1.0 - self._was_clear) * settings.unclear_changes
        change = difference(last, seen) / unsteady - settings.moved_changes * moved(last, seen)
        parts = ((MOUTH, settings.mouth_change), (EYES, settings.eyes_change), (WHOLE, settings.whole_change))
        mouth, eyes, whole = (1.0 - doubt(float(change[part].mean()), limits) for part, limits in parts)
        sharper = abs(np.log(max(seen.sharpness, 1e-6) / max(last.sharpness, 1e-6)))
        smeared = 1.0 - doubt(float(sharper), settings.sharpness_change)
        if self._before is not None:
            if max(mouth, eyes, whole) > 0.5 and difference(self._before, seen).mean() < difference(self._before, last).mean():
                self._before = None
        elif smeared < 0.5 < max(mouth, eyes, whole):
            self._before, self._before_s, self._hit = last, self._at_s, (mouth > 0.0, eyes > 0.0)
        return max(mouth, eyes, whole, smeared)

    def _clear(self, seen: Look, elapsed_s: float) -> float:
        """How sharp the picture is, against the usual."""
        settings = self._settings
        if seen.contrast < settings.least_contrast:
            return 1.0
        if self._usual <= 0.0:
            self._usual = seen.sharpness
        slow = settings.usual_up_s if seen.sharpness > self._usual else settings.usual_down_s
        self._usual += (1.0 - float(np.exp(-max(elapsed_s, 0.0) / slow))) * (seen.sharpness - self._usual)
        return doubt(seen.sharpness / max(self._usual, 1e-6), settings.blurred)

    def _uncovered(self, seen: Look, at_s: float) -> tuple[float, float]:
        """Of the mouth and the eyes: where they changed when the picture broke off, how much they look as they did before."""
        settings, before, since = self._settings, self._before, at_s - self._before_s
        if before is None:
            return 1.0, 1.0
        change, dark = difference(before, seen), min(before.contrast, seen.contrast) < settings.least_contrast
        cases = zip((MOUTH, EYES), self._hit, (settings.mouth_s, settings.eyes_s), strict=True)
        mouth, eyes = (doubt(float(change[part].mean()), settings.covered) if hit and 0.0 <= since < limit_s else 1.0 for part, hit, limit_s in cases)
        if dark or min(mouth, eyes) == 1.0:
            self._before = None
            return 1.0, 1.0
        return mouth, eyes


def moved(one: Look, two: Look) -> float:
    """How far the face went, in distances from the eyes to the mouth."""
    apart = np.linalg.norm(two.axis - one.axis, axis=1).mean()
    return float(apart / max(np.linalg.norm(one.axis[1] - one.axis[0]), 1.0))


def difference(one: Look, two: Look) -> Double:
    """(CELLS, CELLS): of each cell, in whatever differs most."""
    apart: Double = np.abs(two.cells - one.cells).max(-1)
    return apart


def doubt(value: float, limits: tuple[float, float]) -> float:
    """1 up to (or down to) the first of the limits, 0 from the second on, soft between."""
    begins, ends = limits
    return 1.0 - ease((value - begins) / (ends - begins))

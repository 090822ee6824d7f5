"""What doubt about the landmarks does to the driving signal: steps that are no motion are taken out, and what is covered eases to rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from realtime.confidence import Confidence
from realtime.continuity import Continuity, ContinuitySettings
from realtime.one_euro import LONGEST_GAP_S, Double

MOUTH, EYES = ("mouth", "jaw", "jaw_joint"), ("brows", "lids", "gaze", "contact")
"""Groups of expression shapes, and parts of the tail; the others go with the pose."""
POSE = ("turn", "lean")
"""What has mass: over a break it is taken to move on."""


@dataclass(frozen=True, slots=True)
class CautionSettings:
    continuity: ContinuitySettings = field(default_factory=ContinuitySettings)
    usual: Mapping[str, float] = field(default_factory=lambda: {"turn": 0.04, "lean": 0.016, "gaze": 0.05, "jaw_joint": 0.05})
    """Surprises in a step that are nothing unusual, of the tail's parts,"""
    usual_shape: float = 0.05
    """and of expression shapes."""
    slowest: float = 0.7
    """What is not to be trusted at all is followed with this share of the filter's weight."""
    cover_s: float = 0.5
    """Time constant with which a covered mouth, or covered eyes, ease to rest,"""
    uncover_s: float = 0.15
    """and with which they come back."""


class Caution:
    """For one driver; the vector is zero at rest."""

    def __init__(self, groups: Sequence[str], tail: Mapping[str, int], settings: CautionSettings | None = None) -> None:
        """Args: `groups` of the expression shapes that the vector begins with, `tail` what follows them, with sizes."""
        self._settings = settings or CautionSettings()
        parts = np.array([*groups, *(name for name, size in tail.items() for _ in range(size))])
        self._mouth, self._eyes = np.isin(parts, MOUTH), np.isin(parts, EYES)
        self._usual = np.array([self._settings.usual.get(part, self._settings.usual_shape) for part in parts])
        self._coasts = np.array([float(part in POSE) for part in parts])
        self._continuity = Continuity(self._settings.continuity)
        self.reset()

    def reset(self) -> None:
        """What comes next does not follow what was."""
        self._continuity.reset()
        self._shown: Double = np.ones(len(self._mouth))
        self._at_s: float | None = None

    def __call__(self, live: Double, at_s: float, confidence: Confidence) -> tuple[Double, Double]:
        """Returns: what to follow, and each component's share of the filter's weight, both of the size of `live`."""
        settings = self._settings
        clear, mouth, eyes = confidence.clear, confidence.mouth, confidence.eyes
        trust, uncovered = self._of_each(confidence.pose, min(clear, mouth), min(clear, eyes)), self._of_each(1.0, mouth, eyes)
        elapsed = 0.0 if self._at_s is None else min(max(at_s - self._at_s, 0.0), LONGEST_GAP_S)
        self._at_s = at_s
        self._shown = self._shown - np.expm1(-elapsed / np.where(uncovered < self._shown, settings.cover_s, settings.uncover_s)) * (uncovered - self._shown)
        whole = self._continuity(live, at_s, confidence.unbroken, trust, self._usual, self._coasts)
        return self._shown * whole, settings.slowest + (1.0 - settings.slowest) * trust

    def _of_each(self, pose: float, mouth: float, eyes: float) -> Double:
        return np.where(self._mouth, mouth, np.where(self._eyes, eyes, pose))

"""Is the driver the person whom the avatar shows? What looks at their face say, one after the other, and what follows: waiting, open or refused. Pure.

Somebody who comes is let in by several looks that agree, and looked at again as long as they stay. Whoever may be somebody else, because the face was lost or
another came, waits again. A photograph or a film of the person held up to the camera is not told from them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.packets import Lock


@dataclass(frozen=True, slots=True)
class LockSettings:
    """Likeness is the cosine between a look at the driver and the avatar (models.face_embedding).

    Measured on clips of three people, each against the avatars made of all three (docs/owner_lock.md): 0.64 to 0.95 for two of the persons themselves, 0.40 to
    0.93 for one who acts strong emotions; for others at most 0.22, and 0.29 in poor pictures. Two strangers in one photograph reached 0.41.
    """

    open_at: float = 0.5
    """Opens where the mean of some looks reaches this,"""
    keep_at: float = 0.363
    """and none of them is below this: OpenCV's threshold for SFace, with which 99.6 % of LFW's pairs of photographs are told rightly."""
    looks: int = 4
    """So many in a row decide."""
    strikes: int = 3
    """So many in a row below `keep_at` close it again."""
    hurry_s: float = 0.15
    """Time between looks until it is decided, and after one that speaks against what was;"""
    recheck_s: float = 1.0
    """and from then on. A look takes 27 ms of a core."""
    lost_s: float = 0.5
    """After this long without a face, the next one may be somebody else's,"""
    gap_s: float = 1.0
    """and after this long without a frame: a busy machine may leave some out."""
    stale_s: float = 10.0
    """It stays open no longer than this after the last good look: nobody is looked at while no frames come, or the face cannot be made out."""


class OwnerLock:
    """Of one avatar and one session. All times are seconds of one clock."""

    def __init__(self, settings: LockSettings | None = None) -> None:
        self._settings = settings or LockSettings()
        self.reset()

    def reset(self) -> None:
        """Nothing is known of who is there."""
        self._recent: deque[float] = deque(maxlen=self._settings.looks)
        self._state = Lock.WAITING
        self._bad = 0
        self._good_s = -np.inf
        self._looked_s = -np.inf
        self._seen_s: float | None = None
        self._missed = False
        self._since_s = -np.inf

    def state(self, at_s: float) -> Lock:
        """WAITING, OPEN or REFUSED."""
        if self._state is Lock.OPEN and not 0.0 <= at_s - self._good_s <= self._settings.stale_s:
            self.start_again(at_s)
        return self._state

    def start_again(self, at_s: float) -> None:
        """Whoever is there from now on may be somebody else."""
        self.reset()
        self._since_s = at_s

    def see(self, at_s: float) -> None:
        """There is a face in this frame."""
        settings = self._settings
        if self._seen_s is not None and not 0.0 <= at_s - self._seen_s < (settings.lost_s if self._missed else settings.gap_s):
            self.start_again(at_s)
        self._seen_s, self._missed = at_s, False

    def miss(self, at_s: float) -> None:
        """There is none; the next look at one is wanted at once."""
        if self._seen_s is not None and not 0.0 <= at_s - self._seen_s < self._settings.lost_s:
            self.start_again(at_s)
        self._missed, self._bad = True, max(self._bad, 1)

    def due(self, at_s: float) -> bool:
        """Whether a look at the face in this frame is wanted."""
        settled = self._state is (Lock.REFUSED if self._bad else Lock.OPEN)
        return not 0.0 <= at_s - self._looked_s < (self._settings.recheck_s if settled else self._settings.hurry_s)

    def look(self, at_s: float) -> None:
        """One was taken."""
        self._looked_s = at_s

    def compare(self, likeness: float, taken_s: float) -> None:
        """What came of the look at `taken_s`: -1…1; one at somebody who was there before is left out, not-a-number is a bad one."""
        if taken_s < self._since_s:
            return
        likeness = likeness if np.isfinite(likeness) else -1.0
        self._recent.append(likeness)
        good = likeness >= self._settings.keep_at
        self._bad = 0 if good else self._bad + 1
        if self._state is Lock.OPEN:
            if good:
                self._good_s = max(self._good_s, taken_s)
            elif self._bad >= self._settings.strikes:
                self._state = Lock.REFUSED
        elif len(self._recent) == self._settings.looks:
            self._decide(taken_s)

    def _decide(self, taken_s: float) -> None:
        mean = sum(self._recent) / len(self._recent)
        if mean >= self._settings.open_at and min(self._recent) >= self._settings.keep_at:
            self._state, self._good_s, self._bad = Lock.OPEN, taken_s, 0
        elif mean < self._settings.keep_at:
            self._state = Lock.REFUSED


@dataclass(frozen=True, slots=True)
class LookLimits:
    """What a look must be like to say anything; where a clear picture of the person was as little like the avatar as somebody else."""

    presence: float = 0.9
    """Least confidence of the landmark network: below, landmarks lie beside the face."""
    eyes_px: float = 18.0
    """Least distance of the outer corners of the eyes in the frame."""
    yaw_rad: float = 0.7
    """Largest turn to a side,"""
    pitch_rad: float = 0.65
    """and up or down."""
    contrast: float = 4.0
    """Least standard deviation of the face, in grey levels."""


LEFT_SIDE, RIGHT_SIDE, BROW, CHIN = 454, 234, 10, 152
RIGHT_CORNER, LEFT_CORNER = 33, 263


def clear_enough(landmarks: NDArray[np.float32], presence: float, limits: LookLimits | None = None) -> bool:
    """Whether a face is near and frontal enough to be compared: (478, 3) as in FaceObservation, with its confidence."""
    limits = limits or LookLimits()
    points = landmarks.astype(np.float64)
    if not np.isfinite(points).all() or presence < limits.presence:
        return False
    across, down = points[LEFT_SIDE] - points[RIGHT_SIDE], points[CHIN] - points[BROW]
    turned = abs(np.arctan2(across[2], np.hypot(across[0], across[1])))
    tilted = abs(np.arctan2(down[2], np.hypot(down[0], down[1])))
    eyes = np.linalg.norm(points[LEFT_CORNER, :2] - points[RIGHT_CORNER, :2])
    return bool(turned <= limits.yaw_rad and tilted <= limits.pitch_rad and eyes >= limits.eyes_px)


def light_enough(face: NDArray[np.uint8], limits: LookLimits | None = None) -> bool:
    """Whether anything can be made out in an upright face (models.face_embedding.aligned_face)."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    return float(grey[20:100, 20:92].std()) >= (limits or LookLimits()).contrast

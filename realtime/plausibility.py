"""Whether landmarks can be the followed face a moment later: a head turns, moves and grows only so fast, and a face is never mirrored or torn.

A wrong frame can look like a face all the same. What cannot follow from the last good frame is held back; where it goes on, it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.head import LANDMARK_COUNT
from realtime.one_euro import Double

BONY = (33, 133, 263, 362, 6, 168, 197, 195, 5, 4, 1, 98, 327, 10, 151, 9, 8, 54, 284, 127, 356, 234, 454)
"""Corners of the eyes, nose, forehead and temples: of the landmarks those that expressions hardly move. Numbers as in MediaPipe's face mesh."""
LEAST_POINTS = 8
LARGEST = 1e6
"""No picture has so many pixels in a row; not-a-number is not less either."""


@dataclass(frozen=True, slots=True)
class PlausibilitySettings:
    """Speeds that a head does not reach; sizes are the mean distance of the bony landmarks from their middle, about 5 cm.

    Measured on three clips (a man who nods and turns quickly, a woman who acts, one who talks), the highest: 6.1 radians, 8.8 sizes, 0.6 of the logarithm of
    the size and 1.05 of the shape, a second.
    """

    turn_rad_s: float = 14.0
    place_s: float = 25.0
    """Sizes a second across the picture."""
    growth_s: float = 4.0
    """Of the logarithm of the size."""
    bend_s: float = 3.0
    """How much the bony landmarks may move against each other, in sizes a second."""
    least_elapsed_s: float = 1.0 / 30.0
    """Frames whose time stamps are closer count as so far apart: stamps are not exact."""
    misshapen: float = 0.3
    """Median distance from the average face, in sizes, from which on it is no face. On the three clips the largest is 0.17."""
    persist_s: float = 0.12
    """A face that could not have come there is believed when it has been there for so long."""
    doubted: float = 0.6
    """After an odd frame, a head may have gone only this share of the way that it could have gone since the last good one."""
    known_s: float = 0.5
    """After this long the last good frame says nothing."""


@dataclass(frozen=True, slots=True)
class _Seen:
    points: Double
    """(B, 3) pixels."""
    at_s: float


class Plausibility:
    """Judges one face's frames in order."""

    def __init__(self, face: NDArray[np.floating], settings: PlausibilitySettings | None = None) -> None:
        """Args: `face` (478, 3): the average face's landmarks, x right, y up, z to the viewer, of any size; NaN where one is not known."""
        self._settings = settings or PlausibilitySettings()
        known = [index for index in BONY if np.isfinite(face[index]).all()]
        if len(known) < LEAST_POINTS:
            raise ValueError(f"expected at least {LEAST_POINTS} of the bony landmarks {BONY} on the average face, got {len(known)}")
        self._chosen = np.array(known, np.intp)
        self._face = face[self._chosen].astype(np.float64) * (1.0, -1.0, -1.0)
        self.reset()

    def reset(self) -> None:
        """Nothing is known of the face."""
        self._good: _Seen | None = None
        self._odd: _Seen | None = None
        self._odd_from_s = 0.0
        self.jumped = False
        """The latest frame was believed though it could not follow from the last good one: another face, perhaps."""

    def look(self, landmarks: NDArray[np.floating], at_s: float) -> bool:
        """Whether this frame can be believed. (478, 3) as in FaceObservation, at time `at_s` (seconds)."""
        self.jumped = False
        if landmarks.shape != (LANDMARK_COUNT, 3):
            return False
        points = landmarks[self._chosen].astype(np.float64)
        if not self._is_a_face(points):
            return False
        seen, good = _Seen(points, at_s), self._good
        if (
            good is None
            or not 0.0 <= at_s - good.at_s <= self._settings.known_s
            or self._follows(good, seen, 1.0 if self._odd is None else self._settings.doubted)
        ):
            self._believe(seen)
            return True
        if self._odd is None or at_s < self._odd.at_s or not self._follows(self._odd, seen):
            self._odd_from_s = at_s
        self._odd = seen
        if at_s - self._odd_from_s < self._settings.persist_s:
            return False
        self._believe(seen)
        self.jumped = True
        return True

    def _believe(self, seen: _Seen) -> None:
        self._good, self._odd = seen, None

    def _is_a_face(self, points: Double) -> bool:
        if not np.abs(points).max() < LARGEST or _size(points) <= 0.0:
            return False
        turn, _, apart = compare(self._face, points)
        return bool(np.linalg.det(turn) > 0.0 and _median(apart) < self._settings.misshapen)

    def _follows(self, before: _Seen, after: _Seen, share: float = 1.0) -> bool:
        """All steps as shares of what is possible in a second, together one length; against `share` of the time."""
        settings = self._settings
        turn, growth, apart = compare(before.points, after.points)
        moved = np.linalg.norm((after.points - before.points).mean(0)[:2]) / _size(before.points)
        angle = np.arccos(np.clip(0.5 * (np.trace(turn) - 1.0), -1.0, 1.0))
        steps = (angle / settings.turn_rad_s, moved / settings.place_s, np.log(growth) / settings.growth_s, _median(apart) / settings.bend_s)
        return float(np.linalg.norm(np.array(steps))) <= max(share * (after.at_s - before.at_s), settings.least_elapsed_s)


def compare(before: Double, after: Double) -> tuple[Double, float, Double]:
    """What carries points (B, 3) best onto others (Umeyama, "Least-squares estimation of transformation parameters", PAMI 13, 1991, mirrors allowed).

    Returns: an orthogonal matrix (3, 3), of determinant -1 where only a mirror does it; the growth, a factor; (B,) what is left at each point, in sizes.
    """
    one, two = before - before.mean(0), after - after.mean(0)
    left, spread, right = np.linalg.svd(two.T @ one)
    turn = left @ right
    growth = max(float(spread.sum() / np.vdot(one, one)), 1e-9)
    apart = two - growth * one @ turn.T
    return turn, growth, np.sqrt(np.einsum("ij,ij->i", apart, apart)) / max(_size(after), 1e-12)


def _size(points: Double) -> float:
    apart = points - points.mean(0)
    return float(np.sqrt(np.einsum("ij,ij->i", apart, apart)).mean())


def _median(values: Double) -> float:
    """The upper one of an even number."""
    return float(np.sort(values)[len(values) // 2])

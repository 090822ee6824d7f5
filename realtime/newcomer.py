"""Whether the face that came back is the one that left. What is known of one person fits another's landmarks hardly better than the average face does.

As in realtime/subject.py, noise and expressions average out over some looks, and what is left at the landmarks is shape. Nothing is kept but numbers of who
was there before, in memory, until the next answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.solving.residuals import Double, Subject
from realtime.packets import FaceObservation

Fit = Callable[[FaceObservation, Subject | None], Double | None]
"""(L, 2) what is left at the landmarks of a frame were it that person, None: the average one. None: it cannot be made out."""


@dataclass(frozen=True, slots=True)
class NewcomerSettings:
    away_s: float = 1.0
    """Whoever was away for less is who was there before: a face is hidden for a moment, but nobody changes seats so quickly."""
    looks: int = 6
    """So many,"""
    window_s: float = 1.0
    """evenly over so long or longer, decide,"""
    turned_rad: float = 0.26
    """of a face that is turned aside by no more: seen from the side, everybody leaves much at the landmarks, and the looks become the rest pose."""
    other: float = 0.6
    """From so much on of what is left for the average face, it is another person. Measured on stretches of three clips and of four drawn people, twice each
    (docs/tracking.md): the same person 0.26 to 0.59, but for one who acts strong emotions, 0.58 to 0.84; others 0.52 to 2.8, three of a hundred below 0.6."""


class Newcomer:
    """Of one session."""

    def __init__(self, settings: NewcomerSettings | None = None) -> None:
        self._settings = settings or NewcomerSettings()
        self._former: Subject | None = None
        self._looks: list[FaceObservation] = []
        self._known: Double = np.zeros((1, 2))
        self._average: Double = np.zeros((1, 2))

    @property
    def asking(self) -> bool:
        """Whether it is not decided yet who has come."""
        return self._former is not None

    def returned(self, away_s: float, former: Subject | None) -> None:
        """A face is there again, after so long in which frames came without one. `former`: who was there, as far as they became known; None: nobody did.

        Where it is not decided yet who had come before that, the question stays about who was there first.
        """
        if former is None or 0.0 <= away_s < self._settings.away_s:
            return
        if self._former is None:
            self._former = former
        self._start()

    def see(self, observation: FaceObservation, yaw_rad: float, fit: Fit) -> list[FaceObservation] | None:
        """After each frame in which a face was made out, turned aside by `yaw_rad`; returns their first looks once it is known that somebody else has come."""
        former, settings = self._former, self._settings
        if former is None or abs(yaw_rad) > settings.turned_rad:
            return None
        if self._looks and observation.pts_s < self._looks[0].pts_s:
            self._start()
        if self._looks and observation.pts_s - self._looks[0].pts_s < len(self._looks) * settings.window_s / settings.looks:
            return None
        known, average = fit(observation, former), fit(observation, None)
        if known is None or average is None:
            return None
        self._looks.append(observation)
        self._known, self._average = self._known + known, self._average + average
        if len(self._looks) < settings.looks:
            return None
        self._former = None
        return self._looks if _typical(self._known) > settings.other * _typical(self._average) else None

    def _start(self) -> None:
        self._looks = []
        self._known = self._average = np.zeros((1, 2))


def _typical(total: Double) -> float:
    return float(np.median(np.linalg.norm(total, axis=1)))

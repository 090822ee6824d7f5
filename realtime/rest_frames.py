"""The driver's first second, kept to be made out again: who they are is learned over the seconds that follow, and then the same frames say something else.

The rest pose that the retargeter subtracts must be what the solver would say of a face at rest now, or what it has learned since shows as an expression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams
from realtime.packets import FaceObservation


@dataclass(frozen=True, slots=True)
class RestFramesSettings:
    window_s: float = 1.0
    """As long as the retargeter's automatic calibration looks."""
    frames: int = 6
    """So many are kept, evenly over it."""
    every_s: float = 0.15
    """Between one and the next that is made out again: each costs a few milliseconds."""
    changed: float = 0.25
    """Length of the change of the identity weights from which on it is worth while."""


class RestFrames:
    """Of one driver."""

    def __init__(self, settings: RestFramesSettings | None = None) -> None:
        self._settings = settings or RestFramesSettings()
        self.reset()

    def reset(self) -> None:
        """Another driver."""
        self._kept: list[FaceObservation] = []
        self._from_s: float | None = None
        self._full = False
        self._person: NDArray[np.floating] | None = None
        self._found: list[HeadParams] | None = None
        self._worked_s = 0.0

    def begin(self, looks: list[FaceObservation], person: NDArray[np.floating]) -> None:
        """Another driver, of whose first second these are the frames, made out with these identity weights (N,)."""
        self.reset()
        self._kept, self._person, self._full, self._from_s = list(looks), person.copy(), True, looks[0].pts_s

    def see(self, observation: FaceObservation, person: NDArray[np.floating], again: Callable[[FaceObservation], HeadParams | None]) -> list[HeadParams] | None:
        """After each frame in which a face was made out; returns the rest frames as they look by now, when all of them have been made out anew.

        Args: `person` (N,) the identity weights of this frame; `again` makes out an earlier frame with what is known now.
        """
        settings, at_s = self._settings, observation.pts_s
        if self._from_s is None or at_s < self._from_s:
            self.reset()
            self._from_s = at_s
        if not self._full:
            self._keep(observation, person, at_s - self._from_s)
            return None
        assert self._person is not None
        if self._found is None:
            if np.linalg.norm(person - self._person) < settings.changed:
                return None
            self._found, self._person = [], person.copy()
        if 0.0 <= at_s - self._worked_s < settings.every_s:
            return None
        self._worked_s = at_s
        params = again(self._kept[len(self._found)])
        if params is None:
            self._found = None
            return None
        self._found.append(params)
        if len(self._found) < len(self._kept):
            return None
        done, self._found = self._found, None
        return done

    def _keep(self, observation: FaceObservation, person: NDArray[np.floating], elapsed_s: float) -> None:
        settings = self._settings
        if elapsed_s >= settings.window_s and self._kept:
            self._full = True
        elif elapsed_s >= len(self._kept) * settings.window_s / settings.frames:
            self._kept.append(observation)
            self._person = person.copy()

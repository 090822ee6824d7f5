"""Calibration without posing: the driver's neutral look, found in what they did in the last seconds.

A frame can be it where the face looks at the camera, with open eyes and a closed mouth, and holds still. Of those the ones with the least expression are
taken, and their median: one frame may be a bad one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN, JAW_OPEN_RAD, group_of
from realtime.errors import Unprocessable
from realtime.neutral import Neutral
from realtime.one_euro import Double

MOUTH_CLOSE = "mouthClose"
"""Closes the lips of an open jaw."""
GAZE_SHAPES = "eyeLook"
PER_DEVIATION = 1.0 / 3.0
"""What a standard deviation of a principal component counts beside an ARKit shape's full weight."""


@dataclass(frozen=True, slots=True)
class BestSettings:
    window_s: float = 5.0
    """How far back a neutral look is searched."""
    shortest_s: float = 0.5
    """A face seen for less than this was not seen at rest."""
    least: int = 6
    """Frames that must be usable, or there is nothing to choose from."""
    taken: int = 9
    """The rest pose is the median of so many, or of all where fewer are usable."""
    turn_rad: tuple[float, float, float] = (0.6, 0.5, 0.35)
    """Pitch, yaw and roll of a face that looks at the camera, which may stand low or a little aside."""
    gaze_rad: float = 0.3
    """A gaze this far off counts as much as any of the limits; it rules no frame out."""
    opened_range: tuple[float, float] = (0.0, 0.5)
    """Closure of an open eye; the driver's own is what a quarter of the frames stay below."""
    lids: float = 0.2
    """More closed than that by so much is no open eye."""
    mouth: float = 0.25
    """An opening of the jaw beyond this is no closed mouth."""
    step_s: float = 0.1
    """In this time a face that holds still changes by at most:"""
    still_expression: float = 0.2
    """any shape,"""
    still_turn_rad: float = 0.06
    """and the head."""


LACKS = {
    "turn": "your face never looked straight at the camera",
    "lids": "your eyes were never quite open",
    "mouth": "your mouth was never closed",
    "motion": "your face never held still",
}
"""Why no frame was usable, by what most frames lacked."""


class BestFrame:
    """Remembers the last seconds of one driver."""

    def __init__(self, names: Sequence[str], lid_weights: Double, settings: BestSettings) -> None:
        """Args: `names` of the driver's expression (D,); `lid_weights` (2, D) what each shape closes of the left and the right lid."""
        self._settings = settings
        self._lid_weights = lid_weights
        self._jaw = np.array([float(name == JAW_OPEN) - float(name == MOUTH_CLOSE) for name in names])
        self._counts = np.array([0.0 if name.startswith(GAZE_SHAPES) else PER_DEVIATION if group_of(name) == "other" else 1.0 for name in names])
        self._frames: deque[tuple[float, Neutral]] = deque()

    def forget(self) -> None:
        """Another driver."""
        self._frames.clear()

    def see(self, frame: Neutral | None, at_s: float) -> None:
        """The frame of that time (seconds); None: no face in it."""
        if self._frames and at_s <= self._frames[-1][0]:
            self._frames.clear()
        while self._frames and at_s - self._frames[0][0] > self._settings.window_s:
            self._frames.popleft()
        if frame is not None:
            self._frames.append((at_s, frame))

    def find(self) -> Neutral:
        """The most neutral look.

        Raises:
            Unprocessable: there was none; the message says what it lacked.
        """
        settings = self._settings
        if not self._frames:
            raise Unprocessable(f"no face was seen in the last {settings.window_s:g} seconds: look at the camera and try again")
        if self._frames[-1][0] - self._frames[0][0] < settings.shortest_s:
            raise Unprocessable("your face has only just come into view: relax for a moment and try again")
        frames = [frame for _, frame in self._frames]
        expression = np.stack([frame.expression for frame in frames])
        excess = self._excess(frames, expression)
        usable = np.flatnonzero(np.all([values <= 1.0 for values in excess.values()], axis=0))
        if len(usable) < settings.least:
            lacking = max(excess, key=lambda name: int((excess[name] > 1.0).sum()))
            raise Unprocessable(f"in the last {settings.window_s:g} seconds {LACKS[lacking]}: relax for a moment and try again")
        gaze = np.abs(np.stack([frame.gaze for frame in frames])).max(1, initial=0.0) / settings.gaze_rad
        cost = np.abs(expression) @ self._counts + gaze + np.sum(list(excess.values()), axis=0)
        chosen = usable[np.argsort(cost[usable], kind="stable")[: settings.taken]]
        return Neutral.median([frames[index] for index in chosen])

    def _excess(self, frames: list[Neutral], expression: Double) -> dict[str, Double]:
        """(N,) of each thing that a neutral look needs: 0 ideal, 1 just good enough."""
        settings = self._settings
        turn = np.stack([frame.turn for frame in frames])
        closure = (expression @ self._lid_weights.T).max(1)
        opened = np.clip(np.percentile(closure, 25.0), *settings.opened_range)
        opening = expression @ self._jaw + (0.0 if self._jaw.any() else np.array([frame.jaw[0] for frame in frames]) / JAW_OPEN_RAD)
        return {
            "turn": (np.abs(turn) / np.array(settings.turn_rad)).max(1),
            "lids": np.maximum(closure - opened, 0.0) / settings.lids,
            "mouth": np.maximum(opening, 0.0) / settings.mouth,
            "motion": self._motion(expression, turn),
        }

    def _motion(self, expression: Double, turn: NDArray[np.float64]) -> Double:
        """(N,) how far each frame is from those a step and half a step before it; infinite where the face was not there yet."""
        settings = self._settings
        times = np.array([at_s for at_s, _ in self._frames])
        motion = np.zeros(len(times))
        for step_s in (settings.step_s, 0.5 * settings.step_s):
            before = np.searchsorted(times, times - step_s, side="right") - 1
            known = (before >= 0) & (times - times[before] <= 2.0 * settings.step_s)
            changed = np.abs(expression - expression[before]).max(1, initial=0.0) / settings.still_expression
            turned = np.abs(turn - turn[before]).max(1) / settings.still_turn_rad
            motion = np.where(known, np.maximum(motion, np.maximum(changed, turned)), np.inf)
        return motion

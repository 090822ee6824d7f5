"""Which size and frame rate a bitrate is enough for. Pure: time is an argument.

Too few bits a pixel make blocks and, worse, frames that no longer get smaller: then fewer pixels look better and arrive sooner. The size falls first, since
motion is what makes an avatar live; the frame rate only when the smallest picture is still too much.
"""

from __future__ import annotations

from dataclasses import dataclass

_BITS_PER_PIXEL = 0.075
"""For a talking head at x264's quickest preset: 590 kbit/s for 512 x 512 at 30 frames a second."""
_UP = 1.4
"""A higher step is taken at so many times what it needs: it is not to be left again at the next quiver."""
_DOWN_AFTER_S, _UP_AFTER_S = 0.25, 2.0
"""For so long the bitrate must have called for another step. Downwards it lets a falling target settle, since every step costs a keyframe."""
_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """A share of the picture's width and height, and which part of the frames is sent: every one, every second…"""

    scale: float = 1.0
    every: int = 1

    @property
    def cost(self) -> float:
        """In pixels a second, relative to the whole picture at the full rate."""
        return self.scale**2 / self.every


STEPS = (Step(), Step(0.75), Step(0.5), Step(0.5, 2))


def scaled(length: int, step: Step) -> int:
    """Width or height in pixels at a step; even, as 4:2:0 needs it."""
    return max(2, 2 * round(length * step.scale / 2))


class Ladder:
    """Remembers the step, and since when another one would be right."""

    def __init__(self) -> None:
        self._index = 0
        self._changed_s: float | None = None
        self._wish = 0
        self._wished_s = 0.0

    @property
    def step(self) -> Step:
        return STEPS[self._index]

    def choose(self, bitrate: int, pixel_rate: float, now_s: float) -> Step:
        """The step for the frame that comes now.

        Args:
            bitrate: the target in bits a second.
            pixel_rate: width x height of the whole picture x frames a second.
        """
        wish = self._wanted(bitrate, _BITS_PER_PIXEL * pixel_rate)
        direction, before = wish - self._index, self._wish - self._index
        if direction * before <= 0:
            self._wished_s = now_s  # it has only begun to call for this direction
        self._wish = wish
        held_s = now_s - self._wished_s
        rested = self._changed_s is None or now_s - self._changed_s >= _REST_S
        if direction and rested and held_s >= (_DOWN_AFTER_S if direction > 0 else _UP_AFTER_S):
            self._index, self._changed_s = wish, now_s
        return self.step

    def _wanted(self, bitrate: int, whole: float) -> int:
        enough = [index for index, step in enumerate(STEPS) if bitrate >= step.cost * whole * (_UP if index < self._index else 1.0)]
        return enough[0] if enough else len(STEPS) - 1

"""When a frame may pass, and what time stamp it carries. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

CLOCK_HZ = 90_000
"""RTP's clock for video (RFC 3551, section 5)."""


class FrameRateCap:
    """Lets frames through at most `fps` times a second, judged by their own presentation times, which do not jitter as arrivals do."""

    SLACK = 0.25
    """A frame may come this part of an interval early: cameras are not exact."""

    def __init__(self, fps: float) -> None:
        self._interval_s = 1.0 / fps
        self._due_s: float | None = None
        self._last_s = 0.0

    def admit(self, pts_s: float) -> bool:
        """Whether the frame with this presentation time is to be used. A clock that jumps starts anew."""
        jumped = self._due_s is None or not 0.0 <= pts_s - self._last_s < 1.0
        self._last_s = pts_s
        if self._due_s is None or jumped:
            self._due_s = pts_s + self._interval_s
            return True
        if pts_s < self._due_s - self.SLACK * self._interval_s:
            return False
        self._due_s = max(self._due_s, pts_s - self._interval_s) + self._interval_s
        return True


class Spacing(Generic[Item]):
    """Hands things on at most so often: one that comes in time at once, and of those that come too soon the newest, when it is time.

    Args:
        interval_s: the least time between two.
        hand_on: takes them.
        later: calls a function after so many seconds.
        clock: seconds.
    """

    def __init__(
        self, interval_s: float, hand_on: Callable[[Item], None], later: Callable[[float, Callable[[], None]], object], clock: Callable[[], float]
    ) -> None:
        self._interval_s = interval_s
        self._hand_on = hand_on
        self._later = later
        self._clock = clock
        self._due_s = clock()
        self._newest: list[Item] = []

    def offer(self, item: Item) -> None:
        waits = bool(self._newest)
        self._newest = [item]
        left_s = self._due_s - self._clock()
        if left_s <= 0.0 and not waits:
            self._pass()
        elif not waits:
            self._later(left_s, self._pass)

    def _pass(self) -> None:
        self._due_s = self._clock() + self._interval_s
        self._hand_on(self._newest.pop())


class OutputClock:
    """Time stamps of the stream that is sent back: those of the webcam frames while they flow, shifted to go on where placeholders left off.

    Strictly increasing, whatever comes in.
    """

    REANCHOR_S = 0.25
    """How far the two clocks may drift apart before the shift is set anew."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._shift_s: float | None = None
        self._last = -1

    def stamp(self, now_s: float, source_pts_s: float | None = None) -> int:
        """The 90 kHz time stamp of a frame that is sent now.

        Args:
            now_s: this process's monotonic clock.
            source_pts_s: presentation time of the webcam frame behind it; None: there is none (a placeholder, a repeat).
        """
        if self._start_s is None:
            self._start_s = now_s
        elapsed_s = now_s - self._start_s
        if source_pts_s is None:
            stamp_s = elapsed_s
        else:
            if self._shift_s is None or abs(source_pts_s + self._shift_s - elapsed_s) > self.REANCHOR_S:
                self._shift_s = elapsed_s - source_pts_s
            stamp_s = source_pts_s + self._shift_s
        self._last = max(self._last + 1, round(stamp_s * CLOCK_HZ))
        return self._last

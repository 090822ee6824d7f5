"""How long a session may stay: while somebody moves, and at most so long. Told some time before. Time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WARNED_S = 60.0
"""Before the end; of a short stay, half of it."""


class End(StrEnum):
    """Why a session ends though nothing is wrong with it; what the page is told."""

    IDLE = "idle"
    """Nobody moved: no face, no command."""
    EXPIRED = "expired"
    """It was there as long as one may be."""


@dataclass(frozen=True, slots=True)
class Notice:
    """To be given to the page."""

    end: End
    left_s: float
    """Until then; 0: it is over."""


class Stay:
    """Of one session.

    Args:
        idle_s, longest_s: 0: without an end.
        now_s: when it began.
    """

    def __init__(self, idle_s: float, longest_s: float, now_s: float) -> None:
        self._allowed_s = {End.IDLE: idle_s, End.EXPIRED: longest_s}
        self._since_s = {End.IDLE: now_s, End.EXPIRED: now_s}
        self._warned: set[End] = set()

    def stirred(self, now_s: float) -> None:
        """Somebody moved."""
        self._since_s[End.IDLE] = now_s
        self._warned.discard(End.IDLE)

    def look(self, now_s: float) -> Notice | None:
        """What the page should be told now; a warning comes once for each time that nobody moved."""
        for end, allowed_s in self._allowed_s.items():
            left_s = self._since_s[end] + allowed_s - now_s
            if allowed_s and left_s <= 0:
                return Notice(end, 0.0)
            if allowed_s and left_s <= min(WARNED_S, allowed_s / 2) and end not in self._warned:
                self._warned.add(end)
                return Notice(end, left_s)
        return None

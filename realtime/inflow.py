"""How many messages a client may send on its control channel. Who sends more is told once and their messages are let go unread; who goes on has to leave."""

from __future__ import annotations

from enum import Enum, auto

from realtime.rates import Allowance, Bucket

MESSAGES = Allowance(burst=1200, per_s=240)
"""A slider sends at most one message a picture of its screen."""
PATIENCE = 20_000
"""So many messages of one flood are let go."""
CALM = 0.5
"""A flood is over once so much of the burst has been saved up again."""


class Verdict(Enum):
    """On one message."""

    READ = auto()
    TELL = auto()
    """Let go, and the first of a flood."""
    LET_GO = auto()
    LEAVE = auto()


class Inflow:
    """Of one session."""

    def __init__(self, now_s: float) -> None:
        self._bucket = Bucket(MESSAGES, now_s)
        self._let_go = 0

    def judge(self, now_s: float) -> Verdict:
        """A message came."""
        if self._bucket.take(now_s) == 0:
            if self._bucket.share_left >= CALM:
                self._let_go = 0
            return Verdict.READ
        self._let_go += 1
        if self._let_go > PATIENCE:
            return Verdict.LEAVE
        return Verdict.TELL if self._let_go == 1 else Verdict.LET_GO

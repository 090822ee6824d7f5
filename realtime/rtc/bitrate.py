"""How many bits a second to send, from what the receiver says of the path. Pure: time is an argument.

Three voices: the receiver's estimate (REMB, draft-alvestrand-rmcat-remb-03), and the loss and the round trip time that its reports tell of (RFC 3550,
section 6.4).

An estimate grows with what is received, so an avatar before a still background, which needs few bits, is estimated low. Following that down would blur it for
nothing. A jam is told by an estimate that falls, and falls below what is really being sent: the receiver's controller answers overuse with 0.85 of the
incoming rate (draft-ietf-rmcat-gcc-02, section 5.5). One that stands still tells nothing: Chromium's does so for many seconds after a jam, over or not. What
it would miss, the round trip time shows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_WINDOW_S = 1.0
_JAM = 0.95
_FALL = 0.995
"""An estimate below this part of the one before falls."""
_LINGER_S = 2.0
"""For so long after an estimate fell, a low one that no longer falls still means a jam: the queue drains."""
_SOME_QUEUE_S, _LONG_QUEUE_S = 0.08, 0.25
"""Beyond the first the target is held, beyond the second it falls."""
_RELIEF = 0.85
_CALM_S = 2.0
"""Without a jam or heavy loss for so long, the target grows again."""
_HOLD_S = 1.5
"""A report with some loss holds the target until well after the next report is due."""
_HEAVY_LOSS, _SOME_LOSS = 0.10, 0.02
"""draft-ietf-rmcat-gcc-02, section 6: above the first the rate falls, below the second it may grow."""
_GROWTH, _CAREFUL_GROWTH = 1.8, 1.08
"""Factors a second; the second, of draft-ietf-rmcat-gcc-02, section 5.5, for rates near the one that last jammed the path, or never tried."""
_NEAR, _NEAR_S = 1.3, 5.0
"""As long as this after a jam, and not far below the estimate that told of it, the target is near the rate that jams."""
_MOST_ELAPSED_S = 1.0
_USED = 0.7


@dataclass(frozen=True, slots=True)
class BitrateRange:
    """Bits a second: what a stream begins with, and the bounds of what a governor may make of it; lowest <= start <= highest."""

    start: int
    lowest: int
    highest: int


class BitrateGovernor:
    """Decides the target: down at once, up smoothly over a few seconds. All of it runs in one thread; any thread may read `target`."""

    def __init__(self, bounds: BitrateRange) -> None:
        self._bounds = bounds
        self.target = bounds.start
        """Bits a second."""
        self.loss = 0.0
        """Fraction of packets lost, 0…1, as of the last report."""
        self._advanced_s: float | None = None
        self._wait_until_s = 0.0
        self._jammed_s: float | None = None
        self._fell_s: float | None = None
        self._jammed_at = 0
        self._estimate: int | None = None
        self._sent: deque[tuple[float, int]] = deque()
        self._sent_bytes = 0

    def sent(self, size: int, now_s: float) -> None:
        """`size` bytes left. Also lets the target grow for the time that has passed."""
        self._sent.append((now_s, size))
        self._sent_bytes += size
        self._forget(now_s)
        self._grow(now_s)

    def sending(self, now_s: float) -> float:
        """Bits a second that really left, over the last second."""
        self._forget(now_s)
        return 8 * self._sent_bytes / _WINDOW_S

    def estimate(self, bitrate: int, now_s: float) -> None:
        """The receiver believes that so many bits a second can arrive. One estimate halves the target at most."""
        previous, self._estimate = self._estimate, bitrate
        if bitrate >= _JAM * self.sending(now_s):
            return
        if previous is not None and bitrate < _FALL * previous:
            self._fell_s = now_s
        if not self._recently(self._fell_s, now_s):
            return
        self._jammed_s = now_s
        self._jammed_at = bitrate
        self._wait(now_s + _CALM_S)
        self._lower(max(bitrate, self.target // 2))

    def report(self, loss: float, now_s: float) -> None:
        """This fraction of packets, 0…1, was lost of late; tell it about once a second."""
        self.loss = loss
        if loss > _HEAVY_LOSS and not self._recently(self._jammed_s, now_s):  # the jam has lowered the target already
            self._lower(round(self.target * (1 - 0.5 * loss)))
            self._wait(now_s + _CALM_S)
        elif loss >= _SOME_LOSS:
            self._wait(now_s + _HOLD_S)

    def queueing(self, delay_s: float, now_s: float) -> None:
        """Packets wait for so many seconds on the way."""
        if delay_s < _SOME_QUEUE_S:
            return
        self._wait(now_s + _HOLD_S)
        if delay_s > _LONG_QUEUE_S and not self._recently(self._jammed_s, now_s):
            self._jammed_s = now_s
            self._jammed_at = round(_RELIEF * self.target)
            self._lower(self._jammed_at)
            self._wait(now_s + _CALM_S)

    def _forget(self, now_s: float) -> None:
        while self._sent and now_s - self._sent[0][0] > _WINDOW_S:
            self._sent_bytes -= self._sent.popleft()[1]

    @staticmethod
    def _recently(then_s: float | None, now_s: float) -> bool:
        return then_s is not None and now_s - then_s <= _LINGER_S

    def _wait(self, until_s: float) -> None:
        self._wait_until_s = max(self._wait_until_s, until_s)

    def _lower(self, bitrate: int) -> None:
        self.target = min(self.target, max(bitrate, self._bounds.lowest))

    def _grow(self, now_s: float) -> None:
        """Up to the start in any case and soon, beyond it slowly and only as far as it is used."""
        elapsed_s = 0.0 if self._advanced_s is None else min(max(now_s - self._advanced_s, 0.0), _MOST_ELAPSED_S)
        if now_s < self._wait_until_s or self._advanced_s is None:
            self._advanced_s = now_s
            return
        returning = self.target < self._bounds.start
        limit = self._bounds.start if returning else self._bounds.highest
        near = self._jammed_s is not None and now_s - self._jammed_s < _NEAR_S and self._jammed_at < _NEAR * self.target
        factor = (_GROWTH if returning and not near else _CAREFUL_GROWTH) ** elapsed_s
        grown = round(self.target * factor)
        if grown == self.target:
            return  # too short a time to count: it is kept for the next call
        self._advanced_s = now_s
        if self.target < limit and (returning or self.sending(now_s) >= _USED * self.target):
            self.target = min(limit, grown)

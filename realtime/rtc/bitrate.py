"""How many bits a second to send: what was asked for, less only while the receiver's estimate shows a real jam. Pure: time is an argument.

A receiver's estimate (REMB) grows with what it receives, so an avatar before a still background, which needs few bits, is estimated low. Following that down
would blur it for nothing. A jam is told by an estimate below what is really being sent: the receiver's controller answers overuse with 0.85 of the incoming
rate (draft-ietf-rmcat-gcc-02, section 6).
"""

from __future__ import annotations

from collections import deque

_WINDOW_S = 1.0
_JAM = 0.95
_FLOOR = 150_000
_LOWER_EVERY_S = 1.0
_RAISE_AFTER_S = 5.0


class BitrateGovernor:
    """Decides the target; changes are rare, for each costs a keyframe."""

    def __init__(self, bitrate: int) -> None:
        self._highest = bitrate
        self.target = bitrate
        """Bits a second."""
        self._changed_s = -_RAISE_AFTER_S
        self._jammed_s = -_RAISE_AFTER_S
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, size: int, now_s: float) -> None:
        """`size` bytes of video left."""
        self._sent.append((now_s, size))
        while now_s - self._sent[0][0] > _WINDOW_S:
            self._sent.popleft()

    def estimate(self, bitrate: int, now_s: float) -> None:
        """The receiver believes that so many bits a second can arrive."""
        sending = 8 * sum(size for at, size in tuple(self._sent) if now_s - at <= _WINDOW_S) / _WINDOW_S
        if bitrate < _JAM * sending:
            self._jammed_s = now_s
            if bitrate < self.target and now_s - self._changed_s >= _LOWER_EVERY_S:
                self.target, self._changed_s = max(bitrate, _FLOOR), now_s
        elif self.target < self._highest and now_s - max(self._jammed_s, self._changed_s) >= _RAISE_AFTER_S:
            self.target, self._changed_s = min(self._highest, 2 * self.target), now_s

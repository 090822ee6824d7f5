"""Loss and queueing on the way to the peer, from its receiver reports, and how many frames there are to send. Pure: time is an argument."""

from __future__ import annotations

from collections import deque

_REPORT_S, _REPORT_PACKETS = 0.5, 20
_WINDOW_S, _APART_S = 30.0, 0.2
_SMOOTHING, _LOWEST_RATE, _HIGHEST_RATE = 0.1, 10.0, 120.0


class LossMeter:
    """Loss over half a second or more, from the running totals in receiver reports (RFC 3550, section 6.4.1).

    A browser in trouble sends dozens of reports a second; what each says of the few packets since the one before counts for nothing.
    """

    def __init__(self) -> None:
        self._since: tuple[int, int, float] | None = None

    def report(self, lost: int, highest: int, now_s: float) -> float | None:
        """The fraction lost since the last answer, 0…1; None while that is too short a time.

        Args:
            lost: cumulative number of packets lost.
            highest: extended highest sequence number received.
        """
        if self._since is None:
            self._since = lost, highest, now_s
            return None
        lost_before, highest_before, at_s = self._since
        expected = highest - highest_before
        if now_s - at_s < _REPORT_S or 0 <= expected < _REPORT_PACKETS:
            return None
        self._since = lost, highest, now_s
        return min(1.0, max(0, lost - lost_before) / expected) if expected > 0 else None


class DelayMeter:
    """How long packets queue: the round trip time above the shortest of the last half minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.rtt_s: float | None = None
        """The last round trip time, in seconds."""

    def sample(self, rtt_s: float, now_s: float) -> float:
        """A round trip took `rtt_s` seconds; returns for how many of them it queued."""
        self.rtt_s = rtt_s
        while self._samples and not 0.0 <= now_s - self._samples[0][0] <= _WINDOW_S:
            self._samples.popleft()
        if not self._samples or now_s - self._samples[-1][0] >= _APART_S or rtt_s < self._samples[-1][1]:
            self._samples.append((now_s, rtt_s))
        return rtt_s - min(rtt for _, rtt in self._samples)


class FrameRateMeter:
    """How many frames a second come, smoothed over some ten of them."""

    def __init__(self, expected: float) -> None:
        self._interval_s = 1 / expected

    def tick(self, passed_s: float) -> float:
        """A frame comes so many seconds after the one before; returns frames a second, 10…120."""
        self._interval_s += _SMOOTHING * (min(max(passed_s, 1 / _HIGHEST_RATE), 1 / _LOWEST_RATE) - self._interval_s)
        return 1 / self._interval_s

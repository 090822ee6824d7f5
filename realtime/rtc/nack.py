"""Which packets of a stream are missing, when to ask for them (again), and when to ask for a keyframe instead. Pure: the clock is passed in.

aiortc asks for a packet when a new gap appears and never on its own again: where the retransmission is lost too, its picture stands still until the jitter
buffer overflows, seconds later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

MAX_GAP = 64
"""Packets. A longer gap is given up for a keyframe: senders keep few old packets (aiortc 128), and as many retransmissions would hold the keyframe up."""
MAX_LISTED = 256
MAX_AGE = 3000
"""Packets behind the newest; farther is a restarted sender (as in realtime/rtc/jitter.py)."""
FIRST_ROUND_TRIP_S = 0.06
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.01, 0.1
MAX_ROUND_TRIP_S = 1.0
TAIL_S, MAX_TAIL_S = 0.015, 0.1
"""How long a frame without its marked last packet may stay quiet before the next packet is asked for; longer for senders that pause within frames."""
_REPEATED = 1.25
"""Each time a packet is asked for again, the wait grows by this factor, to `MAX_INTERVAL_S`: neither a long round trip nor an outage makes a storm."""
PATIENCE_S, MAX_PATIENCE_S = 0.2, 0.4
"""How old a hole gets before a keyframe is asked for. More than the shorter one only where a retransmission takes longer than that to come."""
ASK_AGAIN_S = 0.4


class RoundTrip:
    """How long an answer takes: smoothed as RFC 6298, section 2 says, and by Karn's rule only from answers to a single question."""

    def __init__(self) -> None:
        self.smoothed_s: float | None = None
        """None before the first measurement."""
        self._variation_s = 0.0
        self.timeout_s = FIRST_ROUND_TRIP_S
        """After so long without an answer, ask again."""

    @property
    def seconds(self) -> float:
        """The smoothed round trip, or what is assumed before any is measured."""
        return FIRST_ROUND_TRIP_S if self.smoothed_s is None else self.smoothed_s

    def measured(self, sample_s: float) -> None:
        """An answer took so long."""
        if self.smoothed_s is None:
            self.smoothed_s, self._variation_s = sample_s, sample_s / 2
        else:
            self._variation_s += (abs(self.smoothed_s - sample_s) - self._variation_s) / 4
            self.smoothed_s += (sample_s - self.smoothed_s) / 8
        self.timeout_s = min(max(self.smoothed_s + 2 * self._variation_s, MIN_INTERVAL_S), MAX_ROUND_TRIP_S)

    def ambiguous(self) -> None:
        """An answer came after several questions. The longer wait is kept until the next clear answer, else a round trip that grew would never be measured."""
        self.timeout_s = min(1.5 * self.timeout_s, MAX_ROUND_TRIP_S)


@dataclass(slots=True)
class _Loss:
    noticed_s: float
    asked_s: float
    times: int = 1

    def due_s(self, timeout_s: float) -> float:
        return self.asked_s + max(timeout_s, min(timeout_s * _REPEATED ** (self.times - 1), MAX_INTERVAL_S))


class LossList:
    """In the place of aiortc's `NackGenerator`: `add` says whether a packet shows new gaps, `missing` holds these, which are then asked for at once.

    A gap is shown by a later packet, or by silence in the middle of a frame. A whole frame before a pause cannot be missed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ssrc: int | None = None
        self._highest = 0
        self._losses: dict[int, _Loss] = {}
        self._burst = False
        self._told_apart = self._retransmitted = self._marks = False
        self._open_s: float | None = None
        self._tail_s = TAIL_S
        self._guess: int | None = None
        self.missing: list[int] = []
        """Sequence numbers that the last packet showed to be missing."""
        self.round_trip = RoundTrip()
        self.asked = 0
        """Packets asked for, repetitions included."""

    def __len__(self) -> int:
        return len(self._losses)

    @property
    def ssrc(self) -> int | None:
        """Whose packets these are; None before the first."""
        return self._ssrc

    def expect(self, retransmitted: bool) -> None:
        """Says whether the next packet comes in a retransmission stream (RFC 4588). Once one has, a packet that fills a gap otherwise was only late."""
        self._told_apart = self._told_apart or retransmitted
        self._retransmitted = retransmitted

    def add(self, packet: RtpPacket) -> bool:
        """Notes a packet that came. Returns whether it shows that others are missing."""
        now, number = self._clock(), packet.sequence_number
        self.missing = []
        ahead = uint16_add(number, -self._highest)
        if packet.ssrc != self._ssrc or MAX_AGE < 0x10000 - ahead <= 0x8000:
            self._ssrc = packet.ssrc
            self._losses.clear()
        elif ahead == 0 or ahead >= 0x8000:
            self._came(number, now)
            return False
        elif ahead > MAX_GAP + 1:
            self._burst = True
            self._losses.clear()
        else:
            self._came(number, now)
            self._list([uint16_add(self._highest, step) for step in range(1, ahead)], now)
        self._highest = number
        self._marks = self._marks or bool(packet.marker)
        self._open_s = now if self._marks and not packet.marker and packet.payload else None
        return bool(self.missing)

    def pop_burst(self) -> bool:
        """Whether a gap too long to be asked for has appeared since the last call."""
        burst, self._burst = self._burst, False
        return burst

    def noticed_s(self, number: int) -> float | None:
        """When a packet was found missing; None where it is not listed."""
        loss = self._losses.get(number)
        return None if loss is None else loss.noticed_s

    def forget_before(self, number: int) -> None:
        """Packets before this one are of no use any more."""
        for each in [each for each in self._losses if uint16_gt(number, each)]:
            del self._losses[each]

    def next_s(self) -> float | None:
        """When to ask again; None while nothing is missing."""
        timeout_s = self.round_trip.timeout_s
        due = [loss.due_s(timeout_s) for loss in self._losses.values()]
        return min(due if self._open_s is None else [*due, self._open_s + self._tail_s], default=None)

    def due(self, now_s: float) -> list[int]:
        """What to ask for again now; it counts as asked for."""
        timeout_s = self.round_trip.timeout_s
        numbers = [number for number, loss in self._losses.items() if loss.due_s(timeout_s) <= now_s]
        for number in numbers:
            self._losses[number].asked_s = now_s
            self._losses[number].times += 1
        if self._open_s is not None and self._open_s + self._tail_s <= now_s:
            self._guess, self._open_s = uint16_add(self._highest, 1), None
            self._losses[self._guess] = _Loss(now_s, now_s)
            numbers.append(self._guess)
        self.asked += len(numbers)
        return sorted(numbers)

    def _list(self, numbers: list[int], now_s: float) -> None:
        self.missing = [each for each in numbers if each not in self._losses]
        self._losses.update((each, _Loss(now_s, now_s)) for each in self.missing)
        for each in list(self._losses)[: max(0, len(self._losses) - MAX_LISTED)]:
            del self._losses[each]
        self.asked += len(self.missing)

    def _came(self, number: int, now_s: float) -> None:
        loss = self._losses.pop(number, None)
        if number == self._guess:
            self._tail_s = max(self._tail_s / 2, TAIL_S) if self._retransmitted else min(self._tail_s * 2, MAX_TAIL_S)
            self._guess = None
            if not self._retransmitted:
                return
        if loss is None or (self._told_apart and not self._retransmitted):
            return
        if loss.times == 1:
            self.round_trip.measured(now_s - loss.asked_s)
        else:
            self.round_trip.ambiguous()


class KeyframeRequests:
    """When to ask for a keyframe: at once where nothing else can help, else when a hole has waited too long; then again until one comes."""

    def __init__(self) -> None:
        self._asked_s: float | None = None
        self.asked = 0

    def next_s(self, starved_s: float | None, hole_s: float | None, round_trip_s: float) -> float | None:
        """When to ask.

        Args:
            starved_s: since when nothing can be decoded and no keyframe is on its way; None: it is not so.
            hole_s: since when a missing packet has held frames back; None: none does.

        Returns:
            a time, which may have passed; None: there is no need.
        """
        patience_s = min(max(PATIENCE_S, 1.25 * round_trip_s), MAX_PATIENCE_S)
        needs = [at for at in (starved_s, None if hole_s is None else hole_s + patience_s) if at is not None]
        if not needs:
            return None
        again_s = -float("inf") if self._asked_s is None else self._asked_s + max(ASK_AGAIN_S, 2 * round_trip_s)
        return max(min(needs), again_s)

    def ask(self, now_s: float) -> None:
        """Notes that it was asked for."""
        self._asked_s = now_s
        self.asked += 1

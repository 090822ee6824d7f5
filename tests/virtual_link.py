"""A sender, a lossy path and the repair behind it, in virtual time: what a loss costs, to the millisecond and the same on every machine."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from aiortc.rtp import RtpPacket

from realtime.rtc.uplink import Repair
from tests.rtp_stream import NAMES, STEP, packet, payloads_of

FPS = 30
HISTORY = 128
"""Packets that aiortc's sender can send again."""
SPACING_S = 0.0005


@dataclass
class Shown:
    """A frame that reached the decoder."""

    index: int
    key: bool
    delay_s: float
    """Since its last packet was sent for the first time."""


@dataclass
class VirtualLink:
    """Sends a video of `frames` frames through it.

    Args:
        up, down: whether something is lost on its way to, or back from, the receiver: given the time and the packet (None for what is asked for).
        delay_s: of each direction.
        packets: in each frame; a keyframe has three times as many.
        spread_s: each packet takes up to so much longer on its way up, and others overtake it.
    """

    payload_type: int
    up: Callable[[float, RtpPacket | None, bool], bool]
    """(time, packet, whether it is sent again)."""
    down: Callable[[float], bool] = lambda _: False
    delay_s: float = 0.01
    packets: int = 6
    spread_s: float = 0.0
    now: float = 0.0
    shown: list[Shown] = field(default_factory=list)
    keyframes: int = 0
    """Made because they were asked for."""

    def __post_init__(self) -> None:
        self.repair = Repair(NAMES.__getitem__, lambda: self.now)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._random = random.Random(1)
        self._history: dict[int, RtpPacket] = {}
        self._sent: dict[bytes, tuple[int, bool, float]] = {}
        self._wanted_keyframe = True
        self._number = 65_000
        self._timer_s: float | None = None

    def run(self, frames: int) -> VirtualLink:
        for index in range(frames):
            self._at(index / FPS, lambda index=index: self._send(index))  # type: ignore[misc]
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()
        return self

    def delays(self) -> dict[int, float]:
        """Of each frame that was shown, by its index."""
        return {each.index: each.delay_s for each in self.shown}

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), act))

    def _send(self, index: int) -> None:
        key, self._wanted_keyframe = self._wanted_keyframe, False
        self.keyframes += key and index > 0
        payloads = payloads_of(self.payload_type, b"frame %06d|" % index * 8, self.packets * (3 if key else 1), key)
        frame = [packet(self.payload_type, self._number + at, index * STEP, each, at == len(payloads) - 1) for at, each in enumerate(payloads)]
        self._number += len(frame)
        self._sent[b"".join(each._data for each in frame)] = (index, key, self.now + (len(frame) - 1) * SPACING_S)  # type: ignore[attr-defined]
        for at, each in enumerate(frame):
            self._history[each.sequence_number % HISTORY] = each
            self._carry(each, self.now + at * SPACING_S, again=False)

    def _carry(self, each: RtpPacket, at_s: float, again: bool) -> None:
        if not self.up(at_s, each, again):
            self._at(at_s + self.delay_s + self._random.uniform(0, self.spread_s), lambda: self._receive(each, again))

    def _receive(self, each: RtpPacket, again: bool) -> None:
        self.repair.losses.expect(retransmitted=again)
        if self.repair.losses.add(each):
            self._ask(self.repair.losses.missing, False)
        self.repair.frames.add(each)
        for frame in self.repair.frames.take():
            index, key, sent_s = self._sent[frame.data]
            self.shown.append(Shown(index, key, self.now - sent_s))
        self.repair.review()
        self._give_feedback()

    def _give_feedback(self) -> None:
        feedback = self.repair.feedback()
        if feedback.packets or feedback.keyframe:
            self._ask(feedback.packets, feedback.keyframe)
        self._timer_s = self.repair.next_s()
        if self._timer_s is not None:
            at_s = max(self._timer_s, self.now)
            self._at(at_s, lambda: self._give_feedback() if self._timer_s == at_s else None)

    def _ask(self, numbers: list[int], keyframe: bool) -> None:
        if not self.down(self.now):
            self._at(self.now + self.delay_s, lambda: self._answer(numbers, keyframe))

    def _answer(self, numbers: list[int], keyframe: bool) -> None:
        self._wanted_keyframe = self._wanted_keyframe or keyframe
        for number in numbers:
            each = self._history.get(number % HISTORY)
            if each is not None and each.sequence_number == number:
                self._carry(each, self.now, again=True)


def losing(share: float, seed: int) -> Callable[..., bool]:
    """Loses at random."""
    generator = random.Random(seed)
    return lambda *_: generator.random() < share

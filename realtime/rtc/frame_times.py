"""When each webcam frame came, and when all of it was there: what receiving and decoding took is known once it is decoded. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

CAPACITY = 64
"""Frames that are remembered; those that are never decoded must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Received:
    """The way of one frame to the decoder, in seconds of one clock."""

    first_s: float
    """Its first packet came."""
    complete_s: float
    """It went to the decoder."""


class FrameTimes:
    """Keyed first by RTP timestamp, then by the presentation time that the decoder is told."""

    def __init__(self) -> None:
        self._first_s: OrderedDict[int, float] = OrderedDict()
        self._received: OrderedDict[int, Received] = OrderedDict()

    def packet(self, timestamp: int, now_s: float) -> None:
        """A packet of the frame with this RTP timestamp came."""
        if timestamp not in self._first_s:
            self._first_s[timestamp] = now_s
            if len(self._first_s) > CAPACITY:
                self._first_s.popitem(last=False)

    def complete(self, timestamp: int, pts: int, now_s: float) -> None:
        """The frame goes to the decoder, as `pts`."""
        self._received[pts] = Received(self._first_s.pop(timestamp, now_s), now_s)
        if len(self._received) > CAPACITY:
            self._received.popitem(last=False)

    def take(self, pts: int) -> Received | None:
        """The way of a frame that was decoded; None where it is not known (any more)."""
        return self._received.pop(pts, None)

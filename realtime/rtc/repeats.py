"""Which lost packets are sent again.

A jammed path loses and delays; a receiver that asks again and again for what still waits in the queue would fill the path with copies until nothing else gets
through. So no packet is repeated within a round trip of its last copy, and copies get a share of the target only: what stays lost, a keyframe replaces.

Bends: `_handle_rtcp_packet` of one `RTCRtpSender` (tests/test_repeats.py).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiortc import RTCRtpSender
from aiortc.rtp import RTCP_RTPFB_NACK, AnyRtcpPacket, RtcpRtpfbPacket

logger = logging.getLogger(__name__)

SHARE = 0.25
"""Of the target bitrate: enough for the copies, and the copies of copies, of every fifth packet."""
BURST_BYTES = 12 * 1300
_SHORTEST_S = 0.01
_REMEMBERED = 1024
_PACKET_BYTES = 1300


class RepeatGate:
    """Decides for one stream. Pure: time is an argument."""

    def __init__(self) -> None:
        self._repeated_s: dict[int, float] = {}
        self._tokens = float(BURST_BYTES)
        self._filled_s: float | None = None

    def admit(self, wanted: Sequence[int], bitrate: int, rtt_s: float | None, now_s: float) -> list[int]:
        """Those of the sequence numbers asked for that are to be sent again now.

        Args:
            bitrate: the target in bits a second.
            rtt_s: round trip time in seconds; None: not known yet.
        """
        passed_s = 0.0 if self._filled_s is None else max(0.0, now_s - self._filled_s)
        self._filled_s = now_s
        self._tokens = min(float(BURST_BYTES), self._tokens + passed_s * SHARE * bitrate / 8)
        apart_s = max(_SHORTEST_S, rtt_s or 0.0)
        admitted = []
        for number in wanted:
            last_s = self._repeated_s.get(number)
            if self._tokens < _PACKET_BYTES or (last_s is not None and 0.0 <= now_s - last_s < apart_s):
                continue
            self._tokens -= _PACKET_BYTES
            self._repeated_s.pop(number, None)
            self._repeated_s[number] = now_s
            admitted.append(number)
        while len(self._repeated_s) > _REMEMBERED:
            del self._repeated_s[next(iter(self._repeated_s))]
        return admitted


def handles_rtcp_as_expected(sender: object) -> bool:
    """Whether a sender has the method that is bent here and in downlink.py."""
    stock = getattr(sender, "_handle_rtcp_packet", None)
    return inspect.iscoroutinefunction(stock) and list(inspect.signature(stock).parameters) == ["packet"]


def limit_repeats(sender: RTCRtpSender, bitrate: Callable[[], int], rtt_s: Callable[[], float | None], clock: Callable[[], float]) -> bool:
    """Lets a sender hear only of lost packets that are to be sent again. False, with a warning, where aiortc is not as expected.

    Args:
        bitrate: the target of the moment, in bits a second.
        rtt_s: the round trip time of the moment, in seconds.
    """
    if not handles_rtcp_as_expected(sender):
        logger.warning("this version of aiortc handles RTCP in another way: a jammed path may be filled with repetitions")
        return False
    stock, gate = sender._handle_rtcp_packet, RepeatGate()

    async def handle(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            packet = replace(packet, lost=gate.admit(packet.lost, bitrate(), rtt_s(), clock()))
        await stock(packet)

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]
    return True

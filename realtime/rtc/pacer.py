"""Spreads large frames over a few milliseconds, so that a keyframe neither overflows a router's queue nor waits in it before everything that follows.

Only packets that the sender's own task sends are ever held back. Retransmissions and RTCP leave at once, for they come from other tasks.

Bends: the transport of one `RTCRtpSender`, by its public `setTransport`, and its private RTP task (tests/test_pacer.py).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCDtlsTransport, RTCRtpSender

logger = logging.getLogger(__name__)

BURST_BYTES = 12 * 1300
"""What always goes at once: a usual frame at 2.5 Mbit/s has eight packets."""
SPEED = 6.0
"""Times the target bitrate, beyond a burst. Usual frames may be half as large again as the mean, and are not to wait."""
LONGEST_S = 0.015
"""However large a frame is, it is spread over no more than this: half a frame interval."""
_USUAL_FRAMES = 1.5
_FRAME_RATE = 30
_SHORTEST_WAIT_S = 0.001
_TASK = "_RTCRtpSender__rtp_task"
_MARKER = 0x80


class TokenBucket:
    """How long to wait after each packet. Pure: time is an argument."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._burst = float(BURST_BYTES)
        self._tokens = math.inf  # full, whatever the first burst
        self._filled_s: float | None = None

    def begin(self, frame_bytes: int, bitrate: int) -> None:
        """A frame of this size follows, at a target of this many bits a second."""
        self._burst = max(float(BURST_BYTES), _USUAL_FRAMES * bitrate / 8 / _FRAME_RATE)
        self._rate = max(SPEED * bitrate / 8, (frame_bytes - self._burst) / LONGEST_S)

    def take(self, size: int, now_s: float) -> float:
        """A packet of `size` bytes leaves; returns the seconds until the next one may."""
        passed_s = 0.0 if self._filled_s is None else now_s - self._filled_s
        self._filled_s = now_s
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate) - size
        return max(0.0, -self._tokens / self._rate) if self._rate > 0 else 0.0


class PacedTransport:
    """A DTLS transport as one sender sees it: all of it is passed on, packets of the sender's own task in time.

    Args:
        frame: asked at the beginning of a frame: its size in bytes, and the target in bits a second.
        on_sent: told the size in bytes of every packet, repeated ones and RTCP included, and when it left.
    """

    def __init__(
        self,
        transport: RTCDtlsTransport,
        sender: RTCRtpSender,
        frame: Callable[[], tuple[int, int]],
        on_sent: Callable[[int, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stock = transport
        self._sender = sender
        self._frame = frame
        self._on_sent = on_sent
        self._clock = clock
        self._bucket = TokenBucket()
        self._begins = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)

    async def _send_rtp(self, data: bytes) -> None:
        await self._stock._send_rtp(data)
        now = self._clock()
        self._on_sent(len(data), now)
        if asyncio.current_task() is not getattr(self._sender, _TASK):
            return
        if self._begins:
            self._bucket.begin(*self._frame())
        wait_s = self._bucket.take(len(data), now)
        self._begins = bool(data[1] & _MARKER)
        if wait_s >= _SHORTEST_WAIT_S and not self._begins:  # after the last packet there is nothing to hold back
            await asyncio.sleep(wait_s)


def pace(sender: RTCRtpSender, frame: Callable[[], tuple[int, int]], on_sent: Callable[[int, float], None], clock: Callable[[], float]) -> bool:
    """Puts a `PacedTransport` between a sender that has not begun yet and its transport. False, with a warning, where aiortc is not as expected."""
    if not (hasattr(sender, "setTransport") and hasattr(sender, _TASK) and hasattr(getattr(sender, "transport", None), "_send_rtp")):
        logger.warning("this version of aiortc has another sender: keyframes leave in one burst, and the bitrate follows the network less closely")
        return False
    sender.setTransport(PacedTransport(sender.transport, sender, frame, on_sent, clock))  # type: ignore[arg-type]
    return True

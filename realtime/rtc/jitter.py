"""Releases a video frame when its last packet is there, not when the next frame begins: one frame interval less delay.

aiortc's jitter buffer ends a frame at the first packet with another timestamp. The sender says more: the marker bit is set on the last packet of a frame
(RFC 7741, section 4.1 for VP8; RFC 6184, section 5.1 for H.264). The stock rule stays as the fallback for senders that do not.

Bends: the private jitter buffer of an `RTCRtpReceiver`, and the private fields of `JitterBuffer` (tests/test_rtc.py holds both to what is used here).
"""

from __future__ import annotations

import logging

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

logger = logging.getLogger(__name__)

_BUFFER = "_RTCRtpReceiver__jitter_buffer"


class MarkerJitterBuffer(JitterBuffer):
    """The stock buffer, and the marker rule where the stock one has nothing to release yet."""

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = super()._remove_frame(sequence_number)
        return frame if frame is not None else self._marked_frame()

    def _marked_frame(self) -> JitterFrame | None:
        if self._origin is None:
            return None
        packets: list[RtpPacket] = []
        for count in range(self._capacity):
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data=b"".join(each._data for each in packets), timestamp=packets[0].timestamp)  # type: ignore[attr-defined]
        return None


def release_at_marker(receiver: RTCRtpReceiver) -> bool:
    """Gives a video receiver that has not begun yet the buffer above. False, with a warning, where aiortc is not as expected: then it stays as it was."""
    stock = getattr(receiver, _BUFFER, None)
    if type(stock) is not JitterBuffer or any(not hasattr(stock, name) for name in ("_origin", "_packets", "_capacity", "_remove_frame", "_is_video")):
        logger.warning("this version of aiortc has another jitter buffer: webcam frames arrive one frame interval later")
        return False
    setattr(receiver, _BUFFER, MarkerJitterBuffer(capacity=stock.capacity, is_video=True))
    return True

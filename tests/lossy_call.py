"""A call of two aiortc peers through a bad network: one sends stamped pictures, the other receives them, repaired or as aiortc does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.codecs import CODECS, is_rtx
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import MediaStreamError

from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.uplink import Uplink, improve_uplink
from tests.fakes import read_stamp, stamp
from tests.frames import frames_of
from tests.relay import Relay, relaying

SIZE, FPS, CLOCK_HZ = 256, 30, 90_000
BITRATE = 2_000_000
_ENCODER = "_RTCRtpSender__encoder"
_RTX = {each.payloadType for each in CODECS["video"] if is_rtx(each)}
_VIDEO = {each.payloadType for each in CODECS["video"]} - _RTX


def is_video(data: bytes) -> bool:
    """Whether a datagram holds a packet of the video sent for the first time; the header is never encrypted (RFC 3711, section 3.1)."""
    return len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F in _VIDEO


def is_last(data: bytes) -> bool:
    """Whether the packet is marked as its frame's last."""
    return bool(data[1] & 0x80)


def is_retransmission(data: bytes) -> bool:
    """Whether a datagram holds a packet that is sent again."""
    return len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F in _RTX


class Camera(MediaStreamTrack):
    """Noise, so that a frame takes several packets, with the frame's number stamped in."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._noise = np.random.default_rng(1).integers(90, 150, (8, SIZE, SIZE), dtype=np.uint8)
        self._start = 0.0
        self.sent: dict[int, float] = {}
        """When each frame was handed to the encoder, by its number."""

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._start = self._start or time.monotonic()
        number = max(max(self.sent, default=-1) + 1, int((time.monotonic() - self._start) * FPS))
        await asyncio.sleep(max(0.0, self._start + number / FPS - time.monotonic()))
        planes = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
        planes[:SIZE] = self._noise[number % len(self._noise)]
        stamp(planes[:SIZE], number)
        frame = av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
        frame.pts, frame.time_base = number * CLOCK_HZ // FPS, Fraction(1, CLOCK_HZ)
        self.sent[number] = time.monotonic()
        return frame


class _SteadyVp8(Vp8Encoder):
    """aiortc's at one bitrate: its own would make a keyframe at every change, and hide what the receiver does."""

    target_bitrate = property(lambda _: BITRATE, lambda _, estimate: None)


class _SteadyH264(H264Encoder):
    target_bitrate = property(lambda _: BITRATE, lambda _, estimate: None)


@dataclass
class LossyCall:
    """What goes on; `shown` grows."""

    relay: Relay
    camera: Camera
    uplink: Uplink | None
    shown: list[tuple[float, int | None]] = field(default_factory=list)
    """When each frame came, and the number read in it."""

    async def take(self, track: MediaStreamTrack) -> None:
        async for frame in frames_of(track):
            self.shown.append((time.monotonic(), read_stamp(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)[:SIZE])))

    def longest_pause_s(self, since_s: float) -> float:
        """Between frames, from then to now."""
        times = [since_s, *[at for at, _ in self.shown if at > since_s], time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))


@asynccontextmanager
async def lossy_call(codec: str, repaired: bool, seed: int = 1) -> AsyncIterator[LossyCall]:
    """Begins once the first frame has come over a network that is still good."""
    sender, receiver = RTCPeerConnection(RTCConfiguration(iceServers=[])), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    camera = Camera()
    sending = sender.addTransceiver(camera, "sendonly")
    sending.setCodecPreferences([each for each in RTCRtpSender.getCapabilities("video").codecs if each.mimeType in (f"video/{codec}", "video/rtx")])
    setattr(sending.sender, _ENCODER, _SteadyVp8() if codec == "VP8" else _SteadyH264())
    tracks: list[MediaStreamTrack] = []
    receiver.on("track", tracks.append)
    offer_addresses(sender, Addressing(loopback=True))
    await sender.setLocalDescription(await sender.createOffer())
    async with relaying(seed) as relay:
        await receiver.setRemoteDescription(sender.localDescription)
        call = LossyCall(relay, camera, improve_uplink(receiver.getTransceivers()[0].receiver) if repaired else None)
        taking = asyncio.create_task(call.take(tracks[0]))
        offer_addresses(receiver, Addressing(loopback=True))
        await receiver.setLocalDescription(await receiver.createAnswer())
        await sender.setRemoteDescription(RTCSessionDescription(await relay.between(receiver.localDescription.sdp), "answer"))
        try:
            async with asyncio.timeout(15):
                while len(call.shown) < 10:
                    await asyncio.sleep(0.01)
            yield call
        finally:
            if call.uplink is not None:
                call.uplink.close()
            await sender.close()
            await receiver.close()
            taking.cancel()

"""Targets that come over UDP once it is decrypted: RTP into the receiver that is bent here, RTCP into the sender, coded pictures into the decoders.

STUN, DTLS, SRTP and SCTP are taken apart by aioice, OpenSSL, libsrtp and aiortc, and are not bent: at their port only noise is thrown, by
tests/fuzz/test_front_door.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.mediastreams import VideoStreamTrack
from aiortc.rtcdtlstransport import RtpRouter
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import HeaderExtensionsMap, RtcpPacket, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket, RtpPacket

from realtime.config import Encoder
from realtime.rtc import uplink
from realtime.rtc.bitrate import BitrateRange
from realtime.rtc.downlink import DownlinkSettings, improve_downlink
from realtime.rtc.frame_size import is_absurd
from realtime.rtc.uplink import improve_uplink
from tests.coded import h264_sps, vp8_keyframe
from tests.fuzz.target import Target
from tests.rtp_stream import H264, SSRC, VP8, video

RTX = 98


def packed(*datagrams: bytes) -> bytes:
    """One input of several datagrams, each with its length before it."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in datagrams)


def unpacked(data: bytes) -> Iterator[bytes]:
    """The datagrams of an input."""
    at = 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


class _Transport:
    """In the place of a DTLS transport."""

    state = "connected"
    _stats_id = "transport"

    def __init__(self) -> None:
        self._rtp_router = RtpRouter()
        self.sent = 0

    async def _send_rtp(self, data: bytes) -> None:
        self.sent += len(data)


def rtp() -> Target:
    """What the network may do to a camera's packets, and what a sender of its own making may send."""
    loop = asyncio.new_event_loop()
    codecs = {
        VP8: RTCRtpCodecParameters("video/VP8", 90_000, payloadType=VP8),
        H264: RTCRtpCodecParameters("video/H264", 90_000, payloadType=H264),
        RTX: RTCRtpCodecParameters("video/rtx", 90_000, payloadType=RTX, parameters={"apt": VP8}),
    }

    async def receive(data: bytes) -> None:
        receiver, now = RTCRtpReceiver("video", _Transport()), [0.0]  # type: ignore[arg-type]
        improved = improve_uplink(receiver, lambda: now[0])
        assert improved.active
        getattr(receiver, uplink._CODECS).update(codecs)
        setattr(receiver, uplink._THREAD, SimpleNamespace(join=lambda: None))
        getattr(receiver, f"{uplink._P}__rtx_ssrc")[SSRC + 1] = SSRC
        receiver._set_rtcp_ssrc(1)
        for datagram in unpacked(data):
            now[0] += 0.004
            with suppress(ValueError):
                await receiver._handle_rtp_packet(RtpPacket.parse(datagram, HeaderExtensionsMap()), 0)
        assert getattr(receiver, uplink._QUEUE).qsize() <= len(data)
        improved.close()

    seeds = []
    for kind in (VP8, H264):
        packets = [packet for frame in video(kind, [True, False, False, True], [2, 1, 3, 2]) for packet in frame.packets]
        seeds.append(packed(*(packet.serialize() for packet in packets)))
        again = RtpPacket(RTX, 0, 5, packets[1].timestamp, SSRC + 1, packets[1].sequence_number.to_bytes(2, "big") + packets[1].payload)
        seeds.append(packed(packets[0].serialize(), *(packet.serialize() for packet in packets[2:]), again.serialize()))
    return Target(
        lambda data: loop.run_until_complete(receive(data)),
        tuple(seeds),
        (b"\x80\x61", b"\x80\xe1", b"\x80\x63", b"\x90", b"\xbe\xde\x00\x01", b"\x78", b"\x7c\x85"),
    )


def rtcp() -> Target:
    """Reports and requests for what is sent, all of whose handlers are bent."""
    loop = asyncio.new_event_loop()
    track = VideoStreamTrack()
    settings = DownlinkSettings(Encoder.AUTO, BitrateRange(1_000_000, 100_000, 2_000_000))

    async def hear(data: bytes) -> None:
        transport: Any = _Transport()
        sender = RTCRtpSender(track, transport)
        improve_downlink(sender, "VP8", settings, lambda milliseconds: None, lambda: 1.0)
        sender._ssrc = SSRC
        for datagram in unpacked(data):
            with suppress(ValueError):
                for packet in RtcpPacket.parse(datagram):
                    await sender._handle_rtcp_packet(packet)
        assert transport.sent <= 100_000

    report = RtcpReceiverInfo(ssrc=SSRC, fraction_lost=20, packets_lost=3, highest_sequence=70_000, jitter=9, lsr=7, dlsr=8)
    nack = RtcpRtpfbPacket(fmt=1, ssrc=2, media_ssrc=SSRC, lost=[1, 2, 500])
    each = (RtcpRrPacket(ssrc=2, reports=[report]), nack, RtcpPsfbPacket(fmt=1, ssrc=2, media_ssrc=SSRC))
    seeds = (packed(*(bytes(packet) for packet in each)), packed(b"".join(bytes(packet) for packet in each)))
    return Target(lambda data: loop.run_until_complete(hear(data)), seeds, (b"\x81\xcd", b"\x8f\xce", b"REMB", b"\x81\xc9\x00\x07", SSRC.to_bytes(4, "big")))


def coded_sizes() -> Target:
    """What is read of a coded picture before any decoder sees it."""

    def feed(data: bytes) -> None:
        is_absurd("VP8", data)
        is_absurd("H264", data)

    sets = (h264_sps(640, 480), h264_sps(16368, 16368) + b"\x00\x00\x01\x68\xce\x3c\x80", b"\x00\x00\x01\x67\x64\x00\x1f" + bytes(range(60)))
    return Target(feed, (vp8_keyframe(640, 480), *sets), (b"\x00\x00\x01\x67", b"\x9d\x01\x2a", b"\x00\x00\x03"))


def coded_pictures() -> Target:
    """The decoders behind that: FFmpeg's H.264 and libvpx, as aiortc opens them."""
    picture = av.VideoFrame(64, 48, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes(index * 7 % 256 for index in range(plane.buffer_size)))
    seeds = []
    for name in ("libvpx", "libx264"):
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuv420p", Fraction(1, 30)
        context.options = {"profile": "baseline", "preset": "ultrafast", "tune": "zerolatency"} if name == "libx264" else {"deadline": "realtime"}
        coded = []
        for index in range(3):
            picture.pts = index
            coded += [bytes(packet) for packet in context.encode(picture)]
        seeds.append(packed(*coded, *(bytes(packet) for packet in context.encode(None))))

    def feed(data: bytes) -> None:
        for name, decoder in (("VP8", "libvpx"), ("H264", "h264")):
            context = av.CodecContext.create(decoder, "r")
            assert isinstance(context, av.VideoCodecContext)
            context.thread_count = 1
            for frame in unpacked(data):
                if frame and not is_absurd(name, frame):
                    with suppress(av.error.FFmpegError):
                        for each in context.decode(av.Packet(frame)):
                            assert each.width * each.height <= 4096 * 2304

    return Target(feed, tuple(seeds), (b"\x00\x00\x01\x65", b"\x00\x00\x01\x67", b"\x00\x00\x01\x68", b"\x9d\x01\x2a"))

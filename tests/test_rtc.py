"""Holds aiortc and aioice to what realtime/rtc bends: on another version one of these fails, and the server falls back to stock behaviour with a warning."""

from __future__ import annotations

import inspect
import itertools
import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

from realtime.rtc import encoder, jitter
from realtime.rtc.bitrate import BitrateGovernor
from realtime.rtc.encoder import AvatarH264Encoder, AvatarVp8Encoder
from realtime.rtc.jitter import MarkerJitterBuffer

SIZE = 128


def packet(number: int, timestamp: int, data: bytes, marker: bool) -> RtpPacket:
    made = RtpPacket(payload_type=96, marker=int(marker), sequence_number=number & 0xFFFF, timestamp=timestamp)
    made._data = data  # type: ignore[attr-defined]
    return made


def released(buffer: JitterBuffer, packets: list[RtpPacket]) -> list[tuple[int, int, bytes]]:
    """(index of the packet that released it, timestamp, data) of every frame."""
    found = []
    for index, each in enumerate(packets):
        _, frame = buffer.add(each)
        if frame is not None:
            found.append((index, frame.timestamp, frame.data))
    return found


def stream(markers: bool, start: int = 65_533) -> list[RtpPacket]:
    """Three frames of 2, 1 and 3 packets; sequence numbers wrap."""
    shape = [(0, b"a"), (0, b"b"), (3000, b"c"), (6000, b"d"), (6000, b"e"), (6000, b"f")]
    last = {1, 2, 5}
    return [packet(start + index, timestamp, data, markers and index in last) for index, (timestamp, data) in enumerate(shape)]


def test_a_frame_is_released_by_its_marked_packet() -> None:
    buffer = MarkerJitterBuffer(capacity=16, is_video=True)
    assert released(buffer, stream(markers=True)) == [(1, 0, b"ab"), (2, 3000, b"c"), (5, 6000, b"def")]


def test_without_markers_the_stock_rule_stays() -> None:
    ours = released(MarkerJitterBuffer(capacity=16, is_video=True), stream(markers=False))
    assert ours == released(JitterBuffer(capacity=16, is_video=True), stream(markers=False)) == [(2, 0, b"ab"), (3, 3000, b"c")]


def test_packets_out_of_order_and_gaps() -> None:
    packets = stream(markers=True)
    swapped = [packets[0], packets[2], packets[1], *packets[3:]]
    assert [data for _, _, data in released(MarkerJitterBuffer(capacity=16, is_video=True), swapped)] == [b"ab", b"c", b"def"]
    gap = [packets[0], packets[2], packets[3]]
    assert released(MarkerJitterBuffer(capacity=16, is_video=True), gap) == []


def test_contract_of_the_jitter_buffer() -> None:
    stock = JitterBuffer(capacity=16, is_video=True)
    assert set(vars(stock)) == {"_capacity", "_origin", "_packets", "_prefetch", "_is_video"}
    assert list(inspect.signature(JitterBuffer._remove_frame).parameters) == ["self", "sequence_number"]
    assert list(inspect.signature(JitterFrame).parameters) == ["data", "timestamp"]


async def test_contract_of_the_receiver() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video").receiver
    assert jitter.release_at_marker(receiver)
    assert isinstance(getattr(receiver, jitter._BUFFER), MarkerJitterBuffer)
    assert getattr(receiver, jitter._BUFFER).capacity == 512
    assert "self.__jitter_buffer.add(packet)" in inspect.getsource(RTCRtpReceiver._handle_rtp_packet)
    await peer.close()


async def test_another_receiver_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Other:
        pass

    with caplog.at_level(logging.WARNING):
        assert not jitter.release_at_marker(Other())  # type: ignore[arg-type]
        assert not encoder.use_avatar_encoder(Other(), "VP8", 1_000_000, lambda _: None)  # type: ignore[arg-type]
    assert len(caplog.records) == 2


def frames(count: int) -> list[av.VideoFrame]:
    """A moving gradient."""
    made = []
    for index in range(count):
        picture = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
        picture[:SIZE] = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) + 5 * index) % 200 + 20
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = 3000 * index, Fraction(1, 90_000)
        made.append(frame)
    return made


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((picture[:SIZE].astype(float) - reference[:SIZE].astype(float)) ** 2)))


def test_vp8_round_trip_keeps_times_and_picture() -> None:
    timings: list[float] = []
    avatar_encoder, decoder = AvatarVp8Encoder(2_000_000, timings.append), Vp8Decoder()
    for frame in frames(10):
        payloads, timestamp = avatar_encoder.encode(frame)
        assert timestamp == frame.pts
        assert all(len(payload) <= 1300 for payload in payloads)
        decoded = decoder.decode(JitterFrame(b"".join(vp8_depayload(payload) for payload in payloads), timestamp))
        assert isinstance(decoded[0], av.VideoFrame)
        assert psnr(decoded[0].to_ndarray(), frame.to_ndarray()) > 33
    assert len(timings) == 10


def test_h264_round_trip_keeps_times_and_picture() -> None:
    avatar_encoder, decoder = AvatarH264Encoder(2_000_000, lambda _: None), H264Decoder()
    for frame in frames(10):
        payloads, timestamp = avatar_encoder.encode(frame)
        assert timestamp == frame.pts
        data = b"".join(encoder_depayload(payload) for payload in payloads)
        decoded = decoder.decode(JitterFrame(data, timestamp))
        assert isinstance(decoded[0], av.VideoFrame)
        assert psnr(decoded[0].to_ndarray(), frame.to_ndarray()) > 33


def encoder_depayload(payload: bytes) -> bytes:
    from aiortc.codecs.h264 import h264_depayload

    return h264_depayload(payload)


@pytest.mark.parametrize("make", [AvatarVp8Encoder, AvatarH264Encoder])
def test_keyframes_only_when_asked_for(make: type[AvatarVp8Encoder | AvatarH264Encoder]) -> None:
    avatar_encoder = make(2_000_000, lambda _: None)
    kinds = []
    for index, frame in enumerate(frames(12)):
        avatar_encoder.encode(frame, force_keyframe=index == 6)
        kinds.append(frame.pict_type == av.video.frame.PictureType.I)
    assert kinds == [False] * 6 + [True] + [False] * 5
    assert avatar_encoder._context is not None


@pytest.mark.parametrize("make", [AvatarVp8Encoder, AvatarH264Encoder])
def test_a_new_size_is_encoded_at_once(make: type[AvatarVp8Encoder | AvatarH264Encoder]) -> None:
    avatar_encoder = make(1_000_000, lambda _: None)
    avatar_encoder.encode(frames(1)[0])
    small = av.VideoFrame(64, 96, "yuv420p")
    small.pts, small.time_base = 3000, Fraction(1, 90_000)
    payloads, _ = avatar_encoder.encode(small)
    assert payloads


async def test_contract_of_the_sender() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    assert encoder.use_avatar_encoder(sender, "VP8", 1_234_000, lambda _: None)
    assert getattr(sender, encoder._ENCODER).target_bitrate == 1_234_000
    assert not encoder.use_avatar_encoder(sender, "VP8", 1_234_000, lambda _: None)
    source = inspect.getsource(RTCRtpSender)
    assert "if self.__encoder is None:" in source
    assert "self.__encoder.target_bitrate = bitrate" in source
    await peer.close()


def test_the_bitrate_holds_while_little_is_sent() -> None:
    governor = BitrateGovernor(2_500_000)
    for step in range(100):
        governor.sent(2000, step / 30)
        governor.estimate(700_000, step / 30)
    assert governor.target == 2_500_000


def test_the_bitrate_gives_way_to_a_jam_and_comes_back() -> None:
    governor, now = BitrateGovernor(2_500_000), 0.0
    targets = []
    for step in range(1500):
        now = step / 30
        governor.sent(governor.target // 8 // 30, now)
        jammed = 3 < now < 8
        governor.estimate(900_000 if jammed else 5_000_000, now)
        targets.append(governor.target)
    assert min(targets) == 900_000
    assert targets[-1] == 2_500_000
    changes = sum(a != b for a, b in itertools.pairwise(targets))
    assert changes <= 6

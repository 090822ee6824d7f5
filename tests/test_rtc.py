"""Holds aiortc and aioice to what realtime/rtc bends: on another version one of these fails, and the server falls back to stock behaviour with a warning."""

from __future__ import annotations

import inspect
import itertools
import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.vpx import Vp8Decoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame

from realtime.rtc import encoder
from realtime.rtc.bitrate import BitrateGovernor
from realtime.rtc.encoder import AvatarH264Encoder, AvatarVp8Encoder

SIZE = 128


async def test_another_receiver_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Other:
        pass

    with caplog.at_level(logging.WARNING):
        assert not encoder.use_avatar_encoder(Other(), "VP8", 1_000_000, lambda _: None)  # type: ignore[arg-type]
    assert len(caplog.records) == 1


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

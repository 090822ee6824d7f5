"""The encoders: what they cost, when they make keyframes, how they follow the target."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.codecs.base import Decoder
from aiortc.codecs.h264 import H264Decoder, h264_depayload
from aiortc.codecs.vpx import Vp8Decoder, VpxPayloadDescriptor, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from realtime.config import ConfigError, Encoder
from realtime.rtc import encoder
from realtime.rtc.bitrate import BitrateGovernor, BitrateRange
from realtime.rtc.debt import Debt
from realtime.rtc.encoder import (
    IMPLEMENTATIONS,
    AvatarH264Encoder,
    AvatarVp8Encoder,
    Implementation,
    check_encoder,
    encoders,
    h264_context,
    nvenc_works,
    shrunk,
    vp8_context,
)
from realtime.rtc.keyframes import KeyframeGate

SIZE = 128
DECODERS = {"VP8": (Vp8Decoder, vp8_depayload), "H264": (H264Decoder, h264_depayload)}
BOTH = pytest.mark.parametrize("name", [Encoder.VP8, Encoder.X264])


@dataclass
class Bench:
    """An encoder on a clock that only frames move."""

    encoder: AvatarVp8Encoder | AvatarH264Encoder
    now: list[float]
    timings: list[float] = field(default_factory=list)

    def encode(self, frame: av.VideoFrame, force_keyframe: bool = False) -> list[bytes]:
        """The payloads; a 32nd of a second passes, which is exact in binary."""
        payloads, timestamp = self.encoder.encode(frame, force_keyframe)
        assert timestamp == frame.pts
        self.now[0] += 1 / 32
        return payloads


def bench(name: Encoder, start: int = 2_000_000, lowest: int = 50_000, highest: int = 4_000_000) -> Bench:
    now, timings = [0.0], list[float]()
    made: Callable[..., AvatarVp8Encoder | AvatarH264Encoder] = AvatarVp8Encoder if name is Encoder.VP8 else AvatarH264Encoder
    governor = BitrateGovernor(BitrateRange(start, lowest, highest))
    return Bench(made(IMPLEMENTATIONS[name], governor, highest, timings.append, lambda: now[0]), now, timings)


def picture(index: int, size: int = SIZE, grain: float = 0.0) -> NDArray[np.uint8]:
    """I420 of a moving gradient, grainy at will."""
    planes = np.full((size * 3 // 2, size), 128, np.uint8)
    luma = (np.add.outer(np.arange(size), np.arange(size)) + 5 * index) % 200 + 20.0
    planes[:size] = np.clip(luma + np.random.default_rng(index).normal(0, grain, luma.shape), 0, 255)
    return planes


def frame_of(planes: NDArray[np.uint8], index: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
    frame.pts, frame.time_base = 3000 * index, Fraction(1, 90_000)
    return frame


def frames(count: int, size: int = SIZE, grain: float = 0.0) -> list[av.VideoFrame]:
    return [frame_of(picture(index, size, grain), index) for index in range(count)]


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((picture.astype(float) - reference.astype(float)) ** 2)))


def decoded(name: Encoder, decoder: Decoder, payloads: list[bytes]) -> av.VideoFrame:
    depayload = DECODERS[IMPLEMENTATIONS[name].codec][1]
    (frame,) = decoder.decode(JitterFrame(b"".join(map(depayload, payloads)), 0))
    assert isinstance(frame, av.VideoFrame)
    return frame


@BOTH
def test_a_round_trip_keeps_times_and_picture(name: Encoder) -> None:
    made, decoder = bench(name), DECODERS[IMPLEMENTATIONS[name].codec][0]()
    for frame in frames(10):
        payloads = made.encode(frame)
        assert all(len(payload) <= 1300 for payload in payloads)
        assert psnr(decoded(name, decoder, payloads).to_ndarray()[:SIZE], frame.to_ndarray()[:SIZE]) > 33
    assert len(made.timings) == 10
    assert made.encoder.size == (SIZE, SIZE)


@BOTH
def test_keyframes_only_when_asked_for_and_at_most_every_half_second(name: Encoder) -> None:
    made = bench(name)
    kinds = []
    for index, frame in enumerate(frames(60)):
        before = made.encoder.keyframes
        made.encode(frame, force_keyframe=index in (3, 4, 30, 31, 33))
        if made.encoder.keyframes > before:
            kinds.append(index)
    assert kinds == [0, 16, 32, 48]  # 3 and 4 wait for half a second after 0; 30, 31 and 33 after 16 and 32


def test_a_gate_keeps_a_wish_until_it_may_be_granted() -> None:
    gate = KeyframeGate(0.5)
    assert not gate.due(0.0)
    gate.made(1.0)
    gate.wish()
    assert [gate.due(now) for now in (1.1, 1.49, 1.5, 1.6)] == [False, False, True, True]
    gate.made(1.6)
    assert not gate.due(9.0)


@BOTH
def test_a_keyframe_that_is_asked_for_from_outside_comes(name: Encoder) -> None:
    made = bench(name)
    moving = iter(frames(60))
    made.encode(next(moving))
    made.encoder.force_keyframe()
    for _ in range(20):
        made.encode(next(moving))
    assert made.encoder.keyframes == 2


def kilobits(sizes: list[int]) -> float:
    return 8 * sum(sizes) / (len(sizes) / 30) / 1000


def test_h264_says_which_colours_it_holds() -> None:
    context, decoder = h264_context(256, 256, 1_500_000), av.CodecContext.create("h264", "r")
    decoded: list[av.VideoFrame] = []
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((384, 256), 128, np.uint8), format="yuv420p")
        frame.pts = 3000 * number
        for packet in context.encode(frame):
            decoded += decoder.decode(packet)
    assert {(frame.colorspace, frame.color_range) for frame in decoded} == {(Colorspace.ITU601, ColorRange.MPEG)}


def test_x264_follows_the_bitrate_without_a_keyframe() -> None:
    """A contract with FFmpeg's wrapper: `bit_rate` of an open context counts, if it was opened at a constant bitrate."""
    context = h264_context(256, 256, 1_500_000, 3_000_000)
    sizes, keyframes = [], []
    for index, frame in enumerate(frames(180, 256, grain=14)):
        context.bit_rate = {60: 300_000, 120: 1_500_000}.get(index, context.bit_rate)
        packets = context.encode(frame)
        sizes.append(sum(packet.size for packet in packets))
        keyframes += [index for packet in packets if packet.is_keyframe]
    assert keyframes == [0]
    assert 1000 < kilobits(sizes[30:60]) < 2000
    assert 150 < kilobits(sizes[90:120]) < 450
    assert kilobits(sizes[150:]) > 800


def test_libvpx_does_not_which_is_why_it_is_rebuilt() -> None:
    context = vp8_context(256, 256, 1_500_000)
    sizes = []
    for index, frame in enumerate(frames(120, 256, grain=8)):
        context.bit_rate = {60: 150_000}.get(index, context.bit_rate)
        sizes.append(sum(packet.size for packet in context.encode(frame)))
    assert kilobits(sizes[90:]) > 0.7 * kilobits(sizes[30:60])


def jam(made: Bench, bitrate: int) -> None:
    """Has the receiver's estimate fall to `bitrate`, far below what is sent."""
    governor = made.encoder.governor
    governor.sent(10_000_000, made.now[0])
    for _ in range(8):
        made.encoder.target_bitrate = 2 * bitrate
        made.encoder.target_bitrate = bitrate
    assert governor.target == bitrate


def test_vp8_is_rebuilt_for_large_changes_only_and_seldom() -> None:
    made = bench(Encoder.VP8, start=2_000_000)
    built: list[int] = []
    for index, frame in enumerate(frames(180)):
        if index == 70:
            jam(made, 1_800_000)
        if index == 80:
            jam(made, 1_200_000)
        if index == 90:
            jam(made, 700_000)
        before = made.encoder.keyframes
        made.encode(frame)
        built += [index] if made.encoder.keyframes > before else []
    assert built == [0, 80, 144]  # 70 is too small a change; 90 waits for two seconds after 80


def test_x264_is_never_rebuilt_for_the_bitrate() -> None:
    made = bench(Encoder.X264, start=2_000_000)
    made.encode(frames(1)[0])
    context = made.encoder._context
    for index, frame in enumerate(frames(60)):
        if index == 20:
            jam(made, 700_000)
        made.encode(frame)
    assert made.encoder._context is context
    assert context is not None
    assert context.bit_rate == pytest.approx(700_000, rel=0.03)
    assert made.encoder.keyframes == 1


@BOTH
def test_a_narrow_path_makes_the_picture_smaller_and_then_the_frames_fewer(name: Encoder) -> None:
    made, decoder = bench(name, start=2_500_000), DECODERS[IMPLEMENTATIONS[name].codec][0]()
    empty, sizes = 0, []
    for index, frame in enumerate(frames(150, 256)):
        if index == 30:
            jam(made, 100_000)
        if index == 90:
            jam(made, 50_000)
        before = getattr(made.encoder, "picture_id", 0)
        payloads = made.encode(frame)
        empty += not payloads
        if payloads:
            sizes.append(decoded(name, decoder, payloads).width)
        elif name is Encoder.VP8:
            assert getattr(made.encoder, "picture_id", 0) == before  # a gap would look like a loss
    assert sizes[0] == 256
    assert 192 in sizes or 128 in sizes
    assert sizes[-1] == 128
    assert made.encoder.size == (128, 128)


def test_every_second_frame_is_left_out_at_the_lowest_step_and_no_wish_with_it() -> None:
    made = bench(Encoder.X264, start=2_500_000, lowest=10_000)
    still = [frame_of(picture(0, 256), index) for index in range(180)]
    made.encode(still[0])
    jam(made, 30_000)
    sent = [bool(made.encode(frame)) for frame in still[1:161]]
    assert made.encoder.step.every == 2
    assert made.encoder.frame_rate == pytest.approx(15)
    assert sum(sent[120:]) == 20
    rest = iter(still[161:] if sent[-1] else still[162:] if made.encode(still[161]) else ())
    before = made.encoder.keyframes
    assert not made.encode(next(rest), force_keyframe=True)
    for frame in rest:
        made.encode(frame)
    assert made.encoder.keyframes == before + 1


def test_frames_are_left_out_until_a_collapsed_target_has_caught_up() -> None:
    made = bench(Encoder.X264, start=2_500_000)
    grainy = frames(180, 256, grain=5)
    before = [len(b"".join(made.encode(frame))) for frame in grainy[:60]]
    jam(made, 250_000)
    after = [len(b"".join(made.encode(frame))) for frame in grainy[60:]]
    assert all(before)
    assert not any(after[1:6])
    assert sum(map(bool, after[60:])) > 50
    assert 8 * sum(after) < 250_000 * (120 / 32 + 0.25) + 8 * before[-1]


def test_the_debt_is_small_in_ordinary_times_and_never_stops_a_stream_for_long() -> None:
    debt = Debt()
    for index in range(300):
        assert not debt.too_high(2_400_000, index / 30)
        debt.add(40_000 if index % 30 == 0 else 8_500)
    debt.add(50_000_000)
    gap = next(step for step in range(100) if not debt.too_high(100_000, 10 + step / 100))
    assert gap <= 76
    assert not debt.too_high(100_000, 5.0)  # a clock that jumps back


@BOTH
def test_a_new_size_is_encoded_at_once(name: Encoder) -> None:
    made = bench(name)
    made.encode(frames(1)[0])
    small = av.VideoFrame(64, 96, "yuv420p")
    small.pts, small.time_base = 3000, Fraction(1, 90_000)
    assert made.encode(small)
    assert made.encoder.size == (64, 96)


@BOTH
@pytest.mark.parametrize("error", [av.FFmpegError(1, "a fake failure"), ValueError("a fake failure"), MemoryError()], ids=lambda error: type(error).__name__)
def test_whatever_an_encoder_raises_costs_a_frame_and_no_more(name: Encoder, error: Exception) -> None:
    made, decoder, failed = bench(name), DECODERS[IMPLEMENTATIONS[name].codec][0](), list[int]()
    made.encoder.on_failed = lambda: failed.append(1)
    first, second, third = frames(3)
    decoded(name, decoder, made.encode(first))
    made.encoder._context = Failing(error)  # type: ignore[assignment]
    assert made.encode(second) == []
    assert psnr(decoded(name, decoder, made.encode(third)).to_ndarray()[:SIZE], third.to_ndarray()[:SIZE]) > 33
    assert (failed, made.encoder.keyframes) == ([1], 2)


@dataclass
class Failing:
    """An encoder in the middle of a stream."""

    error: Exception
    width: int = SIZE
    height: int = SIZE
    bit_rate: int = 2_000_000

    def encode(self, frame: av.VideoFrame) -> NoReturn:
        raise self.error


@BOTH
def test_garbage_from_an_encoder_is_sent_and_nothing_ends(name: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench(name)
    garbage = b"\0\0\1" + bytes(range(256)) * 8 + b"\0\0\1\0\0\1\0\0\0\1"  # NAL units, two of them empty
    monkeypatch.setattr(made.encoder, "_packets", lambda frame, now_s: [av.Packet(garbage)])
    assert made.encode(frames(1)[0]) != []


def test_a_frame_is_shrunk_plane_by_plane() -> None:
    planes = np.zeros((96, 64), np.uint8)
    planes[:64] = np.repeat(np.arange(32, dtype=np.uint8), 2)
    planes[64:80], planes[80:] = 70, 210
    small = shrunk(frame_of(planes, 7), 32, 32)
    assert (small.width, small.height, small.pts, small.time_base) == (32, 32, 21_000, Fraction(1, 90_000))
    array = small.to_ndarray()
    assert np.array_equal(array[:32], np.tile(np.arange(32, dtype=np.uint8), (32, 1)))
    assert (array[32:40] == 70).all()
    assert (array[40:] == 210).all()


def test_what_may_encode() -> None:
    assert encoders(Encoder.AUTO, nvenc=False) == (Encoder.X264, Encoder.VP8)
    assert encoders(Encoder.AUTO, nvenc=True)[0] is Encoder.NVENC
    assert encoders(Encoder.X264, nvenc=True) == (Encoder.X264,)
    assert encoder.implementation(Encoder.X264, "VP8") is None
    assert encoder.implementation(Encoder.AUTO, "H264") is not None


def test_an_absent_graphics_card_is_a_clear_error_only_where_it_was_asked_for() -> None:
    check_encoder(Encoder.AUTO)
    if nvenc_works():
        check_encoder(Encoder.NVENC)
    else:
        with pytest.raises(ConfigError, match=r"^--encoder: expected an NVIDIA graphics card .* use auto, x264 or vp8$"):
            check_encoder(Encoder.NVENC)


@pytest.mark.skipif(not nvenc_works(), reason="needs a graphics card with an encoder")
def test_nvenc_encodes() -> None:
    made, decoder = bench(Encoder.NVENC), H264Decoder()
    for frame in frames(10, 256):
        assert psnr(decoded(Encoder.NVENC, decoder, made.encode(frame)).to_ndarray()[:256], frame.to_ndarray()[:256]) > 33
    assert made.encoder.keyframes == 1


async def test_contract_of_the_sender() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    ours = bench(Encoder.VP8).encoder
    assert encoder.use_encoder(sender, ours)
    assert getattr(sender, encoder._ENCODER) is ours
    assert not encoder.use_encoder(sender, ours)
    source = inspect.getsource(RTCRtpSender)
    assert "if self.__encoder is None:" in source
    assert "self.__encoder.target_bitrate = bitrate" in source
    assert "None, self.__encoder.encode, data, force_keyframe" in source
    assert "if not payloads:\n            return None" in source
    await peer.close()


def test_contract_of_the_packetising() -> None:
    assert list(inspect.signature(AvatarVp8Encoder._packetize).parameters) == ["buffer", "picture_id"]
    assert AvatarVp8Encoder._packetize(b"", 7) == []
    assert AvatarH264Encoder._packetize(AvatarH264Encoder._split_bitstream(b"")) == []
    descriptor, _ = VpxPayloadDescriptor.parse(bench(Encoder.VP8).encode(frames(1)[0])[0])
    assert descriptor.picture_id is not None


def test_another_sender_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not encoder.use_encoder(object(), bench(Encoder.VP8).encoder)  # type: ignore[arg-type]
    assert len(caplog.records) == 1


def test_an_encoder_that_fails_is_built_anew(caplog: pytest.LogCaptureFixture) -> None:
    made = bench(Encoder.VP8)
    made.encode(frames(1)[0])
    with caplog.at_level(logging.WARNING):
        made.encoder._time = -10_000  # libvpx takes no time that runs backwards
        assert made.encode(frames(2)[1]) == []
    assert made.encode(frames(3)[2])
    assert made.encoder.keyframes == 2
    assert len(caplog.records) == 1


@BOTH
def test_time_stamps_that_jump_back_stand_still_or_leap_do_no_harm(name: Encoder) -> None:
    made = bench(name)
    for index in (0, 1, 1, 1, 0, 100_000_000, 3, 2**40, 4):
        assert made.encode(frame_of(picture(index % 50), index))
    assert made.encoder.keyframes == 1


@pytest.mark.parametrize("frame_rate", [15, 20, 60])
def test_x264_keeps_the_bitrate_at_other_frame_rates(frame_rate: int) -> None:
    made = bench(Encoder.X264, start=700_000)
    sizes = []
    for index in range(8 * frame_rate):
        frame = frame_of(picture(index, 256, grain=14), index)
        frame.pts = index * 90_000 // frame_rate
        made.now[0] = index / frame_rate
        sizes.append(sum(map(len, made.encoder.encode(frame)[0])))
    assert made.encoder.frame_rate == pytest.approx(frame_rate, rel=0.05)
    assert 8 * sum(sizes[-4 * frame_rate :]) / 4 == pytest.approx(700_000, rel=0.25)


def test_a_graphics_card_that_fails_is_replaced_by_x264(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: int) -> av.VideoCodecContext:
        raise OSError("no more encoders on this card")

    made = bench(Encoder.X264)
    made.encoder._by = Implementation("H264", fail, follows=False)
    with caplog.at_level(logging.WARNING):
        assert [bool(made.encode(frame)) for frame in frames(3)] == [False, True, True]
    assert made.encoder.keyframes == 1
    assert len(caplog.records) == 1

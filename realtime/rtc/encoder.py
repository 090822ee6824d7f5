"""The encoders of the stream that is sent back: quick, made for a rendered picture, and at the bitrate asked for.

aiortc's own start at 0.5 or 1 Mbit/s, run x264 at its slow default preset, denoise the VP8 input (which blurs a clean picture), and are rebuilt, with a
keyframe, whenever the receiver's estimate moves by a tenth. These subclasses keep its packetising and replace the rest.

Bends: the private encoder of an `RTCRtpSender`, and `_packetize`, `picture_id`, `_split_bitstream` of the stock encoders (tests/test_rtc.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from aiortc import RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from realtime.rtc.bitrate import BitrateGovernor

logger = logging.getLogger(__name__)

_ENCODER = "_RTCRtpSender__encoder"
_FRAME_RATE = 30
OnEncoded = Callable[[float], None]
"""Told how many milliseconds a frame took; called from the thread that encodes."""


def vp8_context(width: int, height: int, bitrate: int) -> VideoCodecContext:
    """libvpx for one realtime stream: constant bitrate, no denoiser, no look-ahead, keyframes on demand only."""
    context: VideoCodecContext = av.CodecContext.create("libvpx", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(_FRAME_RATE, 1), VIDEO_TIME_BASE
    context.bit_rate = bitrate
    context.gop_size = 3000
    context.qmin, context.qmax = 2, 56
    context.thread_count = 1
    context.options = {
        "bufsize": str(bitrate),
        "cpu-used": "-8",
        "deadline": "realtime",
        "lag-in-frames": "0",
        "maxrate": str(bitrate),
        "minrate": str(bitrate),
        "noise-sensitivity": "0",
        "overshoot-pct": "15",
        "partitions": "0",
        "static-thresh": "1",
        "undershoot-pct": "100",
    }
    return context


def h264_context(width: int, height: int, bitrate: int) -> VideoCodecContext:
    """libx264 at its quickest: a twentieth of the default preset's time, no visible loss at the bitrates used here."""
    context: VideoCodecContext = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(_FRAME_RATE, 1), VIDEO_TIME_BASE
    context.bit_rate = bitrate
    context.gop_size = 3000
    context.thread_count = 1
    context.profile = "Baseline"
    context.options = {"level": "31", "preset": "ultrafast", "tune": "zerolatency", "maxrate": str(bitrate), "bufsize": str(bitrate // 2)}
    return context


class _Timed:
    """What both encoders share: a context for the size and bitrate of the moment, and a stopwatch."""

    def _set_up(self, bitrate: int, make: Callable[[int, int, int], VideoCodecContext], on_encoded: OnEncoded, clock: Callable[[], float]) -> None:
        self._governor = BitrateGovernor(bitrate)
        self._make = make
        self._on_encoded = on_encoded
        self._clock = clock
        self._context: VideoCodecContext | None = None
        self._context_bitrate = 0

    @property
    def target_bitrate(self) -> int:
        """Bits a second."""
        return self._governor.target

    @target_bitrate.setter
    def target_bitrate(self, estimate: int) -> None:
        self._governor.estimate(estimate, self._clock())

    def _encoded(self, frame: av.VideoFrame, force_keyframe: bool) -> bytes:
        begin = self._clock()
        target = self._governor.target
        if self._context is None or (self._context.width, self._context.height) != (frame.width, frame.height) or self._context_bitrate != target:
            self._context = self._make(frame.width, frame.height, target)
            self._context_bitrate = target
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        data = b"".join(bytes(packet) for packet in self._context.encode(frame))
        end = self._clock()
        self._governor.sent(len(data), end)
        self._on_encoded((end - begin) * 1e3)
        return data


class AvatarVp8Encoder(_Timed, Vp8Encoder):
    """VP8 for the avatar."""

    def __init__(self, bitrate: int, on_encoded: OnEncoded, clock: Callable[[], float] = time.monotonic) -> None:
        Vp8Encoder.__init__(self)
        self._set_up(bitrate, vp8_context, on_encoded, clock)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        assert isinstance(frame, av.VideoFrame)
        payloads = self._packetize(self._encoded(frame, force_keyframe), self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads, convert_timebase(frame.pts or 0, frame.time_base or VIDEO_TIME_BASE, VIDEO_TIME_BASE)


class AvatarH264Encoder(_Timed, H264Encoder):
    """H.264 (constrained baseline) for the avatar."""

    def __init__(self, bitrate: int, on_encoded: OnEncoded, clock: Callable[[], float] = time.monotonic) -> None:
        H264Encoder.__init__(self)
        self._set_up(bitrate, h264_context, on_encoded, clock)

    def _encode_frame(self, frame: av.VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
        yield from self._split_bitstream(self._encoded(frame, force_keyframe))


def use_avatar_encoder(sender: RTCRtpSender, codec_name: str, bitrate: int, on_encoded: OnEncoded) -> bool:
    """Gives a sender that has not begun yet one of the encoders above.

    Args:
        codec_name: `VP8` or `H264`, as negotiated.
        bitrate: bits a second, at the start and at most.

    Returns:
        False, with a warning, where aiortc is not as expected: then it encodes as it always does.
    """
    encoders: dict[str, Callable[[int, OnEncoded], Vp8Encoder | H264Encoder]] = {"VP8": AvatarVp8Encoder, "H264": AvatarH264Encoder}
    as_expected = (
        getattr(sender, _ENCODER, "absent") is None
        and codec_name in encoders
        and all(hasattr(Vp8Encoder, name) for name in ("_packetize", "encode", "target_bitrate"))
        and all(hasattr(H264Encoder, name) for name in ("_encode_frame", "_split_bitstream", "_packetize", "target_bitrate"))
    )
    if not as_expected:
        logger.warning("this version of aiortc has another sender: the stream is encoded at its own settings, slower and blurrier")
        return False
    setattr(sender, _ENCODER, encoders[codec_name](bitrate, on_encoded))
    return True

"""The encoders of the stream that is sent back: quick, made for a rendered picture, at the bitrate and size of the moment.

aiortc's own start at 0.5 or 1 Mbit/s, run x264 at its slow default preset, denoise the VP8 input (which blurs a clean picture), and are rebuilt, with a
keyframe, whenever the receiver's estimate moves by a tenth. These subclasses keep its packetising and replace the rest.

libx264 follows the bitrate without a new encoder: FFmpeg's wrapper hands it on when `bit_rate` of the open context changes, and x264 obeys if it was opened
at a constant bitrate, that is with `maxrate` equal to `bit_rate`. FFmpeg's libvpx and NVENC cannot, or pay with a keyframe: they are rebuilt, seldom.

Bends: the private encoder of an `RTCRtpSender`, and `_packetize`, `picture_id`, `_split_bitstream` of the stock encoders (tests/test_encoder.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np
from aiortc import RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from av.frame import Frame
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from realtime.config import ConfigError, Encoder
from realtime.pacing import CLOCK_HZ
from realtime.rtc.bitrate import BitrateGovernor
from realtime.rtc.debt import Debt
from realtime.rtc.keyframes import KeyframeGate
from realtime.rtc.ladder import STEPS, Ladder, scaled
from realtime.rtc.meters import FrameRateMeter

logger = logging.getLogger(__name__)

_ENCODER = "_RTCRtpSender__encoder"
_FRAME_RATE = 30
_MOST_CORRECTION = 2.0
_FOLLOW_RATIO = 0.02
_REBUILD_RATIO = 0.25
_REBUILD_EVERY_S = 2.0
_BUFFER_S = 1 / 16
"""x264's rate buffer at the highest bitrate: what a keyframe may be larger than its share. About two frames: more would be delay."""
OnEncoded = Callable[[float], None]
"""Told how many milliseconds a frame took; called from the thread that encodes."""
OnFailed = Callable[[], None]
"""Told of each frame that could not be encoded; called from there too."""


def _context(name: str, width: int, height: int, bitrate: int, options: dict[str, str]) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(_FRAME_RATE, 1), VIDEO_TIME_BASE
    context.bit_rate = bitrate
    context.gop_size = 3000
    context.thread_count = 1
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU601  # untold, Chromium takes H.264 for BT.709: reds come out brighter
    context.options = options
    return context


def vp8_context(width: int, height: int, bitrate: int) -> VideoCodecContext:
    """libvpx for one realtime stream: constant bitrate, no denoiser, no look-ahead, keyframes on demand only and of at most nine frames' share."""
    options = {
        "bufsize": str(bitrate),
        "cpu-used": "-12",
        "deadline": "realtime",
        "lag-in-frames": "0",
        "max-intra-rate": "900",
        "maxrate": str(bitrate),
        "minrate": str(bitrate),
        "noise-sensitivity": "0",
        "overshoot-pct": "15",
        "partitions": "0",
        "rc_init_occupancy": str(bitrate),
        "static-thresh": "1",
        "undershoot-pct": "100",
    }
    context = _context("libvpx", width, height, bitrate, options)
    context.qmin, context.qmax = 2, 56
    return context


def h264_context(width: int, height: int, bitrate: int, highest: int | None = None) -> VideoCodecContext:
    """libx264 at its quickest: a twentieth of the default preset's time, no visible loss at the bitrates used here.

    Args:
        bitrate: bits a second; `bit_rate` of the context may be set to another between two frames.
        highest: what it may be set to at most; None: `bitrate`.
    """
    highest = highest or bitrate
    options = {"level": "31", "preset": "ultrafast", "tune": "zerolatency", "maxrate": str(highest), "bufsize": str(round(highest * _BUFFER_S))}
    context = _context("libx264", width, height, highest, options)
    context.profile = "Baseline"
    context.open()  # at the highest bitrate, which makes x264 take later ones
    context.bit_rate = bitrate
    return context


def nvenc_context(width: int, height: int, bitrate: int) -> VideoCodecContext:
    """H.264 by the graphics card's encoder, at a constant bitrate, keyframes on demand only."""
    options = {
        "bf": "0",
        "bufsize": str(round(bitrate * _BUFFER_S)),
        "delay": "0",
        "forced-idr": "1",
        "maxrate": str(bitrate),
        "preset": "p1",
        "profile": "baseline",
        "rc": "cbr",
        "tune": "ull",
        "zerolatency": "1",
    }
    return _context("h264_nvenc", width, height, bitrate, options)


@dataclass(frozen=True, slots=True)
class Implementation:
    """One way to encode."""

    codec: str
    """`VP8` or `H264`: as negotiated."""
    make: Callable[[int, int, int, int], VideoCodecContext]
    """Of width, height in pixels, bitrate and highest bitrate in bits a second."""
    follows: bool
    """Whether its context takes another `bit_rate` between two frames at no cost."""


IMPLEMENTATIONS = {
    Encoder.VP8: Implementation("VP8", lambda width, height, bitrate, _: vp8_context(width, height, bitrate), follows=False),
    Encoder.X264: Implementation("H264", h264_context, follows=True),
    Encoder.NVENC: Implementation("H264", lambda width, height, bitrate, _: nvenc_context(width, height, bitrate), follows=False),
}


@cache
def nvenc_works() -> bool:
    """Whether this machine encodes on a graphics card: found out once, by doing it."""
    frame = av.VideoFrame(256, 256, "yuv420p")
    frame.pts, frame.time_base = 0, VIDEO_TIME_BASE
    try:
        context = nvenc_context(256, 256, 1_000_000)
        return bool(context.encode(frame) or context.encode(None))
    except (av.FFmpegError, ValueError, OSError) as error:  # no driver, no card, a card without an encoder, a build of FFmpeg without it
        logger.info("no hardware encoder: %s", error)
        return False


def encoders(wanted: Encoder, nvenc: bool) -> tuple[Encoder, ...]:
    """What may be used, best first.

    Args:
        nvenc: whether the graphics card's encoder works.
    """
    if wanted is not Encoder.AUTO:
        return (wanted,)
    return (Encoder.NVENC, Encoder.X264, Encoder.VP8) if nvenc else (Encoder.X264, Encoder.VP8)


def check_encoder(wanted: Encoder) -> None:
    """Raises ConfigError where the encoder that was asked for is not there."""
    if Encoder.NVENC in encoders(wanted, nvenc_works()) and not nvenc_works():
        raise ConfigError("--encoder: expected an NVIDIA graphics card with an encoder and its driver for nvenc, found none; use auto, x264 or vp8")


def implementation(wanted: Encoder, codec_name: str) -> Implementation | None:
    """The best allowed encoder of the codec that was negotiated, such as `VP8`."""
    found = (IMPLEMENTATIONS[each] for each in encoders(wanted, nvenc_works()))
    return next((each for each in found if each.codec == codec_name), None)


def spare(by: Implementation) -> Implementation:
    """What goes on in the place of one that failed: x264 where that makes the codec, for a graphics card may have no more encoders."""
    return IMPLEMENTATIONS[Encoder.X264] if by.codec == "H264" else by


def shrunk(frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """An I420 frame at another, even size; each plane by itself, no conversion of colours."""
    planes = [np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] for plane in frame.planes]
    picture = np.empty((height * 3 // 2, width), np.uint8)
    picture[:height] = cv2.resize(planes[0], (width, height), interpolation=cv2.INTER_AREA)
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    for index in range(2):
        chroma[index] = cv2.resize(planes[1 + index], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    small = av.VideoFrame.from_numpy_buffer(picture, format="yuv420p")
    small.pts, small.time_base = frame.pts, frame.time_base
    return small


class AvatarEncoder:
    """What both codecs share: a context for the size and bitrate of the moment, keyframes on demand, a stopwatch. Encodes in one thread at a time.

    Args:
        highest: bits a second that the target may rise to.
    """

    def __init__(self, made_by: Implementation, governor: BitrateGovernor, highest: int, on_encoded: OnEncoded, clock: Callable[[], float]) -> None:
        self.governor = governor
        self.on_failed: OnFailed = lambda: None
        self.frame_bytes = 0
        """Of the last frame that was encoded."""
        self.keyframes = 0
        """How many were made."""
        self.size = (0, 0)
        """Width and height in pixels of what is sent."""
        self.step = STEPS[0]
        """Which part of the picture's size and of its frames is sent."""
        self.frame_rate = float(_FRAME_RATE)
        """Frames a second that come and are not left out by the step."""
        self._by = made_by
        self._highest = highest
        self._on_encoded = on_encoded
        self._clock = clock
        self._ladder = Ladder()
        self._arrivals = FrameRateMeter(_FRAME_RATE)
        self._count = 0
        self._gate = KeyframeGate()
        self._debt = Debt()
        self._pts = 0
        self._time = 0
        """The encoder's own clock, in ticks: without the frames that debt left out, or libvpx would make the others larger, and the debt with them."""
        self._context: VideoCodecContext | None = None
        self._built_s = 0.0
        self._context_bitrate = 0
        self._failing = False

    @property
    def target_bitrate(self) -> int:
        """Bits a second; aiortc's sender sets it to the receiver's estimate."""
        return self.governor.target

    @target_bitrate.setter
    def target_bitrate(self, estimate: int) -> None:
        self.governor.estimate(estimate, self._clock())

    def force_keyframe(self) -> None:
        """Asks for a keyframe; from any thread."""
        self._gate.wish()

    def _encoded(self, frame: av.VideoFrame, force_keyframe: bool) -> bytes:
        """The bitstream; empty for a frame that is left out."""
        begin = self._clock()
        if force_keyframe:
            self._gate.wish()
        if not self._admits(frame, begin):
            return b""
        self.size = width, height = scaled(frame.width, self.step), scaled(frame.height, self.step)
        if self.size != (frame.width, frame.height):
            frame = shrunk(frame, width, height)
        frame.pict_type = PictureType.I if self._gate.due(begin) else PictureType.NONE
        packets = self._packets(frame, begin)
        data = b"".join(bytes(packet) for packet in packets)
        end = self._clock()
        if any(packet.is_keyframe for packet in packets):
            self.keyframes += 1
            self._gate.made(begin)
        self.frame_bytes = len(data)
        self._debt.add(len(data))
        self._on_encoded((end - begin) * 1e3)
        return data

    def _admits(self, frame: av.VideoFrame, now_s: float) -> bool:
        """Whether the frame is to be sent, at the bitrate of the moment; chooses the step for it."""
        pts = convert_timebase(frame.pts or 0, frame.time_base or VIDEO_TIME_BASE, VIDEO_TIME_BASE)
        passed, self._pts = min(max(pts - self._pts, 1), CLOCK_HZ), pts
        arriving = self._arrivals.tick(passed / CLOCK_HZ)
        self.step = self._ladder.choose(self.governor.target, frame.width * frame.height * arriving, now_s)
        self.frame_rate = arriving / self.step.every
        if self._debt.too_high(self.governor.target, now_s):
            return False
        self._time += passed
        self._count += 1
        return self._count % self.step.every == 0

    def _packets(self, frame: av.VideoFrame, now_s: float) -> list[Packet[VideoStream]]:
        """None where the encoder fails: the next frame gets a new one, or its spare; for any exception would end aiortc's sender for good."""
        stamp = frame.pts, frame.time_base
        frame.pts, frame.time_base = self._time, VIDEO_TIME_BASE
        try:
            packets = self._context_for(frame.width, frame.height, now_s).encode(frame)
        except Exception as error:
            self.on_failed()
            if not self._failing:
                logger.warning("the encoder failed; x264 or a new one goes on in its place: %s", error)
            self._by = spare(self._by)
            self._failing, self._context = True, None
            return []
        finally:
            frame.pts, frame.time_base = stamp
        self._failing = False
        return packets

    def _context_for(self, width: int, height: int, now_s: float) -> VideoCodecContext:
        target = self.governor.target
        context = self._context
        if context is not None and (context.width, context.height) == (width, height):
            if self._by.follows:
                wanted, set_to = min(self._for_frames(target), self._highest), context.bit_rate or 0
                if abs(wanted - set_to) > _FOLLOW_RATIO * set_to:
                    context.bit_rate = wanted
                return context
            moved = abs(target - self._context_bitrate) >= _REBUILD_RATIO * self._context_bitrate
            if not moved or now_s - self._built_s < _REBUILD_EVERY_S:
                return context
        self._context = self._by.make(width, height, target, self._highest)
        self._context_bitrate, self._built_s = target, now_s
        return self._context

    def _for_frames(self, bitrate: int) -> int:
        """x264 counts in frames, of which it expects `_FRAME_RATE` a second, not in time."""
        return round(bitrate * min(max(_FRAME_RATE / self.frame_rate, 1 / _MOST_CORRECTION), _MOST_CORRECTION))


class AvatarVp8Encoder(AvatarEncoder, Vp8Encoder):
    """VP8 for the avatar."""

    def __init__(
        self, made_by: Implementation, governor: BitrateGovernor, highest: int, on_encoded: OnEncoded, clock: Callable[[], float] = time.monotonic
    ) -> None:
        Vp8Encoder.__init__(self)
        AvatarEncoder.__init__(self, made_by, governor, highest, on_encoded, clock)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        assert isinstance(frame, av.VideoFrame)
        payloads = self._packetize(self._encoded(frame, force_keyframe), self.picture_id)
        if payloads:
            self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads, convert_timebase(frame.pts or 0, frame.time_base or VIDEO_TIME_BASE, VIDEO_TIME_BASE)


class AvatarH264Encoder(AvatarEncoder, H264Encoder):
    """H.264 (constrained baseline) for the avatar."""

    def __init__(
        self, made_by: Implementation, governor: BitrateGovernor, highest: int, on_encoded: OnEncoded, clock: Callable[[], float] = time.monotonic
    ) -> None:
        H264Encoder.__init__(self)
        AvatarEncoder.__init__(self, made_by, governor, highest, on_encoded, clock)

    def _encode_frame(self, frame: av.VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
        yield from filter(None, self._split_bitstream(self._encoded(frame, force_keyframe)))  # an empty NAL unit would end aiortc's sender for good


def use_encoder(sender: RTCRtpSender, encoder: AvatarVp8Encoder | AvatarH264Encoder) -> bool:
    """Gives a sender that has not begun yet one of the encoders above.

    Returns:
        False, with a warning, where aiortc is not as expected: then it encodes as it always does.
    """
    as_expected = (
        getattr(sender, _ENCODER, "absent") is None
        and all(hasattr(Vp8Encoder, name) for name in ("_packetize", "encode", "target_bitrate"))
        and all(hasattr(H264Encoder, name) for name in ("_encode_frame", "_split_bitstream", "_packetize", "target_bitrate"))
    )
    if not as_expected:
        logger.warning("this version of aiortc has another sender: the stream is encoded at its own settings, slower and blurrier, whatever the network takes")
        return False
    setattr(sender, _ENCODER, encoder)
    return True

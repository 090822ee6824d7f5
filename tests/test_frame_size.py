"""Sizes that coded pictures claim, against what encoders say and decoders make; and nothing absurd reaches a decoder."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from realtime.rtc.frame_size import MAX_SIDE_PX, _sizes, is_absurd
from tests.coded import h264_sps, vp8_keyframe

PROFILES = {"Baseline": "yuv420p", "High": "yuv420p", "High 4:2:2": "yuv422p", "High 4:4:4 Predictive": "yuv444p"}


def coded(codec: str, width: int, height: int, profile: str | None = None) -> bytes:
    """A keyframe."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.time_base = width, height, Fraction(1, 30)
    context.pix_fmt = "yuv420p" if profile is None else PROFILES[profile]
    if profile is not None:
        context.profile = profile
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24").reformat(format=context.pix_fmt)
    return bytes((context.encode(frame) + context.encode(None))[0])


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (66, 50), (16, 16)])
def test_what_encoders_write(size: tuple[int, int]) -> None:
    assert list(_sizes("VP8", coded("libvpx", *size))) == [size]
    for profile in PROFILES:
        around = tuple(-(-each // 16) * 16 for each in size)
        assert list(_sizes("H264", coded("libx264", *size, profile))) == [around]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_what_is_absurd(codec: str) -> None:
    made = vp8_keyframe if codec == "VP8" else h264_sps
    assert not is_absurd(codec, made(3840, 2160))
    assert is_absurd(codec, made(MAX_SIDE_PX + 16, 16))
    assert is_absurd(codec, made(16, 16368))
    assert is_absurd(codec, made(4096, 4096))


def test_sizes_that_stay_in_the_dark() -> None:
    assert not is_absurd("VP8", b"")
    assert not is_absurd("VP8", b"\x01" + vp8_keyframe(16383, 16383)[1:])
    assert not is_absurd("H264", b"\x00\x00\x01\x67\x42")
    assert not is_absurd("H264", b"\x00\x00\x01")
    assert is_absurd("H264", b"\x00\x00\x01\x09\xf0\x00" + h264_sps(65_536, 65_536) + b"\x00\x00\x01\x68\xce")

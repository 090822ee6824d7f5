"""Small video files for tests: written by PyAV, showing the synthetic people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.baked import bake
from realtime.renderer import AvatarRenderer

Image = NDArray[np.uint8]
AVATARS = Path(__file__).resolve().parents[1] / "assets" / "avatars"
FPS = 25


def write_video(
    path: Path,
    frames: Sequence[Image],
    rotation: int = 0,
    ticks_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    keyframe_every: int = 12,
) -> Path:
    """(height, width, 3) uint8 RGB frames → a file; `rotation` in degrees, counter-clockwise, is only noted in it; `ticks_ms` are the frames' times."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "16"}
        if rotation:
            stream.set_display_rotation(rotation)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = ticks_ms[number] if ticks_ms else number * 1000 // FPS
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        assert isinstance(stream, av.AudioStream)
        for start in range(0, 16000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@cache
def talking_head(name: str, count: int = 100, size: int = 320, yaw_deg: float = 20.0) -> tuple[Image, ...]:
    """One of the default avatars, talking, blinking and turning to both sides before a still room."""
    file = read_avatar(AVATARS / f"{name}.avatar")
    renderer = AvatarRenderer(bake(file), size, 1)
    names = list(file.expression_names)
    frames = []
    for number in range(count):
        phase = 2.0 * np.pi * number / 50.0
        params = renderer.avatar.neutral()
        expression = params.expression.copy()
        expression[names.index("jawOpen")] = 0.35 - 0.35 * np.cos(4.0 * phase)
        expression[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = float(number % 25 in (3, 4))
        neck = np.array([0.05 * np.sin(2.0 * phase), np.radians(yaw_deg) * np.sin(phase), 0.0], np.float32)
        frames.append(renderer.render(replace(params, expression=expression, neck=neck)).copy())
    return tuple(frames)

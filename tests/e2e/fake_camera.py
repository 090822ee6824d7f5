"""Motion-JPEG files that Chromium plays as its fake camera.

Chromium is particular: 4:2:0 full range, exactly the size that the page asks for, constant rate; other files play frozen, cropped or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count, islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.faces import DATA, Image

WIDTH, HEIGHT, FPS = 640, 480, 30
CLIP = DATA / "talking_man_512.mp4"


def write_camera_file(path: Path, frames: Iterable[Image]) -> Path:
    """Write `frames`, each (480, 640, 3) uint8 RGB, as a 30 Hz camera file that the browser plays in a loop."""
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.options = {"qmin": "3", "qmax": "3"}
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p", dst_color_range="JPEG")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def face_frames(seconds: float) -> Iterator[Image]:
    """A moving face: the clip of a talking man where it is there, else scikit-image's portrait, moved and warped."""
    frames = _clip_frames(CLIP) if CLIP.is_file() else _portrait_frames()
    return islice(frames, round(seconds * FPS))


def faceless_frames(seconds: float) -> Iterator[Image]:
    """A room with nobody in it: a dim gradient with a little noise, which keeps the encoder awake."""
    generator = np.random.default_rng(7)
    room = np.linspace(40, 80, HEIGHT, dtype=np.float32)[:, None, None]
    for _ in range(round(seconds * FPS)):
        yield (room + generator.normal(0, 2, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)


def paired_frames(seconds: float) -> Iterator[Image]:
    """The same face twice, side by side."""
    for picture in face_frames(seconds):
        half = picture[:, WIDTH // 4 : WIDTH * 3 // 4]
        yield np.concatenate([half, half[:, ::-1]], axis=1)


def _clip_frames(path: Path) -> Iterator[Image]:
    """The clip's frames, repeated or left out to make 30 a second, cropped to 4:3."""
    written = 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            crop = image.shape[1] * 3 // 4
            top = (image.shape[0] - crop) // 2
            picture = cv2.resize(image[top : top + crop], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            due = round((float(frame.time or 0) + 1 / float(container.streams.video[0].average_rate or FPS)) * FPS)
            for _ in range(written, due):
                yield np.asarray(picture, np.uint8)
            written = max(written, due)


def _portrait_frames() -> Iterator[Image]:
    """The astronaut sways, turns (the middle of the face moves against its outline) and opens the mouth (what is below the lips moves down)."""
    data = pytest.importorskip("skimage.data", reason="no clip in ../shared/data and scikit-image is not installed")
    portrait = np.asarray(data.astronaut()[20:260, 63:383], np.float32)
    y, x = np.mgrid[0:240, 0:320].astype(np.float32)
    face_x, nose_y, lips_y = 160.0, 111.0, 123.0
    near_nose = np.exp(-(((x - face_x) / 34) ** 2) - ((y - nose_y) / 40) ** 2)
    near_mouth = np.exp(-(((x - face_x) / 34) ** 4) - ((y - lips_y) / 50) ** 4)
    for index in count():
        t = index / FPS
        turn = 6.0 * np.sin(2 * np.pi * t / 3.0)
        sway = 6.0 * np.sin(2 * np.pi * t / 4.0)
        opening = 6.0 * (1 - np.cos(2 * np.pi * t / 1.5))
        below_lips = (y > lips_y + opening / 2) * near_mouth
        source_x, source_y = x - turn * near_nose, y - opening * below_lips
        picture = cv2.remap(portrait, source_x.astype(np.float32), source_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        gap = ((x - face_x - turn * 0.8) / 13) ** 2 + ((y - lips_y - opening / 2) / max(opening / 2, 1e-3)) ** 2 < 1
        picture[gap] = (70, 25, 25)
        shift = np.array([[2, 0, 2 * sway], [0, 2, 0]], np.float32)
        picture = cv2.warpAffine(picture, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(picture.clip(0, 255), np.uint8)

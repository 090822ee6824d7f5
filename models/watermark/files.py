"""Looks for the mark in files: pictures, and videos in windows of two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.watermark.detect import Finding, Window

if TYPE_CHECKING:
    import av

Luma = NDArray[np.uint8]

WINDOW_S = 2.0
MOST_PIXELS = 8192 * 4608
MOST_FRAMES = 120
"""Of a window: of a faster video the rest is passed over."""
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
CONTAINERS = "mov,matroska,webm,avi,mpegts,ivf"
"""What is opened: containers that hold their pictures themselves, no playlists, which would open other files and addresses."""


@dataclass(frozen=True, slots=True)
class Look:
    """A window and what was found in it."""

    begin_s: float
    """Since the first frame."""
    frames: int
    finding: Finding


def look(path: Path) -> Iterator[Look]:
    """Every window of a video, or one for a PNG, JPEG or WebP picture.

    Raises:
        BadFile: it is neither, or too large.
    """
    try:
        with path.open("rb") as file:
            yield from look_into(file, path.name)
    except OSError as error:
        raise BadFile(f"{path.name}: expected a picture or a video, it cannot be read ({error.strerror})") from None


def look_into(file: BinaryIO, name: str, as_made: bool = False, most_frames: int = MOST_FRAMES) -> Iterator[Look]:
    """As `look`, for an open file that can be read from any place.

    Args:
        name: what messages call it.
        as_made: only the mark as it leaves the server (`Window.find`).
        most_frames: of a window; the rest of it is passed over.
    """
    head = file.read(12)
    file.seek(0)
    if head.startswith(PICTURES[:2]) or (head.startswith(PICTURES[2]) and head[8:] == b"WEBP"):
        window = Window()
        window.add(_picture(file, name))
        yield Look(0.0, 1, window.find(as_made))
    else:
        yield from _windows(file, name, as_made, most_frames)


def _picture(file: BinaryIO, name: str) -> Luma:
    import cv2

    try:
        colours = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        colours = None
    if colours is None:
        raise BadFile(f"{name}: expected a picture that can be decoded")
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2YUV)[..., 0], np.uint8)


def _windows(file: BinaryIO, name: str, as_made: bool, most_frames: int) -> Iterator[Look]:
    window, number = Window(), 0
    for at_s, frame in _frames(file, name):
        if window.frames and (at_s // WINDOW_S != number or window.size != (frame.width, frame.height)):
            yield Look(number * WINDOW_S, window.frames, window.find(as_made))
            window = Window()
        number = int(at_s // WINDOW_S)
        if window.frames < most_frames:
            window.add(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
    if not window.frames:
        raise BadFile(f"{name}: expected a video with frames that can be decoded")
    yield Look(number * WINDOW_S, window.frames, window.find(as_made))


def _frames(file: BinaryIO, name: str) -> Iterator[tuple[float, av.VideoFrame]]:
    """Seconds since the first frame, and the frame; what is broken ends it."""
    import av

    try:
        container = av.open(file, "r", metadata_errors="replace", options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadFile(f"{name}: expected a picture or a video, got neither ({getattr(error, 'strerror', None) or error})") from None
    with container:
        if not container.streams.video:
            raise BadFile(f"{name}: expected a video with a picture track, got none")
        stream = container.streams.video[0]
        if stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
            raise BadFile(f"{name}: expected at most {MOST_PIXELS} pixels a frame")
        first_s: float | None = None
        for frame in _decoded(container, stream):
            now_s = float(frame.time or 0.0)
            first_s = now_s if first_s is None else first_s
            yield max(now_s - first_s, 0.0), frame


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    import av

    frames = container.decode(stream)
    while True:
        try:
            yield next(frames)
        except (StopIteration, av.FFmpegError):
            return

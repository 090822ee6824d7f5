"""Contact sheets and videos: pictures side by side, labelled. Pictures are (H, W, 3) uint8, RGB."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from models.image_blob import encode_image

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

Picture = NDArray[np.uint8]
PAPER, INK = 250, 40
"""Grey levels of captions."""
STRIP_PX = 34
"""Height of a caption, for a picture 512 pixels wide; even, as video wants it."""
GAIN = 3
"""Differences are shown so many times as large as they are."""
CRF = "20"
TICK = Fraction(1, 90_000)
"""Seconds; the unit of a video's time stamps."""
MPEG_RANGE, BT709 = 1, 1
"""Numbers of ITU-T H.273 and of FFmpeg's AVColorRange."""
COPIED_AUDIO = {"aac", "mp3", "mp3float", "opus", "ac3", "eac3", "alac", "flac"}


def difference(one: Picture, two: Picture) -> Picture:
    """The absolute difference, times 3."""
    return np.asarray(cv2.convertScaleAbs(cv2.absdiff(one, two), alpha=GAIN), np.uint8)


def scaled(picture: Picture, side: int) -> Picture:
    """A square picture in another size."""
    return scaled_to(picture, side, side)


def scaled_to(picture: Picture, width: int, height: int) -> Picture:
    """A picture in another size."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC), np.uint8)


def caption(words: str, width: int, height: int = STRIP_PX) -> Picture:
    """(height, width, 3): dark words on light paper; what is not ASCII is left out."""
    strip = np.full((height, width, 3), PAPER, np.uint8)
    plain = words.encode("ascii", "ignore").decode()
    scale = height / 48.0
    (wide, tall), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, (width - 16) / max(wide, 1))
    cv2.putText(strip, plain, (8, (height + tall) // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, (INK, INK, INK), 1, cv2.LINE_AA)
    return strip


def grid(rows: Sequence[tuple[str, Sequence[Picture]]], side: int) -> Picture:
    """Rows of square pictures of `side` pixels, each row under its caption; short rows end in paper."""
    columns = max(len(pictures) for _, pictures in rows)
    bands: list[Picture] = []
    for words, pictures in rows:
        band = np.full((side, side * columns, 3), PAPER, np.uint8)
        for column, picture in enumerate(pictures):
            band[:, column * side : (column + 1) * side] = scaled(picture, side)
        bands += [caption(words, side * columns, 28), band]
    return np.vstack(bands)


def beside(panels: Sequence[tuple[str, Picture]]) -> Picture:
    """One frame of a side-by-side video: panels of one size, each under its caption."""
    columns = [np.vstack([caption(words, picture.shape[1]), picture]) for words, picture in panels]
    return np.ascontiguousarray(np.hstack(columns))


def write_png(path: Path, picture: Picture) -> None:
    """Whole or not at all; compressed lightly, for the time that it takes."""
    done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done
    write_bytes(path, content.tobytes())


def write_bytes(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def data_uri(picture: Picture, quality: int = 82) -> str:
    """The picture inside a page, as WebP."""
    return "data:image/webp;base64," + base64.b64encode(encode_image(picture, quality)).decode()


class VideoWriter:
    """H.264 in MP4 (yuv420p, BT.709), frame by frame at the times given; the file appears when all went well.

    Args:
        path: the file to be.
        fps: frames a second, about.
        size: width, height in pixels, both even.
        sound: audio of another file that will be copied as it is with `mux_sound`; one that MP4 does not hold is left out.
    """

    def __init__(self, path: Path, fps: Fraction, size: tuple[int, int], sound: AudioStream | None = None) -> None:
        import av

        self._path = path
        self._part = path.with_name(f".{os.getpid()}-{path.name}")
        self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=fps, options={"crf": CRF, "preset": "veryfast"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = TICK
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = MPEG_RANGE, BT709, BT709, BT709
        copied = sound is not None and sound.codec_context.name in COPIED_AUDIO
        self._sound = self._container.add_stream_from_template(sound) if sound is not None and copied else None
        self._last = -1

    @property
    def has_sound(self) -> bool:
        """Whether `mux_sound` is of use."""
        return self._sound is not None

    def write(self, picture: Picture, at_s: float) -> None:
        """A (height, width, 3) frame; `at_s` counts from the first one, and a frame that would not be later than the one before is set right after it."""
        import av

        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
        self._last = max(round(at_s / TICK), self._last + 1)
        frame.pts, frame.time_base = self._last, TICK
        self._container.mux(self._stream.encode(frame))

    def mux_sound(self, packet: Packet[AudioStream]) -> None:
        """Copies a packet of the source's audio."""
        assert self._sound is not None
        packet.stream = self._sound
        self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

"""Video files: what is in one, and its frames upright and in RGB, one at a time. Any container and codec that PyAV's FFmpeg reads; sound is ignored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from training.errors import TrainingError

Image = NDArray[np.uint8]

CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,3gp,mxf,nut,ivf,h264,hevc,m4v,mpegvideo,gif,wtv,rm,yuv4mpegpipe,mjpeg,obu,dv"
"""What is opened: containers that hold their pictures themselves. Playlists (hls, dash, concat), which make FFmpeg open other files and addresses, are not."""
MAX_SIDE_PX, MAX_PIXELS = 8192, 8192 * 4608
MAX_SECONDS = 3600.0
MAX_FRAMES = 250_000


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored pictures become upright."""

    transposed: bool = False
    """x and y change places first."""
    mirrored_x: bool = False
    mirrored_y: bool = False

    def apply(self, image: Image) -> Image:
        turned = image.transpose(1, 0, 2) if self.transposed else image
        return np.ascontiguousarray(turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1])


@dataclass(frozen=True, slots=True)
class Video:
    """What a file's first picture track holds."""

    path: Path
    width: int
    """Of the upright picture with square pixels."""
    height: int
    ticks: NDArray[np.int64]
    """(N,) time of every frame in the track's own unit, rising."""
    keyframes: NDArray[np.int64]
    """Indices of the frames that can be decoded by themselves."""
    tick_s: float
    turn: Turn

    @property
    def pts_s(self) -> NDArray[np.float64]:
        """(N,) seconds since the first frame."""
        return (self.ticks - self.ticks[0]) * self.tick_s

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return float(self.pts_s[-1] + self.frame_s)

    def read(self, wanted: NDArray[np.int64], scale: float, threads: int) -> Iterator[Frame]:
        """As `read_frames`."""
        return read_frames(self, wanted, scale, threads)

    @property
    def frame_s(self) -> float:
        """The usual time from one frame to the next."""
        return float(np.median(np.diff(self.pts_s))) if len(self.ticks) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture."""

    index: int
    """In Video.ticks."""
    pts_s: float
    """Since the video's first frame."""
    image: Image
    """(height, width, 3) uint8 RGB, upright."""


def open_video(path: Path) -> Video:
    """Reads the times of all frames and the size of the first one; decodes no other.

    Raises:
        TrainingError: no such file, no video, a broken, empty or absurdly large one.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: there is no such file. Give the path of a video.")
    with _opened(path) as (container, stream):
        times = _frame_times(path, container, stream)
        tick_s = float(stream.time_base or 0)
    if not times:
        raise TrainingError(f"{path}: the video holds no picture. It may be broken; record or export it again.")
    width, height, turn = _first_look(path)
    ticks, first = np.unique([tick for tick, _ in times], return_index=True)
    keys = np.flatnonzero(np.array([key for _, key in times])[first])
    return Video(path, width, height, ticks, keys, tick_s, turn)


def read_frames(video: Video, wanted: NDArray[np.int64], scale: float = 1.0, threads: int = 2) -> Iterator[Frame]:
    """The wanted frames in the order of time; what cannot be decoded is left out.

    Args:
        wanted: (M,) indices into video.ticks, rising. Where all are keyframes, the others are not even decoded.
        scale: pictures come at this scale, filtered while they are converted, so that a large picture is never held in RGB.
    """
    size = (max(1, round(video.width * scale)), max(1, round(video.height * scale)))
    stored = size[::-1] if video.turn.transposed else size
    seconds = video.pts_s
    index_of = {int(video.ticks[index]): int(index) for index in wanted}
    if not index_of:
        return
    last = max(index_of)
    with _opened(video.path) as (container, stream):
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        if np.isin(wanted, video.keyframes).all():
            stream.codec_context.skip_frame = "NONKEY"
        reformatter = av.video.reformatter.VideoReformatter()
        for frame in _decoded(container, stream):
            index = index_of.pop(frame.pts, None) if frame.pts is not None else None
            if index is not None:
                picture = np.asarray(reformatter.reformat(frame, *stored, "rgb24", interpolation="BICUBIC").to_ndarray(), np.uint8)
                yield Frame(index, float(seconds[index]), video.turn.apply(picture))
            if frame.pts is not None and frame.pts >= last:
                return


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded; broken packets are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            packet = None
        frames: list[av.VideoFrame] = []
        with suppress(av.error.FFmpegError):
            frames = stream.decode(packet)
        yield from frames
        if packet is None:
            return


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Only this one local file is ever opened: no playlist, no address, whatever the file's name or content says."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.resolve()), metadata_errors="replace", options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"{path} is not a video that can be read ({reason}). Record it again, or export it as MP4.") from error
    with container:
        if not container.streams.video:
            raise TrainingError(f"{path} holds no picture track{', only sound' if container.streams.audio else ''}. Record a video.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise TrainingError(f"{path} is coded in a way that cannot be read. Export it as MP4 (H.264).")
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # also of later frames, which may be larger than the first
        yield container, stream


def _frame_times(path: Path, container: InputContainer, stream: VideoStream) -> list[tuple[int, bool]]:
    times: list[tuple[int, bool]] = []
    with suppress(av.error.FFmpegError):  # a file cut short: what came before counts
        for packet in container.demux(stream):
            tick = packet.pts if packet.pts is not None else packet.dts
            if tick is None or packet.is_discard:
                continue
            times.append((tick, packet.is_keyframe))
            unit = float(stream.time_base or 0)
            if len(times) > MAX_FRAMES or (tick - times[0][0]) * unit > MAX_SECONDS:
                raise TrainingError(f"{path} is longer than {MAX_SECONDS / 60:.0f} minutes or {MAX_FRAMES} frames. Cut it to the best minute or two.")
    return times


def _first_look(path: Path) -> tuple[int, int, Turn]:
    """Width and height of the upright picture, and how it becomes upright."""
    with _opened(path) as (container, stream):
        _refuse_absurd(path, stream.codec_context.width, stream.codec_context.height)
        frame = next(_decoded(container, stream), None)
        if frame is None:
            raise TrainingError(f"{path}: no frame of the video can be decoded. It may be broken; record or export it again.")
        _refuse_absurd(path, frame.width, frame.height)
        ratio = float(stream.sample_aspect_ratio or 1)
        width, height = max(1, round(frame.width * (ratio if 0.1 < ratio < 10.0 else 1.0))), frame.height
        _refuse_absurd(path, width, height)
        turn = _turn(frame)
        return (height, width, turn) if turn.transposed else (width, height, turn)


def _refuse_absurd(path: Path, width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise TrainingError(f"{path} has {width} x {height} pixels; at most {MAX_SIDE_PX} a side are read. Export it smaller: 1080 x 1920 is plenty.")


def _turn(frame: av.VideoFrame) -> Turn:
    """From FFmpeg's display matrix: x' = a x + c y, y' = b x + d y. Asked of one frame only: PyAV's side data keeps its frame alive."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None or data.buffer_size != struct.calcsize("=9i"):
        return Turn()
    a, b, _, c, d = struct.unpack("=9i", bytes(data))[:5]
    return Turn(True, c < 0, b < 0) if abs(b) > abs(a) else Turn(False, a < 0, d < 0)

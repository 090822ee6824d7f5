"""Somebody's video in, a video of an avatar that moves like them out: relative to their rest pose, as in a call; any length."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.credentials.files import sign_file
from training import driving
from training.driving import Drive
from training.errors import TrainingError
from training.pictures import VideoWriter, scaled_to
from training.progress import Progress
from training.rendering import HeadRenderer, Mark, own_backdrop
from training.video import CONTAINERS, Video, open_video, read_frames
from training.wearing import open_avatar, writable

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

Picture = NDArray[np.uint8]
SIZE = 512


def reenact(avatar: Path, driver: Path, out: Path, progress: Progress, side_by_side: bool = False, size: int = SIZE, threads: int = 2) -> None:
    """Writes `out`, an MP4 with the driver's times and, where it has one that MP4 holds, its sound.

    Every frame is marked as synthetic, and the file has content credentials.

    Args:
        avatar: who is shown.
        driver: a video of who moves; frames without a face leave the avatar at rest, as in a call.
        side_by_side: the driver's picture stands left of the avatar's.
        size: height of the video, even; the avatar's picture is square.

    Raises:
        TrainingError: one of the files cannot be read or written, or the live stages failed.
    """
    file, out = open_avatar(avatar), writable(out, ".mp4")
    video = open_video(driver)
    drive = driving.live(driver, avatar, progress, mode="relative")
    if not len(drive):
        raise TrainingError(f"{driver}: no frame of the video could be decoded. It may be broken; record or export it again.")
    faces = sum(word != "lost" for word in drive.tracking)
    if not faces:
        raise TrainingError(f"{driver}: no face was seen in any of its {len(drive)} frames. Record the face from the front, in good light.")
    renderer, backdrop, mark = HeadRenderer(file, size, threads), own_backdrop(file, size), Mark(size)
    times = drive.pts_s - drive.pts_s[0]
    beside = _driver_pictures(video, times, size) if side_by_side else None
    width = size + (_driver_width(video, size) if side_by_side else 0)
    progress.start("rendering", len(drive))
    try:
        with Sound.of(driver, video) as sound, VideoWriter(out, _rate(drive), (width, size), sound.stream) as writer:
            for frame, at_s in enumerate(times.tolist()):
                picture = mark.lay(renderer.render(drive.params(frame), backdrop))
                writer.write(picture if beside is None else np.hstack([next(beside), picture]), at_s)
                if writer.has_sound:
                    for packet in sound.until(at_s):
                        writer.mux_sound(packet)
                progress.advance()
    finally:
        renderer.close()
    problem = sign_file(out, avatar, composite=side_by_side or writer.has_sound)
    if problem is not None:
        progress.note(problem)
    if faces < len(drive):
        progress.note(f"no face in {len(drive) - faces} of {len(drive)} frames: the avatar rests there")
    if sound.broken:
        progress.note("the sound could not be read to its end; the picture is whole")


def _rate(drive: Drive) -> Fraction:
    steps = np.diff(drive.pts_s)
    return Fraction(1.0 / max(float(np.median(steps)) if len(steps) else 0.04, 1e-3)).limit_denominator(1001)


def _driver_width(video: Video, size: int) -> int:
    """Of the driver's picture at that height, even."""
    return max(2 * round(0.5 * size * video.width / video.height), 2)


def _driver_pictures(video: Video, times: NDArray[np.float64], size: int) -> Iterator[Picture]:
    """The driver's picture at each of the times, (size, width, 3); where it cannot be decoded, the one before."""
    frames = read_frames(video, np.arange(len(video.ticks)), min(1.0, size / video.height))
    picture = np.zeros((size, _driver_width(video, size), 3), np.uint8)
    frame = next(frames, None)
    for at_s in times.tolist():
        while frame is not None and frame.pts_s <= at_s + 0.5 * video.frame_s:
            picture = scaled_to(frame.image, picture.shape[1], size)
            frame = next(frames, None)
        yield picture


class Sound:
    """The packets of a video's first audio track, as they are, in time with its picture."""

    def __init__(self, container: Any, begin_s: float) -> None:
        self._container = container
        self._begin_s = begin_s
        self.stream: AudioStream | None = container.streams.audio[0] if container is not None and container.streams.audio else None
        self._packets = container.demux(self.stream) if self.stream is not None else iter(())
        self._next: Packet[AudioStream] | None = None
        self.broken = False

    @staticmethod
    def of(path: Path, video: Video) -> Sound:
        """Of a video whose picture is known; without sound where the file gives none."""
        import av

        try:
            container = av.open(str(path.resolve()), metadata_errors="replace", options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})
        except (av.error.FFmpegError, OSError, ValueError):
            container = None
        return Sound(container, float(video.ticks[0] * video.tick_s))

    def until(self, at_s: float) -> Iterator[Packet[AudioStream]]:
        """Those that begin up to `at_s` after the first frame and were not given yet, with their times counted from there. What breaks ends the sound."""
        import av

        while True:
            try:
                packet = self._next or next(self._packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.broken, self._packets = True, iter(())
                return
            self._next = None
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            begin = round(self._begin_s / packet.time_base)
            if (packet.pts - begin) * packet.time_base > at_s:
                self._next = packet
                return
            if packet.pts >= begin:
                packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
                yield packet

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        if self._container is not None:
            self._container.close()

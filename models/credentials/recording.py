"""From what a browser recorded to what C2PA can sign: only what bears the mark, and a recording as a plain MP4 (H.264, AAC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from models.errors import BadFile
from models.watermark.files import CONTAINERS, PICTURES, look_into

if TYPE_CHECKING:
    import av

LONGEST_S = 600.0
LARGEST_PX = 1024
LOOKED_AT = 10
"""Frames of each two seconds that the mark is looked for in."""
ENOUGH = 0.75
"""Share of the windows that must bear it: a narrow network may cost one or another."""
SOUND_BPS = 128_000
SEQUENCE = 7
"""The type of an H.264 NAL unit with a sequence parameter set (ITU-T H.264, table 7-1): the size is in it."""
QUALITY = {"crf": "18", "preset": "veryfast"}
"""As training's videos: nothing that is seen is lost."""


class NotOurs(BadFile):
    """It does not bear this program's mark, and is not signed therefore."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a recording."""

    sound: bool
    transcoded: bool


def check_picture(file: BinaryIO) -> None:
    """Raises NotOurs or BadFile: a picture that is no PNG, not square, too large, or without the mark."""
    head = file.read(24)
    file.seek(0)
    if not head.startswith(PICTURES[0]) or len(head) < 24:
        raise BadFile("expected a PNG")
    _check_size(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    _check_marked(file)
    file.seek(0)


def check_video(file: BinaryIO) -> None:
    """Raises NotOurs or BadFile: a video that is not square, too long, or without the mark."""
    with _opened(file) as container:
        stream = container.streams.video[0]
        _check_size(stream.codec_context.width, stream.codec_context.height)
    file.seek(0)
    _check_marked(file)
    file.seek(0)


def _check_size(width: int, height: int) -> None:
    if width != height or not 0 < width <= LARGEST_PX:
        raise NotOurs(f"expected a square picture of at most {LARGEST_PX} pixels a side, as Headcast makes them, got {width} x {height}")


def _check_marked(file: BinaryIO) -> None:
    looks = 0
    marked = 0
    for each in look_into(file, "the recording", as_made=True, most_frames=LOOKED_AT):
        if each.begin_s > LONGEST_S:
            raise BadFile(f"expected at most {LONGEST_S / 60:.0f} minutes")
        looks += 1
        marked += each.finding.found
    if marked < ENOUGH * looks:
        raise NotOurs(f"expected a recording of an avatar: the mark was found in {marked} of {looks} windows of two seconds")


def to_mp4(source: BinaryIO, out: BinaryIO) -> Made:
    """Writes a plain MP4 of one size: H.264 that keeps its size and AAC are copied, other pictures and sound encoded anew.

    Raises:
        BadFile: it cannot be read.
    """
    import av

    steady = _keeps_its_size(source)
    with _opened(source) as given, av.open(out, "w", format="mp4") as made:
        tracks = {each.index: _track(made, each, steady) for each in (*given.streams.video[:1], *given.streams.audio[:1])}
        try:
            for packet in given.demux([given.streams[index] for index in tracks]):
                made.mux(list(tracks[packet.stream.index].pass_on(packet)))
            for track in tracks.values():
                made.mux(list(track.end()))
        except (av.FFmpegError, ValueError) as error:
            raise BadFile(f"the recording could not be read to its end ({error})") from error
        return Made(bool(given.streams.audio), any(isinstance(track, _Anew) for track in tracks.values()))


def _opened(file: BinaryIO) -> av.container.InputContainer:
    import av

    try:
        container = av.open(file, "r", metadata_errors="replace", options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BadFile("expected a recording as WebM or MP4") from error
    if not container.streams.video:
        container.close()
        raise BadFile("expected a recording with pictures")
    return container


def _keeps_its_size(file: BinaryIO) -> bool:
    """Whether H.264 is coded throughout as the file's head says: an `avc3` track may change that, and its size, at any keyframe (ISO/IEC 14496-15, 5.2.1)."""
    import av

    with _opened(file) as container:
        stream = container.streams.video[0]
        head = stream.codec_context.extradata or b""
        units = head[8:]  # each after its length of two bytes; before them what all have in common
        length_bytes = 1 + (head[4] & 3) if len(head) > 4 else 4
        steady = True
        if stream.codec_context.name == "h264":
            try:
                for packet in container.demux(stream):
                    if packet.is_keyframe:
                        steady &= all(unit in units for unit in _units(bytes(packet), length_bytes) if unit[0] & 31 == SEQUENCE)
            except (av.FFmpegError, ValueError) as error:
                raise BadFile(f"the recording could not be read to its end ({error})") from error
    file.seek(0)
    return steady


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """The NAL units of a packet of an MP4, which each begin with their length."""
    at = 0
    while at + length_bytes < len(packet):
        begin = at + length_bytes
        at = begin + int.from_bytes(packet[at:begin], "big")
        if at > begin:
            yield packet[begin:at]


def _track(made: av.container.OutputContainer, source: Any, steady: bool) -> _Copied | _Anew:
    name = source.codec_context.name
    if name == "aac" or (name == "h264" and steady):
        return _Copied(made.add_stream_from_template(source), source)
    if source.type == "audio":
        sound = made.add_stream("aac", rate=source.codec_context.sample_rate)
        sound.bit_rate = SOUND_BPS
        sound.layout = "mono" if source.codec_context.channels == 1 else "stereo"
        return _Anew(sound)
    from av.video.reformatter import ColorRange, Colorspace

    picture = made.add_stream("libx264", rate=30, options=QUALITY)
    picture.width, picture.height, picture.pix_fmt = source.codec_context.width // 2 * 2, source.codec_context.height // 2 * 2, "yuv420p"
    context = picture.codec_context
    context.time_base, context.color_range, context.colorspace = source.time_base, ColorRange.MPEG, Colorspace.ITU601  # as VP8 and VP9 have it
    return _Anew(picture)


class _Copied:
    """A track whose packets are passed on as they are, but for what the file's head says already."""

    def __init__(self, to: Any, source: Any) -> None:
        from av.bitstream import BitStreamFilterContext

        self._to = to
        self._filter = None
        if source.codec_context.name == "h264":
            to.codec_context.codec_tag = "avc1"
            self._filter = BitStreamFilterContext("filter_units=remove_types=7|8", source)

    def pass_on(self, packet: Any) -> Iterator[av.Packet[Any]]:
        if packet.dts is not None:
            for each in self._filter.filter(packet) if self._filter is not None else [packet]:
                each.stream = self._to
                yield each

    def end(self) -> Iterator[av.Packet[Any]]:
        yield from ()


class _Anew:
    """A track that is decoded and encoded."""

    def __init__(self, to: Any) -> None:
        self._to = to
        self._last = -1

    def pass_on(self, packet: Any) -> Iterator[av.Packet[Any]]:
        for frame in packet.decode():
            if self._to.type == "video":
                frame = self._prepared(frame)
            yield from self._to.encode(frame)

    def end(self) -> Iterator[av.Packet[Any]]:
        yield from self._to.encode(None)

    def _prepared(self, frame: av.VideoFrame) -> av.VideoFrame:
        """In the track's size, later than the one before; the encoder chooses its own keyframes."""
        from av.video.frame import PictureType

        at = max(frame.pts or 0, self._last + 1)
        if (frame.width, frame.height) != (self._to.width, self._to.height):
            time_base = frame.time_base
            frame = frame.reformat(self._to.width, self._to.height)
            frame.time_base = time_base
        frame.pts, self._last = at, at
        frame.pict_type = PictureType.NONE
        return frame

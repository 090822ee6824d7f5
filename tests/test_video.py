"""training/video.py: files of many kinds, and files that are none."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.clips import write_sound, write_video
from tests.fuzz.files import clip
from training import video
from training.errors import TrainingError
from training.memory import PeakMemory
from training.source import evenly
from training.video import open_video, read_frames

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 230, 20), (20, 20, 230), (235, 235, 235)


def quarters(height: int = 48, width: int = 80) -> NDArray[np.uint8]:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def corners(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The nearest of the four colours at top left, top right, bottom left, bottom right."""
    height, width = image.shape[:2]
    seen = [image[y, x].astype(int) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [min((RED, GREEN, BLUE, WHITE), key=lambda colour: float(np.abs(pixel - colour).sum())) for pixel in seen]


def grey_levels(count: int) -> list[NDArray[np.uint8]]:
    return [np.full((32, 48, 3), 30 + 10 * number, np.uint8) for number in range(count)]


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [RED, GREEN, BLUE, WHITE]),
        (90, [GREEN, WHITE, RED, BLUE]),
        (-90, [BLUE, RED, WHITE, GREEN]),
        (180, [WHITE, BLUE, GREEN, RED]),
    ],
)
def test_pictures_come_upright(tmp_path: Path, rotation: int, expected: list[tuple[int, ...]]) -> None:
    video = open_video(write_video(tmp_path / "turned.mp4", [quarters()] * 3, rotation))
    assert (video.width, video.height) == ((80, 48) if rotation in (0, 180) else (48, 80))
    frames = list(read_frames(video, np.arange(3)))
    assert [frame.image.shape for frame in frames] == [(video.height, video.width, 3)] * 3
    assert all(corners(frame.image) == expected for frame in frames)


@pytest.mark.parametrize(("codec", "pixels", "suffix"), [("libx264", "yuv444p10le", "mp4"), ("libvpx-vp9", "yuva420p", "webm"), ("mpeg4", "yuv420p", "avi")])
def test_other_codecs_and_pixel_formats(tmp_path: Path, codec: str, pixels: str, suffix: str) -> None:
    video = open_video(write_video(tmp_path / f"clip.{suffix}", [quarters(50, 82)] * 3, codec=codec, pixels=pixels))
    frames = list(read_frames(video, np.arange(len(video.ticks))))
    assert len(frames) == 3
    assert all(frame.image.shape == (50, 82, 3) and corners(frame.image) == [RED, GREEN, BLUE, WHITE] for frame in frames)


def test_odd_sizes_and_scales(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "odd.mp4", [quarters(51, 83)] * 2, pixels="yuv444p"))
    assert (video.width, video.height) == (83, 51)
    (frame,) = read_frames(video, np.array([1]), 0.5)
    assert frame.image.shape == (26, 42, 3)
    assert corners(frame.image) == [RED, GREEN, BLUE, WHITE]


def test_the_wanted_frames_come_with_their_own_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 300, 340, 1000, 1010, 1500]
    video = open_video(write_video(tmp_path / "uneven.mp4", grey_levels(8), ticks_ms=times))
    np.testing.assert_allclose(video.pts_s, np.array(times) / 1000.0, atol=1e-3)
    frames = list(read_frames(video, np.array([1, 3, 7])))
    assert [frame.index for frame in frames] == [1, 3, 7]
    np.testing.assert_allclose([frame.pts_s for frame in frames], [0.04, 0.3, 1.5], atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [40, 60, 100], atol=3)


def test_keyframes_are_decoded_alone(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "keys.mp4", grey_levels(20), keyframe_every=5))
    assert video.keyframes.tolist() == [0, 5, 10, 15]
    frames = list(read_frames(video, video.keyframes[1:]))
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [80, 130, 180], atol=3)
    assert [frame.index for frame in frames] == [5, 10, 15]


def test_long_clips_are_taken_evenly(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "even.mp4", grey_levels(20)))
    assert evenly(video, 20).tolist() == list(range(20))
    assert evenly(video, 19).tolist() == list(range(0, 20, 2))
    assert evenly(video, 5).tolist() == [0, 4, 8, 12, 16]
    times = [*range(0, 400, 40), *range(400, 10_400, 1000)]
    uneven = open_video(write_video(tmp_path / "uneven.mp4", grey_levels(20), ticks_ms=times))
    taken = uneven.pts_s[evenly(uneven, 10)]
    assert len(taken) <= 10
    assert (taken > 0.4).sum() >= 8, "spread in time, not over the frames"


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "large.mp4", [np.zeros((1080, 1920, 3), np.uint8)] * 60, keyframe_every=60))
    gc.disable()
    try:
        frames = read_frames(video, np.arange(60), 0.1, 1)
        next(frames)
        memory = PeakMemory()
        before = memory.mib()
        assert sum(1 for _ in frames) == 59
        grown = memory.mib() - before
    finally:
        gc.enable()
    assert grown < 80, "60 decoded frames are 180 MiB"


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", [quarters()] * 40)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    video = open_video(cut)
    assert 5 < len(video.ticks) < 40
    assert len(list(read_frames(video, np.arange(len(video.ticks))))) >= len(video.ticks) - 2


def test_garbage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [np.roll(quarters(), shift, 1) for shift in range(40)])
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    video = open_video(broken)
    assert len(list(read_frames(video, np.arange(len(video.ticks))))) > 10


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100, b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip; rm -rf $HOME.mp4"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"clip; rm -rf \$HOME\.mp4"):
        open_video(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only sound"):
        open_video(write_sound(tmp_path / "sound.m4a"))


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(TrainingError, match="no such file"):
            open_video(path)


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("clip.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nprivate.mp4\n#EXT-X-ENDLIST\n"),
        ("clip.ffconcat", "ffconcat version 1.0\nfile private.mp4\n"),
    ],
)
def test_a_file_cannot_make_us_open_another(tmp_path: Path, name: str, playlist: str) -> None:
    write_video(tmp_path / "private.mp4", [quarters()] * 3)
    (tmp_path / name).write_text(playlist, encoding="ascii")
    with pytest.raises(TrainingError, match="not a video"):
        open_video(tmp_path / name)


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    wide = write_video(tmp_path / "wide.mp4", [np.zeros((16, 8208, 3), np.uint8)] * 2)
    with pytest.raises(TrainingError, match="8208 x 16 pixels"):
        open_video(wide)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    known = clip("mjpeg", "avi")
    assert known.count(b"MJPG") >= 2
    (tmp_path / "x.avi").write_bytes(known.replace(b"MJPG", b"XQZ1"))
    with pytest.raises(TrainingError, match="coded in a way that cannot be read"):
        open_video(tmp_path / "x.avi")


def coded(size: int, first: int, count: int) -> list[av.Packet[VideoStream]]:
    """H.264 frames that carry their own size."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.time_base = size, size, "yuv420p", Fraction(1, 25)
    context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    packets = []
    for number in range(first, first + count):
        frame = av.VideoFrame(size, size, "yuv420p")
        frame.pts = number
        packets += context.encode(frame)
    return packets + context.encode(None)


def test_pictures_that_grow_absurd_on_the_way_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grows.ts"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for packet in coded(64, 0, 3) + coded(1024, 3, 1) + coded(64, 4, 2):
            copy = av.Packet(bytes(packet))
            copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.pts, Fraction(1, 25), stream
            out.mux(copy)
    assert [frame.index for frame in read_frames(open_video(path), np.arange(6))] == [0, 1, 2, 3, 4, 5]
    monkeypatch.setattr(video, "MAX_PIXELS", 512 * 512)
    assert [frame.index for frame in read_frames(open_video(path), np.arange(6))] == [0, 1, 2, 4, 5]


def test_hours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="longer than 60 minutes"):
        open_video(write_video(tmp_path / "long.mp4", grey_levels(3), ticks_ms=[0, 1000, 4_000_000]))

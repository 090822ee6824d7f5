"""The invisible mark: found again after codecs, scaling, cropping and mirroring; not found where it is not; not seen; and its price."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.baked import bake
from models.errors import BadFile
from models.watermark import pattern
from models.watermark.detect import THRESHOLD, Window, false_alarm_bound, find
from models.watermark.files import look
from models.watermark.marker import STRENGTHS, Marker
from models.watermark.pattern import tile, waves
from models.yuv import planes
from realtime.renderer import AvatarRenderer
from realtime.rtc.encoder import h264_context, vp8_context
from tests.benchmarks.render import motion
from tests.tiny_avatar import tiny_avatar

Picture = NDArray[np.uint8]
MARA = Path(__file__).parents[1] / "assets" / "avatars" / "mara.avatar"
SIZE, FRAMES, RATE = 512, 30, 30


def one_second(avatar: Path, size: int = SIZE) -> list[Picture]:
    """I420, as it goes to the encoder."""
    renderer = AvatarRenderer(bake(read_avatar(avatar)), size, 1)
    pictures = [renderer.render_i420(params, "avatar").copy() for params in motion(renderer.avatar, FRAMES)]
    renderer.close()
    return pictures


@pytest.fixture(scope="module")
def marked() -> list[Picture]:
    return one_second(MARA)


@pytest.fixture(scope="module")
def sent(marked: list[Picture]) -> list[Picture]:
    """What the live loop's x264 makes of it at 1 Mbit/s."""
    return through(marked, "h264", 1_000_000)


@pytest.fixture(scope="module")
def unmarked(marked: list[Picture]) -> list[Picture]:
    """The luma without the mark."""
    renderer = AvatarRenderer(bake(read_avatar(MARA)), SIZE, 1)
    pictures = [cv2.cvtColor(renderer.render(params, "avatar"), cv2.COLOR_RGB2YUV)[..., 0].astype(np.uint8) for params in motion(renderer.avatar, FRAMES)]
    renderer.close()
    return pictures


def through(pictures: list[Picture], codec: str, bitrate: int) -> list[Picture]:
    """Encoded as the live loop does it, and decoded."""
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    encoder = (h264_context if codec == "h264" else vp8_context)(width, height, bitrate)
    decoder = av.CodecContext.create(codec, "r")
    out = []
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = index * 90_000 // RATE, Fraction(1, 90_000)
        for packet in encoder.encode(frame):
            out += [np.asarray(each.to_ndarray(format="yuv420p"), np.uint8) for each in decoder.decode(av.Packet(bytes(packet)))]  # type: ignore[attr-defined]
    assert len(out) >= FRAMES - 2
    return out


def lumas(pictures: list[Picture]) -> Iterator[Picture]:
    return (planes(picture)[0] for picture in pictures)


def scaled(luma: Picture, side: int) -> Picture:
    return np.asarray(cv2.resize(luma, (side, side), interpolation=cv2.INTER_AREA if side < SIZE else cv2.INTER_LINEAR), np.uint8)


def letterboxed(luma: Picture) -> Picture:
    out = np.full((720, 1280), 16, np.uint8)
    out[:, 280:1000] = scaled(luma, 720)
    return out


def test_the_pattern_never_changes() -> None:
    """Another draw would make every detector blind to what was marked before."""
    drawn = waves()
    assert len(drawn.phase) == 470
    assert (drawn.across[0], drawn.down[0]) == (5, 0)
    np.testing.assert_allclose(drawn.phase[:3], [5.89660, 5.73013, 2.91588], atol=1e-4)
    assert tile(96).std() == pytest.approx(1.0)


@pytest.mark.parametrize(("codec", "kbits"), [("h264", 1000), ("vp8", 1000), ("h264", 500)])
def test_found_after_the_codec(marked: list[Picture], codec: str, kbits: int) -> None:
    finding = find(lumas(through(marked, codec, 1000 * kbits)))
    assert finding.found, finding
    assert finding.scale == pytest.approx(1.0, abs=0.01)
    assert not finding.mirrored


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "half size": lambda luma: scaled(luma, 256),
    "360": lambda luma: scaled(luma, 360),
    "twice": lambda luma: scaled(luma, 1024),
    "letterboxed 720p": letterboxed,
    "mirrored": lambda luma: luma[:, ::-1],
    "cropped by 20 %": lambda luma: luma[51:461, 37:447],
    "cropped, scaled and mirrored": lambda luma: scaled(luma[30:480, 40:490], 480)[:, ::-1],
    "brighter": lambda luma: np.clip(1.15 * luma + 9, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_found_after_the_codec_and_more(sent: list[Picture], change: str) -> None:
    finding = find(CHANGES[change](luma) for luma in lumas(sent))
    assert finding.found, finding
    assert finding.mirrored == ("mirrored" in change)


@pytest.mark.parametrize("size", [256, 1024])
def test_other_sizes_are_marked_too(size: int) -> None:
    renderer = AvatarRenderer(bake(read_avatar(MARA)), size, 1)
    finding = find([planes(renderer.render_i420(renderer.avatar.neutral(), "gradient"))[0]])
    renderer.close()
    assert finding.found
    assert finding.scale == pytest.approx(max(1.0, size / SIZE), rel=0.01)


@pytest.mark.parametrize("background", ["avatar", "gradient", "green", "checker", "#ffffff", "#000000"])
def test_one_picture_is_enough_before_a_codec(background: str) -> None:
    renderer = AvatarRenderer(bake(read_avatar(MARA)), SIZE, 1)
    assert find([planes(renderer.render_i420(renderer.avatar.neutral(), background))[0]]).found
    renderer.close()


def test_not_found_where_it_is_not(unmarked: list[Picture]) -> None:
    rng = np.random.default_rng(5)
    stripes = np.tile(np.arange(SIZE) // 8 % 2 * 200, (SIZE, 1)).astype(np.uint8)
    others = [[rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)], [np.zeros((SIZE, SIZE), np.uint8)], [stripes], [stripes.T]]
    for frames in (unmarked, *others):
        finding = find(frames)
        assert not finding.found, finding
    assert false_alarm_bound() < 1e-3


def test_another_key_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern, "KEY", b"somebody else's")
    luma = np.full((SIZE, SIZE), 120, np.uint8)
    Marker(SIZE).mark_luma(luma, 0, SIZE)
    assert find([luma]).found
    monkeypatch.undo()
    assert not find([luma]).found


def test_it_is_not_seen(marked: list[Picture], unmarked: list[Picture]) -> None:
    errors = [np.mean((planes(one)[0].astype(float) - (16 + 219 / 255 * two.astype(float))) ** 2) for one, two in zip(marked, unmarked, strict=True)]
    assert 10 * np.log10(255.0**2 / np.mean(errors)) > 45.0
    flat = np.full((SIZE, SIZE), 120, np.uint8)
    Marker(SIZE).mark_luma(flat, 0, SIZE)
    change = flat.astype(int) - 120
    assert np.sqrt(np.mean(change**2)) == pytest.approx(STRENGTHS[0], abs=0.1)
    assert np.abs(change).max() <= 3
    assert abs(change.mean()) < 0.01, "no brighter and no darker"


def test_a_green_backdrop_stays_as_green() -> None:
    """Only luma changes, so the key colour's chroma is what it was."""
    renderer = AvatarRenderer(bake(tiny_avatar(16)), 128, 1)
    luma, blue, red = planes(renderer.render_i420(renderer.avatar.neutral(), "green"))
    renderer.close()
    for plane in (blue, red):
        assert np.ptp(plane[:8, :8]) == 0
    assert 0 < np.ptp(luma[:16, :16]) <= 6


def test_bands_make_no_difference_and_stay_within_range() -> None:
    rng = np.random.default_rng(2)
    luma = rng.integers(16, 236, (130, 130), dtype=np.uint8)
    whole, parts, marker = luma.copy(), luma.copy(), Marker(130)
    marker.mark_luma(whole, 0, 130)
    for low, high in ((0, 50), (50, 52), (52, 130)):
        marker.mark_luma(parts, low, high)
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, luma)
    assert whole.min() >= 16
    assert whole.max() <= 235
    odd = np.full((131, 131, 3), 90, np.uint8)
    assert (Marker(131).mark(odd.copy())[130] == 90).all()


def test_it_costs_little() -> None:
    marker, luma = Marker(SIZE), np.random.default_rng(1).integers(16, 236, (SIZE, SIZE), dtype=np.uint8)
    marker.mark_luma(luma, 0, SIZE)
    took = []
    for _ in range(20):
        begin = time.process_time()
        for _ in range(5):
            marker.mark_luma(luma, 0, SIZE)
        took.append((time.process_time() - begin) / 5)
    assert min(took) < 0.6e-3


def test_a_window_has_frames_of_one_size() -> None:
    window = Window()
    with pytest.raises(ValueError, match="a frame at least"):
        window.find()
    window.add(np.zeros((64, 96), np.uint8))
    with pytest.raises(ValueError, match="64 x 96"):
        window.add(np.zeros((96, 64), np.uint8))
    assert window.find().score == 0.0


def write_video(path: Path, pictures: list[Picture]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "ultrafast"})
        stream.width = stream.height = SIZE
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode(None))


def detect(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "models.watermark", "detect", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_command_finds_it_in_a_video(marked: list[Picture], tmp_path: Path) -> None:
    write_video(tmp_path / "call.mp4", [marked[index % FRAMES] for index in range(75)])
    done = detect(tmp_path / "call.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("marked ") == 2, "a window every two seconds"
    assert "call.mp4: made by Headcast (2 of 2 windows)" in done.stdout


def test_the_command_finds_it_in_a_picture_or_not(unmarked: list[Picture], tmp_path: Path) -> None:
    renderer = AvatarRenderer(bake(read_avatar(MARA)), SIZE, 1)
    plain = renderer.render(renderer.avatar.neutral())[..., ::-1].copy()
    renderer.close()
    for suffix in (".png", ".jpg", ".webp"):
        cv2.imwrite(str(tmp_path / f"plain{suffix}"), plain)
        cv2.imwrite(str(tmp_path / f"marked{suffix}"), Marker(SIZE).mark(plain.copy()))
        assert not next(look(tmp_path / f"plain{suffix}")).finding.found
        assert next(look(tmp_path / f"marked{suffix}")).finding.found
    done = detect(tmp_path / "plain.png", "--json")
    assert done.returncode == 1
    verdict = json.loads(done.stdout)
    assert verdict["marked"] is False
    assert verdict["windows"][0]["score"] < THRESHOLD == verdict["threshold"]


def test_what_cannot_be_read_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    for name in ("notes.txt", "broken.png", "none.mp4"):
        with pytest.raises(BadFile, match=f"{name}: expected a"):
            list(look(tmp_path / name))
    done = detect(tmp_path / "notes.txt")
    assert done.returncode == 2
    assert done.stderr.startswith("headcast: notes.txt: expected")

"""A video of an avatar that moves like somebody: length, times, sound, mark; with a stand-in for the live stages."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import bake
from models.consent.statement import Purpose
from models.credentials.manifest import MP4, verify
from tests.consents import agreed, write_signed
from tests.tiny_avatar import tiny_avatar
from tests.trained_run import fake_live
from training import driving
from training.driving import Drive
from training.errors import TrainingError
from training.pictures import VideoWriter
from training.progress import Progress
from training.reenact import reenact
from training.rendering import HeadRenderer, own_backdrop

FRAMES, SIZE = 12, 128
TIMES = np.concatenate([np.arange(8) / 25, 0.28 + np.arange(1, 5) / 10])
"""Varying frame rate: 25, then 10 a second."""


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def turning(file: AvatarFile, tracking: tuple[str, ...] = ("ok",) * FRAMES) -> Drive:
    neutral = bake(file).neutral()
    yaw = np.linspace(-0.4, 0.4, FRAMES, dtype=np.float32)
    still = np.zeros((FRAMES, 3), np.float32)
    place = np.tile(neutral.translation, (FRAMES, 1))
    shapes = np.zeros((FRAMES, len(file.expression_names)), np.float32)
    return Drive(5.0 + TIMES, shapes, still, np.stack([0 * yaw, yaw, 0 * yaw], 1), still, np.zeros((FRAMES, 2, 2), np.float32), place, tracking, {})


def film(path: Path, with_sound: bool = True, begin: int = 0) -> Path:
    """A driver: grey, ever lighter, 64 x 96, with a tone of the same length; both begin so many seconds late."""
    with VideoWriter(path.with_suffix(".silent.mp4"), Fraction(25), (64, 96)) as writer:
        for index, at_s in enumerate(TIMES.tolist()):
            writer.write(np.full((96, 64, 3), 40 + 15 * index, np.uint8), at_s)
    if not with_sound:
        return path.with_suffix(".silent.mp4").rename(path)
    with av.open(str(path), "w") as out, av.open(str(path.with_suffix(".silent.mp4"))) as silent:
        picture = out.add_stream_from_template(silent.streams.video[0])
        tone = out.add_stream("aac", rate=48_000)
        for packet in silent.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                late = round(begin / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, picture
                out.mux(packet)
        for block in range(30):
            wave = np.sin(2 * np.pi * 440 / 48_000 * (np.arange(1024) + 1024 * block)).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(0.3 * wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 1024 * block + 48_000 * begin
            out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    return path


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], float]:
    """Pictures, times, and seconds of sound."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    with av.open(str(path)) as container:
        heard = list(container.decode(audio=0)) if container.streams.audio else []
    pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in decoded]
    return pictures, [float(frame.time or 0.0) for frame in decoded], sum(frame.samples / 48_000 for frame in heard)


@pytest.fixture
def worn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, AvatarFile]:
    file = tiny_avatar(16, trained=True)
    write_signed(tmp_path / "ball.avatar", file)
    monkeypatch.setattr(driving, "LIVE", fake_live(tmp_path, turning(file)))
    return tmp_path / "ball.avatar", file


def test_the_avatar_moves_at_the_drivers_times_with_the_drivers_sound(worn: tuple[Path, AvatarFile], tmp_path: Path) -> None:
    avatar, file = worn
    out = tmp_path / "out.mp4"
    reenact(avatar, film(tmp_path / "driver.mp4", begin=2), out, Progress(), size=SIZE)
    with out.open("rb") as written:
        verdict = verify(written, MP4)
    assert (verdict.state, verdict.source) == ("Valid", "compositeWithTrainedAlgorithmicMedia")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    pictures, times, sound_s = frames_of(out)
    assert times == pytest.approx((TIMES - TIMES[0]).tolist(), abs=1e-3)
    assert sound_s == pytest.approx(30 * 1024 / 48_000, abs=0.08)
    with av.open(str(out)) as container:
        assert next(container.decode(audio=0)).time == pytest.approx(0.0, abs=0.05)
    renderer, drive = HeadRenderer(file, SIZE), turning(file)
    for index in (0, 6, 11):
        expected = renderer.render(drive.params(index), own_backdrop(file, SIZE)).astype(float)
        assert np.abs(pictures[index][:96] - expected[:96]).mean() < 4.0
        assert np.abs(pictures[index][-24:, :56] - expected[-24:, :56]).max() > 60.0
    renderer.close()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (tmp_path / "fake_drive.mode").read_text(encoding="utf-8") == "relative", "the driver is somebody else"


def test_side_by_side_shows_the_driver_of_the_same_moment(worn: tuple[Path, AvatarFile], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    reenact(worn[0], film(tmp_path / "driver.mp4", with_sound=False), out, Progress(), side_by_side=True, size=SIZE)
    pictures, _, sound_s = frames_of(out)
    assert sound_s == 0.0
    width = pictures[0].shape[1] - SIZE
    assert width == 86
    for index, picture in enumerate(pictures):
        assert picture[:, : width - 4].mean() == pytest.approx(40 + 15 * index, abs=3.0)


def test_sound_that_breaks_does_not_lose_the_video(worn: tuple[Path, AvatarFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        """A container whose sound ends in an error, as a file cut short does."""

        def __init__(self, path: Path) -> None:
            self._container = av.open(str(path))
            self.streams = self._container.streams

        def demux(self, stream: object) -> object:
            yield from list(self._container.demux(self._container.streams.audio[0]))[:5]
            raise av.error.InvalidDataError(1094995529, "cut")

        def close(self) -> None:
            self._container.close()

    driver, real = film(tmp_path / "driver.mp4"), av.open
    container = Broken(driver)
    asked = {"n": 0}

    def open_once(file: str, *rest: object, **options: object) -> object:
        asked["n"] += "metadata_errors" in options
        return container if asked["n"] == 3 and "metadata_errors" in options else real(file, *rest, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(av, "open", open_once)
    notes = Notes()
    reenact(worn[0], driver, tmp_path / "out.mp4", notes, size=SIZE)
    monkeypatch.undo()
    pictures, _, sound_s = frames_of(tmp_path / "out.mp4")
    assert len(pictures) == FRAMES
    assert 0.0 < sound_s < 0.2
    assert any("sound" in note for note in notes.notes)


def test_frames_without_a_face_are_counted_and_none_at_all_refused(worn: tuple[Path, AvatarFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = film(tmp_path / "driver.mp4", with_sound=False)
    monkeypatch.setattr(driving, "LIVE", fake_live(tmp_path, turning(worn[1], ("ok",) * 9 + ("lost",) * 3)))
    notes = Notes()
    reenact(worn[0], driver, tmp_path / "out.mp4", notes, size=SIZE)
    assert notes.notes == ["no face in 3 of 12 frames: the avatar rests there"]
    monkeypatch.setattr(driving, "LIVE", fake_live(tmp_path, turning(worn[1], ("lost",) * FRAMES)))
    with pytest.raises(TrainingError, match="no face was seen"):
        reenact(worn[0], driver, tmp_path / "none.mp4", Progress())
    assert not (tmp_path / "none.mp4").exists()


def test_what_cannot_be_read_or_shown_is_refused_before_any_work(worn: tuple[Path, AvatarFile], tmp_path: Path) -> None:
    avatar, file = worn
    driver = film(tmp_path / "driver.mp4", with_sound=False)
    with pytest.raises(TrainingError, match=r"written as \.mp4"):
        reenact(avatar, driver, tmp_path / "out.avi", Progress())
    with pytest.raises(TrainingError, match="there is no folder"):
        reenact(avatar, driver, tmp_path / "nowhere" / "out.mp4", Progress())
    with pytest.raises(TrainingError, match="not an avatar"):
        reenact(driver, driver, tmp_path / "out.mp4", Progress())
    with pytest.raises(TrainingError, match=r"gone\.mp4"):
        reenact(avatar, tmp_path / "gone.mp4", tmp_path / "out.mp4", Progress())
    write_signed(tmp_path / "old.avatar", file, agreed(expires="2020-02-01"))
    with pytest.raises(TrainingError, match="consent of the person it shows ended on 2020-02-01"):
        reenact(tmp_path / "old.avatar", driver, tmp_path / "out.mp4", Progress())
    write_signed(tmp_path / "shy.avatar", file, agreed(purposes=(Purpose.LIVE, Purpose.EXPORT)))
    with pytest.raises(TrainingError, match=r"no recordings or pictures are made of it: Anna B\. agreed to live, export"):
        reenact(tmp_path / "shy.avatar", driver, tmp_path / "out.mp4", Progress())
    assert not (tmp_path / "out.mp4").exists()

"""`python -m realtime.drive`: the server's stages over a recording."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.driver import DriverProfile
from models.head import save_head
from realtime.drive import PARTS, DriveError, frames_of, main
from realtime.gallery import SHIPPED
from realtime.packets import VideoPacket
from realtime.reenactor import StageFactory, load_avatar
from tests.consents import write_signed
from tests.faces import Image, moving_portrait
from tests.flame_like import open_head_as_flame

MARA = SHIPPED / "mara.avatar"
COUNT = 24


@pytest.fixture(scope="module")
def portrait() -> list[Image]:
    return moving_portrait(COUNT, 320)


@pytest.fixture(scope="module")
def stored(portrait: list[Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    np.save(folder / "frames.npy", np.stack(portrait))
    np.save(folder / "pts.npy", times())
    return folder


def times() -> NDArray[np.float64]:
    """Uneven, and not from zero."""
    return 7.0 + np.arange(COUNT) / 25.0 + 0.004 * (np.arange(COUNT) % 3)


def driven(*arguments: object, out: Path) -> dict[str, NDArray[Any]]:
    assert main([*map(str, arguments), "--out", str(out)]) == 0
    with np.load(out) as loaded:
        return dict(loaded)


def test_it_is_what_the_server_does(portrait: list[Image], stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Parameter for parameter what a session's reenactor is left with; and the same again another time."""
    found = driven(stored / "frames.npy", "--avatar", MARA, "--pts", stored / "pts.npy", out=tmp_path / "drive.npz")
    assert capsys.readouterr().out == ""
    reenactor = StageFactory(lambda _: load_avatar(MARA), "mara", 128).create("mara")
    for frame, (image, at_s) in enumerate(zip(portrait, times(), strict=True)):
        shown = reenactor.step(VideoPacket(image, float(at_s), float(at_s))).params
        assert shown is not None
        for name in PARTS:
            np.testing.assert_array_equal(found[name][frame], getattr(shown, name), err_msg=f"{name}, frame {frame}")
    reenactor.close()
    assert tuple(found["expression_names"]) == load_avatar(MARA).expression_names
    assert found["pts_s"] == pytest.approx(times())
    assert set(found["tracking"]) == {"ok"}
    assert set(found["mode"]) == {"relative"}
    shapes = {"expression": (52,), "rotation": (3,), "neck": (3,), "jaw": (3,), "gaze": (2, 2), "translation": (3,), "track_ms": (), "refine_ms": ()}
    assert {name: found[name].shape for name in shapes} == {name: (COUNT, *shape) for name, shape in shapes.items()}
    assert np.isfinite(found["solved_translation"]).all()
    assert (found["track_ms"] > 0.0).all()
    again = driven(stored / "frames.npy", "--avatar", MARA, "--pts", stored / "pts.npy", out=tmp_path / "again.npz")
    assert all(np.array_equal(found[name], again[name]) for name in found if not name.endswith("_ms"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.npz", "drive.npz"]


def test_another_head_follows_the_face(stored: Path, tmp_path: Path) -> None:
    """One in FLAME's shape, whose jaw joint opens the avatar's mouth."""
    flame = tmp_path / "flame.safetensors"
    save_head(flame, open_head_as_flame())
    found = driven(stored / "frames.npy", "--avatar", MARA, "--pts", stored / "pts.npy", "--head", flame, out=tmp_path / "drive.npz")
    assert found["solved_expression"].shape == (COUNT, 12)
    assert found["expression"].shape == (COUNT, 52)
    assert np.isfinite(found["solved_expression"]).all()
    assert main([str(stored / "frames.npy"), "--avatar", str(MARA), "--head", str(tmp_path / "none"), "--out", str(tmp_path / "x.npz")]) == 2


def test_an_own_person_drives_absolutely(stored: Path, tmp_path: Path) -> None:
    """A face that is not there leaves NaN for the driver, and the avatar at rest."""
    frames = np.load(stored / "frames.npy")
    frames[10:] = 0
    np.save(tmp_path / "gone.npy", frames)
    profile = DriverProfile("open head", np.zeros(40, np.float32), np.zeros((478, 3), np.float32), 1.0)
    write_signed(tmp_path / "own.avatar", replace(read_avatar(MARA), driver=profile))
    found = driven(tmp_path / "gone.npy", "--avatar", tmp_path / "own.avatar", "--mode", "own", out=tmp_path / "drive.npz")
    assert set(found["mode"]) == {"own"}
    assert list(found["tracking"]) == ["ok"] * 10 + ["lost"] * 14
    assert not found["rotation"].any()
    assert np.isfinite(found["solved_neck"][:10]).all()
    assert np.isnan(found["solved_neck"][10:]).all()
    assert np.abs(found["solved_neck"][9] - found["neck"][9]).max() < 0.1
    assert np.isfinite(found["neck"]).all()


def test_videos_are_read_with_their_own_times(portrait: list[Image], tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 320
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, image in enumerate(portrait[:6]):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (40 * index if index < 5 else 500), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    count, frames = frames_of(tmp_path / "clip.mp4", None)
    seen = list(frames)
    assert count == len(seen) == 6
    assert [at_s - seen[0][1] for _, at_s in seen] == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16, 0.5], abs=1e-3)
    assert np.abs(seen[0][0].astype(int) - portrait[0]).mean() < 6.0
    with pytest.raises(DriveError, match="--pts belongs"):
        frames_of(tmp_path / "clip.mp4", tmp_path / "pts.npy")


def bad_inputs(folder: Path) -> dict[str, list[object]]:
    np.save(folder / "flat.npy", np.zeros((4, 8, 8), np.uint8))
    np.save(folder / "object.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "late.npy", np.zeros(COUNT))
    (folder / "text.mp4").write_text("no video")
    (folder / "text.avatar").write_text("no avatar")
    frames = folder / "frames.npy"
    return {
        "there is no such file": [folder / "none.mp4", "--avatar", MARA],
        "not a video that can be read": [folder / "text.mp4", "--avatar", MARA],
        "expected frames (T, H, W, 3) uint8": [folder / "flat.npy", "--avatar", MARA],
        "expected an array": [folder / "object.npy", "--avatar", MARA],
        "rising times": [frames, "--avatar", MARA, "--pts", folder / "late.npy"],
        "not a Headcast file": [frames, "--avatar", folder / "text.avatar"],
        "cannot be read": [frames, "--avatar", folder / "none.avatar"],
        "knows its own person": [frames, "--avatar", MARA, "--mode", "own"],
    }


def test_bad_input_is_one_clear_line(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "frames.npy", np.load(stored / "frames.npy"))
    for words, arguments in bad_inputs(tmp_path).items():
        assert main([*map(str, arguments), "--out", str(tmp_path / "out.npz")]) == 2
        said = capsys.readouterr().err
        assert said.startswith("headcast: ")
        assert words in said
        assert said.count("\n") == 1
    assert main([str(tmp_path / "frames.npy"), "--avatar", str(MARA), "--out", str(tmp_path / "none" / "out.npz")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(SystemExit) as stopped:
        main(["frames.npy", "--avatar", str(MARA), "--out", "x", "--mode", "fast"])
    assert stopped.value.code == 2

"""`python -m models.export`: what it writes, and what it says when it cannot."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.consent.statement import Purpose
from models.export import __main__ as export_main
from models.export.__main__ import main
from models.export.frames import PARTS
from models.export.tables import read_frames
from tests.consents import agreed, write_signed
from tests.gltf_reader import Glb
from tests.test_obj import Obj
from tests.test_parameter_tables import COUNT, frames_of
from tests.tiny_avatar import tiny_avatar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An avatar, parameters for it, and parameters of another."""
    write_signed(tmp_path / "ball.avatar", tiny_avatar(6))
    frames = frames_of()
    parts = {name: getattr(frames, name) for name in ("expression", *PARTS)}
    np.savez(tmp_path / "drive.npz", pts_s=frames.time_s, **parts)
    np.savez(tmp_path / "other.npz", **(parts | {"expression": np.zeros((COUNT, 52))}))
    return tmp_path


def run(folder: Path, out: str, *options: object) -> int:
    return main([str(folder / "ball.avatar"), "--out", str(folder / out), *map(str, options)])


def test_the_suffix_says_what_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = ("--params", folder / "drive.npz")
    assert run(folder, "ball.glb") == 0
    assert "animations" not in Glb.of((folder / "ball.glb").read_bytes()).document
    assert run(folder, "clip.glb", *params) == 0
    assert len(Glb.of((folder / "clip.glb").read_bytes()).document["animations"]) == 1
    assert run(folder, "posed.glb", *params, "--frame", 2) == 0
    posed = Glb.of((folder / "posed.glb").read_bytes()).document
    assert "animations" not in posed
    assert posed["meshes"][0]["weights"] == pytest.approx(frames_of().expression[2], abs=1e-6)
    assert run(folder, "rest.obj") == 0
    assert run(folder, "ball.zip", *params, "--frame", COUNT - 1) == 0
    archive = zipfile.ZipFile(folder / "ball.zip")
    assert sorted(archive.namelist()) == ["ball.mtl", "ball.obj", "ball.png"]
    assert Obj.of(archive.read("ball.obj")).positions != Obj.of((folder / "rest.obj").read_bytes()).positions
    assert run(folder, "frames.csv", *params) == 0
    assert run(folder, "frames.json", "--params", folder / "frames.csv") == 0
    frames = read_frames(folder / "frames.json", tiny_avatar(6))
    np.testing.assert_allclose(frames.expression, frames_of().expression, atol=1e-6)
    assert run(folder, "rest.json") == 0
    assert len(read_frames(folder / "rest.json", tiny_avatar(6))) == 1
    given = {"ball.avatar", "drive.npz", "other.npz"}
    meshes = {"ball.glb", "clip.glb", "posed.glb", "rest.obj", "rest.mtl", "rest.png", "ball.zip"}
    assert {path.name for path in folder.iterdir()} == given | meshes | {"frames.csv", "frames.json", "rest.json"}
    assert capsys.readouterr() == ("", "")


def test_bad_input_is_one_clear_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = ("--params", folder / "drive.npz")
    (folder / "taken.png").mkdir()
    before = sorted(folder.rglob("*"))
    wrong: dict[str, tuple[object, ...]] = {
        "ends in .glb, .obj, .zip, .csv, .json": ("ball.fbx",),
        "no such folder": ("none/ball.glb",),
        "leave out --frame": ("frames.json", *params, "--frame", 0),
        "choose it with --frame, 0 to 5": ("ball.obj", *params),
        "--frame: expected 0 to 5, got 6": ("ball.glb", *params, "--frame", 6),
        "expected 0 to 5, got -1": ("ball.zip", *params, "--frame", -1),
        "--frame belongs to --params": ("ball.glb", "--frame", 0),
        "parameters are those of another avatar": ("ball.glb", "--params", folder / "other.npz"),
        "none.npz: expected per-frame parameters": ("ball.glb", "--params", folder / "none.npz"),
        "taken.png: cannot be written": ("taken.obj",),
    }
    for words, (out, *options) in wrong.items():
        assert run(folder, str(out), *options) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("headcast: ")
        assert words in said
        assert said.count("\n") == 1
    assert main([str(folder / "drive.npz"), "--out", str(folder / "ball.glb")]) == 2
    assert "drive.npz: not a Headcast" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_no_room_leaves_nothing_behind(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The old files stay, and are whole."""
    assert run(folder, "ball.obj") == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(export_main, "export", lambda *_: {"ball.obj": b"new", "ball.mtl": b"new", "none/ball.png": b"new"})
    assert run(folder, "ball.obj") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_nobody_is_exported_after_their_consent_has_ended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_signed(folder / "ball.avatar", tiny_avatar(6), agreed(expires="2020-12-31"))
    assert run(folder, "ball.glb") == 2
    assert "ended on 2020-12-31" in capsys.readouterr().err
    assert not (folder / "ball.glb").exists()


def test_nobody_is_exported_who_did_not_agree_to_that(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_signed(folder / "ball.avatar", tiny_avatar(6), agreed(purposes=(Purpose.LIVE,)))
    for name in ("ball.glb", "ball.zip", "ball.json"):
        assert run(folder, name) == 2
        assert "is not exported: Anna B. agreed to live" in capsys.readouterr().err
        assert not (folder / name).exists()

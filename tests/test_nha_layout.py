"""training/nha_layout.py: a dataset of Neural Head Avatars becomes ours."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import talking_head
from training import dataset
from training.clip import load_clip
from training.errors import TrainingError
from training.nha_layout import open_nha
from training.progress import Progress
from training.run_dir import RunDir
from training.source import PictureSource
from training.stages import Options

IDS = [*range(0, 40, 2), *range(44, 94, 2)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nha")
    for number in IDS:
        image = talking_head("mara")[number]
        place = folder / f"frame_{number:04d}"
        place.mkdir()
        cv2.imwrite(str(place / f"image_{number:04d}.png"), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        segmentation = np.zeros((320, 320), np.uint8)
        segmentation[20:60, 20:60] = 7
        segmentation[60:250, 100:220] = 101
        if number % 4 == 0:
            cv2.imwrite(str(place / f"seg_{number:04d}.png"), segmentation)
    (folder / "split.json").write_text(json.dumps({"train": list(range(70)), "val": list(range(70, 92))}), encoding="ascii")
    (folder / "transforms.json").write_text("{}", encoding="ascii")
    return folder


def test_the_layout_is_read(root: Path) -> None:
    source: PictureSource = open_nha(root)
    assert (source.width, source.height, len(source.pts_s)) == (320, 320, 44)
    assert source.pts_s[20] == pytest.approx(44 / 25)
    (frame,) = source.read(np.array([20]), 0.5, 1)
    expected = cv2.resize(talking_head("mara")[44], (160, 160), interpolation=cv2.INTER_AREA)
    assert frame.image.shape == (160, 160, 3)
    assert np.abs(frame.image.astype(int) - expected).mean() < 3
    head = open_nha(root).head(0)
    assert head is not None
    assert (head[120, 160], head[30, 30]) == (1, 0)
    assert open_nha(root).head(1) is None


def test_it_becomes_a_dataset_with_its_own_split(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "mara")
    with run.locked(), run.work("dataset", "test"):
        dataset.run(run, Options(root), Progress())
    clip = load_clip(run.folder("dataset"))
    assert len(clip.pts_s) == 44
    assert clip.held_out.sum() == 11
    assert clip.held_out[-11:].all()
    scale = run.record("dataset")["values"]["crop"]["scale"]
    inside = (np.array([160.0, 160.0]) * scale - clip.origin[0]).astype(int)
    assert clip.mattes[0, inside[1], inside[0]] == 255


@pytest.mark.parametrize(("name", "content"), [("split.json", "{"), ("split.json", '{"train": [1]}'), ("split.json", '{"train": ["x"], "val": []}')])
def test_a_broken_split_is_refused(root: Path, tmp_path: Path, name: str, content: str) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "frame_0002").symlink_to(root / "frame_0002")
    (copy / name).write_text(content, encoding="ascii")
    with pytest.raises(TrainingError, match=r"split\.json should hold"):
        open_nha(copy)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected frame_0000"):
        open_nha(tmp_path)
    (tmp_path / "frame_0000").mkdir()
    with pytest.raises(TrainingError, match="first picture cannot be read"):
        open_nha(tmp_path)

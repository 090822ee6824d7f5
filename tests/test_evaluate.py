"""The evaluate stage on a clip of known truth: what is right scores high, what is shifted scores low, and the pictures are there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from models.avatar_file import write_avatar
from tests.trained_run import Truth, fake_live, make_run, moving, save_drive
from training import driving, evaluate
from training.clip import load_clip, save_observations
from training.errors import TrainingError
from training.metrics import flip_map
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options

OPTIONS = Options(Path("clip.mp4"), threads=2)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_run(tmp_path_factory.mktemp("runs") / "mara")


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def metrics(truth: Truth, tmp_path_factory: pytest.TempPathFactory, patched: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a run whose live drive smiles and turns only half as much as it should."""
    count = len(truth.drive)
    half = replace(truth.drive, expression=0.5 * truth.drive.expression, neck=0.9 * truth.drive.neck)
    told = replace(half, tracking=("ok",) * (count - 2) + ("lost",) * 2, stage_ms={"track": np.arange(count, dtype=np.float32)})
    patched.setattr(driving, "LIVE", fake_live(tmp_path_factory.mktemp("live"), told))
    evaluate.run(truth.run, OPTIONS, Progress())
    found: dict[str, Any] = json.loads((truth.run.folder("evaluate") / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_the_truth_scores_high_and_half_of_it_low(metrics: dict[str, Any]) -> None:
    offline, live = metrics["held_out"]["offline"], metrics["held_out"]["live"]
    assert offline.keys() == live.keys() == {"full", "head_box", "mouth", "eyes", "black", "clean"}
    assert offline["full"]["psnr"] > 50.0
    assert offline["black"]["psnr"] > 32.0
    assert min(region["ssim"] for region in offline.values()) > 0.96
    for region in ("full", "head_box", "mouth", "eyes", "black", "clean"):
        assert live[region]["psnr"] < offline[region]["psnr"] - 8.0
        assert live[region]["l1"] > offline[region]["l1"]
    assert live["mouth"]["ssim"] < 0.9
    if flip_map() is not None:
        assert {region for region, figures in live.items() if "flip" in figures} == set(live) - {"full"}
        assert offline["mouth"]["flip"] < 0.01 < live["mouth"]["flip"]


def test_baselines_stand_in_the_same_table(metrics: dict[str, Any]) -> None:
    assert metrics["baselines"]["mean_frame"].keys() == {"full", "head_box", "mouth", "eyes"}
    assert metrics["baselines"]["mean_frame"]["mouth"]["psnr"] < metrics["held_out"]["live"]["mouth"]["psnr"]
    assert metrics["baselines"]["static"]["black"] == pytest.approx(
        {figure: value for figure, value in metrics["held_out"]["offline"]["black"].items() if figure != "flip"}
    )


def test_quick_judges_every_second_held_out_frame(metrics: dict[str, Any], truth: Truth) -> None:
    held_out = np.flatnonzero(truth.clip.held_out)
    assert metrics["curves"]["frame"] == held_out[::2].tolist()
    assert metrics["frames_judged"] == len(held_out[::2])
    assert metrics["held_out_frames"] == len(held_out)
    assert len(metrics["curves"]["live"]["mouth"]) == len(held_out[::2])


def test_live_is_timed_and_its_losses_counted(metrics: dict[str, Any], truth: Truth) -> None:
    assert metrics["live"]["stage_ms"]["track"]["median"] == pytest.approx((len(truth.drive) - 1) / 2)
    assert metrics["live"]["tracking"] == {"lost": 2, "ok": len(truth.drive) - 2}


def test_landmarks_of_the_truth_lie_on_the_real_ones(metrics: dict[str, Any]) -> None:
    assert metrics["landmarks"]["offline"]["distance_percent"] < 0.2
    assert metrics["landmarks"]["live"]["distance_percent"] > 1.0
    assert metrics["landmarks"]["offline"]["lost"] == 0


def test_worst_frames_are_the_worst(metrics: dict[str, Any]) -> None:
    scores = [entry["live_head_box_psnr"] for entry in metrics["worst"]]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(min(metrics["curves"]["live"]["head_box"]), abs=1e-3)


def test_the_run_is_told_everything_but_the_curves(metrics: dict[str, Any], truth: Truth) -> None:
    values = truth.run.record("evaluate")["values"]
    assert values["held_out"] == metrics["held_out"]
    assert "curves" not in values


def test_pictures_and_video_are_there(metrics: dict[str, Any], truth: Truth) -> None:
    folder = truth.run.folder("evaluate")
    for name in ("sheet.png", "worst.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None
        assert picture.shape[1] <= 6 * 320
    with av.open(str(folder / "side_by_side.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(25.0)
    assert len(frames) == truth.clip.held_out.sum()
    real = frames[0][34:, :256].astype(float)
    assert np.abs(real - truth.clip.frames[np.flatnonzero(truth.clip.held_out)[0]]).mean() < 4.0
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_mean_frame_is_that_of_the_training_frames(truth: Truth) -> None:
    expected = truth.clip.frames[~truth.clip.held_out].astype(float).mean(0)
    assert np.abs(evaluate.mean_frame(truth.clip) - expected).max() <= 0.5 + 1e-6


def test_shapes_are_matched_by_name(truth: Truth) -> None:
    names = truth.file.expression_names
    fitted = moving(truth.file, len(truth.drive))
    turned = driving.offline(fitted, truth.drive.pts_s, names, (*names[::-1], "extra"))
    np.testing.assert_array_equal(turned.expression[:, :-1], truth.drive.expression[:, ::-1])
    assert not turned.expression[:, -1].any()


def copy_run(truth: Truth, folder: Path) -> RunDir:
    """The same dataset and fit in another folder."""
    run = RunDir(folder / "copy")
    for part in ("dataset", "fit"):
        for path in truth.run.folder(part).iterdir():
            (run.folder(part) / path.name).hardlink_to(path)
    return run


def test_a_shifted_avatar_scores_lower(metrics: dict[str, Any], truth: Truth, tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    run = copy_run(truth, tmp_path)
    mesh = truth.file.mesh
    write_avatar(run.avatar, replace(truth.file, mesh=replace(mesh, vertices=mesh.vertices + np.array([0.004, 0.0, 0.0], np.float32))))
    patched.setattr(driving, "LIVE", fake_live(tmp_path, truth.drive))
    evaluate.run(run, OPTIONS, Progress())
    shifted = run.record("evaluate")["values"]["held_out"]["offline"]
    for region in ("full", "head_box", "mouth", "eyes", "black", "clean"):
        assert shifted[region]["psnr"] < metrics["held_out"]["offline"][region]["psnr"] - 5.0


def test_without_held_out_frames_it_says_so(truth: Truth, tmp_path: Path) -> None:
    run = copy_run(truth, tmp_path)
    write_avatar(run.avatar, truth.file)
    data = run.folder("dataset")
    clip = load_clip(data)
    (data / "observations.npz").unlink()
    save_observations(data, replace(clip, held_out=np.zeros_like(clip.held_out)))
    with pytest.raises(TrainingError, match="keeps no frames"):
        evaluate.run(run, OPTIONS, Progress())


def test_a_failing_live_process_says_what_it_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('the avatar file is damaged')")
    with pytest.raises(TrainingError, match=r"clip\.mp4: the avatar file is damaged"):
        driving.live(tmp_path / "clip.mp4", tmp_path / "x.avatar", Progress(), command=command)


def test_a_drive_of_another_length_or_shape_is_refused(truth: Truth, tmp_path: Path) -> None:
    command = fake_live(tmp_path, truth.drive)
    with pytest.raises(TrainingError, match=r"given 3 frames.*returned 20"):
        driving.live(tmp_path / "frames.npy", tmp_path / "x.avatar", Progress(), np.arange(3.0), command=command)
    spoilt = save_drive(tmp_path / "bad.npz", replace(truth.drive, gaze=truth.drive.gaze[:, 0]))
    with pytest.raises(TrainingError, match="'gaze' should have shape"):
        driving.read_drive(spoilt)
    spoilt.write_bytes(b"PK")
    with pytest.raises(TrainingError, match="cannot be read"):
        driving.read_drive(spoilt)

"""The neural road as a whole: a spoiled avatar gets its look and its shape back, on frames it has not seen; a killed training goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch

from models.avatar_file import AvatarFile, read_avatar, write_avatar
from models.baked import bake
from models.kernels import Bands
from models.networks import TINY
from models.raster.cpu import CpuRasterizer
from realtime.renderer import AvatarRenderer
from tests.neural_clip import BADGE_ROW, NARROWER, SIZE, Case, make_case
from training.errors import TrainingError
from training.neural import REPORT, loop, mark_of, rasterizer_for, read_normals, refine
from training.neural.frames import Frames
from training.neural.judging import FileView
from training.neural.losses import masked_l1
from training.neural.objective import Objective
from training.neural.schedule import GEOMETRY, JOINT, TEXTURE, LossWeights, NeuralSettings
from training.progress import Progress

LOOK = NeuralSettings(
    size=SIZE,
    networks=TINY,
    stages=(
        replace(GEOMETRY, epochs=5, batch=4, offset_rate=5e-4),
        replace(TEXTURE, epochs=14, batch=1, texture_rate=6e-3),
        replace(JOINT, epochs=2, offset_rate=1e-5, texture_rate=5e-4),
    ),
    maps=8,
    map_side=128,
    patience=6,
    bake_mixed=24,
)
SHORT = replace(
    LOOK,
    stages=tuple(replace(stage, epochs=epochs, batch=5) for stage, epochs in zip(LOOK.stages, (1, 2, 1), strict=True)),
    map_side=64,
    maps=2,
    bake_frames=5,
    bake_mixed=3,
)


class Notes(Progress):
    """Keeps what it is told; raises after so many parts, as a kill would stop the program."""

    def __init__(self, parts: int = 1 << 30) -> None:
        self.texts: list[str] = []
        self._left = parts

    def note(self, text: str) -> None:
        self.texts.append(text)

    def advance(self, n: int = 1) -> None:
        self._left -= n
        if self._left < 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def whole(case: Case, tmp_path_factory: pytest.TempPathFactory) -> AvatarFile:
    """Trained shortly, in one go."""
    return refine(case.clip, case.fitted, case.start, SHORT, "cpu", tmp_path_factory.mktemp("whole"), Notes())


def held_out_db(case: Case, file: AvatarFile) -> float:
    """As the live renderer shows it, over the pixels of the truth that no badge covers."""
    renderer = AvatarRenderer(bake(file), SIZE, threads=1)
    errors = []
    for frame in np.flatnonzero(case.clip.held_out):
        shown = renderer.render(case.fitted.params(int(frame))).astype(float) - case.clip.frames[frame]
        errors.append((shown[case.clip.mattes[frame] > 0] ** 2).mean())
    renderer.close()
    return float(10.0 * np.log10(255.0**2 / np.mean(errors)))


def disagreement(case: Case, file: AvatarFile) -> float:
    """1 - intersection / union of the outlines above the badge."""
    frames = FileView(file, case.clip, case.fitted, _frames(case, file), CpuRasterizer(SIZE, SIZE, Bands(1)))
    wrong, union = 0, 0
    for row in range(len(frames.frames)):
        shown = frames(row)[3].numpy()[:70] > 0.5
        truth = case.clip.mattes[frames.frames.index[row]][:70] > 127
        wrong, union = wrong + int((shown != truth).sum()), union + int((shown | truth).sum())
    return wrong / union


def _frames(case: Case, file: AvatarFile) -> Frames:
    return Frames.of(case.clip, case.fitted, file, SIZE, 99, torch.zeros(0))


def same(one: AvatarFile, two: AvatarFile) -> bool:
    assert one.texture_basis is not None
    assert two.texture_basis is not None
    assert one.weights is not None
    assert two.weights is not None
    return (
        np.array_equal(one.mesh.vertices, two.mesh.vertices)
        and np.array_equal(one.texture_basis.maps, two.texture_basis.maps)
        and all(np.array_equal(a, b) for layer, other in zip(one.weights.layers, two.weights.layers, strict=True) for a, b in zip(layer, other, strict=True))
    )


def test_a_spoiled_avatar_gets_its_look_and_shape_back(case: Case, tmp_path: Path) -> None:
    refined = refine(case.clip, case.fitted, case.start, LOOK, "cpu", tmp_path / "train", Notes())
    report = json.loads((tmp_path / "train" / REPORT).read_text(encoding="utf-8"))
    texture = [watched for stage, _, _, watched in report["history"] if stage == 1]
    assert min(texture) < 0.85 * texture[0]
    assert held_out_db(case, refined) > held_out_db(case, case.start) + 3.0
    assert disagreement(case, refined) < 0.4 * disagreement(case, case.start)
    ball = np.unique(case.truth.mesh.faces[np.isin(case.truth.mesh.face_region, (0,))])
    side = ball[np.abs(case.truth.mesh.vertices[ball, 0]) > 0.08]
    wanted = (case.truth.mesh.vertices - case.start.mesh.vertices)[side, 0]
    found = (refined.mesh.vertices - case.start.mesh.vertices)[side, 0]
    assert 0.4 < (found @ wanted) / (wanted @ wanted) < 1.3, f"the ball, {NARROWER} of its width at the start, grows back"
    assert report["parity_db"] > 35.0
    write_avatar(tmp_path / "refined.avatar", refined)
    assert len(read_avatar(tmp_path / "refined.avatar").texture_basis.maps) == 8  # type: ignore[union-attr]
    assert (tmp_path / "refined.avatar").stat().st_size < 5_000_000


@pytest.mark.parametrize("parts", [1, 3])
def test_a_killed_training_goes_on_where_it_was(case: Case, whole: AvatarFile, tmp_path: Path, parts: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        refine(case.clip, case.fitted, case.start, SHORT, "cpu", tmp_path, Notes(parts))
    assert same(whole, refine(case.clip, case.fitted, case.start, SHORT, "cpu", tmp_path, Notes()))
    assert {path.name for path in tmp_path.iterdir()} == {loop.CHECKPOINT, REPORT}


@pytest.mark.parametrize("kind", ["damaged", "of another seed"])
def test_a_checkpoint_of_something_else_is_not_gone_on_with(case: Case, tmp_path: Path, kind: str) -> None:
    short = replace(SHORT, stages=(replace(TEXTURE, epochs=1, batch=6, texture_rate=1e-3),))
    if kind == "damaged":
        (tmp_path / loop.CHECKPOINT).write_bytes(b"PK\x03\x04 nothing of use")
    else:
        refine(case.clip, case.fitted, case.start, replace(short, seed=9), "cpu", tmp_path, Notes())
    told = Notes()
    refine(case.clip, case.fitted, case.start, short, "cpu", tmp_path, told)
    assert "starting anew" in told.texts[0]
    again = Notes()
    refine(case.clip, case.fitted, case.start, short, "cpu", tmp_path, again)
    assert not any("starting anew" in text for text in again.texts)


def test_baking_otherwise_needs_no_new_training(case: Case) -> None:
    def mark(settings: NeuralSettings) -> str:
        return mark_of(case.start, case.fitted, settings)

    assert mark(SHORT) == mark(replace(SHORT, maps=3)) == mark(replace(SHORT, bake_mixed=9))
    assert len({mark(SHORT), mark(replace(SHORT, seed=3)), mark(replace(SHORT, size=64))}) == 3


def test_a_number_that_is_none_leads_back_to_the_last_good_state(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def now_and_then(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return masked_l1(predicted, target, weight) * (float("nan") if calls == 5 else 1.0)

    monkeypatch.setattr("training.neural.losses.masked_l1", now_and_then)
    told = Notes()
    settings = replace(SHORT, stages=(replace(TEXTURE, epochs=4, batch=4, texture_rate=3e-3),))
    refined = refine(case.clip, case.fitted, case.start, settings, "cpu", tmp_path, told)
    assert sum("not a number" in text for text in told.texts) == 1
    assert refined is not case.start
    assert held_out_db(case, refined) > held_out_db(case, case.start)


def test_nothing_better_found_leaves_the_start(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.neural.bake", lambda *_given: case.start)
    told = Notes()
    assert refine(case.clip, case.fitted, case.truth, replace(SHORT, stages=()), "cpu", tmp_path, told) is case.truth
    assert any("stays" in text for text in told.texts)


def test_baking_alone_keeps_what_the_start_shows(case: Case, tmp_path: Path) -> None:
    """The true avatar, its basis and dynamic offsets taken apart and put together again from 12 frames, without any training."""
    settings = replace(LOOK, stages=())
    refine(case.clip, case.fitted, case.truth, settings, "cpu", tmp_path, Notes())
    assert json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))["parity_db"] > 35.0


def test_a_file_keeps_to_its_size(case: Case, tmp_path: Path) -> None:
    small = replace(SHORT, stages=(replace(SHORT.stages[1], epochs=4),), maps=8, file_bytes=190_000)
    refined = refine(case.clip, case.fitted, case.start, small, "cpu", tmp_path, Notes())
    assert refined is not case.start
    write_avatar(tmp_path / "small.avatar", refined)
    assert 160_000 < (tmp_path / "small.avatar").stat().st_size <= 190_000


def test_a_stage_ends_when_it_no_longer_pays(case: Case, tmp_path: Path) -> None:
    wild = replace(SHORT, patience=2, stages=(replace(TEXTURE, epochs=30, batch=4, texture_rate=3.0),))
    refine(case.clip, case.fitted, case.start, wild, "cpu", tmp_path, Notes())
    assert len(json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))["history"]) < 12


def test_normals_pull_at_the_geometry(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "normals.npy"
    waves = np.zeros((*case.clip.frames.shape[:3], 3), np.int8)
    waves[..., 0] = 90.0 * np.sin(np.arange(SIZE) / 2.0)
    waves[..., 2] = 90
    np.save(path, waves)
    seen: list[float] = []
    original = Objective.__call__

    def watched(self: Objective, *given: object) -> torch.Tensor:
        loss = original(self, *given)  # type: ignore[arg-type]
        seen.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(Objective, "__call__", watched)
    stage = replace(GEOMETRY, epochs=3, batch=6, weights=LossWeights(normals=1.0), offset_rate=1e-3)
    refine(case.clip, case.fitted, case.start, replace(SHORT, stages=(stage,), normals=path), "cpu", tmp_path / "train", Notes())
    assert seen[0] > 0.0
    assert min(seen) < 0.98 * seen[0]


def test_normals_that_are_none_are_refused(case: Case, tmp_path: Path) -> None:
    assert read_normals(None, case.clip) is None
    path = tmp_path / "normals.npy"
    with pytest.raises(TrainingError, match="cannot be read"):
        read_normals(path, case.clip)
    np.save(path, np.zeros((2, 3), np.int8))
    with pytest.raises(TrainingError, match="shape"):
        read_normals(path, case.clip)


def test_too_few_frames_are_refused(case: Case, tmp_path: Path) -> None:
    short = replace(case.clip, held_out=np.arange(len(case.clip.frames)) > 2)
    with pytest.raises(TrainingError, match="at least 4"):
        refine(short, case.fitted, case.start, SHORT, "cpu", tmp_path, Notes())


def test_a_full_disk_is_said_and_leaves_nothing_half_written(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="make room"):
        refine(case.clip, case.fitted, case.start, SHORT, "cpu", tmp_path, Notes())
    assert list(tmp_path.iterdir()) == []


def test_held_out_frames_are_never_looked_at(case: Case, whole: AvatarFile, tmp_path: Path) -> None:
    frames, mattes, landmarks = case.clip.frames.copy(), case.clip.mattes.copy(), case.clip.landmarks.copy()
    frames[case.clip.held_out], mattes[case.clip.held_out], landmarks[case.clip.held_out] = 77, 77, 7.0
    fitted = replace(case.fitted, expression=np.where(case.clip.held_out[:, None], 9.0, case.fitted.expression).astype(np.float32))
    blind = replace(case.clip, frames=frames, mattes=mattes, landmarks=landmarks)
    assert same(whole, refine(blind, fitted, case.start, SHORT, "cpu", tmp_path, Notes()))


def test_the_cpu_draws_where_pytorch3d_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "models.raster.pytorch3d", None)
    told = Notes()
    assert isinstance(rasterizer_for(64, "meta", told), CpuRasterizer)
    assert "PyTorch3D cannot be loaded" in told.texts[0]
    assert isinstance(rasterizer_for(64, "cpu", told), CpuRasterizer)
    assert len(told.texts) == 1


def test_the_badge_hides_no_truth(case: Case) -> None:
    assert not case.clip.mattes[:, BADGE_ROW:].any()

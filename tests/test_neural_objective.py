"""Which part of the avatar each term of the objective pulls at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch

from models.kernels import Bands
from models.networks import TINY
from models.raster.cpu import CpuRasterizer
from tests.neural_clip import SIZE, make_case
from training.neural.avatar import NeuralAvatar
from training.neural.frames import Frames
from training.neural.landmarks import find_places
from training.neural.objective import Objective
from training.neural.scene import Scene
from training.neural.schedule import LossWeights, NeuralSettings, Stage

PARTS = {"offset": "offset.", "texture": "texture.", "encoder": "encoder.", "parameters": "residual"}
PULLS = {
    "colour": {"offset", "texture", "encoder", "parameters"},
    "pyramid": {"texture", "encoder"},
    "silhouette": {"offset", "parameters"},
    "laplacian": {"offset"},
    "edges": {"offset", "parameters"},
    "landmarks": {"offset", "parameters"},
    "eyes": {"parameters"},
    "consistency": {"offset"},
    "prior": {"parameters"},
}


@pytest.fixture(scope="module")
def objective() -> Iterator[Objective]:
    """Of an avatar under way: every number stirred a little, so that no gradient is zero for being at the start."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    case = make_case()
    like = torch.zeros(0)
    scene, rasterizer = Scene.of(case.start, like), CpuRasterizer(SIZE, SIZE, Bands(1))
    frames = Frames.of(case.clip, case.fitted, case.start, SIZE, 99, like)
    torch.manual_seed(4)
    avatar = NeuralAvatar(scene, frames, case.start.expression_names, TINY, "paper")
    with torch.no_grad():
        for parameter in avatar.parameters():
            parameter += 0.003 * torch.randn_like(parameter)
    yield Objective(avatar, find_places(scene, frames, rasterizer), rasterizer)
    torch.set_num_threads(before)


def pulled(objective: Objective, weights: LossWeights, geometry: bool = True) -> set[str]:
    avatar = objective.avatar
    avatar.zero_grad(set_to_none=True)
    stage = Stage("one", 1, 2, weights, offset_rate=1e-3 if geometry else 0.0, texture_rate=1e-3, parameter_rate=1e-3 if geometry else 0.0)
    loss = objective(torch.tensor([0, 3]), stage)
    assert torch.isfinite(loss)
    loss.backward()
    moved = [name for name, parameter in avatar.named_parameters() if parameter.grad is not None and parameter.grad.abs().max() > 1e-12]
    return {part for part, start in PARTS.items() if any(name.startswith(start) for name in moved)}


@pytest.mark.parametrize("term", sorted(PULLS))
def test_a_term_pulls_at_what_it_is_about(objective: Objective, term: str) -> None:
    assert objective.places.lids_known
    last = objective.avatar.offset.last.weight.data
    last += 0.5 * (term == "edges")  # edges cost nothing until they are stretched
    found = pulled(objective, LossWeights(**{term: 1.0}))
    last -= 0.5 * (term == "edges")
    assert found == PULLS[term]


def test_a_texture_stage_leaves_the_geometry(objective: Objective) -> None:
    assert pulled(objective, LossWeights(colour=1.0, pyramid=1.0), geometry=False) == {"texture", "encoder"}


def test_lids_are_closed_by_the_expression_alone(objective: Objective) -> None:
    pulled(objective, LossWeights(eyes=1.0))
    gradient = objective.avatar.residual.grad
    assert gradient is not None
    count = objective.avatar.frames.poses.expression.shape[1]
    assert gradient[:, :count].any()
    assert not gradient[:, count:].any()


def test_residual_parameters_sum_to_zero_and_leave_watched_frames(objective: Objective) -> None:
    frames = objective.avatar.frames
    change, shift = objective.avatar.residuals(torch.arange(len(frames)))
    watched = torch.from_numpy(frames.watched)
    assert watched.any()
    assert not change[watched].any()
    assert not shift[watched].any()
    assert change[~watched].any()
    assert float(change.sum(0).detach().abs().max()) < 1e-6


def test_presets_of_a_cpu_are_small() -> None:
    small, full = NeuralSettings.of("quick", "cpu"), NeuralSettings.of("full", "cuda")
    assert small.size < 256
    assert small.networks.texture_width < full.networks.texture_width == 256
    assert [stage.epochs for stage in full.stages] == [150, 50, 50]
    assert [stage.name for stage in small.stages] == ["geometry", "texture", "joint"]

"""models.head_torch against the plain numpy forward, the compiled one, and finite differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch

from models.avatar_file import read_avatar
from models.baked import bake, project
from models.head import HeadModel, HeadParams, load_head
from models.head_torch import Poses, TorchHead, gaze_matrices, rotation_matrices, vertex_normals
from models.head_torch import project as project_torch
from models.mesh import vertex_normals as numpy_normals
from models.rotations import from_gaze, to_matrix
from tests.tiny_avatar import tiny_avatar
from tests.tiny_head import tiny_head

ASSETS = Path(__file__).resolve().parents[1] / "assets"
DOUBLE = torch.zeros(0, dtype=torch.float64)


def params_of(rng: np.random.Generator, identity: int, expression: int) -> HeadParams:
    def normal(scale: float, *shape: int) -> np.ndarray:
        return rng.normal(0.0, scale, shape).astype(np.float32)

    away = np.array([0.01, -0.02, -0.6], np.float32)
    return HeadParams(normal(1.0, identity), normal(0.3, expression), normal(0.3, 3), normal(0.3, 3), normal(0.2, 3), normal(0.3, 2, 2), away)


@pytest.fixture(scope="module")
def open_head() -> HeadModel:
    return load_head(ASSETS / "open_head.safetensors")


@pytest.mark.parametrize("kind", ["flame-shaped", "open"])
def test_a_head_is_posed_as_in_numpy(kind: str, open_head: HeadModel) -> None:
    head = tiny_head() if kind == "flame-shaped" else open_head
    rng = np.random.default_rng(1)
    identity = rng.normal(0, 1, len(head.identity)).astype(np.float32)
    frames = [replace(params_of(rng, 0, len(head.expression)), identity=identity) for _ in range(3)]
    posed = TorchHead.of_head(head, torch.zeros(0)).posed(Poses.of(frames, torch.zeros(0)), torch.from_numpy(identity))
    expected = np.stack([head.vertices(each) for each in frames])
    assert np.abs(posed.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("name", ["ball", "mara"])
def test_an_avatar_is_posed_as_in_the_live_loop(name: str) -> None:
    file = tiny_avatar(12, trained=True) if name == "ball" else read_avatar(ASSETS / "avatars" / "mara.avatar")
    avatar = bake(file)
    rng = np.random.default_rng(2)
    frames = [params_of(rng, 0, len(file.expression_names)) for _ in range(2)]
    like = torch.zeros(0)
    dynamic = np.stack([avatar.pose_of(each).dynamic for each in frames])
    offsets = torch.tensordot(torch.from_numpy(dynamic), torch.from_numpy(np.array(avatar.dynamic_offsets)), 1) if dynamic.size else None
    posed = TorchHead.of_avatar(file, like).posed(Poses.of(frames, like), offsets=offsets)
    assert np.abs(posed.numpy() - np.stack([avatar.pose(each) for each in frames])).max() < 1e-5


def test_points_are_projected_as_in_the_live_loop() -> None:
    vertices = np.random.default_rng(3).normal(0, 0.1, (50, 3)).astype(np.float32) - np.array([0, 0, 0.6], np.float32)
    expected = np.empty_like(vertices)
    project(vertices, 250.0, 60.0, 70.0, 0, 50, expected)
    assert np.abs(project_torch(torch.from_numpy(vertices), 250.0, (60.0, 70.0)).numpy() - expected).max() < 1e-4


def test_normals_are_those_of_the_renderer() -> None:
    mesh = tiny_avatar(12).mesh
    found = vertex_normals(torch.from_numpy(mesh.vertices)[None], torch.from_numpy(mesh.faces).long())[0].numpy()
    assert np.abs(found - numpy_normals(mesh.vertices, mesh.faces)).max() < 1e-4


@pytest.mark.parametrize("angle", [(0.0, 0.0, 0.0), (4e-4, -2e-4, 3e-4), (0.4, -0.9, 0.2)])
def test_rotations_and_their_gradients(angle: tuple[float, float, float]) -> None:
    vector = torch.tensor(angle, dtype=torch.float64, requires_grad=True)
    assert np.abs(rotation_matrices(vector).detach().numpy() - to_matrix(angle)).max() < 1e-12
    assert torch.autograd.gradcheck(rotation_matrices, (vector,))
    assert np.abs(gaze_matrices(vector[:2]).detach().numpy() - from_gaze(*angle[:2])).max() < 1e-12


def test_gradcheck_of_the_whole_forward() -> None:
    head = TorchHead.of_head(tiny_head(identity=2, expression=2, rings=3), DOUBLE)
    rng = np.random.default_rng(4)
    inputs = [rng.normal(0, 0.2, shape) for shape in ((2, 2), (2, 3), (2, 3), (2, 3), (2, 2, 2), (2, 3), (2,), head.vertices.shape)]
    inputs[5][:, 2] -= 0.6
    tensors = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in inputs]

    def forward(*given: torch.Tensor) -> torch.Tensor:
        posed = head.posed(Poses(*given[:6]), given[6], 0.01 * given[7][None])
        return project_torch(posed[:, ::7], 2.0, (0.5, 0.5))

    assert torch.autograd.gradcheck(forward, tuple(tensors), fast_mode=True)


def test_gradcheck_of_normals() -> None:
    mesh = tiny_avatar(6).mesh
    faces = torch.from_numpy(mesh.faces[:20]).long()
    vertices = torch.from_numpy(mesh.vertices[: int(faces.max()) + 1]).double()[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda points: vertex_normals(10.0 * points, faces), (vertices,), fast_mode=True, atol=1e-4)

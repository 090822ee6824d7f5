"""PyTorch3D's rasteriser against ours: with PyTorch3D itself where it is installed, else with a stand-in that keeps its documented conventions."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch

from models.raster.pytorch3d import PyTorch3dRasterizer, drawable, to_ndc
from models.raster.reference import ReferenceRasterizer
from tests.tiny_avatar import tiny_avatar

WIDTH, HEIGHT = 60, 48


def scene() -> tuple[np.ndarray, np.ndarray]:
    """The tiny avatar from nearby, with some of it behind the camera."""
    mesh = tiny_avatar(10).mesh
    x, y, z = (mesh.vertices + np.array([0.01, 0.0, -0.16], np.float32)).T
    depth = -z
    near = np.where(np.abs(depth) < 1e-3, 1e-3, depth)
    points = np.stack([WIDTH / 2 + 30 * x / near, HEIGHT / 2 - 30 * y / near, depth], 1)
    points[5, 2] = -0.2
    return points.astype(np.float32), mesh.faces


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `rasterize_meshes` made of the reference: NDC to pixels by the documented convention, culling nothing, naming triangles by their place in the list."""

    def rasterize_meshes(mesh: Any, image_size: tuple[int, int], **options: Any) -> tuple[torch.Tensor, ...]:
        assert options == {
            "blur_radius": 0.0,
            "faces_per_pixel": 1,
            "perspective_correct": True,
            "clip_barycentric_coords": False,
            "cull_backfaces": False,
        }
        height, width = image_size
        half = min(height, width) / 2.0
        ndc = mesh.verts[0].numpy()
        points = np.stack([width / 2 - half * ndc[:, 0], height / 2 - half * ndc[:, 1], ndc[:, 2]], 1).astype(np.float32)
        seen = ReferenceRasterizer(width, height).rasterize(points, mesh.faces[0].numpy().astype(np.int32))
        depth = np.where(seen.face_id < 0, -1.0, seen.depth)
        weights = np.where(seen.face_id[..., None] < 0, -1.0, seen.barycentrics)
        face = torch.from_numpy(seen.face_id).long()[None, :, :, None]
        return face, torch.from_numpy(depth)[None, :, :, None], torch.from_numpy(weights)[None, :, :, None], face.double()

    names = ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh", "pytorch3d.structures")
    modules = {name: ModuleType(name) for name in names}
    modules["pytorch3d.renderer.mesh"].rasterize_meshes = rasterize_meshes  # type: ignore[attr-defined]
    modules["pytorch3d.structures"].Meshes = lambda verts, faces: SimpleNamespace(verts=verts, faces=faces)  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def agree() -> None:
    points, faces = scene()
    found = PyTorch3dRasterizer(WIDTH, HEIGHT, "cpu").rasterize(points, faces)
    expected = ReferenceRasterizer(WIDTH, HEIGHT).rasterize(points, faces)
    assert found.face_id.dtype == np.int32
    same = found.face_id == expected.face_id
    assert same.mean() > 0.995, "but for pixels on an edge, the same triangles"
    assert (expected.face_id >= 0).mean() > 0.2
    assert np.abs(found.barycentrics - expected.barycentrics)[same].max() < 1e-3
    shown = same & (expected.face_id >= 0)
    assert np.abs(found.depth[shown] - expected.depth[shown]).max() < 1e-4
    assert np.isinf(found.depth[found.face_id < 0]).all()
    assert not found.barycentrics[found.face_id < 0].any()


@pytest.mark.usefixtures("_stand_in")
def test_it_keeps_to_the_documented_conventions() -> None:
    agree()


@pytest.mark.skipif(importlib.util.find_spec("pytorch3d") is None, reason="PyTorch3D is not installed")
def test_pytorch3d_sees_what_the_reference_sees() -> None:
    agree()


@pytest.mark.usefixtures("_stand_in")
def test_nothing_to_draw() -> None:
    points, faces = scene()
    found = PyTorch3dRasterizer(WIDTH, HEIGHT, "cpu").rasterize(points - np.array([0, 0, 9], np.float32), faces)
    assert (found.face_id == -1).all()
    assert np.isinf(found.depth).all()


def test_device_coordinates_point_left_and_up() -> None:
    corner = np.array([[0.0, 0.0, 0.4], [WIDTH, HEIGHT, 0.5], [WIDTH / 2, HEIGHT / 2, 0.6]], np.float32)
    assert to_ndc(corner, WIDTH, HEIGHT) == pytest.approx(np.array([[1.25, 1.0, 0.4], [-1.25, -1.0, 0.5], [0.0, 0.0, 0.6]]))


def test_back_faces_lines_and_what_is_too_near_are_left_out() -> None:
    points = np.array([[0, 0, 1], [9, 0, 1], [0, 9, 1], [5, 0, 1], [9, 9, 0.005]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 1], [0, 3, 1], [0, 2, 4]], np.int32)
    assert drawable(points, faces).tolist() == [1]

"""What training sees of an avatar against what the live renderer shows of it; texels, weight functions, maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch

from models.avatar_parts import SparseBasis, TextureBasis
from models.baked import bake
from models.kernels import Bands
from models.raster.cpu import CpuRasterizer
from models.texture_basis import BakedTextureBasis
from realtime.renderer import AvatarRenderer
from tests.neural_clip import BADGE_ROW, NARROWER, SIZE, Case, landmark_vertices, make_case
from training.neural.baking import Layout
from training.neural.frames import Frames, evenly, mouth_features, watched_stretches
from training.neural.judging import FileView
from training.neural.landmarks import find_places
from training.neural.poses import Asked
from training.neural.scene import Scene
from training.neural.schedule import NeuralSettings
from training.neural.texels import Texels
from training.neural.view import look, projected
from training.neural.weight_fit import apply, fit_layers

LIKE = torch.zeros(0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def rasterizer(size: int = SIZE) -> CpuRasterizer:
    return CpuRasterizer(size, size, Bands(1))


def frames_of(case: Case) -> Frames:
    return Frames.of(case.clip, case.fitted, case.truth, SIZE, 99, LIKE)


def test_training_sees_what_the_live_loop_shows(case: Case) -> None:
    renderer = AvatarRenderer(bake(case.truth), SIZE, threads=1)
    frames = frames_of(case)
    view = FileView(case.truth, case.clip, case.fitted, frames, rasterizer())
    for frame in (0, 7):
        found = 255.0 * view(frame).permute(1, 2, 0).numpy()
        shown = renderer.render(case.fitted.params(int(frames.index[frame])))
        inside = torch.nn.functional.max_pool2d((view(frame)[3:] < 1.0).float(), 5, 1, 2)[0].numpy() == 0.0
        inside[BADGE_ROW:] = False
        assert inside.sum() > 2000
        away = np.abs(found[..., :3] - shown)[inside]
        assert np.quantile(away, 0.95) < 1.5, "the same colours, but for rounding, away from the eyes' smoothed edges"
    renderer.close()


def test_held_out_frames_are_not_among_those_learned_from(case: Case) -> None:
    frames = frames_of(case)
    assert not case.clip.held_out[frames.index].any()
    assert frames.watched.sum() == 2
    stretches = watched_stretches(200)
    assert np.flatnonzero(stretches).tolist() == [*range(90, 100), *range(190, 200)]


def test_pictures_are_shrunk_with_what_is_measured_in_them(case: Case) -> None:
    half = Frames.of(case.clip, case.fitted, case.truth, SIZE // 2, 99, LIKE)
    rgb, matte = half.picture(3)
    assert rgb.shape == (3, SIZE // 2, SIZE // 2)
    assert float(rgb.mean()) == pytest.approx(case.clip.frames[half.index[3]].mean() / 255.0, abs=0.01)
    assert float(matte.mean()) == pytest.approx(case.clip.mattes[half.index[3]].mean() / 255.0, abs=0.01)
    assert torch.allclose(2.0 * half.landmarks, frames_of(case).landmarks)
    assert half.focal_px == pytest.approx(0.5 * frames_of(case).focal_px)


def test_visible_points_are_projected_to_their_pixels(case: Case) -> None:
    scene, frames = Scene.of(case.truth, LIKE), frames_of(case)
    chosen = torch.tensor([0])
    vertices = scene.head.posed(frames.poses_of(chosen))[0].requires_grad_()
    view = look(scene, vertices, frames.focal_px, SIZE, rasterizer())
    places = projected(view, vertices, frames.focal_px)
    centres = torch.stack([view.pixel % SIZE + 0.5, torch.div(view.pixel, SIZE, rounding_mode="floor") + 0.5], 1)
    assert float((places - centres).detach().abs().max()) < 0.01
    (gradient,) = torch.autograd.grad(places[:, 0].sum(), vertices)
    assert float(gradient[:, 0].sum()) > 0.0
    assert view.gathered(view.picture(view.uv)).equal(view.uv)


def test_offsets_turn_with_their_vertices_and_leave_the_eyes(case: Case) -> None:
    scene = Scene.of(case.truth, LIKE)
    mesh = scene.topology
    outwards = torch.zeros(1, len(mesh.movable), 3)
    outwards[..., 2] = 0.01
    moved = scene.spread(outwards)[0]
    ball = torch.nn.functional.normalize(scene.head.vertices[mesh.movable], dim=1)
    assert float(((0.01 * ball - moved[mesh.movable]) / 0.01).abs().max()) < 0.3, "along the normals of a ball"
    eyes = np.unique(case.truth.mesh.faces[np.isin(case.truth.mesh.face_region, (1, 2))])
    assert not moved[torch.from_numpy(eyes)].any()
    axes = mesh.frames
    assert torch.allclose(axes.transpose(1, 2) @ axes, torch.eye(3).expand_as(axes), atol=1e-5)
    assert torch.allclose(torch.linalg.det(axes), torch.ones(len(axes)), atol=1e-4)


def test_the_overlay_follows_the_surface_under_it() -> None:
    from tests.neural_clip import unlit
    from tests.tiny_avatar import tiny_avatar

    file = unlit(tiny_avatar(10))
    scene = Scene.of(file, LIKE)
    moved = scene.spread(torch.ones(1, len(scene.topology.movable), 3) * 0.01)[0]
    lashes = torch.from_numpy(np.unique(file.mesh.faces[file.mesh.face_layer == 1])).long()
    assert torch.allclose(torch.linalg.vector_norm(moved[lashes], dim=1), torch.full((len(lashes),), 0.01 * 3**0.5))


def test_landmarks_are_found_where_they_were_put(case: Case) -> None:
    frames, scene = frames_of(case), Scene.of(case.truth, LIKE)
    places = find_places(scene, frames, rasterizer())
    known = places.weight.numpy() > 0
    assert known[:468].mean() > 0.5
    assert not known[468:].any()
    found = places.points(scene.head.vertices[None])[0].numpy()
    away = np.linalg.norm(found - case.truth.mesh.vertices[landmark_vertices(case.truth)], axis=1)[known]
    assert np.median(away) < 0.004, "within a pixel or so, 3 mm"


def test_the_mouth_is_told_of_jaw_and_lips() -> None:
    assert mouth_features(("browInnerUp", "jawOpen", "mouthSmileLeft")).tolist() == [6, 7, 8, 14, 15]
    assert mouth_features(("expression000", "expression001")).tolist() == [6, 7, 8, 13, 14]


def test_frames_are_spread_evenly() -> None:
    assert evenly(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert evenly(np.arange(3), 4).tolist() == [0, 1, 2]


@pytest.mark.parametrize("mirrored", [False, True])
def test_texels_are_where_the_texture_is_looked_up(case: Case, mirrored: bool) -> None:
    side = 64
    mesh = case.truth.mesh
    if mirrored:
        mesh = replace(mesh, uv=mesh.uv * np.array([-1.0, 1.0], np.float32) + np.array([1.0, 0.0], np.float32))
    texels = Texels.of(replace(case.truth, mesh=mesh), side, rasterizer(side), LIKE)
    corners = torch.from_numpy(mesh.uv[mesh.uv_faces[texels.face.numpy()]])
    again = (corners * texels.barycentrics[..., None]).sum(1)
    assert float((again - texels.uv).abs().max()) < 1e-4
    covered = texels.origin[texels.row, texels.column]
    assert covered.tolist() == list(range(len(texels)))
    row, column = np.nonzero(texels.origin >= 0)
    shown = texels.origin[row, column]
    assert np.hypot(texels.row[shown] - row, texels.column[shown] - column).max() <= 4.5
    assert (texels.origin < 0).any()


def test_a_weight_function_learns_a_line_and_a_bend() -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(0, 1, (120, 6))
    line = seen @ rng.normal(0, 1, (6, 3)) + 0.5
    layers = fit_layers(seen, line)
    assert np.abs(apply(layers, seen) - line).max() < 0.02
    bend = np.abs(seen[:, :1]) + np.maximum(seen[:, 1:2], 0.0)
    layers = fit_layers(seen, bend)
    assert len(layers) == 2
    fresh = rng.normal(0, 1, (50, 6))
    assert np.abs(apply(layers, fresh) - np.abs(fresh[:, :1]) - np.maximum(fresh[:, 1:2], 0.0)).mean() < 0.1


def test_maps_keep_their_values_through_quantising() -> None:
    rng = np.random.default_rng(1)
    maps = rng.normal(0, 20, (3, 32, 32, 3)).astype(np.float32)
    layout = Layout(32, 3, 16, np.zeros(4, np.uint8))
    basis = TextureBasis.quantised(maps, layout.block, layout.group)
    baked = BakedTextureBasis.of(basis)
    state = baked.blank()
    weights = np.array([[0.5, -1.0, 0.25]], np.float32)
    baked.update(weights, 0, 4, state)
    expected = np.tensordot(weights[0], maps, 1)
    assert np.abs(state.texels[..., :3] / 64.0 - expected).max() < 1.75 * np.abs(maps).max() / 254.0 + 0.02


def test_the_layout_is_the_starts_own(case: Case) -> None:
    layout = Layout.of(case.truth, NeuralSettings())
    assert (layout.side, layout.channels, layout.block) == (64, 4, 16)
    assert layout.group.tolist() == [0] * 8 + [1] * 8
    plain = Layout.of(replace(case.truth, texture_basis=None), NeuralSettings(map_side=128))
    assert (plain.side, plain.channels, int(plain.group.max())) == (128, 3, 0)
    assert plain.map_count(10**9, 16, 100) == 32
    assert plain.map_count(10**9, 16, 24) == 24
    assert plain.map_count(128 * 128 * 3 * 5, 16, 24) == 4, "a map brings scales and weights with it"
    assert plain.map_count(-1, 16, 24) == 1


def test_mixtures_are_of_what_the_frames_did(case: Case) -> None:
    frames = frames_of(case)
    chosen = np.arange(0, 12, 2)
    asked = Asked.of(frames, chosen, 50, case.truth, 1)
    assert len(asked) == 56
    index = torch.from_numpy(chosen)
    assert torch.equal(asked.poses.neck[:6], frames.poses.neck[index])
    assert torch.allclose(asked.conditions[:6], frames.conditions[index], atol=1e-5)
    assert torch.allclose(asked.texture_weights[:6], frames.texture_weights[index], atol=1e-5)
    assert torch.allclose(asked.dynamic_weights[:6], frames.dynamic_weights[index], atol=1e-5)
    for name in ("neck", "expression"):
        seen, made = getattr(frames.poses, name), getattr(asked.poses, name)[6:]
        assert torch.cdist(made, seen).min(1).values.max() > 0.01, "not only frames"
        assert float((made.mean(0) - seen.mean(0)).abs().max()) < float(seen.std(0).max())
    assert not asked.poses.rotation.any(), "what never moves is left still"


def test_the_spoiled_start_is_wrong_in_shape_too(case: Case) -> None:
    assert np.ptp(case.start.mesh.vertices[:, 0]) == pytest.approx(NARROWER * np.ptp(case.truth.mesh.vertices[:, 0]), rel=1e-3)
    assert SparseBasis.from_dense(case.start.expression.dense(len(case.start.mesh.vertices))).start.tolist() == case.start.expression.start.tolist()

"""training/fit/surface.py and training/portrait/geometry.py: shape from flows and from outlines."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import load_head
from models.rotations import to_matrix
from tests.flame_like import OPEN_HEAD
from tests.portraits import Painted, painted
from training.fit.photometric import Flows
from training.fit.surface import SPILL_PX, SPILT_PX, SurfaceSettings, accumulate, accumulate_outline, refine_surface, spill
from training.portrait.capture_mesh import SKIN
from training.portrait.geometry import laplacian, outline_of, outline_offsets, smooth_normals
from training.portrait.portrait import View

SIZE = 256
FRAMES = 9


@pytest.fixture(scope="module")
def case() -> Painted:
    return painted(load_head(OPEN_HEAD), FRAMES, SIZE)


@pytest.fixture(scope="module")
def normals(case: Painted) -> NDArray[np.float64]:
    return smooth_normals(case.portrait.mesh)


def test_laplacian_is_a_vertex_less_the_mean_of_its_neighbours(case: Painted) -> None:
    mesh = case.portrait.mesh
    skin = mesh.faces[mesh.face_region == 0]
    step = laplacian(skin, len(mesh.vertices))
    beside: dict[int, set[int]] = {}
    for a, b, c in skin.tolist():
        for one, two in ((a, b), (b, c), (c, a)):
            beside.setdefault(one, set()).add(two)
            beside.setdefault(two, set()).add(one)
    result = step @ mesh.vertices.astype(np.float64)
    for vertex in range(0, len(mesh.vertices), 23):
        around = sorted(beside.get(vertex, ()))
        expected = mesh.vertices[vertex] - mesh.vertices[around].mean(0, dtype=np.float64) if around else np.zeros(3)
        np.testing.assert_allclose(result[vertex], expected, atol=1e-8)


def test_normals_are_even_and_point_outwards(case: Painted, normals: NDArray[np.float64]) -> None:
    mesh = case.portrait.mesh
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    step = laplacian(mesh.faces, len(mesh.vertices))
    rough = smooth_normals(mesh, 0)
    assert np.linalg.norm(step @ normals, axis=1).mean() < 0.5 * np.linalg.norm(step @ rough, axis=1).mean()
    skin = mesh.of(SKIN)
    assert ((normals * (mesh.vertices - mesh.vertices[skin].mean(0))).sum(1)[skin] > 0.0).mean() > 0.8


@pytest.mark.parametrize("what", ["flow", "outline"])
def test_accumulated_equations_are_the_plain_ones(what: str) -> None:
    rng = np.random.default_rng(0)
    count, features = 12, 2
    unknowns = 3 * (features + 1)
    phi = rng.normal(size=(9, features)).astype(np.float32)
    level = rng.integers(0, 9, count).astype(np.int32)
    normal, right = np.ones((count, unknowns, unknowns), np.float32), np.ones((count, unknowns), np.float32)
    expected_normal, expected_right = normal.astype(np.float64), right.astype(np.float64)
    camera = rng.normal(0.0, 3.0, (count, 2, 3)).astype(np.float32)
    weights = np.concatenate([np.ones((count, 1)), phi[level]], 1)
    if what == "flow":
        flow = rng.normal(0.0, 2.0, (count, 2)).astype(np.float32)
        visible = rng.random(count) < 0.7
        accumulate(camera, flow, visible, phi, level, 0.5, normal, right)
        for v in np.flatnonzero(visible):
            row = np.kron(weights[v], camera[v])
            trust = 0.25 * min(1.0, 1.5 / float(np.linalg.norm(flow[v])))
            expected_normal[v] += trust * row.T @ row
            expected_right[v] += trust * row.T @ flow[v]
    else:
        vertex = np.array([3, 7, 7, 1])
        along, distance = camera[:4, 0].copy(), rng.normal(size=4).astype(np.float32)
        accumulate_outline(along, distance, vertex, phi, level, 0.5, normal, right)
        for n, v in enumerate(vertex):
            row = np.kron(weights[v], along[n])
            expected_normal[v] += 0.25 * np.outer(row, row)
            expected_right[v] += 0.25 * distance[n] * row
    np.testing.assert_allclose(normal, expected_normal, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(right, expected_right, rtol=1e-4, atol=1e-3)


def exact_flows(case: Painted, truth: NDArray[np.float32], frames: NDArray[np.int64]) -> Flows:
    """What perfect flows would say of a surface that lies `truth` (V, 3) off."""
    now, then = View(case.portrait.baked(), SIZE), View(replace(case.portrait, shape=case.portrait.shape + truth).baked(), SIZE)
    residual, visible = [], []
    for frame in frames:
        now.look(case.fitted.params(int(frame)))
        then.place(case.fitted.params(int(frame)))
        seen = np.zeros(len(now.points), bool)
        seen[now.avatar.faces[np.unique(now.face_id[now.face_id >= 0])]] = True
        residual.append((then.points - now.points)[:, :2])
        visible.append(seen)
    return Flows(frames, np.array(residual, np.float32), np.array(visible), 0.0)


def test_a_bump_is_found_in_three_dimensions(case: Painted) -> None:
    """Its depth, too, for the head turns; the frames that are held out say nothing."""
    mesh = case.portrait.mesh
    tip = mesh.landmark(4)
    hill = np.exp(-(((mesh.vertices - tip) / 0.02) ** 2).sum(1))[:, None].astype(np.float32) * mesh.of(SKIN)[:, None]
    bump = hill * np.array([0.002, 0.001, 0.003], np.float32)
    flows = exact_flows(case, bump, np.arange(FRAMES))
    settings = SurfaceSettings(dynamic=0, together=2.0)
    found = refine_surface(case.portrait, case.clip, case.fitted, flows, settings)
    top = hill[:, 0] > 0.3
    off = np.linalg.norm(found.shape - bump, axis=1)[top]
    assert off.mean() < 0.35 * np.linalg.norm(bump, axis=1)[top].mean()
    assert found.shape[top, 2].mean() > 0.6 * bump[top, 2].mean()
    far = (hill[:, 0] < 1e-4) & (mesh.vertices[:, 2] > tip[2] - 0.06)
    assert np.linalg.norm(found.shape[far], axis=1).mean() < 3e-4
    poisoned = replace(flows, residual=np.where(np.arange(FRAMES)[:, None, None] < 7, flows.residual, 11.0).astype(np.float32))
    clip = replace(case.clip, held_out=np.arange(FRAMES) >= 7)
    seven = replace(flows, frames=flows.frames[:7], residual=flows.residual[:7], visible=flows.visible[:7])
    clean = refine_surface(case.portrait, case.clip, case.fitted, seven, settings)
    np.testing.assert_array_equal(refine_surface(case.portrait, clip, case.fitted, poisoned, settings).shape, clean.shape)


def test_motion_that_follows_a_feature_is_learned_as_motion(case: Painted) -> None:
    """Cheeks that come forward as the head turns: nothing of it is static."""
    mesh, portrait = case.portrait.mesh, case.portrait
    hill = np.exp(-(((mesh.vertices - mesh.landmark(4)) / 0.03) ** 2).sum(1))[:, None].astype(np.float32) * mesh.of(SKIN)[:, None]
    yaw = case.fitted.neck[:, 1] / np.abs(case.fitted.neck[:, 1]).max()
    parts = [exact_flows(case, hill * np.array([0.0, 0.003 * float(yaw[k]), 0.0], np.float32), np.array([k])) for k in range(FRAMES)]
    flows = Flows(np.arange(FRAMES), np.concatenate([part.residual for part in parts]), np.concatenate([part.visible for part in parts]), 0.0)
    found = refine_surface(portrait, case.clip, case.fitted, flows, SurfaceSettings(dynamic=3))
    assert found.dynamic.shape == (len(mesh.vertices), 3, 3)
    top = hill[:, 0] > 0.5
    assert np.abs(found.dynamic[top, :, 1]).max(1).mean() > 3.0 * np.abs(found.shape[top, 1]).mean()
    again = refine_surface(found, case.clip, case.fitted, exact_flows(case, np.zeros_like(portrait.shape), np.arange(FRAMES)), SurfaceSettings(dynamic=3))
    assert again.dynamic.shape == found.dynamic.shape


def wider(matte: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))), np.uint8)


def test_the_outline_lies_as_far_out_as_the_matte(case: Painted, normals: NDArray[np.float64]) -> None:
    mesh, view = case.portrait.mesh, View(case.portrait.baked(), SIZE)
    for frame, px in ((0, 0), (2, 6), (6, 12)):
        view.look(case.fitted.params(frame))
        outline = outline_of(view, wider(case.clip.mattes[frame], px), to_matrix(case.fitted.neck[frame]), normals, mesh.of(SKIN))
        upper = view.points[outline.vertex, 1] < view.points[:, 1].max() - 60
        assert upper.sum() > 20
        np.testing.assert_allclose(np.linalg.norm(outline.direction, axis=1), 1.0, atol=1e-6)
        assert np.median(outline.distance_px[upper]) == pytest.approx(px, abs=1.5)
        outwards = view.points[outline.vertex, :2] - view.points[mesh.of(SKIN), :2].mean(0)
        assert ((outwards * outline.direction).sum(1)[upper] > 0.0).mean() > 0.75


def test_hair_volume_comes_from_mattes(case: Painted, normals: NDArray[np.float64]) -> None:
    """A matte that is 8 pixels wider asks for so much more head, and leaves the face alone."""
    mesh, px = case.portrait.mesh, 8
    clip = replace(case.clip, mattes=np.stack([wider(matte, px) for matte in case.clip.mattes]))
    offsets = outline_offsets(mesh, clip, case.fitted, np.arange(FRAMES), View(case.portrait.baked(), SIZE), normals, load_head(OPEN_HEAD).landmark_spread)
    wanted = px * 0.62 / (case.fitted.focal * SIZE)
    crown = mesh.vertices[:, 1] > np.percentile(mesh.vertices[:, 1], 90)
    assert offsets[crown].mean() == pytest.approx(wanted, rel=0.35)
    assert abs(float(offsets[np.linalg.norm(mesh.vertices - mesh.landmark(4), axis=1) < 0.02].mean())) < 0.15 * wanted


def test_refining_follows_the_outline(case: Painted) -> None:
    flows = exact_flows(case, np.zeros_like(case.portrait.shape), np.arange(FRAMES))
    clip = replace(case.clip, mattes=np.stack([wider(matte, 5) for matte in case.clip.mattes]))
    portrait, distances = case.portrait, []
    for _ in range(3):
        view, found = View(portrait.baked(), SIZE), []
        for frame in range(FRAMES):
            view.look(case.fitted.params(frame))
            rotation = to_matrix(case.fitted.neck[frame])
            outline = outline_of(view, clip.mattes[frame], rotation, smooth_normals(portrait.mesh), portrait.mesh.of(SKIN) & (portrait.mesh.fade > 0.9))
            found.append(np.abs(outline.distance_px))
        distances.append(float(np.median(np.concatenate(found))))
        portrait = refine_surface(portrait, clip, case.fitted, flows, SurfaceSettings(dynamic=0))
    assert distances[0] > 4.0
    assert distances[-1] < 0.5 * distances[0]
    assert np.abs(portrait.shape[~portrait.mesh.of(SKIN)]).max() == 0.0


def test_spilt_surface_knows_its_way_back(case: Painted) -> None:
    mesh, view = case.portrait.mesh, View(case.portrait.baked(), SIZE)
    view.look(case.fitted.params(0))
    whole = case.clip.mattes[0]
    outside, _ = spill(view, wider(whole, 3), mesh.of(SKIN))
    assert not outside.any()
    narrow = np.asarray(cv2.erode(whole, np.ones((21, 21), np.uint8)), np.uint8)
    outside, way = spill(view, narrow, mesh.of(SKIN))
    assert outside.sum() > 30
    assert not way[~outside].any()
    assert np.abs(way).max() <= SPILL_PX
    target = view.points[outside, :2] + way[outside]
    row, column = np.clip(target[:, 1].astype(int), 0, SIZE - 1), np.clip(target[:, 0].astype(int), 0, SIZE - 1)
    free = np.abs(way[outside]).max(1) < SPILL_PX
    assert (narrow[row, column][free] > 127).all()
    lengths = np.linalg.norm(way[outside], axis=1)
    assert lengths.min() > SPILT_PX - 1.5

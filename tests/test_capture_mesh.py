"""training/portrait/capture_mesh.py: what is kept of a head, and the plate behind its lips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.head import ROOT, HeadModel, load_head
from models.mesh import vertex_normals
from tests.flame_like import OPEN_HEAD, crowded, open_head_as_flame, tiny_face
from training.portrait.capture_mesh import EYES, PLATE, PLATE_FRONT_M, SKIN, UPPER_INNER_LIP, CaptureMesh, capture_mesh
from training.portrait.features import learn_features
from training.portrait.portrait import View, blank_portrait

HEADS: dict[str, Callable[[], HeadModel]] = {
    "open": lambda: load_head(OPEN_HEAD),
    "flame": open_head_as_flame,
    "tiny": tiny_face,
    "crowded": lambda: crowded(tiny_face()),
}


@pytest.fixture(scope="module", params=HEADS, name="head")
def head_of(request: pytest.FixtureRequest) -> HeadModel:
    return HEADS[request.param]()


@pytest.fixture(scope="module")
def identity(head: HeadModel) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0.0, 0.7, len(head.identity)).astype(np.float32)


@pytest.fixture(scope="module")
def mesh(head: HeadModel, identity: NDArray[np.float32]) -> CaptureMesh:
    return capture_mesh(head, identity)


def times_covered(uv: NDArray[np.floating], faces: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """(size, size): in how many triangles a texel centre lies, a hair's breadth inside."""
    count = np.zeros((size, size), np.int64)
    for a, b, c in uv[faces].astype(np.float64) * size:
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        x, y = np.meshgrid(*(np.arange(max(int(first), 0), min(int(last) + 1, size)) + 0.5 for first, last in zip(low, high, strict=True)))
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        inside = (v > 1e-3) & (w > 1e-3) & (v + w < 1.0 - 1e-3)
        np.add.at(count, (y[inside].astype(int), x[inside].astype(int)), 1)
    return count


def test_shape_and_landmarks_are_the_head_s(head: HeadModel, identity: NDArray[np.float32], mesh: CaptureMesh) -> None:
    rest = head.shaped(identity, np.zeros(0, np.float32))
    np.testing.assert_allclose(mesh.joints, head.joints(rest))
    np.testing.assert_array_equal(mesh.landmark_faces >= 0, head.landmark_faces >= 0)
    for index in np.flatnonzero(head.landmark_faces >= 0)[::7]:
        np.testing.assert_allclose(mesh.landmark(int(index)), head.landmarks(rest)[index], atol=1e-6)
    skin = head.region_vertices(SKIN)
    skin = skin[head.skinning_weights[skin, ROOT] < 0.9]
    fade = np.clip((0.9 - head.skinning_weights[:, [ROOT]]) / 0.4, 0.0, 1.0)
    shown = np.concatenate([rest, head.skinning_weights, fade, *head.expression[:4]], 1)[skin]
    own = np.concatenate([mesh.vertices, mesh.skinning_weights, mesh.fade[:, None], *mesh.expression[:4]], 1)
    assert cKDTree(own).query(shown)[0].max() < 1e-6, "every vertex of the head is one of the mesh"
    assert np.abs(mesh.expression[:, mesh.of(*EYES, PLATE) & ~mesh.of(SKIN)]).max() == 0.0
    np.testing.assert_allclose(mesh.skinning_weights.sum(1), 1.0, atol=1e-5)
    assert mesh.correctives.shape == (len(head.pose_correctives), len(mesh.vertices), 3)


def test_every_landmark_keeps_its_place_in_the_texture(head: HeadModel, mesh: CaptureMesh) -> None:
    kept = np.flatnonzero(head.landmark_faces >= 0)

    def places(uv: NDArray[np.float32], uv_faces: NDArray[np.int32], faces: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.einsum("lk,lkc->lc", weights[kept], uv[uv_faces[faces[kept]]]).astype(np.float64)

    before = places(head.uv, head.uv_faces, head.landmark_faces, head.landmark_barycentrics)
    after = places(mesh.uv, mesh.uv_faces, mesh.landmark_faces, mesh.landmark_barycentrics)
    squeeze = 1.0 if np.allclose(before, after, atol=1e-5) else 0.8
    np.testing.assert_allclose(after, before * (1.0, squeeze), atol=1e-5)
    for index in kept[::5]:
        names = (mesh.region_names[mesh.face_region[mesh.landmark_faces[index]]], head.region_names[head.face_region[head.landmark_faces[index]]])
        assert names[0] == (names[1] if names[1] in EYES else SKIN)


def test_the_torso_is_left_out_and_the_neck_fades(mesh: CaptureMesh) -> None:
    root = mesh.skinning_weights[:, ROOT]
    assert (root[mesh.faces].min(1) < 0.99).all()
    assert mesh.fade.min() >= 0.0
    assert mesh.fade.max() <= 1.0
    assert (mesh.fade[root < 0.05] == 1.0).all()
    assert mesh.fade[root > 0.96].max(initial=0.0) < 0.2
    between = (root > 0.65) & (root < 0.75)
    assert mesh.fade[between].mean() == pytest.approx(0.5, abs=0.12)


def test_charts_do_not_overlap(head: HeadModel, mesh: CaptureMesh) -> None:
    assert mesh.uv.min() >= 0.0
    assert mesh.uv.max() <= 1.0
    plate = mesh.face_region == mesh.region_names.index(PLATE)
    size = 512
    of_plate = times_covered(mesh.uv, mesh.uv_faces[plate], size)
    of_head = times_covered(mesh.uv, mesh.uv_faces[~plate], size)
    assert of_plate.max() == 1
    assert not ((of_plate > 0) & (of_head > 0)).any()
    before = times_covered(head.uv, head.uv_faces, size).max()
    assert of_head.max() <= max(before, 1)
    assert (of_plate > 0).mean() > 0.02, "large enough for a mouth"


def test_a_texture_without_room_is_squeezed() -> None:
    head = crowded(tiny_face())
    mesh = capture_mesh(head, np.zeros(0, np.float32))
    plate = mesh.face_region == mesh.region_names.index(PLATE)
    assert mesh.uv[mesh.uv_faces[~plate]][..., 1].max() <= 0.8
    assert mesh.uv[mesh.uv_faces[plate]][..., 1].min() > 0.8


def test_the_plate_lies_behind_the_lips_and_faces_the_viewer(mesh: CaptureMesh) -> None:
    faces = mesh.faces[mesh.face_region == mesh.region_names.index(PLATE)]
    plate = mesh.vertices[mesh.of(PLATE)]
    lip = np.stack([mesh.landmark(index) for index in UPPER_INNER_LIP])
    nearest = np.abs(plate[:, None, 0] - lip[None, :, 0]).argmin(1)
    assert (plate[:, 2] < lip[nearest, 2] - 0.5 * PLATE_FRONT_M).all()
    across, rows = lip[-1, 0] - lip[0, 0], plate.reshape(15, 25, 3)
    assert rows[0, 0, 0] < lip[0, 0] - 0.1 * across
    assert rows[0, -1, 0] > lip[-1, 0] + 0.1 * across
    assert (rows[0, :, 1] > lip[:, 1].mean()).all()
    below = rows[:, 12, 1] < lip[:, 1].mean()
    assert (np.diff(rows[below, 12, 2]) < 0.0).all(), "it slopes back towards the chin"
    assert rows[0, 12, 2] < rows[~below, 12, 2][-1], "and towards the nose"
    assert (np.diff(rows[:, 12, 1]) < 0.0).all()
    corners = mesh.vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0.0).all()
    assert (vertex_normals(mesh.vertices, mesh.faces)[mesh.of(PLATE)][:, 2] > 0.0).all()


def test_only_an_open_mouth_shows_the_plate() -> None:
    head = load_head(OPEN_HEAD)
    mesh = capture_mesh(head, np.zeros(0, np.float32))
    features = learn_features(np.zeros((4, 13 + len(mesh.expression_names)), np.float32), mesh.expression_names, 2)
    view = View(blank_portrait(mesh, 1.9, np.array([0.0, 0.02, -0.5], np.float32), features, 64).baked(), 256)
    shown = []
    plate = view.avatar.face_region == mesh.region_names.index(PLATE)
    for weight in (0.0, 0.7):
        params = view.avatar.neutral()
        params.expression[mesh.expression_names.index("jawOpen")] = weight
        for yaw in (-0.3, 0.0, 0.3):
            view.look(replace(params, neck=np.array([0.0, yaw, 0.0], np.float32)))
            shown.append(int(plate[view.face_id[view.face_id >= 0]].sum()))
    closed, opened = shown[:3], shown[3:]
    assert max(closed) < 15
    assert min(opened) > 100

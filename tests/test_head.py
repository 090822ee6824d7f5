"""models/head.py against a slow, obvious forward pass; joints, gaze, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BadFile
from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, HeadParams, load_head, save_head
from models.rotations import from_gaze, to_matrix
from models.tensor_file import read_tensor_file, write_tensor_file
from tests.tiny_head import tiny_head


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return tiny_head()


def random_params(head: HeadModel, seed: int) -> HeadParams:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 0.4, shape).astype(np.float32)

    return HeadParams(draw(len(head.identity)), draw(len(head.expression)), draw(3), draw(3), draw(3), draw(2, 2), draw(3))


def slow_vertices(head: HeadModel, params: HeadParams) -> np.ndarray:
    """FLAME's forward pass vertex by vertex (Li et al. 2017, section 3), in 4x4 matrices."""
    local = [to_matrix(params.rotation), to_matrix(params.neck), to_matrix(params.jaw), *(from_gaze(*gaze) for gaze in params.gaze)]
    shaped = head.template.astype(float)
    for weight, shape in zip(params.identity, head.identity, strict=True):
        shaped = shaped + weight * shape
    joints = [sum(share * vertex for share, vertex in zip(row, shaped, strict=True)) for row in head.joint_regressor]
    for weight, shape in zip(params.expression, head.expression, strict=True):
        shaped = shaped + weight * shape
    features = [entry for rotation in local[1:] for row in rotation - np.eye(3) for entry in row]
    for feature, shape in zip(features, head.pose_correctives, strict=True):
        shaped = shaped + feature * shape
    world: list[NDArray[np.float64]] = []
    for joint, parent in enumerate((-1, 0, 1, 1, 1)):
        own = np.eye(4)
        own[:3, :3] = local[joint]
        own[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0.0)
        world.append(world[parent] @ own if parent >= 0 else own)
    posed = []
    for vertex, weights in zip(shaped, head.skinning_weights, strict=True):
        total = np.zeros(4)
        for joint, weight in enumerate(weights):
            rest = np.append(vertex - joints[joint], 1.0)
            total += weight * (world[joint] @ rest)
        posed.append(total[:3] + params.translation)
    return np.array(posed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_forward_equals_the_slow_one(head: HeadModel, seed: int) -> None:
    params = random_params(head, seed)
    np.testing.assert_allclose(head.vertices(params), slow_vertices(head, params), atol=2e-6)


def test_neutral_is_the_template_before_the_camera(head: HeadModel) -> None:
    params = HeadParams.neutral(len(head.expression))
    np.testing.assert_allclose(head.vertices(params), head.template - np.array([0.0, 0.0, 0.6]), atol=1e-6)


def test_short_weights_leave_the_rest_at_zero(head: HeadModel) -> None:
    full = np.zeros(len(head.identity), np.float32)
    full[:2] = 0.7, -1.2
    np.testing.assert_array_equal(head.shaped(full, np.zeros(0, np.float32)), head.shaped(full[:2], np.zeros(len(head.expression), np.float32)))


def test_gaze_turns_only_its_eye(head: HeadModel) -> None:
    still = replace(head, pose_correctives=np.zeros((0, len(head.template), 3), np.float32))
    neutral = HeadParams.neutral(len(head.expression))
    moved = still.vertices(replace(neutral, gaze=np.array([[0.3, 0.0], [0.0, 0.0]], np.float32))) - still.vertices(neutral)
    left, right = head.region_vertices("left_eye"), head.region_vertices("right_eye")
    front = left[head.template[left, 2].argmax()]
    assert moved[front, 0] > 0.003, "positive yaw looks towards the person's left"
    assert np.abs(moved[right]).max() == 0.0
    assert np.abs(moved[head.region_vertices("skin")]).max() == 0.0


def test_joints_carry_what_hangs_on_them(head: HeadModel) -> None:
    still = replace(head, pose_correctives=np.zeros((0, len(head.template), 3), np.float32))
    neutral = HeadParams.neutral(len(head.expression))
    turned = replace(neutral, neck=np.array([0.0, 0.5, 0.0], np.float32))
    joints = still.joints(still.template)
    eye = np.flatnonzero(head.skinning_weights[:, LEFT_EYE] == 1.0)
    wanted = (still.template[eye] - joints[NECK]) @ to_matrix(turned.neck).T + joints[NECK] + turned.translation
    np.testing.assert_allclose(still.vertices(turned)[eye], wanted, atol=1e-6)
    assert head.skinning_weights[eye, JAW].max() == 0.0


def test_landmarks_lie_on_their_triangles(head: HeadModel) -> None:
    faces = head.landmark_faces.copy()
    faces[7] = -1
    lacking = replace(head, landmark_faces=faces)
    points = lacking.landmarks(lacking.template)
    assert np.isnan(points[7]).all()
    k = 100
    corners = head.template[head.faces[faces[k]]]
    np.testing.assert_allclose(points[k], sum(w * c for w, c in zip(head.landmark_barycentrics[k], corners, strict=True)), atol=1e-7)


def test_regions_and_names(head: HeadModel) -> None:
    assert head.expression_index("expression002") == 2
    with pytest.raises(ValueError, match="jawOpen"):
        head.expression_index("jawOpen")
    counts = [len(head.region_faces(name)) for name in head.region_names]
    assert sum(counts) == len(head.faces)
    assert len(head.region_faces("left_eye", "right_eye")) == counts[1] + counts[2]
    assert head.eye_distance_m == pytest.approx(0.064, abs=1e-6)
    assert head.joints(head.template)[LEFT_EYE, 0] > 0.0 > head.joints(head.template)[RIGHT_EYE, 0]


def test_file_round_trip(head: HeadModel, tmp_path: Path) -> None:
    save_head(tmp_path / "head", head)
    back = load_head(tmp_path / "head")
    for name in ("template", "joint_regressor", "skinning_weights", "faces", "uv", "uv_faces", "face_region", "landmark_faces", "landmark_barycentrics"):
        np.testing.assert_array_equal(getattr(back, name), getattr(head, name), err_msg=name)
    for name in ("identity", "expression", "pose_correctives"):
        np.testing.assert_allclose(getattr(back, name), getattr(head, name), atol=1e-5, err_msg=name)
    assert (back.name, back.licence, back.expression_names, back.region_names) == (head.name, head.licence, head.expression_names, head.region_names)
    assert all(getattr(back, name).dtype == np.float32 for name in ("template", "identity", "expression", "pose_correctives", "uv"))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("faces", lambda a: a + 10_000, "'faces' points outside"),
        ("uv_faces", lambda a: a[:-1], "'uv_faces' should have shape"),
        ("template", lambda a: a * np.nan, "not finite"),
        ("identity", lambda a: a[:, :-1], "'identity' should have shape"),
        ("expression", lambda a: a[:-1], "'expression' should have shape"),
        ("pose_correctives", lambda a: a[:35], "should hold 0 or 36 shapes, it holds 35"),
        ("skinning_weights", lambda a: a * 1.1, "sum to one"),
        ("face_region", lambda a: a + 9, "past the 3 region names"),
        ("landmark_faces", lambda a: a - 2_000_000, "'landmark_faces' points outside -1"),
        ("joint_regressor", lambda a: a.astype(np.float64), "should be float32"),
    ],
)
def test_bad_files_say_what_is_wrong(head: HeadModel, tmp_path: Path, name: str, change: object, words: str) -> None:
    save_head(tmp_path / "head", head)
    file = read_tensor_file(tmp_path / "head", "head", 1)
    arrays = dict(file.arrays)
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    write_tensor_file(tmp_path / "bad", arrays, file.header)
    with pytest.raises(BadFile, match=words):
        load_head(tmp_path / "bad")

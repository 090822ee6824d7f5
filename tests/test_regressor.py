"""The regressor: what it is shown, what it answers, its file; and how one is made for a head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.errors import BadFile
from models.head import HeadModel, HeadParams, load_head, save_head
from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker
from models.regressor import METADATA, Regressor, beside
from models.regressor_features import FEATURE_COUNT, SEEN, mirrored, show
from models.rotations import to_axis_angle, to_matrix
from models.weights import weight_path
from realtime.gallery import SHIPPED
from realtime.packets import FaceObservation, Tracking
from realtime.reenactor import HEAD, regressor_of
from realtime.regression import ParameterSolver
from tests.benchmarks.tracking.clips import SCENES, rendered_clip
from tests.flame_like import open_head_as_flame
from training.__main__ import main
from training.default_avatars.people import THEO
from training.errors import TrainingError
from training.progress import Progress
from training.regressor import RESIDUALS, make_regressor
from training.regressor.drawn import Camera, draw, photographed
from training.regressor.judge import answer, figures
from training.regressor.learn import LearnSettings, answers, learn, partners, watched_people
from training.regressor.onnx_file import write_regressor
from training.regressor.people import random_person, resting_face
from training.regressor.projected import missed, project
from training.regressor.residuals import Residuals, pose_terms
from training.regressor.samples import Samples

Double = NDArray[np.float64]
SIZE = (640, 480)
SHORT = LearnSettings(width=64, steps=250, spread_steps=150, batch=256)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(HEAD)


@pytest.fixture(scope="module")
def regressor() -> Regressor:
    return Regressor(beside(HEAD))


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(weight_path("face_landmarker.task"), 1)


@pytest.fixture(scope="module")
def residuals() -> Residuals:
    return Residuals.load(RESIDUALS)


@pytest.fixture(scope="module")
def projected(head: HeadModel, residuals: Residuals, landmarker: FaceLandmarker) -> Samples:
    return project(head, residuals, landmarker, 2400, Progress())


@pytest.fixture(scope="module")
def drawn(head: HeadModel, landmarker: FaceLandmarker) -> Samples:
    return draw(head, read_avatar(SHIPPED / "theo.avatar"), resting_face(head, THEO), 24, 3, landmarker)


def pictured(head: HeadModel, params: HeadParams, focal_px: float = 640.0, middle: tuple[float, float] = (320.0, 240.0)) -> NDArray[np.float32]:
    """(478, 3) landmarks of the head in pixels, depth as the tracker gives it."""
    points = head.landmarks(head.vertices(params)).astype(np.float64)
    near = focal_px / -points[:, 2]
    depth = -(points[:, 2] - points[:, 2].mean()) * near
    return np.stack([middle[0] + points[:, 0] * near, middle[1] - points[:, 1] * near, depth], 1).astype(np.float32)


def posed(head: HeadModel, turn: tuple[float, float, float] = (0.0, 0.0, 0.0), **weights: float) -> HeadParams:
    expression = np.zeros(len(head.expression_names), np.float32)
    for name, weight in weights.items():
        expression[head.expression_index(name)] = weight
    still = HeadParams.neutral(len(expression))
    return replace(still, expression=expression, rotation=np.array(turn, np.float32), translation=np.array([0.0, 0.05, -0.6], np.float32))


def face(head: HeadModel, landmarker: FaceLandmarker, params: HeadParams, focal_px: float = 640.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    landmarks = pictured(head, params, focal_px)
    return landmarks, landmarker.coefficients(landmarks)


def apart_deg(one: Double, other: Double) -> float:
    return float(np.degrees(np.linalg.norm(to_axis_angle(one @ other.T))))


def test_what_is_shown_does_not_depend_on_where_the_face_is(head: HeadModel) -> None:
    """A camera that turns sees the same face elsewhere in the picture and rolled."""
    landmarks = pictured(head, posed(head, (0.1, 0.3, 0.0)), middle=(0.0, 0.0))[None] / np.float32(640.0)
    turn = to_matrix((0.12, -0.2, 0.3))
    rays = np.stack([landmarks[..., 0], -landmarks[..., 1], -np.ones(landmarks.shape[:2])], -1) @ turn.T
    moved = np.stack([rays[..., 0] / -rays[..., 2], rays[..., 1] / rays[..., 2], landmarks[..., 2]], -1).astype(np.float32)
    coefficients = np.zeros((1, len(COEFFICIENT_NAMES)), np.float32)
    here, there = show(landmarks, coefficients, 1.0), show(moved, coefficients, 1.0)
    assert here.features.shape == (1, FEATURE_COUNT)
    np.testing.assert_allclose(there.features, here.features, atol=0.02)
    assert apart_deg(there.view[0], turn @ here.view[0]) < 0.3
    assert np.abs(moved - landmarks).max() > 0.1


def test_twice_mirrored_is_as_before(regressor: Regressor) -> None:
    features = np.random.default_rng(0).normal(size=(3, FEATURE_COUNT)).astype(np.float32)
    partner = regressor._partner
    np.testing.assert_array_equal(mirrored(mirrored(features, partner), partner), features)
    source, sign = regressor.layout.mirror()
    values = np.arange(regressor.layout.size, dtype=np.float32)
    np.testing.assert_array_equal((((values[source] * sign)[source]) * sign), values)
    mirror_of = dict(zip(SEEN.tolist(), SEEN[partner].tolist(), strict=True))
    assert (mirror_of[33], mirror_of[61], mirror_of[159], mirror_of[13]) == (263, 291, 386, 13)


def test_the_pose_of_unseen_people_is_read(regressor: Regressor, drawn: Samples) -> None:
    """Theo, badly photographed, turned by up to 50 degrees; he is none of those whom the shipped regressor learned from."""
    errors, spreads = [], []
    for landmarks, coefficients, focal, rotation in zip(drawn.landmarks, drawn.coefficients, drawn.focal, drawn.rotation, strict=True):
        said = regressor(landmarks * 448.0 + np.array([224.0, 224.0, 0.0], np.float32), coefficients, (448, 448), float(focal))
        assert said is not None
        errors.append(apart_deg(said.rotation, rotation.astype(np.float64)))
        spreads.append(np.degrees(np.sqrt(np.trace(said.rotation_spread))))
    still = np.mean([apart_deg(np.eye(3), rotation.astype(np.float64)) for rotation in drawn.rotation])
    assert np.mean(errors) < 0.35 * still
    assert 0.4 < np.mean(errors) / np.mean(spreads) < 1.4


@pytest.mark.parametrize(("name", "least"), [("jawOpen", 0.35), ("eyeBlinkLeft", 0.35), ("mouthSmileRight", 0.15), ("mouthPucker", 0.1)])
def test_more_of_a_shape_is_answered_with_more(regressor: Regressor, head: HeadModel, landmarker: FaceLandmarker, name: str, least: float) -> None:
    def weight(amount: float) -> float:
        said = regressor(*face(head, landmarker, posed(head, (0.0, 0.0, 0.0), **{name: amount})), SIZE, 1.0)
        assert said is not None
        return float(said.expression[head.expression_index(name)])

    assert weight(0.0) < 0.3
    assert weight(0.9) > weight(0.4) > weight(0.0)
    assert weight(0.9) - weight(0.0) > least


def test_a_mirrored_face_gets_the_mirrored_answer(regressor: Regressor, head: HeadModel, landmarker: FaceLandmarker) -> None:
    landmarks, coefficients = face(head, landmarker, posed(head, (0.1, 0.25, 0.1), mouthSmileLeft=0.7, eyeBlinkRight=0.5))
    shown = show(((landmarks - (320.0, 240.0, 0.0)) / 640.0).astype(np.float32)[None], coefficients[None], 1.0)
    both = np.concatenate([shown.features, mirrored(shown.features, regressor._partner)])
    raw = regressor._session.run(["mean"], {"features": both})[0]
    source, sign = regressor.layout.mirror()
    one, other = (0.5 * (raw[a] + sign * raw[b][source]) for a, b in ((0, 1), (1, 0)))
    np.testing.assert_allclose(other, sign * one[source], atol=1e-5)


def test_size_and_place_in_the_picture_do_not_matter(regressor: Regressor, head: HeadModel, landmarker: FaceLandmarker) -> None:
    landmarks, coefficients = face(head, landmarker, posed(head, (0.1, 0.2, 0.0), jawOpen=0.4))
    once, twice = (regressor(landmarks * scale, coefficients, (640 * scale, 480 * scale), 1.0) for scale in (1, 2))
    assert once is not None
    assert twice is not None
    np.testing.assert_allclose(twice.expression, once.expression, atol=1e-4)
    assert apart_deg(twice.rotation, once.rotation) < 0.01


def test_landmarks_that_are_no_face_get_no_answer(regressor: Regressor) -> None:
    coefficients = np.zeros(len(COEFFICIENT_NAMES), np.float32)
    with np.errstate(all="ignore"):
        assert regressor(np.full((478, 3), np.nan, np.float32), coefficients, SIZE, 1.0) is None
        collapsed = regressor(np.full((478, 3), 100.0, np.float32), coefficients, SIZE, 1.0)
    assert collapsed is None or np.isfinite(collapsed.expression).all()


def test_files_that_are_no_regressor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.regressor.onnx"
    with pytest.raises(BadFile, match=r"bad\.regressor\.onnx"):
        Regressor(path)
    path.write_bytes(b"not a network")
    with pytest.raises(BadFile, match="expected a regressor in an ONNX file"):
        Regressor(path)
    model = onnx.load(beside(HEAD))
    model.metadata_props[0].key = "other"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadFile, match="does not say for which head"):
        Regressor(path)
    model.metadata_props[0].key = METADATA
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"version": 1', '"version": 7')
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadFile, match="version 1"):
        Regressor(path)
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"version": 7', '"version": 1').replace('"tongueOut"', '"tongueOut", "another"')
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadFile, match="a regressor of 53 shapes"):
        Regressor(path)


def test_a_solver_takes_only_its_own_head_s(regressor: Regressor, head: HeadModel) -> None:
    with pytest.raises(ValueError, match="should be one of the head 'somebody'"):
        ParameterSolver(replace(head, name="somebody"), regressor=regressor)


def test_a_head_without_a_regressor_is_solved_without(tmp_path: Path, head: HeadModel, caplog: pytest.LogCaptureFixture) -> None:
    assert regressor_of(tmp_path / "bare.safetensors") is None
    assert "python -m training regressor" in caplog.text


def test_the_solver_is_better_for_it(head: HeadModel, regressor: Regressor, landmarker: FaceLandmarker) -> None:
    """On an unseen rendered person, turning and talking; the landmarker's own landmarks."""
    clip = rendered_clip(head, SCENES[1], 0.2)
    with_it, without = ParameterSolver(head, regressor=regressor), ParameterSolver(head)
    errors: dict[str, list[float]] = {"with": [], "without": []}
    for index, (packet, truth) in enumerate(zip(clip.packets(), clip.truth, strict=True)):
        found = landmarker.detect_and_landmark(packet.image)
        if found is None:
            continue
        seen = FaceObservation(Tracking.OK, packet.image.shape[1], packet.image.shape[0], packet.pts_s, found.landmarks, found.coefficients, 1.0)
        for name, solver in (("with", with_it), ("without", without)):
            params = solver.solve(seen)
            assert params is not None
            if index > 15:
                errors[name].append(apart_deg(to_matrix(params.rotation) @ to_matrix(params.neck), to_matrix(truth.rotation) @ to_matrix(truth.neck)))
    assert len(errors["with"]) > 100
    assert np.mean(errors["with"]) < 2.5
    assert np.mean(errors["with"]) < 0.6 * np.mean(errors["without"])


def test_residuals_are_found_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    count, size = 4000, 3 * len(SEEN)
    by_pose, direction = rng.normal(0.0, 0.02, (10, size)), rng.normal(0.0, 0.05, size)
    rotation = rng.normal(0.0, 0.3, (count, 3))
    flat = pose_terms(rotation) @ by_pose + rng.standard_normal((count, 1)) * direction + 0.01 * rng.standard_normal((count, size))
    found = Residuals.learned(rotation, flat.reshape(count, -1, 3))
    np.testing.assert_allclose(found.by_pose[1:4], by_pose[1:4], atol=0.02)
    assert abs(float(found.components[0] @ direction)) / float(direction @ direction) == pytest.approx(1.0, abs=0.1)
    assert found.left.mean() == pytest.approx(0.01, rel=0.1)
    found.save(tmp_path / "residuals.npz")
    drawn = Residuals.load(tmp_path / "residuals.npz").draw(rotation, rng)
    assert drawn.std() == pytest.approx(flat.std(), rel=0.1)
    np.savez(tmp_path / "other.npz", by_pose=by_pose[:, :9], components=direction[None, :9], left=direction[:9])
    with pytest.raises(ValueError, match="expected residuals of"):
        Residuals.load(tmp_path / "other.npz")


def test_projected_faces_are_missed_as_drawn_ones_are(head: HeadModel, residuals: Residuals, projected: Samples) -> None:
    """What `missed` measures on projected samples is what was put in."""
    rotation, off = missed(head, projected.pick(np.arange(400)))
    expected = (pose_terms(rotation) @ residuals.by_pose).reshape(off.shape)
    spread = np.sqrt((residuals.components**2).sum(0) + residuals.left**2)
    assert np.abs(off.mean(0) - expected.mean(0)).mean() < 0.5 * spread.mean()
    assert (off - expected).reshape(len(off), -1).std(0).mean() == pytest.approx(spread.mean(), rel=0.35)


def test_drawn_faces_are_where_they_were_put(head: HeadModel, landmarker: FaceLandmarker, drawn: Samples) -> None:
    assert len(drawn) >= 20
    again = draw(head, read_avatar(SHIPPED / "theo.avatar"), resting_face(head, THEO), 3, 3, landmarker)
    np.testing.assert_array_equal(again.landmarks, drawn.landmarks[: len(again)])
    _, off = missed(head, drawn)
    assert np.median(np.linalg.norm(off[..., :2], axis=2)) < 0.1, "in the size of a face; the tracker misses, turned faces most"


def test_a_bad_camera_keeps_the_picture_s_shape() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3)).astype(np.uint8)
    for seed in range(8):
        worse = photographed(picture, np.random.default_rng(seed), Camera())
        assert worse.shape == picture.shape
        assert worse.dtype == np.uint8
        assert (worse != picture).any()


def test_random_people_differ_and_are_the_same_again() -> None:
    one, same, other = (random_person(np.random.default_rng(seed), number) for seed, number in ((1, 0), (1, 0), (2, 1)))
    assert one == same
    assert one.skin.tone != other.skin.tone
    assert one.identity_seed != other.identity_seed


def test_partners_need_an_even_face() -> None:
    lopsided = np.random.default_rng(0).normal(size=(4, FEATURE_COUNT)).astype(np.float32)
    with pytest.raises(ValueError, match="nearly even"):
        partners(lopsided)


def test_what_is_learned_is_what_the_file_answers(tmp_path: Path, head: HeadModel, projected: Samples) -> None:
    watched = watched_people(projected.person, 0.12)
    learned = learn(head, projected, watched, Progress(), SHORT)
    unseen = projected.pick(watched)
    assert 0 < len(unseen) < 0.3 * len(projected)
    features, truth = answers(unseen)
    mean, log_spread = answer(learned, features)
    turned = slice(0, 3)
    assert np.abs(mean[:, turned] - truth[:, turned]).mean() < 0.35 * np.abs(truth[:, turned]).mean()
    assert 0.5 < figures(learned, head, unseen)["within_spread"] < 0.95, "two thirds, were the errors normal"
    path = tmp_path / "head.regressor.onnx"
    write_regressor(path, learned)
    regressor, sample = Regressor(path), unseen.pick(np.array([5]))
    said = regressor(sample.landmarks[0] * 600.0 + np.array([300.0, 200.0, 0.0], np.float32), sample.coefficients[0], (600, 400), float(sample.focal[0]))
    assert said is not None
    np.testing.assert_allclose(said.expression, mean[5, 3:55], atol=2e-3)
    np.testing.assert_allclose(said.gaze_spread.ravel(), np.exp(log_spread[5, 55:59]), rtol=0.02)


def test_a_head_in_flame_s_shape_gets_one(tmp_path: Path) -> None:
    """Shapes without ARKit names, a jaw that is a joint."""
    flame = open_head_as_flame()
    path = tmp_path / "flame.safetensors"
    save_head(path, flame)
    found = make_regressor(path, None, 0, 2000, tmp_path, 1, Progress(), SHORT)
    assert found["jaw_deg"] < 6.0, "it opens by 0 to 29 degrees"
    regressor = Regressor(beside(path))
    assert (regressor.head, regressor.layout.expression_names) == (flame.name, flame.expression_names)
    solver = ParameterSolver(flame, regressor=regressor)
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"), 1)
    opened = replace(HeadParams.neutral(12), jaw=np.array([0.3, 0.0, 0.0], np.float32), translation=np.array([0.0, 0.0, -0.6], np.float32))
    landmarks = pictured(flame, opened)
    solved = None
    for frame in range(20):
        solved = solver.solve(FaceObservation(Tracking.OK, *SIZE, frame / 30, landmarks, landmarker.coefficients(landmarks), 1.0))
    assert solved is not None
    assert solved.jaw[0] == pytest.approx(0.3, abs=0.12)
    assert np.degrees(np.linalg.norm(solved.rotation)) < 6.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "10"], "--samples takes 2000 or more"),
        (["--painted", "-1"], "--painted 0 or more"),
        (["--head", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_what_cannot_be_used_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regressor", "--quiet", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_only_the_open_head_is_painted(tmp_path: Path) -> None:
    save_head(tmp_path / "flame.safetensors", open_head_as_flame())
    with pytest.raises(TrainingError, match="only the open head can be painted"):
        make_regressor(tmp_path / "flame.safetensors", None, 3, 0, tmp_path, 1, Progress())
    bare = replace(open_head_as_flame(), landmark_faces=np.full(478, -1, np.int32))
    save_head(tmp_path / "bare.safetensors", bare)
    with pytest.raises(TrainingError, match="no landmark embedding yet"):
        make_regressor(tmp_path / "bare.safetensors", None, 0, 2000, tmp_path, 1, Progress())

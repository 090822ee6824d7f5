"""training/portrait/solve.py, features.py and appearance.py: the regressions of a texture against plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_parts import POSE_FEATURES, features
from models.head import HeadParams, load_head
from models.kernels import Bands
from models.texture_basis import BakedTextureBasis
from tests.flame_like import OPEN_HEAD
from training.fitted import Fitted
from training.portrait.appearance import average_texels, quantised
from training.portrait.capture_mesh import capture_mesh
from training.portrait.features import LEVELS, Features, learn_features, parameters_of
from training.portrait.portrait import Portrait, blank_portrait, level_of
from training.portrait.solve import ridge

NAMES = ("browInnerUp", "browDownLeft", "eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker")
LOWER = slice(POSE_FEATURES + 4, None)
UPPER = slice(POSE_FEATURES, POSE_FEATURES + 4)


def random_parameters(count: int, shapes: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    pose = rng.normal(0.0, 0.15, (count, POSE_FEATURES))
    pose[:, :3] = 0.0
    return np.concatenate([pose, rng.uniform(0.0, 1.0, (count, shapes))], 1).astype(np.float32)


@pytest.mark.parametrize("bands", [1, 3])
def test_ridge_is_the_normal_equations(bands: int) -> None:
    rng = np.random.default_rng(0)
    frames, texels, k = 40, 23, 6
    colour = rng.integers(0, 256, (frames, texels, 3)).astype(np.uint8)
    weight = rng.integers(0, 256, (frames, texels)).astype(np.uint8)
    weight[:, 5], weight[3:, 6] = 0, 0
    phi = rng.normal(size=(LEVELS, frames, k)).astype(np.float32)
    level = rng.integers(0, LEVELS, texels).astype(np.int32)
    penalty = rng.uniform(0.5, 30.0, texels).astype(np.float32)
    prior = rng.uniform(0.0, 255.0, (texels, 3)).astype(np.float32)
    pool = Bands(bands)
    solved = ridge(colour, weight, phi, level, penalty, 3.0, prior, pool)
    pool.close()
    for i in range(texels):
        rows = np.concatenate([np.ones((frames, 1)), phi[level[i]]], 1)
        root = np.sqrt(weight[:, i] / 255.0)[:, None]
        holding = np.diag(np.sqrt(np.r_[3.0, np.full(k, penalty[i])]))
        wanted = np.concatenate([root * (colour[:, i] - prior[i].astype(float)), np.zeros((k + 1, 3))])
        exact = np.linalg.lstsq(np.concatenate([root * rows, holding]), wanted, rcond=None)[0]
        exact[0] += prior[i]
        np.testing.assert_allclose(solved[i], exact, atol=0.05)
    np.testing.assert_allclose(solved[5, 0], prior[5], atol=1e-4)
    assert not solved[5, 1:].any()


def test_features_are_what_the_file_computes() -> None:
    """Texture weights of every level, then the offsets' of the upper and of the lower face."""
    mesh = capture_mesh(load_head(OPEN_HEAD), np.zeros(0, np.float32))
    shapes = len(mesh.expression_names)
    learned = learn_features(random_parameters(60, shapes), mesh.expression_names, 7)
    assert learned.count == 10
    maps = quantised(np.zeros((learned.count, 16, 16, 3), np.float32), 8, np.zeros((16, 16), np.float32))
    blank = blank_portrait(mesh, 1.9, np.array([0.0, 0.0, -0.6], np.float32), learned, 64)
    portrait = replace(blank, maps=maps, dynamic=np.zeros((len(mesh.vertices), 4, 3), np.float32))
    weights = portrait.draft().weights
    assert weights is not None
    fresh = 2.0 * random_parameters(20, shapes, 1)
    phi = learned(fresh)
    assert phi.shape == (LEVELS, 20, 10)
    for t, row in enumerate(fresh):
        params = HeadParams(np.zeros(0, np.float32), row[13:], row[:3], row[3:6], row[6:9], row[9:13].reshape(2, 2), np.zeros(3, np.float32))
        np.testing.assert_array_equal(features(params), row)
        expected = np.concatenate([phi[:, t].ravel(), phi[0, t, :4], phi[-1, t, :4]])
        np.testing.assert_allclose(weights(features(params)), expected, atol=1e-4)
    inside = np.abs((fresh - learned.mean) / learned.scale)
    assert (inside > learned.clip).mean() > 0.1, "some of it is clipped"


def test_parameters_are_the_file_s_features() -> None:
    rng = np.random.default_rng(4)
    parts = {"expression": (5, 8), "neck": (5, 3), "jaw": (5, 3), "gaze": (5, 2, 2), "translation": (5, 3)}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in parts.items()}
    fitted = Fitted(1.9, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), **values)
    np.testing.assert_array_equal(parameters_of(fitted), [features(fitted.params(t)) for t in range(5)])


def test_halves_of_the_face_follow_their_own_shapes() -> None:
    learned = learn_features(random_parameters(400, len(NAMES)), NAMES, 6)
    assert isinstance(learned, Features)
    moved = np.abs(learned.maps[:, 3:])
    own = {"upper": moved[..., UPPER].sum((1, 2)), "lower": moved[..., LOWER].sum((1, 2))}
    assert own["upper"][0] > 3.0 * own["lower"][0]
    assert own["lower"][-1] > 3.0 * own["upper"][-1]
    assert (np.diff(own["upper"]) < 0.0).all()
    assert (np.diff(own["lower"]) > 0.0).all()
    np.testing.assert_array_equal(np.abs(learned.maps[:, :3]).sum(0) > 0.0, np.eye(len(NAMES) + POSE_FEATURES)[3:6] > 0.0)
    phi = learned(random_parameters(400, len(NAMES)))
    assert float(phi[:, :, 3:].std(1).min()) > 0.2
    assert float(phi[:, :, 3:].std(1).max()) < 4.0


def test_shapes_learned_later_say_nothing() -> None:
    learned = learn_features(random_parameters(50, 8), NAMES, 3)
    more = random_parameters(5, 11, 2)
    np.testing.assert_array_equal(learned(more), learned(more[:, : POSE_FEATURES + 8]))


def test_quantised_maps_are_off_by_half_a_step_at_most() -> None:
    rng = np.random.default_rng(1)
    images = (rng.normal(size=(3, 32, 32, 3)) * rng.uniform(0.1, 60.0, (3, 1, 1, 1))).astype(np.float32)
    images[0, :8, :8] = 0.0
    levels = np.repeat(np.linspace(0.0, LEVELS - 1, 32)[:, None], 32, 1).astype(np.float32)
    basis = quantised(images, 8, levels)
    step = basis.scale.reshape(3, 4, 4).repeat(8, 1).repeat(8, 2)[..., None]
    off = np.abs(basis.maps * step - images)
    assert (off <= 0.5 * step + 1e-5).all()
    assert (step[1:] >= np.abs(images[1:]).max() / 127.0 / 50.0).all()
    assert np.abs(basis.maps[1:]).reshape(2, 4, 8, 4, 8, 3).max((2, 4, 5)).min() == 127, "every block uses all of the range"
    np.testing.assert_array_equal(basis.group.reshape(4, 4), np.rint(levels.reshape(4, 8, 4, 8).mean((1, 3))))
    assert BakedTextureBasis.of(basis) is not None


def test_levels_are_whole_steps_of_the_lower_share() -> None:
    np.testing.assert_array_equal(level_of(np.array([0.0, 0.05, 0.5, 0.95, 1.0], np.float32)), [0, 0, 4, 8, 8])


def test_the_base_is_a_robust_mean_of_what_the_maps_leave() -> None:
    rng = np.random.default_rng(5)
    frames, texels, k = 30, 11, 3
    phi = rng.normal(size=(LEVELS, frames, k)).astype(np.float32)
    level = rng.integers(0, LEVELS, texels).astype(np.int32)
    coefficients = rng.normal(0.0, 8.0, (texels, k, 3)).astype(np.float32)
    truth = rng.uniform(90.0, 160.0, (texels, 3))
    clean = truth + np.einsum("tnk,nkc->tnc", phi[level].transpose(1, 0, 2), coefficients)
    colour = np.clip(np.rint(clean + rng.normal(0.0, 1.0, clean.shape)), 0, 255).astype(np.uint8)
    colour[:3] = 250
    weight = rng.integers(60, 256, (frames, texels)).astype(np.uint8)
    weight[:, 2] = 0
    base, total = (truth + 5.0).astype(np.float32), np.zeros(texels, np.float32)
    expected = base.copy()
    for i in range(texels):
        left = colour[:, i] - phi[level[i]] @ coefficients[i]
        trust = weight[:, i] / 255.0 * np.minimum(1.0, 24.0 / np.maximum(np.abs(left - base[i]).max(1), 1e-3))
        if trust.sum():
            expected[i] = (trust[:, None] * left).sum(0) / trust.sum()
    average_texels(colour, weight, phi, level, coefficients, 24.0, 0, texels, base, total)
    np.testing.assert_allclose(base, expected, atol=0.02)
    assert total[2] == 0.0
    for _ in range(8):
        average_texels(colour, weight, phi, level, coefficients, 24.0, 0, texels, base, total)
    seen = np.arange(texels) != 2
    plain = np.average(clean.clip(0, 255)[3:], axis=0)
    assert plain.shape == truth.shape
    assert np.abs(base - truth)[seen].mean() < 4.0


def test_portraits_come_back_from_their_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    mesh = capture_mesh(load_head(OPEN_HEAD), np.zeros(0, np.float32))
    learned = learn_features(random_parameters(30, len(mesh.expression_names)), mesh.expression_names, 3)
    blank = blank_portrait(mesh, 1.9, np.array([0.0, 0.0, -0.6], np.float32), learned, 32)
    maps = quantised(np.ones((learned.count, 16, 16, 3), np.float32), 8, np.zeros((16, 16), np.float32))
    path = tmp_path_factory.mktemp("portrait") / "portrait.npz"
    for portrait in (blank, replace(blank, maps=maps, shape=blank.shape + np.float32(0.001))):
        portrait.save(path)
        again = Portrait.load(path, mesh)
        one, two = portrait.draft(), again.draft()
        np.testing.assert_array_equal(one.mesh.vertices, two.mesh.vertices)
        assert (one.texture, one.texture_basis is None, one.camera) == (two.texture, two.texture_basis is None, two.camera)
        row = random_parameters(1, len(mesh.expression_names), 3)
        np.testing.assert_array_equal(portrait.features(row), again.features(row))

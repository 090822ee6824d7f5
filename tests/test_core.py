"""The opaque core beneath soft hair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.head import load_head
from training.fit import OPEN_HEAD
from training.portrait.capture_mesh import capture_mesh
from training.portrait.core import DEPTH_M, STILL_M, make_core
from training.portrait.features import learn_features
from training.portrait.portrait import Portrait, blank_portrait


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    head = load_head(OPEN_HEAD)
    mesh = capture_mesh(head, np.zeros(0, np.float32))
    parameters = np.random.default_rng(0).normal(size=(40, 13 + len(mesh.expression_names))).astype(np.float32)
    place = np.array([0.0, 0.0, -0.7], np.float32)
    return blank_portrait(mesh, 2.0, place, learn_features(parameters, mesh.expression_names, 4), 256)


def soft_above(portrait: Portrait, height: float) -> Portrait:
    """Half transparent wherever the skin's texture coordinates lie above `height`."""
    base = portrait.base.copy()
    base[: int(height * len(base)), :, 3] = 128.0
    return replace(portrait, base=base)


def test_an_opaque_head_has_no_core(portrait: Portrait) -> None:
    assert len(make_core(portrait).faces) == 0


def test_the_core_hangs_beneath_soft_skin_and_holds_still(portrait: Portrait) -> None:
    core = make_core(soft_above(portrait, 0.15))
    assert len(core.faces) > 50
    mesh = portrait.mesh
    gap = np.linalg.norm(core.vertices[:, None] - mesh.vertices[None], axis=2)
    nearest = gap.argmin(1)
    assert np.median(gap.min(1)) == pytest.approx(DEPTH_M, abs=0.004)
    assert np.linalg.norm(mesh.expression[:, nearest], axis=2).max(0).mean() < STILL_M
    centre = mesh.joints[1]
    assert (np.linalg.norm(core.vertices - centre, axis=1) <= np.linalg.norm(mesh.vertices[nearest] - centre, axis=1) + 0.002).mean() > 0.9


def test_the_core_is_a_small_opaque_copy_of_the_texture(portrait: Portrait) -> None:
    painted = soft_above(portrait, 0.15)
    painted.base[..., :3] = (200.0, 100.0, 50.0)
    core = make_core(painted)
    assert (core.picture[..., 3] == 255).all()
    np.testing.assert_array_equal(core.picture[..., :3], np.broadcast_to(np.array([200, 100, 50], np.uint8), core.picture[..., :3].shape))
    assert core.chart_faces.max() == len(core.chart) - 1
    assert core.faces.max() == len(core.vertices) - 1

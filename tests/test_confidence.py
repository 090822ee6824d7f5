"""How far landmarks can be trusted, told from what the picture of the face does."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.appearance import Image, look_at
from realtime.confidence import SURE, Confidence, ConfidenceMeter, ConfidenceSettings, doubt

FRAME_S = 1.0 / 30.0
EYES, MOUTH = {33: (-30.0, 0.0), 133: (-12.0, 0.0), 362: (12.0, 0.0), 263: (30.0, 0.0)}, {61: (-16.0, 46.0), 291: (16.0, 46.0)}


def landmarks(x: float = 200.0, y: float = 150.0, scale: float = 1.0, angle: float = 0.0) -> NDArray[np.float32]:
    points = np.zeros((478, 3), np.float32)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for index, at in (EYES | MOUTH).items():
        points[index, :2] = np.array([x, y]) + scale * np.array(at) @ turn
    return points


def painted(x: float = 200.0, y: float = 150.0, scale: float = 1.0, light: float = 1.0, angle: float = 0.0) -> Image:
    """A made-up face where `landmarks` has it: skin with fine texture, dark eyes, a red mouth."""
    side = 200
    grain = cv2.GaussianBlur(np.random.default_rng(5).normal(0.0, 30.0, (side, side)), (0, 0), 1.2)
    face = np.full((side, side, 3), (200, 160, 140), np.float64) + grain[..., None]
    for centre in ((79, 80), (121, 80)):
        cv2.ellipse(face, centre, (12, 6), 0.0, 0.0, 360.0, (60.0, 45.0, 40.0), -1)
    cv2.ellipse(face, (100, 126), (17, 6), 0.0, 0.0, 360.0, (170.0, 70.0, 80.0), -1)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cos, -sin, x - cos * 100.0 + sin * 80.0], [sin, cos, y - sin * 100.0 - cos * 80.0]])
    picture = cv2.warpAffine(face, matrix, (400, 300), flags=cv2.INTER_LINEAR, borderValue=(90.0, 90.0, 90.0))
    return np.clip(light * picture, 0.0, 255.0).astype(np.uint8)


def covered(image: Image) -> Image:
    hidden = image.copy()
    cv2.ellipse(hidden, (200, 205), (45, 24), 0.0, 0.0, 360.0, (120, 120, 200), -1)
    return hidden


def watch(pictures: Sequence[tuple[Image, NDArray[np.float32] | None]], presence: float = 1.0) -> list[Confidence]:
    meter = ConfidenceMeter()
    return [meter.look(image, points, presence, index * FRAME_S) for index, (image, points) in enumerate(pictures)]


def test_a_look_hardly_depends_on_place_size_turn_and_light() -> None:
    plain = look_at(painted(), landmarks())
    assert plain is not None
    for place, light in (((150.0, 120.0, 1.0, 0.0), 1.0), ((200.0, 150.0, 1.3, 0.0), 1.0), ((200.0, 150.0, 1.0, 0.3), 1.0), ((200.0, 150.0, 1.0, 0.0), 0.6)):
        x, y, scale, angle = place
        other = look_at(painted(x, y, scale, light, angle), landmarks(x, y, scale, angle))
        assert other is not None
        assert np.abs(other.cells - plain.cells).mean() < 0.08


def test_a_face_that_moves_is_not_doubted() -> None:
    pictures = []
    for index in range(40):
        sway = np.sin(0.2 * index)
        place = (200.0 + 40.0 * sway, 150.0 + 10.0 * sway, 1.0 + 0.1 * sway)
        pictures.append((painted(*place), landmarks(*place)))
    for each in watch(pictures):
        assert min(each.pose, each.unbroken) > 0.9


def test_a_cover_is_noticed_when_it_comes_and_when_it_goes() -> None:
    clear, hidden = (painted(), landmarks()), (covered(painted()), landmarks())
    sure = watch([clear] * 10 + [hidden] * 20 + [clear] * 10)
    assert [index for index, each in enumerate(sure) if each.unbroken < 0.1] == [10, 30]
    assert all(each.mouth < 0.1 for each in sure[10:30])
    assert sure[29].unbroken == 1.0
    assert sure[31].mouth == 1.0
    assert sure[-1] == SURE


def test_a_cover_that_stays_becomes_the_face() -> None:
    after = round(ConfidenceSettings().mouth_s / FRAME_S) + 2
    sure = watch([(painted(), landmarks())] * 5 + [(covered(painted()), landmarks())] * (after + 10))
    assert sure[20].mouth < 0.1
    assert sure[-1].pose == 1.0


@pytest.mark.parametrize("width", [9, 15])
def test_a_smear_is_noticed_and_in_the_end_believed(width: int) -> None:
    clear, smeared = (painted(), landmarks()), (np.asarray(cv2.blur(painted(), (width, width)), np.uint8), landmarks())
    sure = watch([clear] * 10 + [smeared] * 30 + [clear] * 10)
    assert all(each.clear < 0.3 for each in sure[11:40])
    assert sure[10].unbroken < 0.1
    assert sure[40].clear > 0.9
    assert watch([clear] * 10 + [smeared] * 1500)[-1].clear > 0.9


def test_presence_counts() -> None:
    picture = [(painted(), landmarks())] * 3
    assert watch(picture, 1.0)[-1].pose == 1.0
    assert 0.0 < watch(picture, 0.8)[-1].pose < 1.0
    assert watch(picture, 0.5)[-1].pose == 0.0


def test_odd_input_does_no_harm() -> None:
    meter, face, odd = ConfidenceMeter(), painted(), landmarks()
    odd[33, 0] = np.nan
    far = landmarks() + np.float32(1e7)
    given = [
        (face, landmarks()),
        (face, None),
        (face, odd),
        (face, far),
        (np.zeros((4, 4, 3), np.uint8), landmarks()),
        (face, landmarks()),
        (face[:, :50], landmarks()),
    ]
    for at_s, (image, points) in zip((0.0, 0.1, 0.2, 0.2, 0.1, 5.0, 5.1), given, strict=True):
        sure = meter.look(image, points, 1.0, at_s)
        assert all(0.0 <= value <= 1.0 for value in (sure.pose, sure.clear, sure.mouth, sure.eyes, sure.unbroken))


def test_doubt() -> None:
    assert [doubt(value, (0.2, 0.4)) for value in (0.0, 0.2, 0.3, 0.4, 9.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])
    assert [doubt(value, (0.6, 0.4)) for value in (1.0, 0.6, 0.5, 0.4, 0.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])

"""What cannot be the followed face a moment later is held back, whatever it looks like; what a head can do is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import LANDMARK_COUNT
from models.rotations import to_matrix
from realtime.plausibility import Plausibility, PlausibilitySettings, compare

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
SETTINGS = PlausibilitySettings()
FACE = np.random.default_rng(1).normal(0.0, 0.05, (LANDMARK_COUNT, 3)) * (1.0, 1.0, 0.5)


def seen(
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0), place: tuple[float, float] = (320.0, 240.0), scale: float = 1500.0, shape: Double = FACE
) -> Double:
    """Landmarks as the tracker gives them."""
    picture = scale * shape @ to_matrix(turn).T * (1.0, -1.0, -1.0)
    return np.asarray(picture + np.array([*place, 0.0]))


def judged(frames: list[Double], frame_s: float = FRAME_S) -> list[bool]:
    watch = Plausibility(FACE)
    return [watch.look(points, index * frame_s) for index, points in enumerate(frames)]


STRANGE = {
    "upside_down": seen((0.0, 0.0, np.pi)),
    "flipped": seen() * (1.0, -1.0, 1.0) + (0.0, 480.0, 0.0),
    "mirrored": seen() * (-1.0, 1.0, 1.0) + (640.0, 0.0, 0.0),
    "twice_as_large": seen(scale=3000.0),
    "half_as_large": seen(scale=750.0),
    "elsewhere": seen(place=(520.0, 240.0)),
    "turned": seen((0.0, 0.8, 0.0)),
    "another": seen((0.1, 0.3, 0.0), (335.0, 230.0), 1620.0, FACE * (1.25, 0.9, 1.0)),
    "nan": np.full((LANDMARK_COUNT, 3), np.nan),
    "infinite": np.full((LANDMARK_COUNT, 3), np.inf),
    "huge": seen() * 1e20,
    "a_point": np.zeros((LANDMARK_COUNT, 3)),
    "too_few": seen()[:100],
}
NO_FACE = ("flipped", "mirrored", "nan", "infinite", "huge", "a_point", "too_few")


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_frame_is_held_back_and_forgotten(name: str) -> None:
    assert judged([seen()] * 5 + [STRANGE[name]] + [seen()] * 5) == [True] * 5 + [False] + [True] * 5


@pytest.mark.parametrize("name", [name for name in STRANGE if name not in NO_FACE])
def test_what_persists_is_believed(name: str) -> None:
    """When it has been there for a while, or for as long as a head may take to get there."""
    verdicts = judged([seen()] * 5 + [STRANGE[name]] * 20)
    believed = len(verdicts) - verdicts[::-1].index(False)
    assert verdicts.index(False) == 5
    assert 0.0 < (believed - 5) * FRAME_S <= SETTINGS.persist_s + FRAME_S


def test_a_jump_is_told_once() -> None:
    watch, jumps = Plausibility(FACE), []
    for index, points in enumerate([seen()] * 5 + [STRANGE["upside_down"]] * 20):
        watch.look(points, index * FRAME_S)
        jumps.append(watch.jumped)
    assert sum(jumps) == 1


@pytest.mark.parametrize("name", NO_FACE)
def test_what_is_no_face_is_never_believed(name: str) -> None:
    assert not any(judged([STRANGE[name]] * 60))


@pytest.mark.parametrize("fps", [10.0, 15.0, 25.0, 30.0, 60.0])
def test_quick_heads_pass_at_any_frame_rate(fps: float) -> None:
    """A nod and a turn of 8 radians a second at their quickest, and a lean of half a metre a second: all at once."""
    times = np.arange(round(2.0 * fps)) / fps
    swing = 0.5 * np.sin(2.0 * np.pi * 2.0 * times)
    frames = [seen((0.6 * a, a, 0.1 * a), (320.0 + 100.0 * a, 240.0), 1500.0 * (1.0 + 0.1 * a)) for a in swing]
    assert all(judged(frames, 1.0 / fps))


def test_time_stamps_need_not_be_exact() -> None:
    watch = Plausibility(FACE)
    for index, at_s in enumerate((0.0, 0.001, 0.066, 0.067, 0.133, 0.133, 0.2)):
        assert watch.look(seen((0.0, 0.1 * index, 0.0)), at_s)


def test_after_a_while_without_a_face_any_pose_may_come() -> None:
    """And when time steps back."""
    watch = Plausibility(FACE)
    assert watch.look(seen(), 1.0)
    assert watch.look(seen((0.0, 0.0, 2.0)), 1.0 + SETTINGS.known_s + 0.01)
    assert watch.look(seen(), 0.5)


def test_a_pose_step_after_a_short_loss_passes_at_once() -> None:
    """Half a radian in the fifth of a second in which the face was lost."""
    watch = Plausibility(FACE)
    assert watch.look(seen(), 0.0)
    assert watch.look(seen((0.2, 0.5, 0.0), (350.0, 240.0)), 0.2)


def test_scattered_strange_frames_are_not_taken_for_one_that_persists() -> None:
    rng, watch = np.random.default_rng(2), Plausibility(FACE)
    assert watch.look(seen(), 0.0)
    for index in range(1, 7):
        assert not watch.look(seen((0.0, 0.0, float(rng.choice([-2.0, 2.0]))), tuple(rng.uniform(0.0, 1000.0, 2))), index * FRAME_S)


def test_compare_finds_a_similarity() -> None:
    turn = to_matrix((0.3, -0.4, 0.2))
    found, growth, apart = compare(FACE, 2.5 * FACE @ turn.T + 7.0)
    assert found == pytest.approx(turn)
    assert growth == pytest.approx(2.5)
    assert apart.max() < 1e-9
    assert np.linalg.det(compare(FACE, FACE * (-1.0, 1.0, 1.0))[0]) == pytest.approx(-1.0)


def test_a_face_without_landmarks_is_refused() -> None:
    with pytest.raises(ValueError, match="bony landmarks"):
        Plausibility(np.full((LANDMARK_COUNT, 3), np.nan))

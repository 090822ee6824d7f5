"""models/rotations.py against the exponential series, and the signs that models/CONVENTIONS.md promises."""

from __future__ import annotations

import numpy as np
import pytest

from models.rotations import from_gaze, skew, to_axis_angle, to_matrix


def exponential(vector: np.ndarray) -> np.ndarray:
    """exp(skew(v)) by its series."""
    total, term = np.eye(3), np.eye(3)
    for k in range(1, 60):
        term = term @ skew(vector) / k
        total = total + term
    return total


def random_vectors(count: int, length: float) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, 3))
    return length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_skew_is_the_cross_product() -> None:
    a, b = np.array([1.0, -2.0, 3.0]), np.array([0.5, 4.0, -1.0])
    np.testing.assert_allclose(skew(a) @ b, np.cross(a, b), atol=1e-15)


@pytest.mark.parametrize("length", [0.0, 1e-12, 1e-8, 1e-4, 0.3, 1.5, 3.0, np.pi, 5.0])
def test_matrix_is_the_exponential(length: float) -> None:
    for vector in random_vectors(10, length):
        np.testing.assert_allclose(to_matrix(vector), exponential(vector), atol=1e-12)


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-5, 0.01, 1.0, 3.0, np.pi - 1e-3, np.pi - 1e-7])
def test_there_and_back(length: float) -> None:
    for vector in random_vectors(20, length):
        np.testing.assert_allclose(to_matrix(to_axis_angle(to_matrix(vector))), to_matrix(vector), atol=1e-9)
        if length < np.pi - 1e-4:
            np.testing.assert_allclose(to_axis_angle(to_matrix(vector)), vector, atol=1e-7)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, -1), (-1, 2, 3)])
def test_half_turns_come_back(axis: tuple[float, float, float]) -> None:
    vector = np.pi * np.array(axis) / np.linalg.norm(axis)
    back = to_axis_angle(to_matrix(vector))
    assert np.linalg.norm(back) == pytest.approx(np.pi)
    np.testing.assert_allclose(to_matrix(back), to_matrix(vector), atol=1e-12)


def test_long_vectors_come_back_shorter() -> None:
    back = to_axis_angle(to_matrix((0.0, 4.0, 0.0)))
    np.testing.assert_allclose(back, (0.0, 4.0 - 2.0 * np.pi, 0.0), atol=1e-12)


def test_signs_of_the_conventions() -> None:
    ahead, up = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    assert (to_matrix((0.0, 0.3, 0.0)) @ ahead)[0] > 0.2, "positive yaw looks towards the person's left"
    assert (to_matrix((0.3, 0.0, 0.0)) @ ahead)[1] < -0.2, "positive pitch looks down"
    assert (to_matrix((0.0, 0.0, 0.3)) @ up)[0] < -0.2, "positive roll tilts towards the person's right shoulder"


def test_gaze_pitches_first_and_then_yaws() -> None:
    looked = from_gaze(0.4, 0.3) @ np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(looked, [np.sin(0.4) * np.cos(0.3), -np.sin(0.3), np.cos(0.4) * np.cos(0.3)], atol=1e-12)


def test_no_rotation_of_what_is_not_finite() -> None:
    for odd in (np.nan, np.inf, 1e200):
        assert np.isnan(to_matrix((0.1, odd, 0.2))).all()

"""How much a signal trembles, told from how it moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.noise import NoiseMeter

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0


def learned(signal: Double) -> Double:
    meter = NoiseMeter()
    return np.stack([meter(value) for value in signal])


def test_it_finds_the_deviation_of_noise_whatever_its_size() -> None:
    sizes = np.array([1e-4, 1e-2, 1.0])
    found = learned(np.random.default_rng(0).normal(0.0, sizes, (600, 3)))
    assert found[-300:].mean(0) == pytest.approx(sizes, rel=0.25)
    assert (np.abs(np.log(found[90:] / sizes)) < np.log(1.8)).all(), "it wavers a little"


def test_motion_is_not_taken_for_noise() -> None:
    """A head that sways once a second by ten degrees, with a tenth of a degree of noise."""
    at_s = np.arange(600) * FRAME_S
    sway = 0.17 * np.sin(2.0 * np.pi * at_s) * (np.sin(0.2 * np.pi * at_s) > 0.0)
    noise = np.random.default_rng(1).normal(0.0, 0.0017, 600)
    assert learned((sway + noise)[:, None])[-300:].mean() < 2.0 * 0.0017


def test_it_follows_when_noise_changes() -> None:
    rng = np.random.default_rng(2)
    found = learned(np.concatenate([rng.normal(0.0, 1.0, (200, 1)), rng.normal(0.0, 0.1, (600, 1))]))
    assert found[-1, 0] == pytest.approx(0.1, rel=0.5)


def test_nothing_moves_nothing_trembles() -> None:
    assert learned(np.zeros((50, 2)))[-1].max() < 1e-6


def test_a_new_start_is_no_tremble() -> None:
    meter = NoiseMeter()
    for value in np.random.default_rng(3).normal(0.0, 0.01, (100, 1)):
        before = meter(value)
    meter.restart()
    assert meter(np.array([5.0])) == pytest.approx(before)
    meter(np.array([5.0]))
    assert meter(np.array([5.0])) == pytest.approx(before, rel=0.1)

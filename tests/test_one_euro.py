from __future__ import annotations

import math

import numpy as np
import pytest

from realtime.one_euro import LONGEST_GAP_S, OneEuroFilter, OneEuroSettings, smoothing

SETTINGS = OneEuroSettings(min_cutoff_hz=1.2, beta=0.7, derivative_cutoff_hz=2.0)


def by_the_book(values: list[float], times: list[float], settings: OneEuroSettings) -> list[float]:
    """Algorithm 1 and 2 of the paper for one number, written down plainly."""

    def alpha(elapsed: float, cutoff: float) -> float:
        tau = 1.0 / (2.0 * math.pi * cutoff)
        return 1.0 / (1.0 + tau / elapsed)

    out, speed = [values[0]], 0.0
    for index in range(1, len(values)):
        elapsed = times[index] - times[index - 1]
        a = alpha(elapsed, float(settings.derivative_cutoff_hz))
        speed = a * (values[index] - out[-1]) / elapsed + (1.0 - a) * speed
        a = alpha(elapsed, float(settings.min_cutoff_hz + settings.beta * abs(speed)))
        out.append(a * values[index] + (1.0 - a) * out[-1])
    return out


def test_equals_the_paper_on_uneven_times() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.005, 0.2, 60))
    values = rng.normal(size=(60, 3)).cumsum(0)
    smooth = OneEuroFilter(SETTINGS)
    found = np.stack([smooth(value, at) for value, at in zip(values, times, strict=True)])
    for column in range(3):
        assert found[:, column] == pytest.approx(by_the_book(list(values[:, column]), list(times), SETTINGS))


def test_smoothing_weight() -> None:
    """A low-pass of cutoff f has fallen to 1/e of a step after 1 / (2 pi f) seconds, sampled finely."""
    left, elapsed = 1.0, 1e-5
    for _ in range(round(1.0 / (2.0 * math.pi * 3.0) / elapsed)):
        left *= 1.0 - float(smoothing(3.0, elapsed))
    assert left == pytest.approx(math.exp(-1.0), rel=1e-3)


def test_a_repeated_time_changes_nothing() -> None:
    smooth = OneEuroFilter(SETTINGS)
    smooth(np.array([1.0]), 0.0)
    before = smooth(np.array([2.0]), 0.1)
    assert smooth(np.array([99.0]), 0.1) == pytest.approx(before)
    assert smooth(np.array([2.0]), 0.2) == pytest.approx(by_the_book([1.0, 2.0, 2.0], [0.0, 0.1, 0.2], SETTINGS)[-1])


@pytest.mark.parametrize("at", [-5.0, 1.0 + LONGEST_GAP_S + 0.1])
def test_a_step_back_or_a_gap_starts_anew(at: float) -> None:
    smooth = OneEuroFilter(SETTINGS)
    for index in range(10):
        smooth(np.array([0.0]), 0.1 * index)
    assert smooth(np.array([7.0]), at) == pytest.approx([7.0])


def test_reset_forgets() -> None:
    smooth = OneEuroFilter(SETTINGS)
    smooth(np.array([0.0]), 0.0)
    smooth.reset()
    assert smooth(np.array([7.0]), 0.01) == pytest.approx([7.0])


def test_the_result_is_a_copy() -> None:
    smooth = OneEuroFilter(SETTINGS)
    value = np.array([1.0])
    first = smooth(value, 0.0)
    value[0] = first[0] = 50.0
    assert smooth(np.array([1.0]), 0.1) == pytest.approx([1.0])


def test_more_noise_than_usual_is_calmed_more() -> None:
    """At rest; a step then still arrives as soon."""
    noise = np.random.default_rng(1).normal(0.0, 0.004, 300)
    step = np.where(np.arange(330) < 300, 0.0, 1.0) + np.concatenate([noise, np.zeros(30)])
    shown = {}
    for quiet in (np.inf, 0.0015):
        smooth = OneEuroFilter(OneEuroSettings(1.5, 10.0, 4.0, quiet))
        shown[quiet] = np.array([float(smooth(np.array([value]), index / 30.0)[0]) for index, value in enumerate(step)])
    jitter = {quiet: np.abs(np.diff(values[100:300])).mean() for quiet, values in shown.items()}
    assert jitter[0.0015] < 0.6 * jitter[np.inf]
    assert shown[0.0015][300] > 0.9
    assert shown[0.0015][301] > 0.95 * shown[np.inf][301]


def test_little_noise_changes_nothing() -> None:
    values = np.random.default_rng(2).normal(0.0, 0.001, 100)
    plain, aware = OneEuroFilter(OneEuroSettings(1.5, 10.0, 4.0)), OneEuroFilter(OneEuroSettings(1.5, 10.0, 4.0, quiet=0.01))
    for index, value in enumerate(values):
        assert aware(np.array([value]), index / 30.0) == pytest.approx(plain(np.array([value]), index / 30.0))


def test_what_is_not_trusted_is_not_followed() -> None:
    smooth = OneEuroFilter(SETTINGS)
    smooth(np.zeros(3), 0.0)
    shown = smooth(np.ones(3), 0.1, np.array([0.0, 0.5, 1.0]))
    assert shown[0] == 0.0
    assert shown[1] == pytest.approx(0.5 * shown[2])


def test_joined_settings_filter_each_part_in_its_own_way() -> None:
    other = OneEuroSettings(3.0, 0.1, 5.0, quiet=0.2)
    joined = OneEuroFilter(OneEuroSettings.joined([(SETTINGS, 2), (other, 1)]))
    one, two = OneEuroFilter(SETTINGS), OneEuroFilter(other)
    for index, value in enumerate(np.random.default_rng(3).normal(0.0, 1.0, (40, 3))):
        shown = joined(value, 0.05 * index)
        assert shown[:2] == pytest.approx(one(value[:2], 0.05 * index))
        assert shown[2:] == pytest.approx(two(value[2:], 0.05 * index))

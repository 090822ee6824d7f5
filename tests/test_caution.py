"""What doubt does to the driving signal: a step that is none is taken out, motion goes on, a covered mouth eases to rest, and nothing happens without doubt."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.caution import Caution
from realtime.confidence import SURE, Confidence
from realtime.continuity import Continuity

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
GROUPS, TAIL = ("mouth", "brows"), {"turn": 1, "gaze": 1}
DOUBTED, BROKEN = Confidence(clear=0.0), Confidence(clear=0.0, unbroken=0.0)


def followed(values: list[float], sure: list[Confidence]) -> Double:
    """What comes of a turn that is measured as this."""
    caution = Caution(GROUPS, TAIL)
    shown = [caution(np.array([0.0, 0.0, value, 0.0]), index * FRAME_S, each)[0][2] for index, (value, each) in enumerate(zip(values, sure, strict=True))]
    return np.array(shown)


def test_without_doubt_everything_passes_at_once() -> None:
    caution = Caution(GROUPS, TAIL)
    for index, value in enumerate(np.random.default_rng(0).normal(0.0, 1.0, (50, 4))):
        shown, trust = caution(value, index * FRAME_S, SURE)
        assert shown == pytest.approx(value)
        assert trust == pytest.approx(np.ones(4))


def test_a_measurement_that_jumps_where_the_picture_breaks_off_does_not_jump() -> None:
    """Off by ten degrees while it lasts; the motion meanwhile, and that of the moment of the break, is kept."""
    true = 0.01 * np.arange(60)
    measured = true + np.where((np.arange(60) >= 20) & (np.arange(60) < 40), 0.17, 0.0)
    sure = [SURE] * 20 + [BROKEN] + [DOUBTED] * 19 + [Confidence(unbroken=0.0)] + [SURE] * 19
    shown = followed(list(measured), sure)
    assert np.abs(shown - true).max() < 0.03
    assert np.abs(shown - true)[-5:].max() < 0.005


def test_what_was_taken_out_comes_back_where_all_is_clear() -> None:
    """A real step that was mistaken: half of it within a sixth of a second, all of it within one."""
    shown = followed([0.0] * 10 + [0.5] * 40, [SURE] * 10 + [Confidence(unbroken=0.0)] + [SURE] * 39)
    assert shown[10] == pytest.approx(0.0, abs=0.1)
    assert shown[15] > 0.25
    assert shown[40] > 0.49
    assert (np.diff(shown[10:]) >= 0.0).all()


def test_a_small_step_is_believed_even_then() -> None:
    assert followed([0.0] * 10 + [0.03] * 2, [SURE] * 10 + [BROKEN, DOUBTED])[-1] == pytest.approx(0.03)


def test_a_covered_mouth_eases_to_rest_and_back() -> None:
    caution, shown = Caution(GROUPS, TAIL), []
    for index in range(120):
        sure = Confidence(mouth=0.0) if 30 <= index < 90 else SURE
        shown.append(caution(np.array([0.6, 0.6, 0.3, 0.1]), index * FRAME_S, sure)[0])
    mouth = np.array(shown)[:, 0]
    assert mouth[29] == pytest.approx(0.6)
    assert mouth[89] < 0.05
    assert mouth[-1] > 0.55
    assert np.abs(np.diff(mouth)).max() < 0.15
    assert np.array(shown)[:, 1:] == pytest.approx(np.tile((0.6, 0.3, 0.1), (120, 1)))


def test_doubt_slows_its_own_part() -> None:
    trust = Caution(GROUPS, TAIL)(np.zeros(4), 0.0, Confidence(eyes=0.0))[1]
    assert trust[0] == 1.0
    assert (trust[1:] < 1.0).all(), "the head too: a cover anywhere shifts all landmarks"


def test_reset_and_gaps_start_anew() -> None:
    one = np.ones(1)
    for gap_s, reset in ((0.03, True), (5.0, False), (-1.0, False)):
        carry = Continuity()
        carry(0.0 * one, 0.0, 1.0, 0.0 * one, 0.01 * one, one)
        assert carry(one, 0.03, 0.0, 0.0 * one, 0.01 * one, one) == pytest.approx([0.0], abs=0.01)
        if reset:
            carry.reset()
        assert carry(one, 0.03 + gap_s, 1.0, 0.0 * one, 0.01 * one, one) == pytest.approx(one)

"""What the bystander is judged by can fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.house import Holdings, longest_gap

pytestmark = pytest.mark.faults


def report(*rows: tuple[float, int | None]) -> dict[str, Any]:
    """Of pictures that came at those moments, with those stamps."""
    return {"received": [[at, 0.0, stamp, []] for at, stamp in rows]}


def test_a_gap_is_between_fresh_pictures() -> None:
    steady = [(0.1 * number, number) for number in range(31)]
    assert longest_gap(report(*steady), 0.0, 3.0) == pytest.approx(0.1)
    assert longest_gap(report(*steady[:10], *steady[25:]), 0.0, 3.0) == pytest.approx(1.6)
    assert longest_gap(report(*((at, min(number, 10)) for at, number in steady)), 0.0, 3.0) == pytest.approx(2.0)
    assert longest_gap(report(*((at, None if number > 20 else number) for at, number in steady)), 0.0, 3.0) == pytest.approx(1.0)
    assert longest_gap(report(*steady[:5]), 0.0, 3.0) == pytest.approx(2.6)
    assert longest_gap(report(), 0.0, 3.0) == 3.0


def test_without_stamps_repetitions_are_no_fresh_pictures() -> None:
    driven, repeated = [(0.07 * number, None) for number in range(15)], [(0.98 + 0.2 * number, None) for number in range(1, 8)]
    assert longest_gap(report(*driven), 0.0, 1.0, stamped=False) < 0.15
    assert longest_gap(report(*driven, *repeated), 0.0, 2.4, stamped=False) > 1.3


@pytest.mark.parametrize("left", [Holdings(2, 2, 10, 5), Holdings(1, 3, 10, 5), Holdings(1, 2, 11, 5), Holdings(1, 2, 10, 99)])
def test_whatever_is_left_behind_is_noticed(left: Holdings) -> None:
    before = Holdings(sessions=1, processes=2, descriptors=10, threads=5)
    assert before.within(before)
    assert not left.within(before)

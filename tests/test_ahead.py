"""training/ahead.py and training/npy_stream.py: order, errors, and files that are whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from training.ahead import map_ahead, read_ahead
from training.npy_stream import NpyStream


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_same_items_in_the_same_order(depth: int) -> None:
    assert list(read_ahead(iter(range(20)), depth)) == list(range(20))
    assert list(read_ahead(iter([]), depth)) == []


def test_items_are_made_ahead_by_another_thread_but_not_too_many() -> None:
    made: list[int] = []
    threads: set[int] = set()
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            threads.add(threading.get_ident())
            if number == 2:
                third.set()
            yield number

    reader = read_ahead(items(), 2)
    assert next(reader) == 0
    assert third.wait(10)
    reader.close()
    assert made[:3] == [0, 1, 2]
    assert len(made) <= 4
    assert threading.get_ident() not in threads


def test_errors_come_through() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    reader = read_ahead(broken(), 2)
    assert next(reader) == 1
    with pytest.raises(ValueError, match="broken"):
        list(reader)
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda number: 1 // number, [1, 0], 2))


def test_map_keeps_the_order() -> None:
    assert list(map_ahead(lambda number: number * number, range(50), 3)) == [number * number for number in range(50)]


def test_rows_become_an_array(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (1234, 3, 2), dtype=np.uint8)
    with NpyStream(tmp_path / "rows.npy", (3, 2)) as stream:
        for row in rows:
            stream.append(row)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)


def test_a_wrong_row_is_refused(tmp_path: Path) -> None:
    stream = NpyStream(tmp_path / "rows.npy", (3, 2))
    with pytest.raises(ValueError, match="expected a uint8 row"), stream:
        stream.append(np.zeros((3, 3), np.uint8))

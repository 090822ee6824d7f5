"""Free parts of a texture."""

from __future__ import annotations

import numpy as np

from training.portrait.atlas import CELLS, largest_free, taken_cells


def test_a_free_rectangle_is_free_where_rows_begin_at_different_columns() -> None:
    """A staircase: upper rows are free from the left edge on, lower ones only further right."""
    taken = np.ones((32, 32), np.uint8)
    taken[4:16, 0:12] = 0
    taken[16:30, 8:20] = 0
    found = largest_free(taken, 1.0, 12, 6)
    assert found is not None
    left, top, right, bottom = (round(32 * edge) for edge in found)
    assert (taken[top:bottom, left:right] == 0).all()
    assert (left, top, right, bottom) == (8, 18, 20, 30)


def test_nothing_is_found_where_nothing_is_free() -> None:
    assert largest_free(np.ones((32, 32), np.uint8), 1.0, 12, 4) is None


def test_charts_take_their_cells_and_those_beside() -> None:
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75]], np.float32)
    taken = taken_cells(uv, np.array([[0, 1, 2]], np.int32))
    at = CELLS // 4
    assert taken[at + 4, at + 4] == taken[at - 1, at] == 1
    assert taken[at - 3, at] == taken[3 * at, 3 * at] == 0

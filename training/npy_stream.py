"""An array written to a .npy file row by row, the number of rows known only at the end. Plain writes, so that a full disk is an error one can catch."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class NpyStream:
    """Appends uint8 rows of one shape; the file is valid once closed."""

    def __init__(self, path: Path, row_shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._row_shape = row_shape
        self._rows = 0
        self._header = self._write_header()

    def append(self, row: NDArray[np.uint8]) -> None:
        if row.shape != self._row_shape or row.dtype != np.uint8:
            raise ValueError(f"expected a uint8 row {self._row_shape}, got {row.dtype} {row.shape}")
        self._file.write(np.ascontiguousarray(row).data)
        self._rows += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                assert self._write_header() == self._header, "numpy keeps room for the first axis to grow"

    def _write_header(self) -> int:
        """Returns its length."""
        shape = (self._rows, *self._row_shape)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return self._file.tell()

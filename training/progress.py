"""How far a stage is, told to whoever waits: a bar on a terminal, a line every few seconds elsewhere, nothing in tests."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

BAR_CELLS = 28
EVERY_S = {True: 0.1, False: 5.0}
"""Shortest time between two signs of life, on a terminal and elsewhere."""


class Progress:
    """Silent: what tests and `--quiet` use. Stages call start, advance and note; the pipeline calls stage and close."""

    def stage(self, name: str, number: int, count: int) -> None:
        """The `number`th of `count` stages begins."""

    def start(self, label: str, total: int) -> None:
        """A step of `total` equal parts begins; the step before it is over."""

    def advance(self, n: int = 1) -> None:
        """So many more parts of the step are done."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def picture(self, make: Callable[[], NDArray[np.uint8]]) -> None:
        """The avatar as it is by now: (H, W, 3) RGB, marked as synthetic; made only where somebody looks."""

    def close(self) -> None:
        """The last step is over, one way or the other."""


class ConsoleProgress(Progress):
    """Writes to a stream; remaining time is that of the step, from the parts done so far."""

    def __init__(self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._stage = ""
        self._label = ""
        self._total = self._done = 0
        self._began = self._told = 0.0
        self._line_open = False

    def stage(self, name: str, number: int, count: int) -> None:
        self.close()
        self._stage = f"[{number}/{count}] {name}"

    def start(self, label: str, total: int) -> None:
        self.close()
        self._label, self._total, self._done = label, max(total, 0), 0
        self._began = self._clock()
        self._tell()

    def advance(self, n: int = 1) -> None:
        self._done += n
        if self._clock() - self._told >= EVERY_S[self._terminal]:
            self._tell()

    def note(self, text: str) -> None:
        self._end_line()
        print(f"{self._stage}: {text}" if self._stage else text, file=self._stream, flush=True)

    def close(self) -> None:
        if self._label and (self._line_open or self._clock() - self._began >= EVERY_S[False]):
            self._tell()
        self._end_line()
        self._label = ""

    def _tell(self) -> None:
        self._told = self._clock()
        line = " ".join(filter(None, (self._stage, self._label, self._amount())))
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)
            self._line_open = True
        else:
            print(line, file=self._stream, flush=True)

    def _amount(self) -> str:
        if not self._total:
            return ""
        share = min(self._done / self._total, 1.0)
        spent = self._clock() - self._began
        filled = round(share * BAR_CELLS)
        bar = f"{'█' * filled}{'·' * (BAR_CELLS - filled)} " if self._terminal else ""
        left = f", {duration(spent * (1.0 - share) / share)} left" if 0.0 < share < 1.0 else f", {duration(spent)}" if share else ""
        return f"{bar}{self._done}/{self._total}{left}"

    def _end_line(self) -> None:
        if self._line_open:
            print(file=self._stream, flush=True)
            self._line_open = False


def duration(seconds: float) -> str:
    """As people say it: 7 s, 2 min 05 s, 1 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

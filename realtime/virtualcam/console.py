"""What the user reads on the terminal: messages, and one status line that is written over where the terminal can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

LINE_EVERY_S = 10.0
"""Into a file or a pipe the status goes this often, a line each."""
CLEAR = "\r\x1b[K"


class Console:
    """For any thread."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._lock = threading.Lock()
        self._live = out.isatty()
        self._written_s: float | None = None

    def say(self, text: str) -> None:
        with self._lock:
            self._write(f"{CLEAR if self._live else ''}headcast: {text}\n")

    def tell(self, status: str) -> None:
        with self._lock:
            now = self._clock()
            if self._live:
                self._write(f"{CLEAR}{status}")
            elif self._written_s is None or now - self._written_s >= LINE_EVERY_S:
                self._written_s = now
                self._write(f"{status}\n")

    def close(self) -> None:
        """Leaves the cursor on a line of its own."""
        with self._lock:
            if self._live:
                self._write(CLEAR)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

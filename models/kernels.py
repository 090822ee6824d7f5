"""Compiled kernels: one decorator, and a small pool that runs a kernel over parts of a picture.

Why not numba's own threads: its `workqueue` layer may not be entered from two Python threads at once, and its OpenMP layer spins between regions and so
starves the encoder on the same two cores. A kernel that releases the GIL on a waiting Python thread costs about 8 µs a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
FAST_MATH = {"contract", "reassoc", "arcp", "nsz", "afn"}
"""Everything but the promise that there are no NaN and infinities: those are tested for."""


def kernel(function: Function) -> Function:
    """Compiles with numba on the first call: no GIL, cached on disk."""
    import numba

    return cast(Function, numba.njit(nogil=True, cache=True, fastmath=FAST_MATH, error_model="numpy")(function))


class Bands:
    """Calls a function with 0, 1, … count - 1 at once: the caller takes part 0, waiting threads the others.

    One caller at a time. `close` ends the threads; it may be called twice.
    """

    def __init__(self, count: int) -> None:
        self.count = max(count, 1)
        self._failures: SimpleQueue[BaseException | None] = SimpleQueue()
        self._jobs: list[SimpleQueue[Callable[[int], None] | None]] = [SimpleQueue() for _ in range(self.count - 1)]
        self._threads = [
            threading.Thread(target=self._serve, args=(part, jobs), name=f"band-{part}", daemon=True) for part, jobs in enumerate(self._jobs, start=1)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, function: Callable[[int], None]) -> None:
        """Returns when every part is done; raises what a part raised."""
        for jobs in self._jobs:
            jobs.put(function)
        failure: BaseException | None = None
        try:
            function(0)
        except Exception as error:
            failure = error
        for _ in self._jobs:
            failure = self._failures.get() or failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Ends the threads."""
        for jobs in self._jobs:
            jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._jobs, self._threads, self.count = [], [], 1

    def _serve(self, part: int, jobs: SimpleQueue[Callable[[int], None] | None]) -> None:
        while (function := jobs.get()) is not None:
            try:
                function(part)
                self._failures.put(None)
            except Exception as error:
                self._failures.put(error)


def share(total: int, part: int, parts: int) -> tuple[int, int]:
    """First and last + 1 of the `part`-th of `parts` even shares of `total`."""
    return total * part // parts, total * (part + 1) // parts

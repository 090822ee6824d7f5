"""Compiled kernels: one decorator, and a small pool that runs a kernel over parts of a picture.

Why not numba's own threads: its `workqueue` layer may not be entered from two Python threads at once, and its OpenMP layer spins between regions and so
starves the encoder on the same two cores. A kernel that releases the GIL on a waiting Python thread costs about 8 µs a call.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
Scalar = Any
"""A float32 inside a kernel, where mypy cannot follow numba's arithmetic."""
FAST_MATH = {"contract", "reassoc", "arcp", "nsz", "afn"}
"""Everything but the promise that there are no NaN and infinities: those are tested for."""


@cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: one folder for each state of all the files with kernels.

    Numba itself looks only at the file that a kernel stands in, and would go on with what was compiled from the older text of another file.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_bytes()
        if b"models.kernels import" in text:
            digest.update(text)
    given = os.environ.get("NUMBA_CACHE_DIR")
    return (Path(given) if given else Path(__file__).parent / "__pycache__") / f"kernels-{digest.hexdigest()[:12]}"


def kernel(function: Function) -> Function:
    """Compiles with numba on the first call: no GIL, cached on disk."""
    import numba

    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        return cast(Function, numba.njit(nogil=True, cache=True, fastmath=FAST_MATH, error_model="numpy")(function))
    finally:
        config.CACHE_DIR = before


Job = Callable[[int], None]


class Bands:
    """Calls a function with 0, 1, … count - 1 at once: the caller takes part 0, waiting threads the others.

    One caller at a time. The threads end with `close`, which may be called twice, or with the object.
    """

    def __init__(self, count: int) -> None:
        self.count = max(count, 1)
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self._jobs: list[SimpleQueue[Job | None]] = [SimpleQueue() for _ in range(self.count - 1)]
        self.close = weakref.finalize(self, _end, self._jobs)
        for part, jobs in enumerate(self._jobs, start=1):
            threading.Thread(target=_serve, args=(part, jobs, self._outcomes), name=f"band-{part}", daemon=True).start()

    def run(self, job: Job) -> None:
        """Returns when every part is done; raises what a part raised."""
        for jobs in self._jobs:
            jobs.put(job)
        failure: BaseException | None = None
        try:
            job(0)
        except Exception as error:
            failure = error
        for _ in self._jobs:
            failure = self._outcomes.get() or failure
        if failure is not None:
            raise failure


def _serve(part: int, jobs: SimpleQueue[Job | None], outcomes: SimpleQueue[BaseException | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            job(part)
            outcomes.put(None)
        except Exception as error:
            outcomes.put(error)
        del job


def _end(all_jobs: list[SimpleQueue[Job | None]]) -> None:
    for jobs in all_jobs:
        jobs.put(None)


def share(total: int, part: int, parts: int) -> tuple[int, int]:
    """First and last + 1 of the `part`-th of `parts` even shares of `total`."""
    return total * part // parts, total * (part + 1) // parts

"""Memory of a process that runs for weeks, with a deadline every 33 ms.

A session that has ended is a knot of references that only a full collection unties, some five megabytes of it native. Left alone, Python puts full collections
off until a quarter of all objects is new, which with everything loaded takes hours, and then stops all threads for 50 ms. And
of what a session's decoder and encoder free, malloc keeps up to 50 MB between pieces that are still in use, a little more with every call.
"""

from __future__ import annotations

import ctypes
import gc
import sys

YOUNG, MIDDLE, OLD = 700, 10, 2
"""Python's own thresholds but for the last: with it a full collection comes about once a minute."""


def settle() -> None:
    """Call it once, when everything is loaded: what is there stays out of all later collections, which then take a few milliseconds."""
    gc.collect()
    gc.freeze()
    gc.collect()  # its count of what is old, which decides when the next one comes, begins at nothing
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def give_back() -> None:
    """Unties what has ended and returns to the system what malloc keeps of it: some 2 ms with the interpreter held and 2 ms without.

    Source: malloc_trim(3) of glibc; with another C library only the first is done.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

"""Peak memory of a stretch of work, as the operating system counts it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Largest resident memory since it was made, of this process and of children that ended since (which may have lived beside it, so they are added).

    Where the system cannot forget its high-water mark (anything but Linux), the peak is that of the whole life of the process.
    """

    def __init__(self) -> None:
        self._children = _usage_mib(resource.RUSAGE_CHILDREN)
        try:
            RESET.write_text("5", encoding="ascii")  # proc(5): resets the high-water mark
            self._own = True
        except OSError:
            self._own = False

    def mib(self) -> float:
        children = _usage_mib(resource.RUSAGE_CHILDREN)
        return self._process_mib() + (children if children > self._children else 0.0)

    def _process_mib(self) -> float:
        if self._own:
            for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return _usage_mib(resource.RUSAGE_SELF)


def _usage_mib(who: int) -> float:
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss / unit

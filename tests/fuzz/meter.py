"""What a fuzzing run measures, and when it says that something is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

from tests.fuzz.target import Target

LONGEST_S = 1.0
"""Of processor time; others on the machine do not count."""


class TooSlow(AssertionError):
    """An input keeps the server busy."""


@dataclass
class Meter:
    """Feeds a target and counts."""

    target: Target
    runs: int = 0
    bytes_fed: int = 0
    slowest_ms: float = 0.0
    slowest: bytes = b""
    started_s: float = field(default_factory=time.perf_counter)
    worked_s: float = field(default_factory=time.process_time)
    settled_mb: float = 0.0
    """Memory after the first tenth."""

    def feed(self, data: bytes) -> None:
        """One input.

        Raises:
            TooSlow: it took more than a second.
            Exception: that the target should not have raised.
        """
        before = time.process_time()
        self.target.feed(data)
        taken = time.process_time() - before
        self.runs += 1
        self.bytes_fed += len(data)
        if 1e3 * taken > self.slowest_ms:
            self.slowest_ms, self.slowest = 1e3 * taken, data
        if taken > LONGEST_S:
            raise TooSlow(f"{len(data)} bytes took {taken:.1f} s")

    def settle(self) -> None:
        """Memory is looked at from here on."""
        self.settled_mb = memory_mb()

    def figures(self) -> dict[str, object]:
        """For the report."""
        seconds, worked = time.perf_counter() - self.started_s, time.process_time() - self.worked_s
        return {
            "inputs": self.runs,
            "inputs_per_cpu_s": round(self.runs / max(worked, 1e-9)),
            "seconds": round(seconds, 1),
            "mean_bytes": round(self.bytes_fed / max(self.runs, 1)),
            "slowest_ms": round(self.slowest_ms, 1),
            "memory_mb": round(memory_mb(), 1),
            "memory_grown_mb": round(memory_mb() - self.settled_mb, 1),
        }


def memory_mb() -> float:
    """Resident."""
    return float(psutil.Process().memory_info().rss / 1e6)

"""What a session measures of itself: rolling percentiles, rates and counters. Cheap to feed, summed up only when somebody asks.

Every value is written by one thread only and read by any; a reader may miss the newest one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

import numpy as np

WINDOW_FRAMES = 300
RATE_WINDOW_S = 2.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 95th percentile of the last `WINDOW_FRAMES` values."""

    p50: float = 0.0
    p95: float = 0.0


class Rolling:
    """The last values of one quantity, in a ring."""

    def __init__(self, capacity: int = WINDOW_FRAMES) -> None:
        self._values = np.zeros(capacity, np.float32)
        self._count = 0

    def add(self, value: float) -> None:
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def percentiles(self) -> Percentiles:
        """Zeros before the first value."""
        filled = self._values[: min(self._count, len(self._values))]
        if not len(filled):
            return Percentiles()
        p50, p95 = np.percentile(filled, (50, 95))
        return Percentiles(round(float(p50), 2), round(float(p95), 2))


class Rate:
    """Events a second over the last `RATE_WINDOW_S` seconds; time is an argument."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=1024)
        self.total = 0

    def tick(self, now_s: float) -> None:
        self._times.append(now_s)
        self.total += 1

    def per_second(self, now_s: float) -> float:
        """Falls towards zero once the events stop."""
        recent = [time for time in tuple(self._times) if now_s - time <= self._window_s]
        return round((len(recent) - 1) / (now_s - recent[0]), 1) if len(recent) > 1 and now_s > recent[0] else 0.0


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """One look at a session's numbers; times in milliseconds."""

    fps_in: float
    fps_out: float
    dropped: int
    errors: int
    stage_ms: dict[str, Percentiles]
    queue_age_ms: Percentiles
    latency_ms: Percentiles

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class SessionMetrics:
    """Fed by the loop, the worker and the encoder of one session.

    `latency` is what this server adds: from a decoded frame to the avatar frame that is handed to the encoder. `queue_age` is how old a frame is when its
    work begins.
    """

    def __init__(self) -> None:
        self.frames_in = Rate()
        self.frames_out = Rate()
        self.dropped_in = 0
        """Webcam frames that a newer one replaced before their work began, or that came above the frame rate cap."""
        self.dropped_out = 0
        """Avatar frames that a newer one replaced before the encoder took them."""
        self.errors = 0
        self.queue_age_ms = Rolling()
        self.latency_ms = Rolling()
        self._stages: dict[str, Rolling] = {}

    def stage(self, name: str, milliseconds: float) -> None:
        if name not in self._stages:
            self._stages[name] = Rolling()
        self._stages[name].add(milliseconds)

    def shown(self, received_s: float, now_s: float) -> None:
        """A driven frame goes out whose webcam frame came at `received_s`."""
        self.frames_out.tick(now_s)
        self.latency_ms.add((now_s - received_s) * 1e3)

    def snapshot(self, now_s: float) -> MetricsSnapshot:
        return MetricsSnapshot(
            fps_in=self.frames_in.per_second(now_s),
            fps_out=self.frames_out.per_second(now_s),
            dropped=self.dropped_in + self.dropped_out,
            errors=self.errors,
            stage_ms={name: values.percentiles() for name, values in tuple(self._stages.items())},
            queue_age_ms=self.queue_age_ms.percentiles(),
            latency_ms=self.latency_ms.percentiles(),
        )

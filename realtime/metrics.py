"""What a session measures of itself: rolling percentiles, rates and counters; and what all sessions of a server come to. Cheap to feed, summed up only
when somebody asks.

Every value is written by one thread only and read by any; a reader may miss the newest one. So sums over sessions need no lock: each session has counters of
its own, and those of an ended one are added to what was before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

WINDOW_FRAMES = 300
RATE_WINDOW_S = 2.0
BOUNDS_MS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 33.0, 50.0, 75.0, 100.0, 250.0, 1000.0)
"""Upper bounds of the histograms' bins; what is above the last has one more. Finest where a stage's budget of a frame's 33 ms lies."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 95th percentile of the last `WINDOW_FRAMES` values."""

    p50: float = 0.0
    p95: float = 0.0


class Histogram:
    """How many values of one quantity, in milliseconds, fell into which bin, ever."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        """Of each bin by itself; a value that is a bound belongs to the bin below it."""
        self.sum_ms = 0.0

    def add(self, milliseconds: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self.sum_ms += milliseconds

    def merge(self, other: Histogram) -> None:
        """Adds what another holds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_ms += other.sum_ms


class Rolling:
    """The last values of one quantity, in a ring, and the histogram of all of them."""

    def __init__(self, capacity: int = WINDOW_FRAMES) -> None:
        self._values = np.zeros(capacity, np.float32)
        self._count = 0
        self.all = Histogram()

    def add(self, value: float) -> None:
        self._values[self._count % len(self._values)] = value
        self._count += 1
        self.all.add(value)

    def percentiles(self) -> Percentiles:
        """Zeros before the first value."""
        filled = self._values[: min(self._count, len(self._values))]
        if not len(filled):
            return Percentiles()
        filled = np.sort(filled)
        return Percentiles(round(_quantile(filled, 0.5), 2), round(_quantile(filled, 0.95), 2))


def _quantile(rising: NDArray[np.float32], share: float) -> float:
    """Between the two nearest values, as numpy.percentile, which would load modules the first time: files, in the event loop of a live server."""
    place = share * (len(rising) - 1)
    below = int(place)
    low, high = float(rising[below]), float(rising[min(below + 1, len(rising) - 1)])
    return low + (place - below) * (high - low)


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
        """Webcam frames that a newer one replaced before their work began."""
        self.dropped_above_cap = 0
        """Webcam frames that came above the frame rate cap."""
        self.dropped_out = 0
        """Avatar frames that a newer one replaced before the encoder took them."""
        self.errors = 0
        """Pieces of the avatar's work that failed."""
        self.restarts = 0
        """Renderers that were lost and replaced."""
        self.stalls = 0
        """Pieces of work that took so long that the avatar rested meanwhile."""
        self.encoder_errors = 0
        """Frames of the driver's stream that could not be encoded."""
        self.viewer_encoder_errors = 0
        """Pictures of the viewers' streams that could not be encoded."""
        self.queue_age_ms = Rolling()
        self.latency_ms = Rolling()
        self._stages: dict[str, Rolling] = {}

    def stage(self, name: str, milliseconds: float) -> None:
        if name not in self._stages:
            self._stages[name] = Rolling()
        self._stages[name].add(milliseconds)

    def encoder_failed(self) -> None:
        self.encoder_errors += 1

    def viewer_encoder_failed(self) -> None:
        self.viewer_encoder_errors += 1

    @property
    def stages(self) -> dict[str, Rolling]:
        """As of now; by name."""
        return dict(self._stages)

    def shown(self, received_s: float, now_s: float) -> None:
        """A driven frame goes out whose webcam frame came at `received_s`."""
        self.frames_out.tick(now_s)
        self.latency_ms.add((now_s - received_s) * 1e3)

    def snapshot(self, now_s: float) -> MetricsSnapshot:
        return MetricsSnapshot(
            fps_in=self.frames_in.per_second(now_s),
            fps_out=self.frames_out.per_second(now_s),
            dropped=self.dropped_in + self.dropped_above_cap + self.dropped_out,
            errors=self.errors + self.encoder_errors + self.viewer_encoder_errors,
            stage_ms={name: values.percentiles() for name, values in self.stages.items()},
            queue_age_ms=self.queue_age_ms.percentiles(),
            latency_ms=self.latency_ms.percentiles(),
        )


@dataclass(slots=True)
class Totals:
    """What sessions come to together. Keys are words of this program's own, never anything of a client's."""

    opened: int = 0
    frames_in: int = 0
    frames_out: int = 0
    restarts: int = 0
    """Of renderers."""
    stalls: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    errors: Counter[str] = field(default_factory=Counter)
    """By kind."""
    stages: dict[str, Histogram] = field(default_factory=dict)
    queue_age: Histogram = field(default_factory=Histogram)
    latency: Histogram = field(default_factory=Histogram)

    def add(self, session: SessionMetrics) -> None:
        self.opened += 1
        self.frames_in += session.frames_in.total
        self.frames_out += session.frames_out.total
        self.restarts += session.restarts
        self.stalls += session.stalls
        self.dropped.update(replaced_in=session.dropped_in, above_cap=session.dropped_above_cap, replaced_out=session.dropped_out)
        self.errors.update(avatar=session.errors, encoder=session.encoder_errors, viewer_encoder=session.viewer_encoder_errors)
        self.queue_age.merge(session.queue_age_ms.all)
        self.latency.merge(session.latency_ms.all)
        for name, values in session.stages.items():
            self.stages.setdefault(name, Histogram()).merge(values.all)

    def merge(self, other: Totals) -> None:
        """Adds what others come to."""
        self.opened += other.opened
        self.frames_in += other.frames_in
        self.frames_out += other.frames_out
        self.restarts += other.restarts
        self.stalls += other.stalls
        self.dropped.update(other.dropped)
        self.errors.update(other.errors)
        self.queue_age.merge(other.queue_age)
        self.latency.merge(other.latency)
        for name, histogram in other.stages.items():
            self.stages.setdefault(name, Histogram()).merge(histogram)


class Ledger:
    """Keeps what ended sessions have come to, so that no counter of the server ever falls. For one thread."""

    def __init__(self) -> None:
        self._ended = Totals()

    def end(self, session: SessionMetrics) -> None:
        """A session that is not among the living any more; what it still measures is lost."""
        self._ended.add(session)

    def totals(self, living: Iterable[SessionMetrics]) -> Totals:
        """Of the ended and of the living ones."""
        sums = Totals()
        sums.merge(self._ended)
        for session in living:
            sums.add(session)
        return sums

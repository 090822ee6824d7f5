"""The server's numbers in Prometheus' text format. Labels hold words of this program's own only: never a session, an avatar, a name or an address.

Counters are summed up when they are asked for, so that feeding them costs the live loop nothing; nothing here is fed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from realtime.health import Health
from realtime.metrics import BOUNDS_MS, Histogram, Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DROPPED = "Frames that a newer one replaced before their work began (replaced_in) or before they were sent (replaced_out), or above the frame rate cap."
ERRORS = "Failures: of the avatar's work, of encoding a frame, of answering a request."
HELD_UP = "The longest that the event loop was held up within the last ten seconds."


@dataclass(frozen=True, slots=True)
class Numbers:
    """Everything that is told, as of one moment."""

    totals: Totals
    health: Health
    sessions: Mapping[str, int]
    """By what they do."""
    max_sessions: int
    viewers: int
    request_errors: int
    refused: Mapping[str, int]
    """Offers, by reason."""
    worst_lag_s: float
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Of the studio, by state; empty where there is none."""
    studio_free_bytes: int | None = None
    """On the studio's disk; None: there is no studio, or it cannot be told."""


class Exposition:
    """Writes the text, for one thread at a time."""

    def __init__(self) -> None:
        self._told = _Told()
        self._registry = CollectorRegistry()
        self._registry.register(self._told)
        ProcessCollector(registry=self._registry)

    def text(self, numbers: Numbers) -> bytes:
        """In Prometheus' text format 0.0.4, UTF-8, with the process's own figures."""
        self._told.numbers = numbers
        return generate_latest(self._registry)


class _Told(Collector):
    def __init__(self) -> None:
        self.numbers: Numbers | None = None

    def collect(self) -> Iterator[Metric]:
        numbers = self.numbers
        if numbers is None:  # the registry asks once for names
            return
        totals = numbers.totals
        yield _gauges("headcast_health", "1 for the state that the server is in.", "state", {each: int(each is numbers.health) for each in Health})
        yield _gauges("headcast_sessions", "Sessions that are there, by what they do.", "state", numbers.sessions)
        yield _gauge("headcast_max_sessions", "As many sessions may be there.", numbers.max_sessions)
        yield _counter("headcast_sessions_opened", "Sessions that were opened.", totals.opened)
        yield _gauge("headcast_viewers", "Viewers of all sessions.", numbers.viewers)
        yield _counters("headcast_offers_refused", "Offers of a session, a camera or a viewer that were refused.", "reason", numbers.refused)
        yield _counter("headcast_frames_in", "Webcam frames decoded.", totals.frames_in)
        yield _counter("headcast_frames_out", "Driven avatar frames handed to the encoder.", totals.frames_out)
        yield _counters("headcast_frames_dropped", DROPPED, "reason", totals.dropped)
        yield _counters("headcast_errors", ERRORS, "kind", {**totals.errors, "request": numbers.request_errors})
        yield _counter("headcast_renderer_restarts", "Renderers that died and were replaced.", totals.restarts)
        yield _counter("headcast_renderer_stalls", "Pieces of work that took so long that the avatar rested meanwhile.", totals.stalls)
        yield _histograms("headcast_stage_seconds", "What each stage of a frame took.", totals.stages)
        yield _histogram("headcast_queue_age_seconds", "How old a webcam frame was when its work began.", totals.queue_age)
        yield _histogram("headcast_latency_seconds", "From a decoded webcam frame to its avatar frame handed to the encoder.", totals.latency)
        yield _gauge("headcast_event_loop_lag_seconds", HELD_UP, numbers.worst_lag_s)
        if numbers.jobs:
            yield _gauges("headcast_studio_jobs", "Avatars that are made here, by state.", "state", numbers.jobs)
        if numbers.studio_free_bytes is not None:
            yield _gauge("headcast_studio_free_bytes", "Room on the studio's disk.", numbers.studio_free_bytes)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.sum_ms / 1e3)


def _histograms(name: str, text: str, stages: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("stage",))
    for stage, histogram in sorted(stages.items()):
        family.add_metric((stage,), _buckets(histogram), histogram.sum_ms / 1e3)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, each with its upper bound in seconds."""
    bounds = [*(str(bound / 1e3) for bound in BOUNDS_MS), "+Inf"]
    below, found = 0, []
    for bound, count in zip(bounds, histogram.counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found

from __future__ import annotations

import numpy as np
import pytest

from realtime.metrics import Percentiles, Rate, Rolling, SessionMetrics


def test_rolling_equals_numpy_over_the_window() -> None:
    values = np.random.default_rng(1).gamma(2.0, 5.0, 750)
    rolling = Rolling(capacity=300)
    for value in values:
        rolling.add(float(value))
    p50, p95 = np.percentile(values[-300:], (50, 95))
    assert rolling.percentiles().p50 == pytest.approx(p50, abs=0.006)
    assert rolling.percentiles().p95 == pytest.approx(p95, abs=0.006)


def test_rolling_before_it_is_full() -> None:
    rolling = Rolling(capacity=300)
    assert rolling.percentiles() == Percentiles(0.0, 0.0)
    rolling.add(4.0)
    assert rolling.percentiles() == Percentiles(4.0, 4.0)


@pytest.mark.parametrize("fps", [5, 25, 30, 60])
def test_rate_of_a_steady_stream(fps: int) -> None:
    rate = Rate()
    for index in range(200):
        rate.tick(index / fps)
    assert rate.per_second(199 / fps) == pytest.approx(fps, abs=0.1)
    assert rate.total == 200


def test_rate_falls_to_zero_when_the_stream_stops() -> None:
    rate = Rate()
    for index in range(60):
        rate.tick(index / 30)
    assert 10 < rate.per_second(60 / 30 + 0.5) < 30
    assert rate.per_second(10.0) == 0.0


def test_snapshot() -> None:
    metrics = SessionMetrics()
    metrics.stage("track", 5.0)
    metrics.stage("render", 7.0)
    metrics.dropped_in, metrics.dropped_out, metrics.errors = 2, 3, 1
    metrics.latency_ms.add(20.0)
    assert metrics.snapshot(0.0).as_dict() == {
        "fps_in": 0.0,
        "fps_out": 0.0,
        "dropped": 5,
        "errors": 1,
        "stage_ms": {"track": {"p50": 5.0, "p95": 5.0}, "render": {"p50": 7.0, "p95": 7.0}},
        "queue_age_ms": {"p50": 0.0, "p95": 0.0},
        "latency_ms": {"p50": 20.0, "p95": 20.0},
    }

from __future__ import annotations

from itertools import pairwise
from math import inf

import numpy as np
import pytest

from realtime.metrics import BOUNDS_MS, Ledger, Percentiles, Rate, Rolling, SessionMetrics


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


def test_a_histogram_has_every_value_in_the_bin_that_it_belongs_to() -> None:
    rolling = Rolling(capacity=3)
    values = (0.1, BOUNDS_MS[0], 0.6, 33.0, 33.1, 5000.0)
    for value in values:
        rolling.add(value)
    expected = [sum(low < value <= high for value in values) for low, high in pairwise((0.0, *BOUNDS_MS, inf))]
    assert rolling.all.counts == expected
    assert rolling.all.sum_ms == pytest.approx(sum(values))


def test_no_sum_of_a_server_falls_when_a_session_ends() -> None:
    ledger, sessions = Ledger(), [SessionMetrics() for _ in range(3)]
    for number, session in enumerate(sessions, 1):
        session.frames_in.tick(0.0)
        session.shown(0.0, 0.02 * number)
        session.stage("track", number)
        session.dropped_above_cap, session.errors = number, 1
        session.encoder_failed()
        session.viewer_encoder_failed()
    before = ledger.totals(sessions)
    for session in sessions[:2]:
        ledger.end(session)
    after = ledger.totals(sessions[2:])
    assert after.opened == before.opened == 3
    assert (after.frames_in, after.frames_out) == (before.frames_in, before.frames_out) == (3, 3)
    assert after.dropped == before.dropped == {"replaced_in": 0, "above_cap": 6, "replaced_out": 0}
    assert after.errors == before.errors == {"avatar": 3, "encoder": 3, "viewer_encoder": 3}
    assert after.latency.counts == before.latency.counts
    assert after.stages["track"].counts == before.stages["track"].counts
    assert after.stages["track"].sum_ms == 6.0
    assert ledger.totals([]).opened == 2

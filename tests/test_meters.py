"""What is read from receiver reports, in virtual time."""

from __future__ import annotations

import pytest

from realtime.rtc.meters import DelayMeter, FrameRateMeter, LossMeter


def test_loss_is_measured_over_half_a_second_however_many_reports_come() -> None:
    """As Chromium sends them while a burst is being lost."""
    meter = LossMeter()
    heard = [(step / 100, meter.report(lost=step // 4, highest=7000 + 2 * step, now_s=step / 100)) for step in range(301)]
    told = [(now, loss) for now, loss in heard if loss is not None]
    assert len(told) == 6
    assert all(loss == pytest.approx(0.125, abs=0.01) for _, loss in told)


def test_loss_of_few_packets_waits_for_more() -> None:
    meter = LossMeter()
    assert meter.report(0, 100, 0.0) is None
    assert meter.report(5, 110, 3.0) is None
    assert meter.report(5, 125, 4.0) == 0.2


def test_totals_that_fall_begin_anew_or_stay_at_zero() -> None:
    meter = LossMeter()
    assert meter.report(50, 1000, 0.0) is None
    assert meter.report(40, 1100, 1.0) == 0.0
    assert meter.report(0, 10, 2.0) is None
    assert meter.report(10, 110, 3.0) == 0.1


def test_a_queue_is_what_a_round_trip_takes_beyond_the_shortest() -> None:
    meter = DelayMeter()
    assert meter.rtt_s is None
    delays = [meter.sample(rtt, float(second)) for second, rtt in enumerate([0.05, 0.04, 0.06, 0.44])]
    assert delays == pytest.approx([0.0, 0.0, 0.02, 0.4])
    assert meter.rtt_s == 0.44


def test_a_path_that_stays_longer_is_no_queue_after_a_while() -> None:
    meter = DelayMeter()
    meter.sample(0.02, 0.0)
    delays = [meter.sample(0.2, float(second)) for second in range(1, 60)]
    assert delays[20] == pytest.approx(0.18)
    assert delays[-1] == 0.0


def test_many_reports_and_a_clock_that_jumps_back_cost_no_memory() -> None:
    meter = DelayMeter()
    for step in range(10_000):
        meter.sample(0.05, step / 1000)
    assert len(meter._samples) <= 51
    meter.sample(0.05, -100.0)
    assert len(meter._samples) == 1


@pytest.mark.parametrize(("fps", "expected"), [(15, 15), (60, 60), (5, 10), (1000, 120)])
def test_the_frame_rate_settles_on_what_comes(fps: float, expected: float) -> None:
    meter = FrameRateMeter(30)
    assert [meter.tick(1 / fps) for _ in range(100)][-1] == pytest.approx(expected, rel=0.01)
    assert meter.tick(-1.0) > 0

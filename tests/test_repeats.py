"""Which lost packets are sent again, in virtual time."""

from __future__ import annotations

from realtime.rtc.repeats import BURST_BYTES, SHARE, RepeatGate

TARGET = 2_000_000


def test_what_is_asked_for_is_repeated_at_once() -> None:
    gate = RepeatGate()
    assert gate.admit([65_535, 0, 1], TARGET, None, 0.0) == [65_535, 0, 1]


def test_not_again_within_a_round_trip() -> None:
    gate = RepeatGate()
    assert gate.admit([7], TARGET, 0.08, 0.0) == [7]
    assert gate.admit([7, 8], TARGET, 0.08, 0.05) == [8]
    assert gate.admit([7, 8], TARGET, 0.08, 0.09) == [7]
    assert gate.admit([7], TARGET, None, 0.095) == []
    assert gate.admit([7], TARGET, None, 0.11) == [7]


def test_a_storm_gets_a_share_of_the_target_only() -> None:
    gate, sent = RepeatGate(), 0
    for step in range(500):
        sent += len(gate.admit(range(step, step + 200), TARGET, None, step / 100))
    assert 0.8 * SHARE * TARGET * 5 / 8 < 1300 * sent < SHARE * TARGET * 5 / 8 + BURST_BYTES


def test_ordinary_loss_is_repeated_in_full() -> None:
    gate, admitted, asked = RepeatGate(), 0, 0
    for packet in range(0, 2000, 20):  # 5 % of 200 packets a second
        asked += 1
        admitted += len(gate.admit([packet], TARGET, 0.05, packet / 200))
    assert admitted == asked


def test_it_forgets_what_is_long_gone_and_survives_a_clock_that_jumps_back() -> None:
    gate = RepeatGate()
    for step in range(5000):
        gate.admit([step], TARGET, 0.0, step / 10)
    assert len(gate._repeated_s) <= 1024
    assert gate.admit([4999], TARGET, 1.0, 0.0) == [4999]

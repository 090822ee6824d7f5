from __future__ import annotations

from realtime.rtc.frame_times import CAPACITY, FrameTimes, Received


def test_a_frame_is_timed_from_its_first_packet() -> None:
    times = FrameTimes()
    for at in (1.0, 1.1, 1.2):
        times.packet(90_000, at)
    times.packet(93_000, 1.25)
    times.complete(90_000, 0, 1.2)
    assert times.take(0) == Received(1.0, 1.2)
    assert times.take(0) is None
    assert times.take(3000) is None


def test_a_frame_whose_packets_were_forgotten_is_timed_from_its_end() -> None:
    times = FrameTimes()
    times.complete(90_000, 0, 5.0)
    assert times.take(0) == Received(5.0, 5.0)


def test_frames_that_are_never_decoded_are_forgotten() -> None:
    times = FrameTimes()
    for number in range(10 * CAPACITY):
        times.packet(number, float(number))
        times.packet(-1 - number, float(number))
        times.complete(number, number, float(number))
    assert CAPACITY - 1 <= len(times._first_s) <= CAPACITY
    assert len(times._received) == CAPACITY
    assert times.take(10 * CAPACITY - 1) is not None
    assert times.take(0) is None

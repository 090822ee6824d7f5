"""Which packets are asked for and when, in virtual time."""

from __future__ import annotations

import itertools

import pytest

from realtime.rtc import nack
from realtime.rtc.nack import KeyframeRequests, LossList, RoundTrip
from tests.rtp_stream import SSRC, VP8, packet


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Losses(LossList):
    """With a clock that stands still until it is set."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def get(self, *numbers: int, ssrc: int = SSRC) -> list[int]:
        """Takes packets; what the last of them showed to be missing."""
        for number in numbers:
            assert self.add(packet(VP8, number, 0, b"\x10\x11", False, ssrc)) == bool(self.missing)
        return self.missing

    def asked_until(self, seconds: float) -> list[tuple[float, list[int]]]:
        """What is asked for again in so many seconds, and when, in milliseconds from now."""
        begin, found = self.clock.now, []
        while (at := self.next_s()) is not None and at <= begin + seconds:
            self.clock.now = at
            found.append((round(1e3 * (at - begin), 1), self.due(at)))
        self.clock.now = begin + seconds
        return found


def test_a_gap_is_told_once_and_at_once() -> None:
    losses = Losses()
    assert losses.get(10, 11) == []
    assert losses.get(14) == [12, 13]
    assert losses.get(15) == []
    assert losses.get(17) == [16]
    assert losses.asked == len(losses) == 3


def test_numbers_wrap() -> None:
    losses = Losses()
    assert losses.get(65_533, 2) == [65_534, 65_535, 0, 1]
    losses.forget_before(0)
    assert losses.asked_until(0.07) == [(60.0, [0, 1])]


def test_late_and_double_packets_show_nothing() -> None:
    losses = Losses()
    losses.get(10, 13)
    assert losses.get(11, 11, 12, 13, 9) == []
    assert len(losses) == 0
    assert losses.next_s() is None


def test_a_packet_is_asked_for_again_until_it_comes() -> None:
    losses = Losses()
    losses.get(10, 12)
    again = losses.asked_until(1.0)
    assert [at for at, _ in again][:3] == pytest.approx([60.0, 60 + 75.0, 60 + 75 + 93.8], abs=0.2)
    assert all(numbers == [11] for _, numbers in again)
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(again)]
    assert max(gaps) <= 1e3 * nack.MAX_INTERVAL_S + 0.1
    losses.get(11)
    assert losses.asked_until(1.0) == []


def test_the_wait_follows_the_round_trip() -> None:
    losses = Losses()
    for number in range(0, 60, 2):
        losses.get(number)
        losses.clock.now += 0.004
        if number:
            losses.get(number - 1)
    assert losses.round_trip.seconds == pytest.approx(0.004)
    losses.get(100)
    assert losses.asked_until(0.0101)[0][0] == pytest.approx(1e3 * nack.MIN_INTERVAL_S)


def test_the_round_trip_is_smoothed_as_the_rfc_says() -> None:
    trip = RoundTrip()
    trip.measured(0.1)
    assert (trip.seconds, trip.timeout_s) == pytest.approx((0.1, 0.2))
    trip.measured(0.2)
    variation = 0.75 * 0.05 + 0.25 * 0.1
    assert trip.seconds == pytest.approx(0.1125)
    assert trip.timeout_s == pytest.approx(0.1125 + 2 * variation)


def test_an_answer_to_two_questions_measures_nothing_but_lengthens_the_wait() -> None:
    losses = Losses()
    losses.get(10, 12)
    losses.asked_until(0.1)
    losses.get(11)
    assert losses.round_trip.seconds == nack.FIRST_ROUND_TRIP_S
    assert losses.round_trip.timeout_s == pytest.approx(0.09)


def test_a_round_trip_longer_than_the_first_guess_is_learnt() -> None:
    """Karn's rule alone would never measure it: every packet would be asked for twice before its first answer comes."""
    losses, trip_s = Losses(), 0.3
    for number in range(0, 40, 2):
        losses.get(number)
        losses.asked_until(trip_s)
        if number:
            losses.get(number - 1)
    assert losses.round_trip.seconds == pytest.approx(trip_s)
    asked = losses.asked
    losses.get(101)
    losses.asked_until(trip_s)
    assert losses.asked - asked == 101 - 39


def test_a_late_packet_is_no_answer_where_these_have_a_stream_of_their_own() -> None:
    losses = Losses()
    losses.get(10, 12)
    losses.clock.now += 0.05
    losses.expect(retransmitted=True)
    losses.get(11)
    losses.expect(retransmitted=False)
    losses.get(14)
    losses.clock.now += 0.001
    losses.get(13)
    assert losses.round_trip.seconds == pytest.approx(0.05)
    assert len(losses) == 0


def test_a_long_gap_is_given_up_and_told() -> None:
    losses = Losses()
    losses.get(10, 12)
    assert losses.get(13 + nack.MAX_GAP) == list(range(13, 13 + nack.MAX_GAP))
    assert not losses.pop_burst()
    assert losses.get(200) == []
    assert losses.pop_burst()
    assert not losses.pop_burst()
    assert len(losses) == 0


def open_frame(losses: Losses, number: int) -> None:
    """A frame that ended, and a packet of the next, which goes on."""
    losses.add(packet(VP8, number, 0, b"\x10\x11", True))
    losses.add(packet(VP8, number + 1, 3000, b"\x10\x11", False))


def test_silence_within_a_frame_shows_a_lost_last_packet() -> None:
    losses = Losses()
    open_frame(losses, 65_534)
    assert losses.asked_until(0.02) == [(15.0, [0])]
    losses.expect(retransmitted=True)
    losses.add(packet(VP8, 0, 3000, b"\x00a", True))
    assert losses.round_trip.seconds == pytest.approx(0.005)
    assert losses.next_s() is None


def test_what_silence_has_shown_is_not_asked_for_twice_at_once() -> None:
    losses = Losses()
    open_frame(losses, 10)
    assert losses.asked_until(0.02) == [(15.0, [12])]
    assert losses.get(14) == [13]


def test_numbers_are_asked_for_in_rising_order() -> None:
    """aiortc cannot write others down."""
    losses = Losses()
    open_frame(losses, 65_530)
    losses.get(65_535)
    losses.clock.now += 1.0
    assert losses.due(losses.clock.now) == [0, 65_532, 65_533, 65_534]


def test_silence_between_frames_or_without_marks_shows_nothing() -> None:
    losses = Losses()
    losses.get(10, 11)
    assert losses.next_s() is None
    open_frame(losses, 12)
    losses.add(packet(VP8, 14, 3000, b"\x00a", True))
    assert losses.next_s() is None
    losses.add(packet(VP8, 15, 3000, b"", False))
    assert losses.next_s() is None


def test_a_sender_that_pauses_within_frames_is_given_more_time() -> None:
    losses = Losses()
    waits = []
    for number in range(0, 20, 2):
        open_frame(losses, number)
        at = losses.next_s()
        assert at is not None
        waits.append(round(1e3 * (at - losses.clock.now)))
        losses.due(at)
    assert waits[:4] == [15, 30, 60, 100]
    assert waits[-1] == 1e3 * nack.MAX_TAIL_S
    assert losses.round_trip.seconds == nack.FIRST_ROUND_TRIP_S


def test_the_list_is_bounded() -> None:
    losses = Losses()
    for number in range(0, 60 * 50, 60):
        losses.get(number)
    assert len(losses) == nack.MAX_LISTED
    assert losses.noticed_s(60 * 49 - 1) is not None
    assert losses.noticed_s(1) is None


def test_another_source_or_a_restarted_sender_begins_anew() -> None:
    losses = Losses()
    losses.get(10_000, 10_002)
    assert losses.get(500) == []
    assert len(losses) == 0
    assert losses.get(502) == [501]
    assert losses.get(40, ssrc=7) == []
    assert losses.ssrc == 7
    assert len(losses) == 0


def test_a_keyframe_is_asked_for_when_a_hole_is_old() -> None:
    requests = KeyframeRequests()
    assert requests.next_s(None, None, 0.02) is None
    assert requests.next_s(None, 5.0, 0.02) == 5.0 + nack.PATIENCE_S
    assert requests.next_s(None, 5.0, 0.3) == pytest.approx(5.375)
    assert requests.next_s(None, 5.0, 0.9) == 5.0 + nack.MAX_PATIENCE_S
    assert requests.next_s(4.0, 5.0, 0.02) == 4.0


def test_a_keyframe_is_asked_for_again_but_not_at_once() -> None:
    requests = KeyframeRequests()
    requests.ask(6.0)
    assert requests.next_s(6.1, None, 0.02) == 6.0 + nack.ASK_AGAIN_S
    assert requests.next_s(6.1, None, 0.5) == pytest.approx(7.0)
    assert requests.next_s(None, 9.0, 0.02) == 9.0 + nack.PATIENCE_S
    assert requests.asked == 1

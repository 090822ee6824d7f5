"""Lost packets: what they cost in virtual time, where figures are exact, and between real peers through the relay, beside stock aiortc in the same run."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest
from aiortc.rtp import RtpPacket

from realtime.rtc import nack
from tests.lossy_call import FPS, LossyCall, is_last, is_retransmission, is_video, lossy_call
from tests.relay import Path
from tests.rtp_stream import H264, VP8
from tests.virtual_link import VirtualLink, losing

VIRTUAL = pytest.mark.parametrize("payload_type", [VP8, H264], ids=["VP8", "H264"])
REAL = pytest.mark.parametrize("codec", ["VP8", "H264"])
TRIP_S = 0.02


def times(count: int, matches: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """True for the first `count` datagrams that match."""
    left = [count]

    def drop(data: bytes) -> bool:
        if left[0] and matches(data):
            left[0] -= 1
            return True
        return False

    return drop


def decodable(link: VirtualLink) -> bool:
    """Whether every frame shown was a keyframe or followed the one before it; that it was whole, the link has seen."""
    return all(frame.key or frame.index == before.index + 1 for before, frame in itertools.pairwise(link.shown)) and link.shown[0].key


@VIRTUAL
@pytest.mark.parametrize("place", range(6))
def test_a_single_loss_costs_a_round_trip_and_at_most_50_ms(payload_type: int, place: int) -> None:
    """Wherever in a frame."""
    seen: dict[int, int] = {}

    def lost(_: float, each: RtpPacket | None, again: bool) -> bool:
        assert each is not None
        seen[each.timestamp] = seen.get(each.timestamp, -1) + 1
        return each.timestamp == 30 * 3000 and seen[each.timestamp] == place and not again

    delays = VirtualLink(payload_type, lost, delay_s=TRIP_S / 2).run(60).delays()
    assert len(delays) == 60
    assert delays[30] - TRIP_S / 2 <= TRIP_S + nack.TAIL_S + 0.001
    assert max(delays.values()) <= TRIP_S / 2 + 0.05


@VIRTUAL
def test_a_lost_retransmission_costs_less_than_400_ms(payload_type: int) -> None:
    """At the very first loss, when the round trip is not known yet; it and the two next answers to it are lost."""
    left = [3]

    def lost(_: float, each: RtpPacket | None, again: bool) -> bool:
        assert each is not None
        if left[0] and each.timestamp == 30 * 3000 and (again or left[0] == 3):
            left[0] -= 1
            return True
        return False

    link = VirtualLink(payload_type, lost, delay_s=TRIP_S / 2).run(60)
    assert len(link.shown) == 60
    assert 0.1 < max(link.delays().values()) < 0.4
    assert link.keyframes == 0


@VIRTUAL
@pytest.mark.parametrize("seed", range(3))
def test_five_per_cent_both_ways_stay_above_20_fps(payload_type: int, seed: int) -> None:
    for trip_s, most in ((0.02, 0.06), (0.1, 0.2)):
        link = VirtualLink(payload_type, losing(0.05, seed), losing(0.05, 100 + seed), delay_s=trip_s / 2).run(600)
        assert decodable(link)
        assert len(link.shown) > 600 * 20 / FPS
        delays = sorted(link.delays().values())
        assert delays[int(0.9 * len(delays))] < trip_s / 2 + most


@VIRTUAL
@pytest.mark.parametrize("seconds", [0.1, 0.5, 3.0])
def test_a_burst_is_over_within_a_second(payload_type: int, seconds: float) -> None:
    link = VirtualLink(payload_type, lambda at, *_: 1.0 <= at < 1.0 + seconds, lambda at: 1.0 <= at < 1.0 + seconds, delay_s=0.025).run(180)
    assert decodable(link)
    over = (1.0 + seconds) * FPS
    assert {index for index in link.delays() if index >= over + FPS} == set(range(round(over) + FPS, 180))
    assert min(index for index in link.delays() if index >= over) <= over + 5


@VIRTUAL
def test_a_hole_that_is_never_filled_brings_one_keyframe_after_200_ms(payload_type: int) -> None:
    stuck: set[int] = set()

    def lost(_: float, each: RtpPacket | None, again: bool) -> bool:
        assert each is not None
        if each.timestamp == 30 * 3000 and not stuck:
            stuck.add(each.sequence_number)
        return each.sequence_number in stuck

    link = VirtualLink(payload_type, lost, delay_s=TRIP_S / 2).run(90)
    assert decodable(link)
    assert link.keyframes == 1
    first = next(frame for frame in link.shown if frame.index > 30)
    assert first.key
    assert 30 + 0.2 * FPS <= first.index <= 30 + (0.25 + TRIP_S) * FPS + 1
    assert link.repair.frames.frames_skipped == first.index - 30


@VIRTUAL
def test_nothing_is_asked_for_on_a_good_network(payload_type: int) -> None:
    link = VirtualLink(payload_type, lambda *_: False, delay_s=0.05).run(300)
    assert len(link.shown) == 300
    assert max(link.delays().values()) == pytest.approx(0.05)
    assert (link.repair.losses.asked, link.repair.keyframes.asked) == (0, 0)


@VIRTUAL
def test_packets_that_overtake_each_other_lose_nothing(payload_type: int) -> None:
    """Nor do they, only late, pass for answers: the round trip stays what it is."""
    lost = losing(0.02, 5)
    link = VirtualLink(payload_type, lambda _, each, again: not again and lost(), delay_s=0.05, spread_s=0.03).run(300)
    assert len(link.shown) == 300
    assert link.keyframes == 0
    assert 0.1 < link.repair.losses.round_trip.seconds < 0.13


def check_pictures(call: LossyCall) -> None:
    """Every picture shown is one that was sent, in order, once."""
    numbers = [number for _, number in call.shown]
    assert None not in numbers
    assert set(numbers) <= set(call.camera.sent)
    assert all(before < after for before, after in itertools.pairwise(numbers))  # type: ignore[operator]


@REAL
async def test_five_per_cent_between_real_peers(codec: str) -> None:
    async with lossy_call(codec, repaired=True) as call:
        call.relay.up = call.relay.down = Path(loss=0.05, delay_s=TRIP_S / 2)
        shown, sent = len(call.shown), len(call.camera.sent)
        await asyncio.sleep(4.0)
        check_pictures(call)
        assert len(call.shown) - shown > (len(call.camera.sent) - sent) * 20 / FPS
        assert call.uplink is not None
        assert call.uplink.counts.packets_requested > 0
        assert call.uplink.counts.decode_errors == 0


async def after_a_lost_retransmission(codec: str, repaired: bool) -> float:
    """How long the picture stood still in two seconds, at most."""
    async with lossy_call(codec, repaired) as call:
        call.relay.up = call.relay.down = Path(delay_s=TRIP_S / 2)
        first, second = times(1, lambda data: is_video(data) and not is_last(data)), times(1, is_retransmission)
        call.relay.drop_up = lambda data: first(data) or second(data)
        begin = time.monotonic()
        await asyncio.sleep(2.0)
        assert call.relay.counts[0].lost == 2
        check_pictures(call)
        return call.longest_pause_s(begin)


@REAL
async def test_a_lost_retransmission_no_longer_freezes_the_picture(codec: str) -> None:
    stock = await after_a_lost_retransmission(codec, repaired=False)
    ours = await after_a_lost_retransmission(codec, repaired=True)
    assert stock > 1.5
    assert ours < stock / 3


@REAL
async def test_a_burst_between_real_peers(codec: str) -> None:
    async with lossy_call(codec, repaired=True) as call:
        call.relay.up = call.relay.down = Path(loss=1.0)
        await asyncio.sleep(0.5)
        call.relay.up = call.relay.down = Path()
        over, shown = max(call.camera.sent), len(call.shown)
        async with asyncio.timeout(10):
            while len(call.shown) < shown + 5:
                await asyncio.sleep(0.01)
        check_pictures(call)
        assert (call.shown[shown][1] or 0) <= over + FPS

"""Pacing: the bucket in virtual time, and who is held back."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from dataclasses import dataclass, field

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RtcpByePacket, RtpPacket

from realtime.rtc.pacer import LONGEST_S, PacedTransport, TokenBucket, pace

TARGET = 2_500_000


def spread(bucket: TokenBucket, frame_bytes: int, begin_s: float, target: int = TARGET) -> list[float]:
    """When each packet of a frame leaves, if whoever sends waits as told."""
    bucket.begin(frame_bytes, target)
    now, left, times = begin_s, frame_bytes, []
    while left > 0:
        size = min(left, 1300)
        times.append(now - begin_s)
        now += bucket.take(size, now)
        left -= size
    return times


def test_a_usual_frame_goes_at_once() -> None:
    bucket = TokenBucket()
    for index in range(100):
        assert spread(bucket, 12_000, index / 30)[-1] == 0.0


def test_frames_at_a_high_target_go_at_once_too() -> None:
    bucket = TokenBucket()
    for index in range(100):
        assert spread(bucket, 42_000, index / 30, target=10_000_000)[-1] == 0.0


@pytest.mark.parametrize("frame_bytes", [20_000, 40_000, 80_000, 400_000])
def test_a_keyframe_is_spread_but_not_for_long(frame_bytes: int) -> None:
    times = spread(TokenBucket(), frame_bytes, 0.0)
    assert times[11] == 0.0
    assert 0.0 < times[-1] <= LONGEST_S * 1.01
    gaps = [after - before for before, after in itertools.pairwise(times[13:])]
    assert max(gaps, default=0.0) <= 1300 * 8 / (6 * TARGET) + 1e-9


def test_after_a_keyframe_the_next_frame_goes_at_once() -> None:
    bucket = TokenBucket()
    spread(bucket, 60_000, 0.0)
    assert spread(bucket, 12_000, 1 / 30)[-1] == 0.0


def test_a_clock_that_jumps_back_cannot_hold_back_for_long() -> None:
    bucket = TokenBucket()
    spread(bucket, 12_000, 100.0)
    assert spread(bucket, 12_000, 100.0 - 1e-3)[-1] < LONGEST_S


@dataclass
class Wire:
    """What a DTLS transport is to a sender."""

    _stats_id: str = "wire"
    sent: list[bytes] = field(default_factory=list)

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


@dataclass
class Sender:
    """A sender with a transport and no task yet."""

    transport: object
    _RTCRtpSender__rtp_task: asyncio.Task[None] | None = None

    def setTransport(self, transport: object) -> None:  # noqa: N802
        self.transport = transport


def packets(count: int) -> list[bytes]:
    return [RtpPacket(payload_type=97, sequence_number=index, marker=int(index == count - 1), payload=bytes(1200)).serialize() for index in range(count)]


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every wait of the pacer; none takes time."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return taken


def paced(frame_bytes: int) -> tuple[Sender, Wire, list[int]]:
    wire, sizes = Wire(), list[int]()
    sender = Sender(wire)
    assert pace(sender, lambda: (frame_bytes, TARGET), lambda size, _: sizes.append(size), lambda: 0.0)  # type: ignore[arg-type]
    return sender, wire, sizes


async def send_all(sender: Sender, data: list[bytes]) -> None:
    for each in data:
        await sender.transport._send_rtp(each)  # type: ignore[attr-defined]


async def test_the_senders_own_task_is_held_back(naps: list[float]) -> None:
    sender, wire, sizes = paced(60_000)
    data = packets(50)
    task = sender._RTCRtpSender__rtp_task = asyncio.create_task(send_all(sender, data))
    await task
    assert wire.sent == data
    assert sum(sizes) == sum(map(len, data))
    assert naps
    assert all(wait >= 0.001 for wait in naps)


async def test_retransmissions_and_rtcp_never_wait(naps: list[float]) -> None:
    sender, wire, sizes = paced(60_000)
    sender._RTCRtpSender__rtp_task = asyncio.create_task(send_all(sender, []))
    await send_all(sender, packets(50))  # from another task, as aiortc retransmits
    await send_all(sender, [bytes(RtcpByePacket(sources=[1] * 30))] * 200)
    assert naps == []
    assert len(wire.sent) == len(sizes) == 250


async def test_the_last_packet_holds_nothing_back(naps: list[float]) -> None:
    sender, _, _ = paced(60_000)
    big = RtpPacket(payload_type=97, marker=1, payload=bytes(60_000)).serialize()
    task = sender._RTCRtpSender__rtp_task = asyncio.create_task(send_all(sender, [big]))
    await task
    assert naps == []


async def test_the_rest_of_the_transport_is_passed_on() -> None:
    sender, _, _ = paced(1000)
    assert sender.transport._stats_id == "wire"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = sender.transport.nothing  # type: ignore[attr-defined]


async def test_contract_of_the_sender() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    stock = sender.transport
    assert pace(sender, lambda: (0, TARGET), lambda size, now: None, lambda: 0.0)
    assert isinstance(sender.transport, PacedTransport)
    assert sender.transport._stock is stock
    assert sender.transport.state == stock.state
    source = inspect.getsource(RTCRtpSender)
    assert source.count("await self.transport._send_rtp(packet_bytes)") == 2  # first sending and repetition
    assert "self.__rtp_task = asyncio.ensure_future(self._run_rtp(" in source
    await peer.close()


def test_another_sender_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not pace(object(), lambda: (0, 0), lambda size, now: None, lambda: 0.0)  # type: ignore[arg-type]
    assert len(caplog.records) == 1

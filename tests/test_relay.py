"""The bad network of the tests does what it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.relay import LOOPBACK, Path, Relay, _Direction, relaying

ANSWER = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:1 1 udp 2 {host} {port} typ host\r\na=candidate:2 1 udp 1 192.0.2.1 9 typ host\r\na=mid:0\r\n"


class Echo(asyncio.DatagramProtocol):
    """Answers every datagram with itself, and remembers who sent it."""

    def __init__(self) -> None:
        self.senders: set[tuple[str, int]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.senders.add(addr)
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)


@asynccontextmanager
async def echoed(relay: Relay) -> AsyncIterator[tuple[asyncio.DatagramTransport, Client, Echo]]:
    loop = asyncio.get_running_loop()
    echo_transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=(LOOPBACK, 0))
    host, port = echo_transport.get_extra_info("sockname")
    answer = await relay.between(ANSWER.format(host=host, port=port))
    candidates = [line.split() for line in answer.splitlines() if line.startswith("a=candidate:")]
    assert len(candidates) == 1
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=(candidates[0][4], int(candidates[0][5])))
    try:
        yield transport, client, echo
    finally:
        transport.close()
        echo_transport.close()


async def heard_all(client: Client, count: int) -> None:
    async with asyncio.timeout(5):
        while len(client.heard) < count:
            await asyncio.sleep(0.01)


async def test_a_perfect_path_passes_everything_in_order() -> None:
    async with relaying() as relay, echoed(relay) as (transport, client, echo):
        transport.sendto(b"first")
        await heard_all(client, 1)
        for number in range(50):
            transport.sendto(bytes([number]))
        await heard_all(client, 51)
        assert client.heard[1:] == [bytes([number]) for number in range(50)]
        assert transport.get_extra_info("sockname") not in echo.senders
        assert [counts.forwarded for counts in relay.counts] == [51, 51]


async def test_what_is_to_be_dropped_is_dropped_in_its_direction() -> None:
    async with relaying() as relay, echoed(relay) as (transport, client, _):
        relay.drop_up = lambda data: data == b"up"
        relay.drop_down = lambda data: data == b"down"
        for data in (b"first", b"up", b"down", b"both"):
            transport.sendto(data)
            await asyncio.sleep(0.02)
        await heard_all(client, 2)
        assert client.heard == [b"first", b"both"]
        assert [counts.lost for counts in relay.counts] == [1, 1]


def direction(path: Path) -> _Direction:
    return _Direction(random.Random(1), path)


def test_loss_is_about_the_share_asked_for_and_the_same_every_time() -> None:
    lost = [
        [number for number in range(2000) if one.schedule(100, b"", number / 100) is None] for one in (direction(Path(loss=0.1)), direction(Path(loss=0.1)))
    ]
    assert lost[0] == lost[1]
    assert 150 < len(lost[0]) < 250


def test_delay_and_jitter_keep_the_order() -> None:
    one = direction(Path(delay_s=0.05, jitter_s=0.03))
    due = [one.schedule(100, b"", number / 1000) for number in range(200)]
    waits = [at - number / 1000 for number, at in enumerate(due) if at is not None]
    assert due == sorted(due, key=lambda at: at or 0)
    assert min(waits) >= 0.05 - 1e-9
    assert 0.06 < max(waits) <= 0.08 + 1e-9


def test_a_bottleneck_delays_and_then_loses() -> None:
    one = direction(Path(bandwidth_bps=80_000, queue_bytes=5000))
    due = [one.schedule(1000, b"", 0.0) for _ in range(10)]
    assert due[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert due[5:] == [None] * 5
    assert one.counts.overflowed == 5
    assert one.schedule(1000, b"", 0.5) == pytest.approx(0.6)


async def test_an_answer_without_an_address_is_refused() -> None:
    async with relaying() as relay:
        with pytest.raises(ValueError, match="IPv4"):
            await relay.between("v=0\r\n")

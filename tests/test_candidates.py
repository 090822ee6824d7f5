"""Which addresses and ports a peer connection offers, on sockets of this machine; nothing here leaves it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aioice import Candidate, Connection
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

from realtime.config import PortRange
from realtime.errors import ServerFull
from realtime.rtc.candidates import LOOPBACK, Addressing, announced, bind_together, offer_addresses, without_names
from realtime.rtc.trickle import parse_fragment
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes
from tests.peers import calling, house, until

PUBLIC, PUBLIC_6 = "203.0.113.7", "2001:db8::7"


def free_ports(count: int) -> PortRange:
    """Neighbouring UDP ports that are free on every address of the machine."""
    for first in range(20_000, 32_000, count):
        try:
            for made in [udp("::", port) for port in range(first, first + count)]:
                made.close()
        except OSError:
            continue
        return PortRange(first, first + count - 1)
    raise AssertionError("no free ports")


def udp(address: str, port: int) -> socket.socket:
    """A bound socket; `::` takes the port on every address."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


def connection_of(peer: RTCPeerConnection) -> Any:
    """The ICE connection of a peer connection with a data channel and nothing else."""
    assert peer.sctp is not None
    return peer.sctp.transport.transport._connection


@asynccontextmanager
async def bent(addressing: Addressing, *servers: RTCIceServer) -> AsyncIterator[RTCPeerConnection]:
    """A peer connection with one transport, which has not gathered yet."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[*servers]))
    try:
        peer.createDataChannel("control")
        assert offer_addresses(peer, addressing)
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def gathered(addressing: Addressing) -> AsyncIterator[list[Candidate]]:
    """The local candidates of such a connection."""
    async with bent(addressing) as peer:
        await peer.setLocalDescription(await peer.createOffer())
        yield connection_of(peer).local_candidates


OFFER = "\r\n".join(
    [
        "v=0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:1 1 udp 2122260223 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 58000 typ host generation 0",
        "a=candidate:2 1 udp 2122260222 192.0.2.7 58001 typ host",
        "a=candidate:3 1 udp 2122260221 2001:db8::7 58002 typ host",
        "a=candidate:4 1 udp 2122260221 tracker.example 58002 typ host",
        "a=candidate:5 1 udp",
        "a=candidate:6 1 udp 2122260221 fe80::7 58002 typ host",
        "a=candidate:7 1 udp 2122260221 fe80::7%eth0 58002 typ host",
        "a=candidate:8 1 udp 2122260221 224.0.0.251 5353 typ host",
        "a=candidate:9 1 udp 2122260221 0.0.0.0 58002 typ host",
        "a=candidate:10 1 udp 2122260221 2001:db8::7%eth0 58002 typ host",
        "a=candidate:11 1 udp 2122260221 192.0.2.7 99999 typ host",
        "a=candidate:12 1 udp 2122260221 192.0.2.7 0 typ host",
        "a=candidate:13 1 udp 2122260221 192.0.2.7 -1 typ host",
        "a=candidate:14 1 udp 2122260221 192.0.2.7 ٣ typ host",
        "a=end-of-candidates",
        "a=rtpmap:96 VP8/90000",
        "",
    ]
)


def test_names_and_addresses_of_no_one_machine_are_taken_out_of_an_offer() -> None:
    assert without_names(OFFER).split("\r\n") == [
        "v=0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=candidate:2 1 udp 2122260222 192.0.2.7 58001 typ host",
        "a=candidate:3 1 udp 2122260221 2001:db8::7 58002 typ host",
        "a=rtpmap:96 VP8/90000",
        "",
    ]


def test_only_attributes_are_candidates() -> None:
    """Fuzzing found it: a line of another kind got past the check for names, and was taken for a candidate."""
    assert parse_fragment("a=mid:0\r\nc=candidate:1 1 udp 1 tracker.example 9 typ host\r\n").candidates == ()


async def test_loopback_is_offered_beside_the_others() -> None:
    stock = Connection(ice_controlling=False)
    await stock.gather_candidates()
    async with gathered(Addressing(loopback=True)) as found:
        assert [each.host for each in found] == [LOOPBACK, *(each.host for each in stock.local_candidates)]
        ours = {each.host: (each.foundation, each.priority, each.type, each.transport, each.related_address) for each in found}
    for each in stock.local_candidates:
        assert ours[each.host] == (each.foundation, each.priority, each.type, each.transport, each.related_address)
    await stock.close()


async def test_stock_gathering_offers_no_loopback_and_nothing_link_local() -> None:
    """The first is the reason for the adaptation: when it fails, that can go. The second is relied on: such an address needs an interface's name beside it."""
    connection = Connection(ice_controlling=False)
    await connection.gather_candidates()
    addresses = [ipaddress.ip_address(each.host) for each in connection.local_candidates]
    assert not any(each.is_loopback or (each.version == 6 and each.is_link_local) for each in addresses)
    await connection.close()


async def test_another_aioice_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("control")
    connection = connection_of(peer)

    async def other(component: int) -> list[Candidate]:
        return []

    connection.get_component_candidates = other
    with caplog.at_level(logging.WARNING):
        assert not offer_addresses(peer, Addressing(loopback=True))
        assert not offer_addresses(type("Peer", (), {"getTransceivers": lambda self: [], "sctp": None})(), Addressing(loopback=True))
    assert connection.get_component_candidates is other
    assert ["--udp-ports" in record.getMessage() for record in caplog.records] == [True, True]
    await peer.close()


async def test_ports_lie_in_the_range_and_are_one_for_all_addresses() -> None:
    ports = free_ports(8)
    async with gathered(Addressing(loopback=True, ports=ports)) as found:
        numbers = {each.port for each in found}
        assert len(numbers) == 1
        assert numbers <= set(ports.starting_at(0))
        async with gathered(Addressing(loopback=True, ports=ports)) as others:
            assert {each.port for each in others} != numbers


async def test_another_session_begins_its_search_elsewhere() -> None:
    """So that what is still under way to a session that has ended does not come to the next one."""
    found = set()
    for _ in range(4):
        async with gathered(Addressing(loopback=True, ports=PortRange(40_000, 49_000))) as hosts:
            found.add(hosts[0].port)
    assert len(found) > 1


async def test_a_port_that_somebody_else_has_is_passed_over() -> None:
    ports = free_ports(4)
    with udp("0.0.0.0", ports.first), udp(LOOPBACK, ports.first + 2), udp(LOOPBACK, ports.last):
        for offset in range(4):
            bound = bind_together([LOOPBACK], ports.starting_at(offset))
            assert [each.getsockname() for each in bound] == [(LOOPBACK, ports.first + 1)]
            bound[0].close()


def test_an_address_that_went_away_is_left_out() -> None:
    bound = bind_together([PUBLIC, LOOPBACK], free_ports(2).starting_at(0))
    assert [each.getsockname()[0] for each in bound] == [LOOPBACK]
    bound[0].close()


def test_a_full_range_leaves_no_socket_open() -> None:
    ports = free_ports(2)
    with udp("127.0.0.2", ports.first), udp("127.0.0.2", ports.last):
        with pytest.raises(ServerFull, match="every UDP port"):
            bind_together([LOOPBACK, "127.0.0.2"], ports.starting_at(0))
        udp(LOOPBACK, ports.first).close()


async def test_a_full_range_refuses_one_client_and_is_free_again_afterwards() -> None:
    config = fakes.config(size=128, max_sessions=8, udp_ports=free_ports(2))
    async with house(config=config) as built, calling() as first, calling() as second, calling() as third:
        sessions = [await built.call(peer) for peer in (first, second)]
        with pytest.raises(ServerFull, match="every UDP port"):
            await built.call(third)
        assert len(built.sessions) == 2
        await until(lambda: all(peer.connection.connectionState == "connected" for peer in (first, second)))
        await sessions[0].aclose()
        await built.call(third)
        await until(lambda: third.connection.connectionState == "connected")
        assert second.connection.connectionState == "connected"


async def test_the_refused_client_is_told_when_to_come_back(
    aiohttp_client: Callable[[web.Application], Awaitable[TestClient[Any, Any]]], tmp_path: Path
) -> None:
    ports = free_ports(1)
    async with house(config=fakes.config(size=128, udp_ports=ports)) as built, calling() as peer:
        client = await aiohttp_client(build_application(built.sessions, fakes.gallery("ada"), tmp_path))
        with udp(LOOPBACK, ports.first):
            refused = await client.post("/offer", json={"sdp": peer.sdp, "type": "offer"})
        assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
        detail = (await refused.json())["detail"]
        assert "every UDP port" in detail
        assert str(ports.first) not in detail
        assert (await client.post("/offer", json={"sdp": peer.sdp, "type": "offer"})).status == 200


@pytest.mark.parametrize(("count", "warnings"), [(3, 1), (4, 0), (None, 0)])
def test_a_range_too_small_for_all_sessions_is_told_at_the_start(caplog: pytest.LogCaptureFixture, count: int | None, warnings: int) -> None:
    ports = None if count is None else PortRange(50_000, 50_000 + count - 1)
    Sessions(fakes.config(max_sessions=2, udp_ports=ports), Worker(fakes.FakeFactory()))
    assert ["expected at least 4 ports for 2 sessions" in record.getMessage() for record in caplog.records] == [True] * warnings


def host(address: str, port: int = 5000) -> Candidate:
    return Candidate("f", 1, "udp", 1, address, port, "host")


def test_a_public_address_is_announced_with_the_port_of_the_private_one() -> None:
    hosts = [host(LOOPBACK), host("192.168.1.5"), host("172.17.0.1"), host("fd00::5")]
    found = announced(hosts, [PUBLIC, PUBLIC_6])
    assert [(each.host, each.port, each.type, each.related_address, each.related_port) for each in found] == [
        (PUBLIC, 5000, "srflx", "0.0.0.0", 9),
        (PUBLIC_6, 5000, "srflx", "::", 9),
    ]
    assert len({each.foundation for each in found}) == 2


@pytest.mark.parametrize("hosts", [[host(LOOPBACK)], [host("fd00::5")], [host(PUBLIC)], []])
def test_a_public_address_without_a_private_one_of_its_kind_is_not_announced(hosts: list[Candidate]) -> None:
    assert announced(hosts, [PUBLIC]) == []


async def test_the_private_addresses_stay_beside_the_public_one() -> None:
    async with gathered(Addressing(loopback=True)) as private:
        if all(each.host == LOOPBACK or ":" in each.host for each in private):
            pytest.skip("this machine has no IPv4 address but loopback")
        async with gathered(Addressing(loopback=True, public=(PUBLIC,))) as found:
            assert {each.host for each in found} == {PUBLIC, *(each.host for each in private)}
            assert len({each.port for each in found}) == 1


class Forwarded(asyncio.DatagramProtocol):
    """A router that forwards every port to this machine: what comes to the port goes to the same port of 127.0.0.1, and answers go back to who asked last."""

    def __init__(self) -> None:
        self.count = 0
        self._client: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._private = (LOOPBACK, transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr == self._private:
            self._transport.sendto(data, self._client)
            return
        self.count += 1
        self._client = addr
        self._transport.sendto(data, self._private)


async def test_a_client_outside_connects_through_the_public_address() -> None:
    outside = "127.0.0.9"  # stands for the router's
    async with house(config=fakes.config(size=128, public_ips=(outside,))) as built, calling() as peer:
        _, answer = await built.sessions.open(kept_candidates(peer.sdp, "nothing"), "ada")
        public = kept_candidates(answer, f" {outside} ")
        found = re.search(rf"a=candidate:\S+ 1 udp \d+ {outside} (\d+) typ srflx raddr 0.0.0.0 rport 9", public)
        if found is None and not any(":" not in each.host and each.host != LOOPBACK for each in connection_of(peer.connection).local_candidates):
            pytest.skip("this machine has no IPv4 address but loopback")
        assert found is not None
        transport, router = await asyncio.get_running_loop().create_datagram_endpoint(Forwarded, local_addr=(outside, int(found[1])))
        await peer.accept(public)
        await until(lambda: peer.of("stats"))
        assert router.count > 10
        transport.close()


def kept_candidates(sdp: str, mark: str) -> str:
    """The description with those candidates only that hold a mark."""
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith("a=candidate:") or mark in line)


class Silent(asyncio.DatagramProtocol):
    """A STUN server that answers nobody, and counts who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(addr[0])


async def test_loopback_asks_no_stun_server() -> None:
    """Nobody can answer it from outside: the answer would wait for nothing."""
    transport, silent = await asyncio.get_running_loop().create_datagram_endpoint(Silent, local_addr=(LOOPBACK, 0))
    server = RTCIceServer(f"stun:{LOOPBACK}:{transport.get_extra_info('sockname')[1]}")
    async with bent(Addressing(loopback=True), server) as peer, asyncio.timeout(5):
        found = await connection_of(peer).get_component_candidates(component=1, addresses=[], timeout=60)
        assert [each.host for each in found] == [LOOPBACK]
    assert silent.asked == []
    transport.close()


async def test_a_silent_server_only_costs_its_own_addresses(caplog: pytest.LogCaptureFixture) -> None:
    transport, silent = await asyncio.get_running_loop().create_datagram_endpoint(Silent, local_addr=(LOOPBACK, 0))
    place = f"{LOOPBACK}:{transport.get_extra_info('sockname')[1]}"
    async with bent(Addressing(loopback=True), RTCIceServer(f"stun:{place}"), RTCIceServer(f"turn:{place}", "me", "hush")) as peer:
        found = await connection_of(peer).get_component_candidates(component=1, addresses=["127.0.0.2"], timeout=0.3)
        assert [each.host for each in found] == [LOOPBACK, "127.0.0.2"]
    assert "127.0.0.2" in silent.asked
    assert [place in record.getMessage() or "hush" in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [False]
    transport.close()


async def test_datagrams_too_short_for_anything_go_no_further() -> None:
    """aiortc looks at the first byte of each, and ends the call where there is none."""
    async with bent(Addressing(loopback=True)) as peer:
        connection = connection_of(peer)
        for length in (0, 1, 11, 12, 100):
            connection.data_received(bytes(length), 1)
        assert [len(connection._queue.get_nowait()[0]) for _ in range(connection._queue.qsize())] == [12, 100]

"""Which addresses and ports media may travel between: this machine's own, loopback included, and none that would have to be asked for.

aioice offers every address of the machine except 127.0.0.1, so that a machine with no other has none to offer, each with whatever port is free. And it resolves
the `.local` names that browsers put in place of their addresses by multicast queries, which send packets nobody asked for and hold the answer up for a second.
The names are not needed: the browser checks the addresses that the answer holds, and is recognised by that.

Bends: `get_component_candidates` and `data_received` of one aioice `Connection` (tests/test_candidates.py). A TURN client's sockets are outgoing and stay as
they are.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import ipaddress
import logging
import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, server_reflexive_candidate
from aiortc import RTCPeerConnection

from realtime.config import PortRange, ServerConfig
from realtime.errors import ServerFull

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
DYNAMIC_PORTS = PortRange(49_152, 65_535)
"""RFC 6335, section 6."""
RECEIVE_BUFFER_BYTES = 256 * 1024
ASK_TIMEOUT_S = 3
"""An answer waits at most so long for the STUN and TURN servers that were configured; nothing else makes it wait."""
RETRY_AFTER_S = 5
SHORTEST_BYTES = 12
"""Of a datagram that is not STUN: an RTP header; all of DTLS and RTCP is longer. At an empty one, from whomever, aiortc would end the call."""
PORTS_PER_SESSION = 2
"""One in use, and one for the session that takes its place while it ends."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Addressing:
    """What a peer connection offers beside, or in place of, what aioice would."""

    loopback: bool = False
    """127.0.0.1 too."""
    ports: PortRange | None = None
    """The UDP ports that media may come to; None: any."""
    public: tuple[str, ...] = ()
    """Addresses that a router or a host forwards to this machine with the ports unchanged; at most one of each IP version."""

    @classmethod
    def of(cls, config: ServerConfig) -> Addressing:
        return cls(config.offers_loopback, config.udp_ports, config.public_ips)


def without_names(sdp: str) -> str:
    """The session description with candidates that are addresses of one reachable machine, and without the claim that it holds all candidates.

    Names go (RFC 8839, section 5.1), and so do multicast and unspecified addresses, those of IPv6 that hold on one interface only, and ports that cannot be.
    """
    kept = []
    for line in sdp.splitlines():
        fields = line.split()
        if line.startswith("a=candidate:") and (len(fields) < 6 or not _is_reachable(fields[4]) or not _is_port(fields[5])):
            continue
        if line.strip() != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def offer_addresses(peer: RTCPeerConnection, addressing: Addressing) -> bool:
    """Has a peer connection that has not gathered yet offer what `addressing` says.

    False, with a warning, where aiortc or aioice is not as expected: then it offers what aioice finds by itself.
    """
    transports = [transceiver.receiver.transport.transport for transceiver in peer.getTransceivers()]
    if peer.sctp is not None:
        transports.append(peer.sctp.transport.transport)
    connections = {id(found): found for transport in transports if (found := getattr(transport, "_connection", None)) is not None}
    if not connections or not all(_as_expected(connection) for connection in connections.values()):
        logger.warning("this version of aioice gathers addresses in another way: no loopback, and --udp-ports and --public-ip have no effect")
        return False
    for connection in connections.values():
        _bend(connection, addressing)
    return True


def warn_of_few_ports(config: ServerConfig) -> None:
    """Says so where the range of UDP ports may not do for the sessions that there may be."""
    wanted = PORTS_PER_SESSION * config.max_sessions
    if config.udp_ports is not None and len(config.udp_ports) < wanted:
        logger.warning(
            "--udp-ports: expected at least %d ports for %d sessions (%d each), and one for every viewer, got %d: sessions will be refused when they run out",
            *(wanted, config.max_sessions, PORTS_PER_SESSION, len(config.udp_ports)),
        )


def bind_together(addresses: Sequence[str], ports: Iterable[int]) -> list[socket.socket]:
    """One UDP socket an address, all on the same port: the first that is free on every one of them.

    The same, so that one forwarded port leads to the session whichever of its addresses the traffic is forwarded to. An address that cannot be bound to at
    all is left out, as aioice does.

    Raises:
        ServerFull: no port is free.
    """
    for port in ports:
        found = _bind_all(addresses, port)
        if found is not None:
            return found
    raise ServerFull("every UDP port that media may use is taken; try again later", RETRY_AFTER_S)


def announced(hosts: Sequence[Candidate], public: Sequence[str], component: int = 1) -> list[Candidate]:
    """Server-reflexive candidates for addresses that are forwarded to the hosts' port; their base stays hidden (RFC 8839, section 5.1)."""
    found = []
    for address in public:
        version = ipaddress.ip_address(address).version
        bases = [each for each in hosts if ipaddress.ip_address(each.host).version == version and each.host != LOOPBACK]
        if not bases or any(each.host == address for each in bases):
            continue
        found.append(
            Candidate(
                foundation=candidate_foundation("nat", "udp", address),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "srflx"),
                host=address,
                port=bases[0].port,
                type="srflx",
                related_address="0.0.0.0" if version == 4 else "::",
                related_port=9,
            )
        )
    return found


def _is_reachable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and (address.is_link_local or address.scope_id is not None):
        return False
    return not (address.is_multicast or address.is_unspecified)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535


def _as_expected(connection: object) -> bool:
    gather = getattr(connection, "get_component_candidates", None)
    return (
        isinstance(connection, Connection)
        and gather is not None
        and {"component", "addresses", "timeout"} <= inspect.signature(gather).parameters.keys()
        and {"_protocols", "_closing", "stun_server", "turn_server"} <= vars(connection).keys()
        and list(inspect.signature(connection.data_received).parameters) == ["data", "component"]
        and list(inspect.signature(server_reflexive_candidate).parameters) == ["protocol", "stun_server"]
        and list(inspect.signature(StunProtocol).parameters) == ["receiver"]
    )


def _bend(connection: Any, addressing: Addressing) -> None:
    stock = connection.get_component_candidates

    async def gather(component: int, addresses: list[str], timeout: float = ASK_TIMEOUT_S) -> list[Candidate]:
        protocols = await _open(connection, component, [LOOPBACK, *addresses] if addressing.loopback else addresses, addressing)
        hosts: list[Candidate] = [each.local_candidate for each in protocols]
        relayed, *reflexive = await asyncio.gather(
            stock(component=component, addresses=[], timeout=timeout),
            *(_reflexive(each, connection.stun_server, timeout) for each in protocols if connection.stun_server and _may_ask(each.local_candidate)),
        )
        if connection._closing:  # what came too late for its close()
            await asyncio.gather(*(each.close() for each in connection._protocols))
            connection._protocols.clear()
        elif connection.turn_server and not relayed:
            logger.warning("no relay for this session: the TURN server did not answer in time, or refused; see --ice-server and --turn-secret")
        own = {(each.host, each.port) for each in hosts}
        mapped = [each for found in reflexive for each in found if (each.host, each.port) not in own]
        return [*hosts, *announced(hosts, addressing.public, component), *mapped, *relayed]

    hand_on = connection.data_received

    def receive(data: bytes, component: int) -> None:
        if len(data) >= SHORTEST_BYTES:
            hand_on(data, component)

    connection.get_component_candidates = gather
    connection.data_received = receive


def _may_ask(host: Candidate) -> bool:
    """From loopback nobody outside can be asked: the question would only hold the answer up; and aioice asks over IPv4 only."""
    return host.host != LOOPBACK and ipaddress.ip_address(host.host).version == 4


async def _reflexive(protocol: StunProtocol, server: tuple[str, int], timeout_s: float) -> list[Candidate]:
    try:
        candidate, _ = await asyncio.wait_for(server_reflexive_candidate(protocol, server), timeout_s)
    except Exception as error:  # no name, no route, no answer, not the right one: one address less
        logger.debug("a STUN server gave no address", exc_info=error)
        return []
    return [candidate]


async def _open(connection: Any, component: int, addresses: Sequence[str], addressing: Addressing) -> list[StunProtocol]:
    """Host candidates, one an address, with their sockets; the connection closes them."""
    loop = asyncio.get_running_loop()
    sockets = _bind(addresses, addressing)
    protocols = []
    try:
        while sockets:
            _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(connection), sock=sockets.pop(0))
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            connection._protocols.append(protocol)
            protocols.append(protocol)
    finally:
        for left in sockets:
            left.close()
    return protocols


def _bind(addresses: Sequence[str], addressing: Addressing) -> list[socket.socket]:
    if addressing.ports is None and not addressing.public:
        return [each for address in addresses for each in bind_together([address], [0])]
    ports = addressing.ports or DYNAMIC_PORTS
    return bind_together(addresses, ports.starting_at(random.randrange(len(ports))))


def _bind_all(addresses: Sequence[str], port: int) -> list[socket.socket] | None:
    """None where the port is taken on one of them."""
    sockets: list[socket.socket] = []
    for address in addresses:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            made.bind((address, port))
        except OSError as error:
            made.close()
            if error.errno not in _TAKEN:
                continue
            for each in sockets:
                each.close()
            return None
        sockets.append(made)
    return sockets

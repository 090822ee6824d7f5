"""Which addresses media may travel between: this machine's own, loopback included, and none that would have to be asked for.

aioice offers every address of the machine except 127.0.0.1, so that a machine with no other has none to offer. And it resolves the `.local` names that browsers
put in place of their addresses by multicast queries, which send packets nobody asked for and hold the answer up for a second. The names are not needed:
the browser checks the addresses that the answer holds, and is recognised by that.

Bends: `get_component_candidates` of one aioice `Connection` (tests/test_rtc.py).
"""

from __future__ import annotations

import inspect
import ipaddress
import logging
from typing import Any

from aioice import Candidate, Connection
from aiortc import RTCPeerConnection

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def without_names(sdp: str) -> str:
    """The session description without candidates that are names, and without the claim that it holds all candidates (RFC 8839, section 5.1)."""
    kept = []
    for line in sdp.splitlines():
        fields = line.split()
        if line.startswith("a=candidate:") and (len(fields) < 5 or not _is_address(fields[4])):
            continue
        if line.strip() != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def offer_loopback(peer: RTCPeerConnection) -> bool:
    """Has a peer connection that has not gathered yet offer 127.0.0.1 beside the machine's other addresses.

    False, with a warning, where aiortc or aioice is not as expected: then only browsers on machines with another address can connect.
    """
    transports = [transceiver.receiver.transport.transport for transceiver in peer.getTransceivers()]
    if peer.sctp is not None:
        transports.append(peer.sctp.transport.transport)
    connections = {id(found): found for transport in transports if (found := getattr(transport, "_connection", None)) is not None}
    if not connections or not all(_as_expected(connection) for connection in connections.values()):
        logger.warning("this version of aioice gathers addresses in another way: connecting needs a network interface beside loopback")
        return False
    for connection in connections.values():
        _add_loopback(connection)
    return True


def _as_expected(connection: object) -> bool:
    gather = getattr(connection, "get_component_candidates", None)
    return isinstance(connection, Connection) and gather is not None and {"component", "addresses"} <= inspect.signature(gather).parameters.keys()


def _add_loopback(connection: Any) -> None:
    stock = connection.get_component_candidates

    async def gather(component: int, addresses: list[str], **others: Any) -> list[Candidate]:
        found: list[Candidate] = await stock(component=component, addresses=[LOOPBACK, *addresses], **others)
        return found

    connection.get_component_candidates = gather

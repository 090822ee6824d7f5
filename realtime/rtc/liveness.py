"""Whether the other side of a connection is still there: what it sends, or that it answers when asked.

aiortc tells of a peer that vanished after half a minute (aioice asks every 5 s and forgives six silences). A receiver of video reports about once a second
(RFC 3550, section 6.2), but need not; what every peer must do is answer a check of consent (RFC 7675, section 5.1). The answer is looked for once a second.

Bends: nothing is replaced; asks through `_nominated`, `build_request` and `remote_password` of one aioice `Connection` (tests/test_whep.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aioice import Connection, stun
from aiortc import RTCPeerConnection

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 0.5
"""How long aioice waits for the answer to a request that it does not repeat (RFC 8489, section 6.2.1)."""
_ASKED_THROUGH = ("_nominated", "build_request", "remote_password")


class Liveness:
    """Of a peer connection that is connected.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, peer: RTCPeerConnection, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._peer = peer
        self._connection = _connection(peer)
        self._received = 0
        self._heard_s = clock()

    async def silent_s(self) -> float:
        """For how many seconds nothing was heard; asks, where nothing came since the last call, and waits up to `ANSWER_TIMEOUT_S` for the answer."""
        count = await received(self._peer)
        if count != self._received or await self._answers():
            self._received = count
            self._heard_s = self._clock()
        return self._clock() - self._heard_s

    async def _answers(self) -> bool:
        connection = self._connection
        if connection is None or connection.remote_password is None:
            return False
        for pair in tuple(connection._nominated.values()):
            request = connection.build_request(pair, nominate=False)
            try:
                await pair.protocol.request(request, pair.remote_addr, integrity_key=connection.remote_password.encode(), retransmissions=0)
            except (stun.TransactionError, OSError, AttributeError):  # the last: the socket was closed meanwhile
                continue
            return True
        return False


def _connection(peer: RTCPeerConnection) -> Connection | None:
    for transceiver in peer.getTransceivers():
        found = getattr(transceiver.receiver.transport.transport, "_connection", None)
        if isinstance(found, Connection) and all(hasattr(found, name) for name in _ASKED_THROUGH):
            return found
    logger.warning("this version of aioice checks consent in another way: viewers that send no RTCP reports are taken for gone")
    return None


async def received(peer: RTCPeerConnection) -> int:
    """Datagrams of media, reports and data that came so far."""
    return sum(report.packetsReceived for report in (await peer.getStats()).values() if report.type == "transport")

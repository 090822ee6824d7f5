"""How much one peer may send over its data channels: packets beyond that are dropped before SCTP has worked on them, as a narrow network would drop them.

SCTP in Python takes about a tenth of a millisecond a message, on the loop that everybody's pictures pass through. A sender whose packets are lost slows down
by itself (congestion control, RFC 9260, section 7.2), so a flood comes as slowly as it is let through, and in order.

Bends: `_handle_data` of one aiortc `RTCSctpTransport` (tests/test_policing.py).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable

from aiortc import RTCPeerConnection

from realtime.rates import Allowance, Bucket

logger = logging.getLogger(__name__)

BYTES = Allowance(burst=256 * 1024, per_s=96 * 1024)
"""A slider's messages are 30 kB a second, with everything around them."""


def police_data(peer: RTCPeerConnection, clock: Callable[[], float]) -> bool:
    """Bounds what comes over a peer's data channels, if it has any.

    Args:
        clock: seconds, monotonic.

    Returns:
        Whether it does; False, with a warning, where this version of aiortc is not as expected.
    """
    transport = peer.sctp
    if transport is None:
        return False
    stock = getattr(transport, "_handle_data", None)
    if not inspect.iscoroutinefunction(stock) or list(inspect.signature(stock).parameters) != ["data"]:
        logger.warning("this version of aiortc takes data in another way: floods of messages cost everybody a little")
        return False
    bucket = Bucket(BYTES, clock())

    async def handle(data: bytes) -> None:
        if bucket.take(clock(), len(data)) == 0:
            await stock(data)

    transport._handle_data = handle  # type: ignore[method-assign]
    return True

"""Closing a peer connection in bounded time: a peer that vanished must not hold up the rest."""

from __future__ import annotations

import asyncio
import logging

from aiortc import RTCPeerConnection

logger = logging.getLogger(__name__)

TIMEOUT_S = 2.0


async def close_peer(peer: RTCPeerConnection, owner: str) -> None:
    """Closes it; what goes wrong is logged and not raised.

    Args:
        owner: whose it is, for the log, such as `a viewer`.
    """
    try:
        await asyncio.wait_for(peer.close(), TIMEOUT_S)
    except TimeoutError:
        logger.warning("the peer connection of %s did not close in time", owner)
    except Exception:
        logger.warning("the peer connection of %s did not close cleanly", owner, exc_info=True)

"""Connections that ask for nothing: let go, before they are all that the system lets a process have.

aiohttp waits for the first request of a connection without an end, and for the next one an hour. A browser needs neither: what it does not use for half a
minute it opens again.

Bends: reads the private `_request_in_progress` of aiohttp's connections, and does without where there is none (tests/test_connections.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from realtime.hosts import address_of
from realtime.rates import client_of
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

IDLE_S = 30.0
"""A connection that is neither asking nor being answered for so long is let go."""
MOST_IDLE = 64
"""Of one address (IPv6: one /64); of more, those that idle longest are let go at once. A browser opens six."""
UNREAD_S = 60.0
"""Whoever takes nothing of an answer for so long is let go (TCP_USER_TIMEOUT, RFC 5482; Linux only)."""
LOOK_EVERY_S = 1.0
MOST_DESCRIPTORS = 65_536
_BUSY = "_request_in_progress"


class GuardedRunner(web.AppRunner):
    """Runs an application as its base does, and looks after its connections."""

    def __init__(self, application: web.Application, **settings: Any) -> None:
        super().__init__(application, **settings)
        self._busy_s: dict[RequestHandler, float] = {}
        """When each connection was last known to be of use, or was first seen."""
        self._tasks = Tasks("the server's connections", lambda: None)
        application.on_response_prepare.append(self._note)

    async def setup(self) -> None:
        await super().setup()
        allow_descriptors()
        if hasattr(RequestHandler, _BUSY):
            self._tasks.start(self._look())
        else:
            logger.warning("this version of aiohttp has other connections: those that ask for nothing are kept")

    async def cleanup(self) -> None:
        await self._tasks.cancel()
        await super().cleanup()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.let_go(time.monotonic())

    async def _note(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._busy_s[request.protocol] = time.monotonic()
        _drop_if_unread(request.protocol)

    def let_go(self, now_s: float) -> int:
        """Closes what idles for too long, or is one of too many; how many."""
        assert self.server is not None
        connections = [connection for connection in self.server.connections if connection.transport is not None]
        self._busy_s = {each: now_s if getattr(each, _BUSY) else self._busy_s.get(each, now_s) for each in connections}
        idle = sorted((each for each in connections if not getattr(each, _BUSY)), key=self._busy_s.__getitem__, reverse=True)
        gone, kept = 0, Counter[str]()
        for connection in idle:
            kept[address := _address(connection)] += 1
            if now_s - self._busy_s[connection] > IDLE_S or kept[address] > MOST_IDLE:
                connection.force_close()
                gone += 1
        return gone


def _address(connection: RequestHandler) -> str:
    peer = connection.transport.get_extra_info("peername") if connection.transport is not None else None
    return client_of(address_of(str(peer[0]) if peer else None))


def _drop_if_unread(connection: RequestHandler) -> None:
    """Has the system end the connection when what was sent is not taken: neither aiohttp nor asyncio ever gives up."""
    held = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if held is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * UNREAD_S))


def allow_descriptors() -> None:
    """As many as this user may have, up to `MOST_DESCRIPTORS`: the default of most systems is 1,024."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

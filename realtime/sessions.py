"""All sessions of a server: opened up to a cap, found by their identifier, closed together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass

from realtime.access import Role
from realtime.config import Codec, ServerConfig
from realtime.errors import NotFound, ServerFull
from realtime.memory import give_back
from realtime.metrics import Ledger, Totals
from realtime.rtc.candidates import warn_of_few_ports
from realtime.rtc.ice_servers import IceServers, configured_servers
from realtime.rtc.negotiation import Direction, check_offer
from realtime.session import RETRY_AFTER_S, Session
from realtime.worker import Worker

logger = logging.getLogger(__name__)

TIDY_AFTER_S = 5.0
"""After a session has ended: its threads and sockets are gone by then, and of many that end together one tidying serves all."""
TIDY_NAME = "headcast-tidy"


@dataclass(frozen=True, slots=True)
class Census:
    """Who is there, and what all that were ever there have come to."""

    states: Counter[str]
    """Sessions by what they do (`SessionState`)."""
    viewers: int
    totals: Totals


class Sessions:
    """Args: the server's configuration and the worker that serves every session."""

    def __init__(self, config: ServerConfig, worker: Worker) -> None:
        warn_of_few_ports(config)
        self._config = config
        self._worker = worker
        self._sessions: dict[str, Session] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.TimerHandle | None = None
        self._closed = False
        self._ledger = Ledger()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def config(self) -> ServerConfig:
        """What the server's owner chose."""
        return self._config

    @property
    def highest(self) -> int:
        """How many there may be."""
        return self._config.max_sessions

    @property
    def warm(self) -> bool:
        return self._worker.warm

    @property
    def stopping(self) -> bool:
        """Whether none is opened any more."""
        return self._closed

    @property
    def worker(self) -> Worker:
        """What serves all of them."""
        return self._worker

    def census(self) -> Census:
        """As of now."""
        living = tuple(self._sessions.values())
        totals = self._ledger.totals(session.metrics for session in living)
        return Census(Counter(str(session.state) for session in living), sum(len(session.audience) for session in living), totals)

    @property
    def local(self) -> bool:
        """Whether only this machine's people reach the server, and all of them may do everything."""
        return self._config.private

    def ice_servers(self) -> IceServers:
        """STUN and TURN servers for a client that connects now; none unless they were configured."""
        return configured_servers(self._config, time.time())

    async def open(
        self,
        offer_sdp: str,
        avatar_id: str,
        replaces: str | None = None,
        direction: Direction = Direction.BOTH,
        name: str | None = None,
        role: Role = Role.OWNER,
    ) -> tuple[Session, str]:
        """A new session and its answer.

        Args:
            replaces: a session that ends first, if it still lives: the page was loaded anew, or its network changed.
            direction: see `Session`.
            role: of whoever opens it.
            name: the new session's identifier, for which any session that has it must be in `replaces`; None: one that nobody can guess.

        Raises:
            ServerFull: every slot is taken.
            Unprocessable: the offer cannot be answered; no slot is taken then, and none is freed.
        """
        replaced = self._sessions.get(replaces) if replaces is not None else None
        if len(self._sessions) - (replaced is not None) >= self._config.max_sessions or self._closed:
            raise ServerFull(f"all {self._config.max_sessions} sessions are taken; try again later", RETRY_AFTER_S)
        checked_sdp = check_offer(offer_sdp, self._config.codec if direction is Direction.BOTH else Codec.AUTO, direction)
        if replaced is not None:
            replaced.give_way()
        session = Session(name or secrets.token_urlsafe(16), avatar_id, self._config, self._worker, self._forget, direction, role)
        self._sessions[session.id] = session
        try:
            answer = await session.start(checked_sdp)
        except BaseException:
            await session.aclose()
            raise
        logger.info("session %s opened, %d of %d", session.tag, len(self), self._config.max_sessions, extra={"session": session.tag})
        return session, answer

    def get(self, session_id: str) -> Session:
        """Raises NotFound."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound("no such session; it may have ended")
        return session

    def take_off(self, avatar_id: str, instead: str | None, why: str) -> None:
        """Nobody wears that avatar any longer: it is gone, as whoever wears it is told. None: there is no other to wear instead."""
        for session in tuple(self._sessions.values()):
            session.take_off(avatar_id, instead, why)

    async def aclose(self) -> None:
        """Closes every session and waits for those that are closing already; none is opened afterwards."""
        self._closed = True
        await asyncio.gather(*(session.aclose() for session in tuple(self._sessions.values())), *self._leaving, return_exceptions=True)
        if self._tidying is not None:
            self._tidying.cancel()

    def _forget(self, session: Session, closing: asyncio.Task[None]) -> None:
        self._sessions.pop(session.id, None)
        self._ledger.end(session.metrics)
        self._leaving.add(closing)
        closing.add_done_callback(self._left)

    def _left(self, closing: asyncio.Task[None]) -> None:
        self._leaving.discard(closing)
        if self._tidying is None and not self._closed:
            self._tidying = asyncio.get_running_loop().call_later(TIDY_AFTER_S, self._tidy)

    def _tidy(self) -> None:
        self._tidying = None
        threading.Thread(target=give_back, name=TIDY_NAME, daemon=True).start()

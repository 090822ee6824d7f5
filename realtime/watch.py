"""Looks after a whole server: once a second at its counters, four times at whether the event loop is in time, now and then at the studio's disk and database.

Whoever asks for its health or its numbers is answered from memory; nobody can make the server work by asking often.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from realtime.errors import HeadcastError
from realtime.exposition import Exposition, Numbers
from realtime.health import Engine, Health, History, Verdict, Vitals
from realtime.sessions import Sessions
from realtime.studio.studio import Studio, StudioVitals
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

TICK_S = 0.25
LOOK_EVERY_TICKS = 4
STUDIO_EVERY_S = 10.0
TEXT_LASTS_S = 1.0
"""Whoever asks for the numbers again within so long gets the same."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a new session would be taken, and would start at once."""

    warm: bool
    stopping: bool
    health: Health
    sessions: int
    max_sessions: int

    @property
    def ready(self) -> bool:
        return self.warm and not self.stopping and self.health is not Health.ERROR and self.sessions < self.max_sessions


class Watch:
    """Args: whom it looks at; the studio, if there is one; a clock that only goes forward."""

    def __init__(self, sessions: Sessions, studio: Studio | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._engine: Engine = sessions.worker
        self._studio = studio
        self._clock = clock
        self._history = History()
        self._refused: Counter[str] = Counter()
        self._request_errors = 0
        self._studio_vitals = StudioVitals()
        self._exposition = Exposition()
        self._writing = asyncio.Lock()
        self._text = b""
        self._text_at_s: float | None = None
        self._tasks = Tasks("the server's watch", lambda: None)

    async def start(self) -> None:
        """Begins to watch the event loop that it is called on."""
        self._tasks.start(self._tick())
        if self._studio is not None:
            self._tasks.start(self._ask_studio(self._studio))

    async def aclose(self) -> None:
        """Idempotent."""
        await self._tasks.cancel()

    def refused(self, reason: str) -> None:
        """An offer was refused; the reason is one of a few words of this program's own."""
        self._refused[reason] += 1

    def request_failed(self) -> None:
        """A request was answered with 500."""
        self._request_errors += 1

    def verdict(self) -> Verdict:
        """How the server is now."""
        return self._history.judge(self._vitals(), self._clock())

    def readiness(self) -> Readiness:
        """Whether there is room for a session now."""
        sessions = self._sessions
        return Readiness(sessions.warm, sessions.stopping, self.verdict().health, len(sessions), sessions.highest)

    async def text(self) -> bytes:
        """All numbers in Prometheus' format, at most `TEXT_LASTS_S` old; written in another thread, for it takes milliseconds."""
        async with self._writing:
            now = self._clock()
            if self._text_at_s is None or now - self._text_at_s >= TEXT_LASTS_S:
                self._text, self._text_at_s = await asyncio.to_thread(self._exposition.text, self._numbers()), now
            return self._text

    async def _tick(self) -> None:
        ticks = 0
        while True:
            begin = self._clock()
            await asyncio.sleep(TICK_S)
            now = self._clock()
            self._history.lag(max(0.0, now - begin - TICK_S), now)
            ticks += 1
            if ticks % LOOK_EVERY_TICKS == 0:
                self._history.look(self._vitals(), now)

    async def _ask_studio(self, studio: Studio) -> None:
        while True:
            try:
                self._studio_vitals = await studio.vitals()
            except (HeadcastError, OSError) as error:
                logger.debug("the studio could not be looked at", exc_info=error)
                self._studio_vitals = StudioVitals(("the studio's disk or database does not answer",))
            await asyncio.sleep(STUDIO_EVERY_S)

    def _vitals(self) -> Vitals:
        totals = self._sessions.census().totals
        return Vitals(
            warm=self._engine.warm,
            failed=self._engine.failure is not None,
            alive=self._engine.alive,
            restarts=totals.restarts,
            stalls=totals.stalls,
            avatar_errors=totals.errors["avatar"],
            encoder_errors=totals.errors["encoder"] + totals.errors["viewer_encoder"],
            request_errors=self._request_errors,
            studio=self._studio_vitals.troubles,
        )

    def _numbers(self) -> Numbers:
        census = self._sessions.census()
        return Numbers(
            totals=census.totals,
            health=self.verdict().health,
            sessions=census.states,
            max_sessions=self._sessions.highest,
            viewers=census.viewers,
            request_errors=self._request_errors,
            refused=dict(self._refused),
            worst_lag_s=self._history.worst_lag_s(self._clock()),
            jobs=self._studio_vitals.jobs,
            studio_free_bytes=self._studio_vitals.free_bytes,
        )

"""Tasks that live and die with what they belong to: kept from being collected, never failing in silence, cancelled together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

logger = logging.getLogger(__name__)


class Tasks:
    """Args: whose they are, for the log, such as `a session`; what to do when one fails, which is logged anyway."""

    def __init__(self, owner: str, on_failure: Callable[[], None]) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    async def cancel(self) -> None:
        """Returns once all have ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of %s failed; it ends", self._owner, exc_info=task.exception())
            self._on_failure()

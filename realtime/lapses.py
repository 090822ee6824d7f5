"""Avatars whose people agree no more: taken off whoever wears them while the server runs, at the end of their last day or as soon as they are withdrawn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import date
from typing import Any, Protocol

from models.consent.keys import Known
from models.consent.opening import still_agreed
from models.consent.statement import Purpose
from models.errors import NotAgreed
from realtime.errors import HeadcastError
from realtime.gallery import Entry, Gallery, believed
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0


class Wearers(Protocol):
    """Whoever wears avatars: the server's sessions."""

    def take_off(self, avatar_id: str, instead: str | None, why: str) -> None: ...


class Lapses:
    """Args: the avatars; who wears them; which day it is; whose word is taken."""

    def __init__(self, gallery: Gallery[Any], wearers: Wearers, today: Callable[[], date] = date.today, known: Callable[[], Known] = believed) -> None:
        self._gallery, self._wearers, self._today, self._known = gallery, wearers, today, known
        self._tasks = Tasks("the watch over consent", lambda: None)

    async def start(self) -> None:
        """Begins to look, on the event loop that it is called on."""
        self._tasks.start(self._watch())

    async def aclose(self) -> None:
        """Idempotent."""
        await self._tasks.cancel()

    def take_off(self, avatar_id: str, why: str) -> None:
        """Whoever wears an avatar that is gone wears the gallery's first one from now on; without any, their session ends."""
        self._wearers.take_off(avatar_id, self._gallery.default_id if self._gallery.entries else None, why)

    async def look(self) -> None:
        """Once: what may be shown no more is gone from the gallery, and off everybody."""
        try:
            known = await asyncio.to_thread(self._known)
        except HeadcastError as error:
            logger.error("nobody can say which avatars may be shown: %s", error)
            return
        today = self._today()
        for entry in self._gallery.entries:
            if (why := _lapsed(entry, today, known)) is not None:
                logger.warning("%s is not shown any more: %s", entry.id, why)
                self._gallery.lapse(entry.id)
                self.take_off(entry.id, f"{entry.card.name} is not shown any more: {why.split(';')[0]}. Another avatar is worn instead")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()


def _lapsed(entry: Entry, today: date, known: Known) -> str | None:
    try:
        still_agreed(entry.provenance, entry.card.consent, today, Purpose.LIVE, known)
    except NotAgreed as error:
        return str(error)
    return None

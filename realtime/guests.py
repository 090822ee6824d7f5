"""What people opened ends when they may enter no more: a token that was taken back would otherwise drive and watch for as long as its session lasts."""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

from realtime.access import People, Person
from realtime.tasks import Tasks

LOOK_EVERY_S = 1.0


class Stay(Protocol):
    """A session, or somebody who watches one."""

    def end(self, reason: str) -> None: ...


class Guests:
    """Args: those who may enter, who are asked again each second."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._stays: WeakKeyDictionary[Stay, Person] = WeakKeyDictionary()
        self._tasks = Tasks("the watch over who may stay", lambda: None)

    async def start(self) -> None:
        """Begins to look, on the event loop that it is called on."""
        self._tasks.start(self._watch())

    async def aclose(self) -> None:
        """Idempotent."""
        await self._tasks.cancel()

    def add(self, person: Person, stay: Stay) -> None:
        """Ends what they opened once their token, or the role that they had then, is theirs no more."""
        if person.known:
            self._stays[stay] = person

    def look(self) -> None:
        """Once."""
        gone = [stay for stay, person in self._stays.items() if self._people.again(person.token) != person]
        for stay in gone:
            del self._stays[stay]
            stay.end("who opened it may enter no more")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

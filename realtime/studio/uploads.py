"""Videos that people send: streamed to disk, looked at, checked, deleted."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from realtime.errors import Conflict, ServerFull, UnsupportedMediaType
from realtime.studio.disk import Read, erase, make_private, receive
from realtime.studio.records import ENDED, Upload, UploadState, new_id
from realtime.studio.store import Store, patiently
from realtime.studio.trainer import BAD_INPUT, Trainer
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 4
"""Uploads that come in at the same time."""
MOST_UNUSED = 20
"""Videos that nobody has made an avatar of yet."""
RETRY_AFTER_S = 10
FORGOTTEN_S = 24 * 3600.0
"""An upload that nobody made an avatar of is deleted after a day."""
MAX_NAME = 100
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}")


class Uploads:
    """Args: where records are kept; the folder of all uploads; what looks at them; most bytes of one; seconds since 1970."""

    def __init__(self, store: Store, folder: Path, trainer: Trainer, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._store, self._folder, self._trainer, self._now = store, folder, trainer, now
        self.max_bytes = max_bytes
        self._coming = 0
        self._checks = Tasks("the studio's uploads", lambda: None)
        self._checking = asyncio.Semaphore(1)

    async def start(self) -> None:
        """Deletes what came half, has no record, or is forgotten; checks what was not checked yet."""
        make_private(self._folder)
        kept = {upload.id: upload for upload in await self._store.uploads()}
        lost = [id for id, upload in kept.items() if not self.path(upload).is_file()]
        await self._store.drop(uploads=lost)
        await erase(*(path for path in self._folder.iterdir() if path.name not in kept or path.name in lost))
        await self.forget_old()
        for upload in await self._store.uploads():
            if upload.state is UploadState.CHECKING:
                self._checks.start(self._check(upload))

    async def aclose(self) -> None:
        await self._checks.cancel()

    def path(self, upload: Upload) -> Path:
        return self._folder / upload.id / upload.file

    async def take(self, name: str, announced: int | None, read: Read) -> Upload:
        """Receives a video whole or not at all, and begins to check it.

        Raises:
            UnsupportedMediaType: it is no video that can be read.
            ServerFull: too many come in at once.
            HeadcastError: as `disk.receive`.
        """
        if self._coming >= MOST_AT_ONCE:
            raise ServerFull(f"{MOST_AT_ONCE} videos are being sent already; try again in a moment", RETRY_AFTER_S)
        self._coming += 1
        upload = Upload(new_id(), shown_name(name), f"clip{_ending(name)}", 0, self._now(), UploadState.CHECKING)
        folder = self._folder / upload.id
        try:
            await self.forget_old()
            await self._check_room()
            folder.mkdir()
            size = await receive(read, announced, self.max_bytes, self.path(upload), "video")
            looked = await self._trainer.probe(self.path(upload))
            if looked.error:
                raise UnsupportedMediaType(self._in_words(looked.error, upload))
            upload = replace(upload, size=size, video=json.dumps(looked.said))
            await self._store.put(upload)
        except BaseException:
            await erase(folder)
            raise
        finally:
            self._coming -= 1
        self._checks.start(self._check(upload))
        return upload

    async def remove(self, upload: Upload) -> None:
        """Deletes the video, now.

        Raises:
            Conflict: an avatar is being made of it.
        """
        if any(job.upload == upload.id and job.state not in ENDED for job in await self._store.jobs()):
            raise Conflict("an avatar is being made of this video: cancel that first")
        await self._store.drop(uploads=[upload.id])
        await erase(self._folder / upload.id)

    async def forget_old(self) -> None:
        """Deletes what nobody made an avatar of for a day."""
        old = [each.id for each in await self._unused() if each.created < self._now() - FORGOTTEN_S]
        await self._store.drop(uploads=old)
        await erase(*(self._folder / id for id in old))

    async def _unused(self) -> list[Upload]:
        used = {job.upload for job in await self._store.jobs()}
        return [upload for upload in await self._store.uploads() if upload.id not in used]

    async def _check_room(self) -> None:
        if len(await self._unused()) >= MOST_UNUSED:
            raise ServerFull(f"{MOST_UNUSED} videos wait here for somebody to make an avatar of them; delete one, or try again tomorrow", RETRY_AFTER_S)

    async def _check(self, upload: Upload) -> None:
        async with self._checking:
            answer = await self._trainer.check(self.path(upload))
        findings = answer.said.get("findings", [])
        state = UploadState.REFUSED if answer.code == BAD_INPUT else UploadState.GOOD if answer.code == 0 else UploadState.UNCHECKED
        checked = replace(upload, state=state, findings=json.dumps(findings), message=self._in_words(answer.error, upload))
        if upload.id in {each.id for each in await patiently(self._store.uploads)}:  # else it was deleted meanwhile
            await patiently(partial(self._store.put, checked))

    def _in_words(self, text: str, upload: Upload) -> str:
        return text.replace(str(self.path(upload).resolve()), upload.name).replace(str(self.path(upload)), upload.name)


def shown_name(name: str) -> str:
    """What a browser calls a file, for people: its last part, without anything that does not print."""
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = "".join(letter for letter in last if letter.isprintable()).strip()
    return plain[-MAX_NAME:] or "video"


def _ending(name: str) -> str:
    """As a hint on the container; only letters and digits."""
    ending = PurePosixPath(shown_name(name)).suffix
    return ending.lower() if _ENDING.fullmatch(ending) else ""

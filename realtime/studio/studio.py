"""The studio as a whole: its parts put together, started and stopped in order, and why it cannot be used where it cannot."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realtime.config import ServerConfig
from realtime.errors import HeadcastError, Unavailable
from realtime.gallery import Gallery
from realtime.studio.disk import RESERVE_BYTES, SCRATCH, FolderLock, erase
from realtime.studio.expiry import Expiry
from realtime.studio.jobs import Jobs
from realtime.studio.shelf import Shelf, TakeOff
from realtime.studio.store import Store
from realtime.studio.trainer import Trainer
from realtime.studio.uploads import Uploads
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

DATABASE, UPLOADS, RUNS, AVATARS = "studio.sqlite", "uploads", "runs", "avatars"


@dataclass(frozen=True, slots=True)
class StudioSettings:
    """What the owner of a server chooses for the studio."""

    folder: Path
    """Everything of the studio is in there."""
    jobs: int = 1
    """Avatars that are made at a time; the others wait."""
    max_upload_bytes: int = 500 << 20
    expire_days: int = 0
    """Videos that were to be kept, and what was made of them, are deleted so long after their avatar was made; 0: when somebody deletes them."""
    python: str = sys.executable
    """Runs training."""
    trusting: bool = True
    """Whoever reaches the server may change every avatar that was made here."""

    @property
    def avatars(self) -> Path:
        """Where its finished avatars are."""
        return self.folder / AVATARS


@dataclass(frozen=True, slots=True)
class StudioVitals:
    """One look at the studio, for the server's health."""

    troubles: tuple[str, ...] = ()
    """What it does without, with no path or name in it."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Avatars that are made or were, by state."""
    free_bytes: int | None = None
    """On its disk; None: not known."""


def settings_of(config: ServerConfig) -> StudioSettings:
    """What a server's configuration says of the studio."""
    return StudioSettings(
        folder=config.studio_dir.resolve(),
        jobs=config.studio_jobs,
        max_upload_bytes=config.max_upload_mb << 20,
        expire_days=config.expire_days,
        python=str(config.training_python or sys.executable),
        trusting=config.private,
    )


class Studio:
    """Args: the settings, the server's gallery, and what makes sessions change an avatar that is gone."""

    def __init__(self, settings: StudioSettings, gallery: Gallery[Any], take_off: TakeOff) -> None:
        self.settings = settings
        folder = settings.folder
        trainer = self._trainer = Trainer((settings.python, "-m", "training"), folder / SCRATCH)
        store = self.store = Store(folder / DATABASE)
        self.uploads = Uploads(store, folder / UPLOADS, trainer, settings.max_upload_bytes)
        self.shelf = Shelf(gallery, store, settings.avatars, take_off, settings.trusting)
        self.jobs = Jobs(store, self.uploads, trainer, folder / RUNS, self.shelf, settings.jobs)
        self.expiry = Expiry(store, self.uploads, self.jobs, settings.expire_days)
        self.problem = "the studio is starting"
        """Why it cannot be used at all; empty: it can."""
        self.training_problem = ""
        """Why no avatar can be made, though others can be managed; empty: they can."""
        self._lock: FolderLock | None = None
        self._tasks = Tasks("the studio", lambda: None)

    async def start(self) -> None:
        """Takes up where the last server ended; where it cannot, `problem` says why and the server does without."""
        try:
            self._lock = FolderLock(self.settings.folder)
            await erase(self.settings.folder / SCRATCH)
            await self.store.open()
            await self.shelf.start()
            await self.uploads.start()
            await self.jobs.start()
        except (HeadcastError, OSError) as error:
            self.problem = str(error)
            logger.warning("there is no studio: %s", error)
            return
        self.problem = ""
        self._tasks.start(self._ask_training())
        self._tasks.start(self.expiry.run())

    async def aclose(self) -> None:
        """Kills what runs; it goes on after the next start."""
        if not self.problem:
            await self.jobs.aclose()
            await self.uploads.aclose()
        self.problem = "the studio is closed"
        await self._tasks.cancel()
        await self.store.aclose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check(self) -> None:
        """Raises Unavailable: the studio cannot be used."""
        if self.problem:
            raise Unavailable(self.problem)

    def check_training(self) -> None:
        """Raises Unavailable: no avatar can be made."""
        self.check()
        if self.training_problem:
            raise Unavailable(self.training_problem)

    async def vitals(self) -> StudioVitals:
        """Raises Unavailable: the database does not answer. OSError: the disk does not."""
        if self.problem:
            return StudioVitals(("the studio cannot be used",))
        jobs = Counter(str(job.state) for job in await self.store.jobs())
        free = (await asyncio.to_thread(shutil.disk_usage, self.settings.folder)).free
        return StudioVitals(("the studio's disk is full",) if free < RESERVE_BYTES else (), jobs, free)

    async def _ask_training(self) -> None:
        self.training_problem = await self._trainer.problem()
        if self.training_problem:
            logger.warning("no avatar can be made: %s", self.training_problem)

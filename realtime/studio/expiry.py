"""What becomes of the pictures that people sent, once no avatar needs them: deleted at once, after a day, or after as many days as the owner chose.

    the avatar is made, nobody asked to keep the video     the video at once; the rest after a day: a comparison of some seconds is there to judge by
    the avatar is made, the video was to be kept           after --expire-days, with every picture that was made of it; never where that is 0
    the job failed or was cancelled                        as above, and the job with them: without its video it cannot be tried again

The avatar stays: how long it may be worn is said in its consent, not here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from realtime.errors import HeadcastError
from realtime.studio.jobs import Jobs
from realtime.studio.records import ENDED, Job, JobState
from realtime.studio.store import Store
from realtime.studio.uploads import FORGOTTEN_S, Uploads

logger = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
LOOK_EVERY_S = 900.0
KEPT = frozenset({"report.json"})
"""Of a run, besides its avatar: figures, no picture."""


def lapses_s(job: Job, expire_days: int) -> float | None:
    """When a job's pictures are deleted, in seconds since 1970; None: when somebody deletes them."""
    if job.state not in ENDED:
        return None
    if not job.keep_video:
        return job.ended + FORGOTTEN_S
    return job.ended + expire_days * DAY_S if expire_days else None


class Expiry:
    """Args: records; the videos; the jobs; the owner's choice, 0: never; seconds since 1970."""

    def __init__(self, store: Store, uploads: Uploads, jobs: Jobs, expire_days: int, now: Callable[[], float] = time.time) -> None:
        self._store, self._uploads, self._jobs, self._now = store, uploads, jobs, now
        self.expire_days = expire_days

    async def run(self) -> None:
        """Looks again and again, for as long as the server runs."""
        while True:
            try:
                await self.look()
            except (HeadcastError, OSError) as error:
                logger.warning("what has expired in the studio is still there: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Deletes what has lapsed by now."""
        await self._uploads.forget_old()
        for job in await self._store.jobs():
            due = lapses_s(job, self.expire_days)
            if due is None or due > self._now():
                continue
            if job.state is JobState.DONE:
                if job.keep_video:
                    await self._store.put(replace(job, keep_video=False))  # so that it holds the video for no other job of it either
                await self._jobs.release_video(job)
                await self._jobs.strip(job, KEPT)
            else:
                await self._jobs.remove(job.id)

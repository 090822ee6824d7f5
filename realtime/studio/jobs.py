"""The queue: one avatar after the other is made, in a process of its own; a job that a stop or a kill of the server interrupted goes on when it is back.

A job is written down before anything is done for it. What only a watcher wants to know (share, step, pictures) is not written down: the next line of training
tells it anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from models.consent.statement import Agreement
from realtime.errors import Conflict, HeadcastError, Unavailable
from realtime.studio.disk import erase, make_private
from realtime.studio.records import ENDED, Job, JobState, Preset, Upload, UploadState, new_id
from realtime.studio.shelf import Shelf
from realtime.studio.store import Store, patiently
from realtime.studio.trainer import BAD_INPUT, Trainer, error_in
from realtime.studio.uploads import Uploads
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

SURE_S, SURE_SHARE = 4.0, 0.02
"""No remaining time is told before so long and so much of the work."""
MOST_QUEUED = 50
LOG_LINES, LOG_CHARACTERS = 40, 8000
BULKY = ("dataset", "fit", "train")
"""Stages whose folders, up to gigabytes, are of no use once the avatar is made."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for: an avatar of a name, of a person who agreed."""

    name: str
    agreement: Agreement
    preset: Preset
    keep_video: bool = False
    """Whether the video stays once the avatar is made."""


@dataclass(slots=True)
class Progress:
    """How far a running job is, as training told it."""

    stage: str = ""
    step: str = ""
    share: float = 0.0
    """Of the whole, 0…1."""
    first: tuple[float, float] | None = None
    """When the first step began, seconds of a clock, and the share then: more than zero where what was done before is passed over."""

    def take(self, stage: str, step: str, share: float, now: float) -> None:
        """What training says: stages that are done already have no steps."""
        self.stage, self.step, self.share = stage, step, min(max(share, 0.0), 1.0)
        if self.first is None and step:
            self.first = (now, self.share)

    def remaining_s(self, now: float) -> float | None:
        """From the pace so far; None: not known yet."""
        if self.first is None:
            return None
        spent, done = now - self.first[0], self.share - self.first[1]
        return spent / done * (1.0 - self.share) if spent >= SURE_S and done >= SURE_SHARE else None


class Jobs:
    """Args: records; the videos; what makes avatars; the folder of all runs; where finished avatars go; how many at a time; a clock."""

    def __init__(
        self, store: Store, uploads: Uploads, trainer: Trainer, runs: Path, shelf: Shelf, at_once: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._uploads, self._trainer, self._runs, self._shelf, self._clock = store, uploads, trainer, runs, shelf, clock
        self.at_once = at_once
        self._progress: dict[str, Progress] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()
        self._changed = asyncio.Condition()
        self._workers = Tasks("the studio's queue", lambda: None)
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Takes up what was interrupted, and goes on with the queue; run folders that belong to nobody are deleted."""
        make_private(self._runs)
        jobs = await self._store.jobs()
        await self._store.put(*(replace(job, state=JobState.QUEUED) for job in jobs if job.state is JobState.RUNNING))
        kept = {job.id for job in jobs}
        await erase(*(path for path in self._runs.iterdir() if path.name not in kept))
        for _ in range(self.at_once):
            self._workers.start(self._work())

    async def aclose(self) -> None:
        """Kills what runs; it goes on after the next start."""
        await self._workers.cancel()
        await self._tell()

    async def create(self, upload: Upload, wish: Wish) -> Job:
        """Puts a job into the queue; asked twice for one video, as by two tabs, the job that is not over yet is the answer.

        Raises:
            Conflict: the video is not checked yet, or was refused. Unavailable: too many wait already.
        """
        if upload.state is UploadState.CHECKING:
            raise Conflict("the video is still being checked; try again in a few seconds")
        if upload.state is UploadState.REFUSED:
            raise Conflict("no avatar can be made of this video; the check says why, and what to record instead")
        async with self._starting:
            open_jobs = [job for job in await self._store.jobs() if job.state not in ENDED]
            same = [job for job in open_jobs if job.upload == upload.id]
            if same:
                return same[0]
            if len(open_jobs) >= MOST_QUEUED:
                raise Unavailable(f"{MOST_QUEUED} avatars wait to be made already; try again later")
            now, made = time.time(), wish.agreement
            job = Job(
                new_id(),
                upload.id,
                wish.name,
                made.subject,
                made.granted_by,
                wish.preset,
                now,
                now,
                agreement=json.dumps(asdict(made)),
                keep_video=wish.keep_video,
            )
            await self._store.put(job)
        await self._tell()
        return job

    async def cancel(self, id: str) -> Job:
        """Ends a job; finished stages are kept for a retry. One that is over stays as it is."""
        job = await self._store.job(id)
        task = self._running.get(id)
        if task is not None:
            self._cancelled.add(id)
            task.cancel()
            await asyncio.wait({task})
            self._cancelled.discard(id)
        elif job.state is JobState.QUEUED:
            await self._store.put(replace(job, state=JobState.CANCELLED, ended=time.time()))
            await self._tell()
        return await self._store.job(id)

    async def retry(self, id: str) -> Job:
        """Queues a failed or cancelled job again; one that is not over stays as it is.

        Raises:
            Conflict: it is done.
        """
        async with self._starting:
            job = await self._store.job(id)
            if job.state is JobState.DONE:
                raise Conflict("this avatar is made already; to make another, start again from the video")
            if job.state in ENDED:
                job = replace(job, state=JobState.QUEUED, queued=time.time(), message="", log="", ended=0.0)
                await self._store.put(job)
        await self._tell()
        return job

    async def remove(self, id: str) -> None:
        """Deletes everything of a job: its run, its video, its avatar, and that it ever was."""
        job = await self.cancel(id)
        if job.avatar:
            await self._shelf.remove(job.avatar)
        await self._store.drop(jobs=[id])
        await erase(self._runs / id)
        await self.release_video(job)
        await self._tell()

    async def release_video(self, job: Job) -> None:
        """Deletes the video of a job that no longer needs it, unless another job was promised it."""
        others = [other for other in await self._store.jobs() if other.upload == job.upload and other.id != job.id]
        if any(other.keep_video or other.state is not JobState.DONE for other in others):
            return
        for upload in await self._store.uploads():
            if upload.id == job.upload:
                await self._uploads.remove(upload)

    async def strip(self, job: Job, kept: frozenset[str]) -> None:
        """Deletes what training made on the way to an avatar: all of its run but the avatar and the files of these names."""
        run = self.run_of(job)
        if run.is_dir():
            await erase(*(path for path in run.iterdir() if path.name not in kept and path.suffix != ".avatar"))

    def run_of(self, job: Job) -> Path:
        """Where training keeps the job's run."""
        return self._runs / job.id / job.name

    def previews(self, job: Job) -> list[int]:
        """Numbers of the pictures that there are, rising."""
        return sorted(int(path.stem) for path in (self.run_of(job) / "previews").glob("[0-9]*.jpg") if path.stem.isdigit())

    def preview(self, job: Job, number: int) -> Path:
        """Where a picture is, if there is one of that number."""
        return self.run_of(job) / "previews" / f"{number:04d}.jpg"

    async def describe(self, job: Job) -> dict[str, object]:
        """What the page shows of a job."""
        progress = self._progress.get(job.id, Progress(share=1.0 if job.state is JobState.DONE else 0.0))
        queued = [other.id for other in await self._store.jobs() if other.state is JobState.QUEUED]
        remaining = progress.remaining_s(self._clock()) if job.state is JobState.RUNNING else None
        return {
            "id": job.id,
            "upload": job.upload,
            "name": job.name,
            "subject": job.subject,
            "preset": job.preset,
            "keep_video": job.keep_video,
            "state": job.state,
            "position": queued.index(job.id) + 1 if job.id in queued else 0,
            "stage": progress.stage,
            "step": progress.step,
            "share": round(progress.share, 4),
            "remaining_s": None if remaining is None else round(remaining, 1),
            "previews": await asyncio.to_thread(self.previews, job),
            "message": job.message,
            "log": job.log,
            "avatar": job.avatar,
            "created": job.created,
            "ended": job.ended,
        }

    async def after(self, id: str, seen: Callable[[dict[str, object]], bool], within_s: float) -> dict[str, object]:
        """The job as soon as it is no longer as it was seen, or as it is after so many seconds."""
        try:
            async with asyncio.timeout(within_s), self._changed:
                while seen(await self.describe(await self._store.job(id))):
                    await self._changed.wait()
        except TimeoutError:
            pass
        return await self.describe(await self._store.job(id))

    async def _work(self) -> None:
        while True:
            job = await patiently(self._next)
            task = self._running[job.id] = asyncio.create_task(self._make(job))
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del self._running[job.id]
                self._progress.pop(job.id, None)
                await self._tell()

    async def _next(self) -> Job:
        """The first of the queue, which is running from now on."""
        async with self._changed:
            while True:
                waiting = [job for job in await self._store.jobs() if job.state is JobState.QUEUED and job.id not in self._running]
                if waiting:
                    job = replace(waiting[0], state=JobState.RUNNING)
                    await self._store.put(job)
                    self._progress[job.id] = Progress()
                    self._changed.notify_all()
                    return job
                await self._changed.wait()

    async def _make(self, job: Job) -> None:
        try:
            ended = await self._train(job)
        except asyncio.CancelledError:
            if job.id not in self._cancelled:
                raise  # the server stops: the record says `running`, and so it goes on after the next start
            ended = replace(job, state=JobState.CANCELLED)
        except HeadcastError as error:
            ended = replace(job, state=JobState.FAILED, message=str(error))
        except Exception:
            logger.exception("a job failed")
            ended = replace(job, state=JobState.FAILED, message="The server failed; its log says why. Try again: finished stages are kept.")
        await patiently(partial(self._store.put, replace(ended, ended=time.time())))
        if ended.state is JobState.DONE and not ended.keep_video:
            await patiently(partial(self.release_video, ended))

    async def _train(self, job: Job) -> Job:
        upload = await patiently(partial(self._store.upload, job.upload))
        progress, said, runs = self._progress[job.id], list[str](), self._runs / job.id
        changed = Tasks("a job", lambda: None)

        def hear(line: str) -> None:
            if _took(line, progress, said, self._clock()):
                changed.start(self._tell())

        outcome = await self._trainer.make(job, self._uploads.path(upload), runs, hear)
        if outcome.code == 0:
            run = self.run_of(job)
            avatar = await patiently(partial(self._shelf.place, run / f"{job.name}.avatar", job.name, job.id))
            await erase(*(run / stage for stage in BULKY))
            return replace(job, state=JobState.DONE, avatar=avatar)
        error, log = error_in(outcome), "\n".join([*said, *outcome.errors][-LOG_LINES:])[-LOG_CHARACTERS:]
        advice = "" if outcome.code == BAD_INPUT else " Finished stages are kept: a retry goes on from there."
        hidden = ((str(self._uploads.path(upload).resolve()), upload.name), (str(runs.resolve()), "runs"), (str(runs), "runs"))
        for path, shown in hidden:
            error, log = error.replace(path, shown), log.replace(path, shown)
        return replace(job, state=JobState.FAILED, message=error + advice, log=log)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _took(line: str, progress: Progress, said: list[str], now: float) -> bool:
    """Takes a line of `python -m training all --supervised`; whether a watcher would want to know."""
    try:
        told = json.loads(line)
    except ValueError:
        return False
    match told:
        case {"stage": str(stage), "step": str(step), "share": float() | int() as share}:
            progress.take(stage, step, float(share), now)
        case {"note": str(note)}:
            said.append(note)
        case {"preview": int()}:
            pass
        case _:
            return False
    return True

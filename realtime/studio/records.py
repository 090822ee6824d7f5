"""What the studio keeps: uploads, jobs, and whose the avatars are."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

ID_BYTES = 16
ID = re.compile(r"[A-Za-z0-9_-]{22}")
"""What `new_id` gives; anything else is nobody's."""
NAME = re.compile(r"\w[\w .-]{0,63}")
"""Of an avatar and of its run folder: no separator, no leading dot."""


class UploadState(StrEnum):
    CHECKING = "checking"
    GOOD = "good"
    """An avatar can be made of it; there may be warnings."""
    REFUSED = "refused"
    """No avatar can be made of it; the findings, or the message, say why."""
    UNCHECKED = "unchecked"
    """The check itself failed; the message says why. Training will look again."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class Preset(StrEnum):
    """As in `python -m training all --preset`."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Upload:
    """A video that came whole."""

    id: str
    name: str
    """As the browser called the file; for people, never a path."""
    file: str
    """Its name in the upload's own folder."""
    size: int
    """Bytes."""
    created: float
    """Seconds since 1970."""
    state: UploadState
    video: str = "{}"
    """JSON object: width, height, seconds, frames."""
    findings: str = "[]"
    """JSON list of {refuses, found, needed, instead}."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """An avatar being made, or made."""

    id: str
    upload: str
    name: str
    subject: str
    """Who is shown."""
    granted_by: str
    """Who agreed."""
    preset: Preset
    created: float
    queued: float
    """Seconds since 1970, when it got into the queue; the lowest is next."""
    state: JobState = JobState.QUEUED
    message: str = ""
    log: str = ""
    """The last lines of a failed one."""
    avatar: str = ""
    """Identifier in the gallery, once it has one."""
    ended: float = 0.0
    agreement: str = ""
    """JSON of models.consent.statement.Agreement; empty: from before it was asked for in full, and nothing is made of it."""
    keep_video: bool = True
    """Whether the video and its pictures stay when the avatar is made; those who were not asked were told that they do."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An avatar that was made or imported in the studio."""

    id: str
    """In the gallery, and the stem of its file."""
    key: str
    """Who knows it may change, fetch and delete the avatar: the job's identifier, where there is a job."""
    job: str
    """Empty for an import."""
    created: float


def new_id() -> str:
    """128 bits that nobody can guess."""
    return secrets.token_urlsafe(ID_BYTES)

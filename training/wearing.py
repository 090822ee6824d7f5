"""Opening an avatar to make pictures of it: as on the server, only what its person signed, and while they agree."""

from __future__ import annotations

import datetime
from pathlib import Path

from models.avatar_file import AvatarFile
from models.consent.opening import open_avatar as open_agreed
from models.consent.statement import Purpose
from models.errors import BadFile, NotAgreed
from training.errors import TrainingError


def open_avatar(path: Path) -> AvatarFile:
    """Reads an avatar file.

    Raises:
        TrainingError: it is missing or damaged, or nobody who is believed says that its person agrees to recordings.
    """
    try:
        return open_agreed(path, datetime.date.today(), Purpose.RECORDINGS)
    except NotAgreed as error:
        raise TrainingError(f"{path} is not shown: {error}") from error
    except BadFile as error:
        raise TrainingError(f"{path} is not an avatar that can be shown: {error}") from error


def writable(out: Path, *endings: str) -> Path:
    """`out`, where a file of that kind can be written.

    Raises:
        TrainingError: another ending was given, or the folder is not there.
    """
    if out.suffix.lower() not in endings:
        raise TrainingError(f"{out}: the output is written as {' or '.join(endings)}; give a name that ends so.")
    if not out.parent.is_dir():
        raise TrainingError(f"{out}: there is no folder {out.parent}. Make it first.")
    return out

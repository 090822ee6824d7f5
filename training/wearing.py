"""Opening an avatar to show it to people: as the server does, only while whom it shows agrees."""

from __future__ import annotations

import datetime
from pathlib import Path

from models.avatar_file import AvatarFile, read_avatar
from models.errors import BadFile
from training.errors import TrainingError


def open_avatar(path: Path) -> AvatarFile:
    """Reads an avatar file.

    Raises:
        TrainingError: it is missing or damaged, or the consent to it has run out.
    """
    try:
        file = read_avatar(path)
    except BadFile as error:
        raise TrainingError(f"{path} is not an avatar that can be shown: {error}") from error
    consent = file.card.consent
    if not consent.valid_on(datetime.date.today()):
        raise TrainingError(f"{path}: the consent of {consent.subject} ended on {consent.expires}; the avatar is not shown any more.")
    return file


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

"""Signs files that this program itself has just written."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from models.avatar_file import read_avatar_tensors
from models.consent.keys import KeyFolder
from models.consent.signature import content_digest
from models.credentials.identity import identity
from models.credentials.manifest import MEDIA_TYPES, About, sign
from models.errors import BadFile, ModelError


def sign_file(path: Path, avatar: Path, composite: bool = False) -> str | None:
    """Gives a PNG or MP4 content credentials, in its place; whole or not at all.

    Args:
        avatar: who is shown.
        composite: something is in it that was not made here: sound, or the driver's own picture.

    Returns:
        Why not, in one line; None: it has them.
    """
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        by = identity(KeyFolder.of(), datetime.now(UTC))
        about = About(composite, False, content_digest(read_avatar_tensors(avatar)))
        with path.open("rb") as whole, part.open("w+b") as signed:
            sign(whole, MEDIA_TYPES[path.suffix.lower()], signed, about, by)
        part.replace(path)
    except (BadFile, ModelError, OSError) as error:
        return f"{path.name} has no content credentials: {error}"
    finally:
        part.unlink(missing_ok=True)
    return None

"""Content credentials for a recording or a snapshot that a page made of its avatar: checked and signed in a process of its own, bounded in time and memory."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from realtime.errors import HeadcastError, InsufficientStorage, Unavailable, Unprocessable

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "models.credentials", "sign")
CANNOT, NOT_OURS, NO_ROOM = 2, 3, 4
"""The command's exit codes where what was given cannot be read, where it does not bear the mark, and where the disk is full; it says why in one line."""
LONGEST_S = 240.0


def sign(recording: BinaryIO, out: BinaryIO, avatar: Path | None) -> None:
    """Takes a second or much more, so not on the event loop.

    Args:
        recording: PNG, WebM or MP4; a file that the system knows, at its beginning.
        out: gets the PNG or MP4 with its credentials; a file too.
        avatar: the one that is said to be shown.

    Raises:
        Unprocessable: it cannot be read, or does not bear this program's mark.
        Unavailable: it took too long.
        InsufficientStorage: the disk is full.
        HeadcastError: it failed otherwise.
    """
    gently = ("nice", "-n", "10") if shutil.which("nice") else ()
    call = [*gently, *COMMAND, *(() if avatar is None else ("--avatar", str(avatar.resolve())))]
    try:
        done = subprocess.run(call, cwd=ROOT, stdin=recording, stdout=out, stderr=subprocess.PIPE, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"the recording was not signed within {LONGEST_S:.0f} s: record shorter ones, or try again when the server is less busy") from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode in (CANNOT, NOT_OURS):
        raise Unprocessable(said.splitlines()[-1].removeprefix("headcast: ") if said else "it cannot be read")
    if done.returncode == NO_ROOM:
        raise InsufficientStorage("there is no room for the recording on the server")
    if done.returncode:
        logger.error("signing a recording failed: %s", said[-2000:])
        raise HeadcastError("signing failed; the server's log says why")

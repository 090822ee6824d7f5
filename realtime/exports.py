"""An avatar of the gallery as a file for other programs, made in a process of its own: within this one it would hold up every session for a second."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from realtime.errors import BadRequest, HeadcastError, NotFound, Unavailable
from realtime.gallery import Entry

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
FORMATS = {"glb": (".glb", "model/gltf-binary"), "obj": (".zip", "application/zip"), "json": (".json", "application/json")}
"""Name → suffix and media type. json: the card, the names and ranges of what it can do, and its rest pose."""
COMMAND = (sys.executable, "-m", "models.export")
CANNOT = 2
"""The command's exit code where the avatar is at fault; it says why in one line."""
LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be saved."""

    name: str
    media_type: str
    data: bytes


def export(entry: Entry, name: str | None) -> Download:
    """Makes the file; takes a second or more, so not on the event loop.

    Args:
        name: one of FORMATS.

    Raises:
        BadRequest: no such format.
        NotFound: the avatar can no longer be read, or its person's consent has ended.
        Unavailable: it took too long.
        HeadcastError: it failed otherwise.
    """
    if name not in FORMATS:
        raise BadRequest(f"format: expected one of {', '.join(FORMATS)}")
    suffix, media_type = FORMATS[name]
    gently = ("nice", "-n", "10") if shutil.which("nice") else ()
    with tempfile.TemporaryDirectory(prefix="headcast-") as folder:
        out = Path(folder) / f"{entry.id}{suffix}"
        call = [*gently, *COMMAND, str(entry.path.resolve()), "--out", str(out)]
        try:
            done = subprocess.run(call, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"the avatar was not exported within {LONGEST_S:.0f} s; the server is too busy: try again later") from error
        if done.returncode == CANNOT:
            raise NotFound(f"the avatar cannot be exported: {done.stderr.strip().removeprefix('headcast: ')}")
        if done.returncode:
            logger.error("an export failed: %s", done.stderr.strip())
            raise HeadcastError("the export failed; the server's log says why")
        return Download(out.name, media_type, out.read_bytes())

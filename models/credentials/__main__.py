"""`python -m models.credentials`: verify a file's content credentials, print the authority that others may trust, sign a recording or a snapshot.

verify FILE [--trust CA.pem]    what the credentials say, and whether the file is as it was signed
authority                       PEM of this installation's own authority: for --trust, and for other programs' trust lists
sign < recording > signed       a PNG, or an MP4 of a WebM or MP4; only what bears this program's mark (the server's POST /credentials runs this)
"""

from __future__ import annotations

import os

# Read when numpy is loaded, as in server.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from models.avatar_file import read_avatar_tensors
from models.consent.keys import KeyFolder
from models.consent.signature import content_digest
from models.credentials.identity import identity
from models.credentials.manifest import MEDIA_TYPES, MP4, PNG, About, Verdict, sign, verify
from models.credentials.recording import NotOurs, check_picture, check_video, to_mp4
from models.errors import BadFile, ModelError
from models.watermark.files import PICTURES

HOLDS, DOES_NOT, UNREADABLE, NOT_OURS, NO_ROOM = 0, 1, 2, 3, 4
"""All well; no credentials, or they do not hold; what is given cannot be used; it is not ours to sign; no room for what was signed."""
MOST_SECONDS = 300
MOST_BYTES = 3 << 30
"""Of processor time and of address space: what signing may take."""


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code is one of those above."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "verify":
            return _verify(options.file, options.trust, options.json)
        if options.command == "authority":
            sys.stdout.write(identity(KeyFolder.of(), datetime.now(UTC)).authority.decode())
        else:
            _bound()
            return _sign(options.avatar)
    except NotOurs as error:
        print(f"headcast: {error}", file=sys.stderr)
        return NOT_OURS
    except (ModelError, OSError) as error:
        print(f"headcast: {error}", file=sys.stderr)
        return UNREADABLE
    return HOLDS


def _sign(avatar: Path | None) -> int:
    try:
        sign_stream(sys.stdin.buffer, sys.stdout.buffer, avatar)
    except OSError as error:
        print(f"headcast: the signed file could not be written ({error.strerror})", file=sys.stderr)
        return NO_ROOM
    return HOLDS


def sign_stream(source: BinaryIO, out: BinaryIO, avatar: Path | None) -> None:
    """Signs a PNG, or a recording as MP4.

    Args:
        source: a file that can be read from any place; it is checked for the mark first.
        avatar: its digest goes into the credentials.

    Raises:
        NotOurs: it does not bear the mark.
        ModelError: it cannot be read, or there is no key to sign with.
    """
    by = identity(KeyFolder.of(), datetime.now(UTC))
    digest = None if avatar is None else content_digest(read_avatar_tensors(avatar))
    picture = source.read(len(PICTURES[0])) == PICTURES[0]
    source.seek(0)
    with tempfile.TemporaryFile() as whole, tempfile.TemporaryFile() as signed:
        if picture:
            check_picture(source)
            sign(source, PNG, signed, About(avatar=digest), by)
        else:
            check_video(source)
            made = to_mp4(source, whole)
            whole.seek(0)
            sign(whole, MP4, signed, About(made.sound, made.transcoded, digest), by)
        signed.seek(0)
        shutil.copyfileobj(signed, out)
    out.flush()


def _verify(path: Path, trust: Path | None, as_json: bool) -> int:
    if path.suffix.lower() not in MEDIA_TYPES:
        raise BadFile(f"{path.name}: expected one of {', '.join(MEDIA_TYPES)}")
    with path.open("rb") as file:
        verdict = verify(file, MEDIA_TYPES[path.suffix.lower()], None if trust is None else trust.read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(asdict(verdict), indent=1))
    else:
        print("\n".join(_words(path.name, verdict)))
    return HOLDS if verdict.holds else DOES_NOT


def _words(name: str, verdict: Verdict) -> list[str]:
    if verdict.state == "None":
        return [f"{name}: no content credentials"]
    says = {"Trusted": "as it was signed, by somebody you trust", "Valid": "as it was signed, but by whom is for you to know (--trust CA.pem)"}
    lines = [f"{name}: {says.get(verdict.state, 'altered or damaged')}"]
    lines += [f"  {label}: {value}" for label, value in (("signed by", verdict.signer), ("made with", verdict.generator), ("source", verdict.source)) if value]
    lines += [f"  avatar: {verdict.avatar}"] * (verdict.avatar is not None)
    return lines + [f"  {problem}" for problem in verdict.problems]


def _bound() -> None:
    """A recording that is made to take long or much ends this process, and nothing else."""
    try:
        import resource
    except ImportError:  # Windows: the caller's time limit remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.credentials", description="Content credentials (C2PA) of recordings and stills. Asks nobody on the network."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "verify", help="say what a file's credentials are; exit code 0: they hold, 1: there are none or they do not, 2: it cannot be read"
    )
    check.add_argument("file", type=Path, metavar="FILE", help=" ".join(MEDIA_TYPES))
    check.add_argument("--trust", type=Path, metavar="CA.pem", help="certificates of authorities that you trust")
    check.add_argument("--json", action="store_true", help="print JSON")
    commands.add_parser("authority", help="print the certificate of this installation's authority, as PEM")
    making = commands.add_parser("sign", help="read a recording or a snapshot from standard input, a file, and write it signed to standard output")
    making.add_argument("--avatar", type=Path, metavar="FILE", help="the avatar that is shown, whose digest is told")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

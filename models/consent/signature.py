"""The signature in an avatar file: Ed25519 (RFC 8032) over the consent record and a digest of all else: neither face nor record can be changed or moved.

The header's `signature` holds version, key, signed_at, software, value and `earlier`: the records that this one renewed, each with its own signature.
What is signed is canonical JSON (sorted keys, ASCII, no spaces) of {about, content, consent, key, signed_at, software, earlier}; `content` is the SHA-256 of
every array's name, type, shape and bytes, and of the whole header but `name` (the gallery's owner may choose another), `consent` and `signature`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import NotAgreed
from models.tensor_file import TensorFile

VERSION = 1
FIELD = "signature"
ABOUT = "headcast avatar consent 1"
APART = frozenset({"name", "consent", FIELD})
SOFTWARE = "Headcast"
MAX_EARLIER = 20
KEY = re.compile(r"ed25519-[A-Za-z0-9_-]{43}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds."""

    key: str
    """Of the installation that made it: `ed25519-` and 43 characters."""
    signed_at: str
    """ISO 8601, UTC."""
    software: str
    earlier: int
    """How many records this one renewed."""


def canonical(value: object) -> bytes:
    """One way of writing a JSON value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def content_digest(file: TensorFile) -> str:
    """SHA-256, hexadecimal, of the avatar itself: of all but its name, its consent and its signature."""
    digest = hashlib.sha256(canonical({key: value for key, value in file.header.items() if key not in APART}))
    for name in sorted(file.arrays):
        array = np.ascontiguousarray(file.arrays[name])
        digest.update(b"\n" + canonical([name, array.dtype.str, array.shape]) + b"\n")
        digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def key_text(key: Ed25519PublicKey) -> str:
    """A public key as it is shown, stored and given to others."""
    return f"ed25519-{_encode(key.public_bytes_raw())}"


def sign(file: TensorFile, consent: Mapping[str, Any], key: Ed25519PrivateKey, now: datetime) -> dict[str, Any]:
    """The header of the same avatar with that record, signed; a record of before is kept within the signature.

    Raises:
        NotAgreed: the signature of before does not hold, or it was renewed too often.
    """
    public = key_text(key.public_key())
    part: dict[str, Any] = {
        "version": VERSION,
        "key": public,
        "signed_at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "software": SOFTWARE,
        "earlier": _history(file),
    }
    part["value"] = _encode(key.sign(_message(content_digest(file), dict(consent), part)))
    return {**file.header, "consent": dict(consent), FIELD: part}


def _history(file: TensorFile) -> list[dict[str, Any]]:
    part = file.header.get(FIELD)
    if part is None:
        return []
    verify(file, content_digest(file))
    if len(part["earlier"]) == MAX_EARLIER:
        raise NotAgreed(f"{file.source}: its record was renewed {MAX_EARLIER} times already; make the avatar anew")
    current = {name: part[name] for name in ("version", "key", "signed_at", "software", "value")}
    return [*part["earlier"], {**current, "consent": file.header["consent"]}]


def verify(file: TensorFile, content: str) -> Signed | None:
    """What signed the file; None: nothing did.

    Args:
        content: the file's `content_digest`.

    Raises:
        NotAgreed: the signature does not hold: the face or the record was changed after it was signed.
    """
    part = file.header.get(FIELD)
    if part is None:
        return None
    if not isinstance(part, dict) or part.get("version") != VERSION or not isinstance(part.get("earlier"), list) or len(part["earlier"]) > MAX_EARLIER:
        raise NotAgreed(f"{file.source}: its signature should be of version {VERSION}: update Headcast, or ask whoever made the avatar for the file again")
    key, signed_at, software = (part.get(name) for name in ("key", "signed_at", "software"))
    if (
        not isinstance(key, str)
        or not KEY.fullmatch(key)
        or not isinstance(signed_at, str)
        or not _MOMENT.fullmatch(signed_at)
        or not isinstance(software, str)
    ):
        raise NotAgreed(f"{file.source}: its signature is damaged; ask whoever made the avatar for the file again")
    try:
        public = Ed25519PublicKey.from_public_bytes(_decode(key.removeprefix("ed25519-")))
        public.verify(_decode(part.get("value")), _message(content, file.header.get("consent"), part))
    except (InvalidSignature, ValueError, RecursionError):
        raise NotAgreed(
            f"{file.source}: it was altered after it was signed: face, record of consent or signature is not what {short(key)} signed. "
            "It is not shown; ask whoever made the avatar for the file again"
        ) from None
    return Signed(key, signed_at, software[:60], len(part["earlier"]))


def short(key: str) -> str:
    """A key in a sentence: enough of it to compare by eye."""
    return key[:20] + "…"


def _message(content: str, consent: object, part: Mapping[str, Any]) -> bytes:
    signed = {name: part[name] for name in ("version", "key", "signed_at", "software", "earlier")}
    return canonical({"about": ABOUT, "content": content, "consent": consent, **signed})


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: object) -> bytes:
    """Raises ValueError: it is no base64url."""
    if not isinstance(text, str):
        raise ValueError("expected text")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("expected base64url") from error
    if _encode(data) != text:
        raise ValueError("expected base64url without stray bits")
    return data

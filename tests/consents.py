"""Avatars that may be shown: written and signed by the tests' own installation, or by another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from models.avatar_file import AvatarFile, parse_card, read_avatar_tensors, write_avatar
from models.avatar_header import pack_consent
from models.avatar_parts import Consent
from models.consent.keys import KeyFolder
from models.consent.sealing import seal
from models.consent.statement import Purpose, words

NOW = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)


def agreed(expires: str | None = None, own_driver_only: bool = False, purposes: tuple[Purpose, ...] = tuple(Purpose)) -> Consent:
    """Anna's, to everything unless less is named."""
    named = tuple(map(str, purposes))
    said = words(named, own_driver_only, expires)
    return Consent(False, "Anna B.", "Anna B.", said, "2026-11-22", expires, named, own_driver_only, "2026-11-22T20:30:00Z", 1)


def write_signed(path: Path, avatar: AvatarFile, consent: Consent | None = None, keys: KeyFolder | None = None) -> Path:
    """Writes an avatar file with its record of consent, or another, signed."""
    write_avatar(path, avatar if consent is None else replace(avatar, card=replace(avatar.card, consent=consent)))
    seal(path, pack_consent(parse_card(read_avatar_tensors(path)).consent), keys or KeyFolder.of(), NOW)
    return path

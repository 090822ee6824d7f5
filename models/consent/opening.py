"""Opening an avatar to show it: only as whoever made it signed it, by a key that is believed, for what its person agreed to, and while they do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from models.avatar_file import AvatarFile, parse_avatar, parse_card, read_avatar_tensors
from models.avatar_parts import AvatarCard, Consent
from models.consent.keys import KeyFolder, Known
from models.consent.signature import content_digest, short, verify
from models.consent.statement import Purpose
from models.errors import NotAgreed, UnknownSigner
from models.tensor_file import TensorFile

NOT_FOR = {
    Purpose.LIVE: "is not shown live",
    Purpose.RECORDINGS: "no recordings or pictures are made of it",
    Purpose.EXPORT: "is not exported",
    Purpose.TRAINING: "nothing is taught with it",
}
OWN, SHIPPED = "this installation", "comes with Headcast"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who answers for an avatar."""

    digest: str
    """Of the avatar itself, whatever its name and its consent."""
    key: str
    """That signed it; empty: none did, it comes with Headcast."""
    whose: str
    """In words: this installation, the name that a trusted key was given, or `comes with Headcast`."""
    signed_at: str
    """ISO 8601, UTC; empty where there is no signature."""


@dataclass(frozen=True, slots=True)
class Showable:
    """What a gallery may show."""

    card: AvatarCard
    provenance: Provenance


def open_avatar(path: Path, today: date, purpose: Purpose = Purpose.LIVE, known: Known | None = None) -> AvatarFile:
    """Reads an avatar that is to be used.

    Args:
        known: what is believed here; None: what this user's folder of keys says.

    Raises:
        NotAgreed: nobody that is believed answers for it, or it was not agreed to.
        BadFile: it is no avatar file.
    """
    file = read_avatar_tensors(path)
    admit(file, today, purpose, known or KeyFolder.of().known())
    return parse_avatar(file)


def open_card(path: Path, today: date, known: Known | None = None) -> Showable:
    """Only what a gallery shows; raises as `open_avatar`."""
    return admit(read_avatar_tensors(path), today, Purpose.LIVE, known or KeyFolder.of().known())


def admit(file: TensorFile, today: date, purpose: Purpose, known: Known) -> Showable:
    """The card of an avatar that may be used, and who answers for it.

    Raises:
        NotAgreed: with the reason, and what to do.
        BadFile: its card cannot be used.
    """
    digest = content_digest(file)
    signed = verify(file, digest)
    provenance = Provenance(digest, "", SHIPPED, "") if signed is None else Provenance(digest, signed.key, _whose(signed.key, known), signed.signed_at)
    card = parse_card(file)
    still_agreed(provenance, card.consent, today, purpose, known)
    return Showable(card, provenance)


def still_agreed(provenance: Provenance, consent: Consent, today: date, purpose: Purpose, known: Known) -> None:
    """For an avatar whose signature was found to hold: whether it may be used, as things stand now.

    Raises:
        NotAgreed: as `admit`.
    """
    if provenance.digest in known.withdrawn:
        raise NotAgreed("the person it shows has withdrawn their consent; delete the file")
    if not provenance.key:
        _check_unsigned(provenance, consent, known)
    elif provenance.key != known.own and provenance.key not in known.trusted:
        raise UnknownSigner(
            f"it was signed by {short(provenance.key)}, a key that was not accepted here. If you know who made the avatar and believe that the person "
            f"agreed: python -m models.consent trust {provenance.key}",
            provenance.key,
        )
    if not consent.valid_on(today):
        raise NotAgreed(f"the consent of the person it shows ended on {consent.expires}; ask them for a new one, then: python -m models.consent renew FILE")
    if not consent.covers(purpose):
        agreed = ", ".join(consent.purposes) or "nothing that was written down"
        raise NotAgreed(f"the avatar {NOT_FOR[purpose]}: {consent.granted_by} agreed to {agreed}; ask them, then: python -m models.consent renew FILE")


def _check_unsigned(provenance: Provenance, consent: Consent, known: Known) -> None:
    """Only what comes with Headcast needs no signature."""
    if not consent.synthetic:
        raise NotAgreed(
            f"nobody signed that {consent.subject} agreed to it. Ask them, then: python -m models.consent sign FILE --subject NAME --granted-by NAME --agreed"
        )
    if provenance.digest not in known.shipped:
        raise NotAgreed("it says that it is nobody's likeness, and nobody signed that. If you made it so: python -m models.consent sign FILE --synthetic")


def _whose(key: str, known: Known) -> str:
    return OWN if key == known.own else known.trusted.get(key) or short(key)

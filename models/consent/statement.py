"""What people agree to, word for word: the studio's form, the terminal and the record in the file all take it from here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from models.avatar_header import UNSEEN
from models.avatar_parts import Consent

VERSION = 1
"""Of the words below; one that is changed gets the next number."""
MAX_NAME = 100
_NAME = re.compile(rf"(?!.*(?:{UNSEEN.pattern}|[\t\n])).{{1,{MAX_NAME}}}")
"""Of what people see: no control characters, and none that turn a name around."""


class Purpose(StrEnum):
    """What an avatar may be used for."""

    LIVE = "live"
    """Driven by a camera, a video or sliders, and seen by others."""
    RECORDINGS = "recordings"
    """Videos and stills that are kept."""
    EXPORT = "export"
    """As a 3D file for other programs, over which Headcast has no power any more."""
    TRAINING = "training"
    """Pictures of it may teach other programs; written down, for nothing here could enforce it."""


USUAL = (Purpose.LIVE, Purpose.RECORDINGS)
"""What is ticked before anybody has chosen: nothing that leaves Headcast."""
OPENING = "I am the person shown in the video, or may decide for them. I agree that an avatar of this face is made from the video, and that it is used for"
LIVE_OWN, LIVE_ANYBODY = "live video, moved by the person shown and by nobody else", "live video, moved by the person shown and by those they let"
CLAUSES = {
    Purpose.RECORDINGS: "recordings and still pictures",
    Purpose.EXPORT: "3D files for other programs, which can be neither marked nor called back",
    Purpose.TRAINING: "research and the training of other programs",
}
NOTHING_ELSE = "and for nothing else."
UNTIL, NO_END = "This holds until the end of {date}.", "This holds until it is withdrawn."
ENDING = "Whoever agreed may withdraw at any time: the avatar is then deleted, and refused where a copy of it comes back."


def words(purposes: Iterable[str], own_driver_only: bool, expires: str | None) -> str:
    """The whole statement. The studio's page puts the same pieces together (`web/studio-consent.js`)."""
    chosen = set(purposes)
    clauses = [LIVE_OWN if own_driver_only else LIVE_ANYBODY] if Purpose.LIVE in chosen else []
    clauses += [clause for purpose, clause in CLAUSES.items() if purpose in chosen]
    return f"{OPENING} {'; '.join(clauses)}; {NOTHING_ELSE} {NO_END if expires is None else UNTIL.format(date=expires)} {ENDING}"


def pieces() -> dict[str, object]:
    """What a form needs to show the statement as `words` puts it."""
    return {
        "version": VERSION,
        "opening": OPENING,
        "live": {"own": LIVE_OWN, "anybody": LIVE_ANYBODY},
        "clauses": {str(purpose): clause for purpose, clause in CLAUSES.items()},
        "nothing_else": NOTHING_ELSE,
        "until": UNTIL,
        "no_end": NO_END,
        "ending": ENDING,
        "usual": [str(purpose) for purpose in USUAL],
    }


class Disagreement(ValueError):
    """A record that cannot be made; the message says which field, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What somebody agreed to."""

    subject: str
    """Whose face it is."""
    granted_by: str
    """Who agreed: the person, or who may decide for them."""
    purposes: tuple[str, ...] = tuple(str(purpose) for purpose in USUAL)
    own_driver_only: bool = False
    """Nobody but the person shown may drive the avatar."""
    expires: str | None = None
    """ISO 8601 day, the last on which it may be used."""
    agreed_at: str = ""
    """ISO 8601, UTC: 2026-01-31T12:00:00Z."""

    @property
    def statement(self) -> str:
        """The words that were agreed to."""
        return words(self.purposes, self.own_driver_only, self.expires)

    def record(self) -> Consent:
        """As it is written into the avatar file."""
        return Consent(
            synthetic=False,
            subject=self.subject,
            granted_by=self.granted_by,
            statement=self.statement,
            date=self.agreed_at[:10],
            expires=self.expires,
            purposes=self.purposes,
            own_driver_only=self.own_driver_only,
            agreed_at=self.agreed_at,
            statement_version=VERSION,
        )


def agreement(subject: str, granted_by: str, purposes: Iterable[str], own_driver_only: bool, expires: str | None, now: datetime) -> Agreement:
    """An agreement of this moment, every field checked.

    Raises:
        Disagreement: one cannot be used.
    """
    for field, value in (("subject", subject), ("granted_by", granted_by)):
        if not _NAME.fullmatch(value):
            raise Disagreement(f"{field}: expected whose face it is and who agreed, 1 to {MAX_NAME} characters each")
    chosen = set(purposes)
    unknown = sorted(chosen - set(Purpose))
    if unknown or not chosen:
        raise Disagreement(f"purposes: expected one or more of {', '.join(Purpose)}, got {', '.join(unknown)[:60] or 'none'}")
    if own_driver_only and Purpose.LIVE not in chosen:
        raise Disagreement("own_driver_only: expected the purpose live with it, got none")
    last = None if expires is None else last_day(expires, now.astimezone().date())
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Agreement(subject, granted_by, tuple(str(purpose) for purpose in Purpose if purpose in chosen), own_driver_only, last, moment)


def last_day(text: str, today: date) -> str:
    """A day such as 2026-01-31, today or later.

    Raises:
        Disagreement: it is none.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Disagreement(f"expires: expected a day such as {today.year + 1}-01-31, got {text[:40]!r}") from None
    if day < today:
        raise Disagreement(f"expires: expected today or later, got {day.isoformat()}")
    return day.isoformat()

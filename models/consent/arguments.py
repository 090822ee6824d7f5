"""The flags that say what somebody agreed to, and the question where they do not; `python -m models.consent` and `python -m training` have them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime

from models.avatar_parts import Consent
from models.consent.statement import USUAL, Agreement, Disagreement, Purpose, agreement

Ask = Callable[[str], bool]
"""Puts a question to whoever sits at the terminal: whether they say yes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--subject", help="whose face it is")
    parser.add_argument("--granted-by", help="who agreed, where it is not the person: a parent, guardian or agent (default: the subject)")
    parser.add_argument("--purposes", metavar="LIST", help=f"what it may be used for, of {','.join(Purpose)} (default: {','.join(USUAL)})")
    parser.add_argument("--own-driver-only", action="store_true", default=None, help="nobody but the person shown may drive it live")
    parser.add_argument("--expires", metavar="DAY", help="last day on which it may be used, such as 2027-01-31 (default: until it is withdrawn)")
    parser.add_argument("--agreed", action="store_true", help="they agreed to the statement that follows from these flags; without it you are asked")
    parser.add_argument("--agreed-at", metavar="TIME", type=_moment, help="when, such as 2026-01-31T12:00:00Z (default: now)")


def proposed(given: argparse.Namespace, before: Consent | None) -> Agreement:
    """What the flags say, and the record of before where they do not, its end aside. Whether anybody agrees to it is another question.

    Raises:
        Disagreement: a flag cannot be used.
    """
    subject = given.subject or (before.subject if before else "")
    if not subject:
        raise Disagreement('--subject: expected whose face it is, such as --subject "Anna B.", got nothing')
    granted_by = given.granted_by or (before.granted_by if before and before.subject == subject else subject)
    purposes = given.purposes.split(",") if given.purposes else (before.purposes if before and before.purposes else USUAL)
    own = given.own_driver_only if given.own_driver_only is not None else bool(before and before.own_driver_only)
    return agreement(subject, granted_by, purposes, own, given.expires, given.agreed_at or datetime.now(UTC))


def confirmed(given: argparse.Namespace, made: Agreement, ask: Ask | None) -> bool:
    """Whether they agree: the flag says so, or whoever is asked. `ask` None: there is nobody."""
    if given.agreed:
        return True
    return ask is not None and ask(f"{made.statement}\n\nDoes {made.granted_by} agree to this, for {made.subject}? [y/N] ")


def at_terminal(question: str) -> bool:
    """Asks on standard output."""
    return input(question).strip().lower() in ("y", "yes")


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as 2026-01-31T12:00:00Z") from None

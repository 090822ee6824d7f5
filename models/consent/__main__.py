"""`python -m models.consent`: who agreed to an avatar, for what and until when; and whose word is believed on this machine (docs/consent.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from models.avatar_file import parse_card, read_avatar_tensors
from models.avatar_header import pack_consent
from models.avatar_parts import Consent
from models.consent.arguments import Ask, add_arguments, at_terminal, confirmed, proposed
from models.consent.keys import KeyFolder
from models.consent.opening import open_avatar
from models.consent.sealing import seal
from models.consent.signature import FIELD, content_digest, verify
from models.consent.statement import Disagreement
from models.errors import ModelError

DONE, REFUSED, NO_ANSWER = 0, 2, 3


def main(arguments: Sequence[str], ask: Ask | None = None) -> int:
    """The exit status: 0 done (`verify`: may be shown), 2 refused with the reason on standard error, 3 nobody agreed.

    Args:
        ask: puts a question to whoever sits at the terminal; None: there is nobody.
    """
    given = _parser().parse_args(arguments)
    given.ask = ask
    command: Callable[[argparse.Namespace], int] = given.run
    try:
        return command(given)
    except (ModelError, Disagreement, OSError) as error:
        print(f"headcast: {' '.join(str(error).split())}", file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.consent", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, file: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, allow_abbrev=False)
        one.set_defaults(run=run)
        if file:
            one.add_argument("file", type=Path, metavar="FILE", help="avatar file")
        return one

    command("show", _show, "what is recorded, and who signed it")
    command("verify", _verify, "whether it may be shown here, and why not")
    sign = command("sign", _sign, "record who agreed, and sign it with this installation's key")
    sign.add_argument("--synthetic", action="store_true", help="you made it, and it is nobody's likeness")
    add_arguments(sign)
    renew = command("renew", _renew, "the same person agrees again: until another day, or for something else")
    add_arguments(renew)
    command("key", _key, "this installation's public key, for others to trust", file=False)
    trust = command("trust", _trust, "believe what another installation signed", file=False)
    trust.add_argument("key", metavar="KEY")
    trust.add_argument("--name", default="", help="whose it is")
    distrust = command("distrust", _distrust, "believe it no longer", file=False)
    distrust.add_argument("key", metavar="KEY")
    withdraw = command("withdraw", _withdraw, "the person takes their consent back: the file is deleted, and refused where a copy of it comes back")
    withdraw.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _show(given: argparse.Namespace) -> int:
    file = read_avatar_tensors(given.file)
    card, digest = parse_card(file), content_digest(file)
    lines = {"name": card.name} | {name.replace("_", " "): value for name, value in asdict(card.consent).items() if value not in ("", (), 0, None)}
    lines |= {"digest": digest}
    signed = verify(file, digest)
    if signed is None:
        lines["signed by"] = "nobody"
    else:
        lines |= {"signed by": signed.key, "signed at": signed.signed_at, "with": signed.software}
        lines |= {f"before, {number}": _earlier(each) for number, each in enumerate(file.header[FIELD]["earlier"], 1)}
    for name, value in lines.items():
        print(f"{name + ':':20}{', '.join(value) if isinstance(value, tuple) else value}")
    return DONE


def _earlier(record: dict[str, object]) -> str:
    consent = record["consent"]
    until = consent.get("expires") if isinstance(consent, dict) else None
    return f"signed {record['signed_at']} by {record['key']}, until {until or 'withdrawn'}"


def _verify(given: argparse.Namespace) -> int:
    card = open_avatar(given.file, date.today()).card
    print(f"{given.file.name} may be shown: {'nobody’s likeness' if card.consent.synthetic else card.consent.statement}")
    return DONE


def _sign(given: argparse.Namespace) -> int:
    file = read_avatar_tensors(given.file)
    consent = parse_card(file).consent
    if given.synthetic:
        if not consent.synthetic:
            raise Disagreement(f"--synthetic: the file says that it shows {consent.subject}; a record of a person is never made into nobody's")
        return _seal(given.file, consent)
    return _record(given, None if consent.synthetic else consent)


def _renew(given: argparse.Namespace) -> int:
    consent = parse_card(read_avatar_tensors(given.file)).consent
    if consent.synthetic:
        raise Disagreement("it is nobody's likeness: there is nothing to renew")
    if given.expires is None and consent.expires is not None:
        raise Disagreement(
            f"--expires: the record of before ends on {consent.expires}; expected until when they agree now, such as {date.today().year + 1}-12-31"
        )
    return _record(given, consent)


def _record(given: argparse.Namespace, before: Consent | None) -> int:
    made = proposed(given, before)
    if not confirmed(given, made, given.ask):
        print("headcast: nobody agreed; nothing was changed. With --agreed nothing is asked", file=sys.stderr)
        return NO_ANSWER
    print(made.statement)
    return _seal(given.file, made.record())


def _seal(path: Path, consent: Consent) -> int:
    key = seal(path, pack_consent(consent), KeyFolder.of(), datetime.now(UTC))
    print(f"{path.name} is signed by {key}")
    return DONE


def _key(given: argparse.Namespace) -> int:
    folder = KeyFolder.of()
    folder.signing_key()
    print(folder.known().own)
    return DONE


def _trust(given: argparse.Namespace) -> int:
    KeyFolder.of().trust(given.key, given.name)
    print("Avatars that it signed are shown from now on; a running server finds them at its next start.")
    return DONE


def _distrust(given: argparse.Namespace) -> int:
    if not KeyFolder.of().distrust(given.key):
        raise Disagreement(f"expected a key that is believed, got {given.key[:60]!r}")
    print("Avatars that it signed are no longer shown.")
    return DONE


def _withdraw(given: argparse.Namespace) -> int:
    file = read_avatar_tensors(given.file)
    if not given.yes and not (given.ask and given.ask(f"Delete {given.file} for good, and refuse copies of it from now on? [y/N] ")):
        print("headcast: nothing was changed. With --yes nothing is asked", file=sys.stderr)
        return NO_ANSWER
    KeyFolder.of().withdraw(content_digest(file), date.today())
    given.file.unlink()
    print(f"{given.file.name} is deleted; copies of it are refused here, and a running server takes it off whoever wears it.")
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], at_terminal if sys.stdin.isatty() else None))

"""Who may enter: roles, people and their tokens, the file of users.

`python -m realtime.access add anna --role puppeteer` makes a user and prints their token once. Tokens are kept as their SHA-256 only. Those made here hold 256
random bits, so nothing slower is needed to keep them from being guessed; an owner's own must be long.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

logger = logging.getLogger(__name__)

SHORTEST_TOKEN = 16
TOKEN_BYTES = 32
MAX_FILE_BYTES = 1 << 20
TOKEN_VARIABLE = "HEADCAST_TOKEN"
SECRETS = (TOKEN_VARIABLE, "HEADCAST_TURN_SECRET")
USERS_VARIABLE, DEFAULT_USERS = "HEADCAST_USERS", "users.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Role(StrEnum):
    """What somebody may do here; each may do what those after it may."""

    OWNER = "owner"
    """Everything."""
    PUPPETEER = "puppeteer"
    """Drive avatars, and make their own."""
    VIEWER = "viewer"
    """Watch."""

    def covers(self, needed: Role) -> bool:
        """Whether it may do what `needed` may."""
        order = tuple(Role)
        return order.index(self) <= order.index(needed)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str
    role: Role
    known: bool = True
    """By a token; False: one of those who need none."""
    token: str = field(default="", repr=False)
    """Its digest, which `People.again` takes."""


EVERYBODY = Person("everybody", Role.OWNER, known=False)
"""Whoever reaches a server that nobody said who may enter."""


@dataclass(frozen=True, slots=True)
class User:
    """A line of the file of users."""

    name: str
    role: Role
    sha256: str
    """Of the token, in hexadecimal."""


class AccessError(Exception):
    """A file of users, or a token, that cannot be used; says what was expected."""


def new_token() -> str:
    """One that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_chosen(text: str) -> str:
    """As `digest`, of a token that somebody chose.

    Raises:
        AccessError: it is too short to be one, or holds what no header can carry.
    """
    token = text.strip()
    if len(token) < SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise AccessError(f"expected at least {SHORTEST_TOKEN} visible ASCII characters (python -m realtime.access token makes one), got {len(token)}")
    return digest(token)


def read_users(path: Path) -> tuple[User, ...]:
    """Those in a file.

    Raises:
        AccessError: it cannot be read or used, or others on this machine may write to it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & 0o022:
            raise AccessError(f"{path}: others on this machine may write to it; expected mode 600 (chmod 600)")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise AccessError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
        listed = json.loads(path.read_text(encoding="utf-8"))["users"]
        users = tuple(_user(fields) for fields in listed)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AccessError(f"{path}: expected a file of users as python -m realtime.access makes it ({type(error).__name__})") from None
    if len({user.name for user in users}) < len(users):
        raise AccessError(f"{path}: expected every name once")
    return users


def _user(fields: dict[str, object]) -> User:
    name, role, sha256 = fields["name"], fields["role"], fields["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise ValueError("a user without a name or a hash")
    return User(name, Role(str(role)), sha256)


def write_users(path: Path, users: Sequence[User]) -> None:
    """Readable and writable by their owner only; the old file stays until the new one is whole.

    Raises:
        AccessError: it cannot be written.
    """
    text = json.dumps({"users": [asdict(user) for user in users]}, indent=1) + "\n"
    try:
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 600 from its first moment
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise AccessError(f"{path}: cannot be written ({error.strerror})") from None


class People:
    """Those who may enter. The file is read again whenever it has changed; while it cannot be read, nobody of it enters.

    Args:
        owner: the digest of the owner's token; None: there is none.
        users: None: there is no such file.

    Raises:
        AccessError: from `read_users`.
    """

    def __init__(self, owner: str | None, users: Path | None) -> None:
        self._owner = () if owner is None else (User("owner", Role.OWNER, owner),)
        self._path = users
        self._users: tuple[User, ...] = () if users is None else read_users(users)
        self._seen = self._look()
        self.everybody = owner is None and users is None
        """Whether nobody was named: then whoever reaches the server may do everything."""

    def identify(self, token: str) -> tuple[Person, str] | None:
        """Whose token it is, and what to ask `again` with; None: nobody's. Takes as long whoever's it is."""
        presented = digest(token)
        person = self.again(presented)
        return None if person is None else (person, presented)

    def again(self, presented: str) -> Person | None:
        """Who has the token with that digest now; None: nobody any more."""
        self._refresh()
        found = None
        for user in (*self._users, *self._owner):
            if hmac.compare_digest(user.sha256, presented):
                found = Person(user.name, user.role, token=user.sha256)
        return found

    def _refresh(self) -> None:
        if self._path is None or (now := self._look()) == self._seen:
            return
        self._seen = now
        try:
            self._users = read_users(self._path)
            logger.info("the file of users has changed: %d of them", len(self._users))
        except AccessError as error:
            self._users = ()
            logger.warning("nobody of the file of users may enter: %s", error)

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)


def without_token_in_sight(arguments: Sequence[str], environment: dict[str, str]) -> tuple[list[str], dict[str, str]] | None:
    """Arguments and environment of a process that says the same without showing the token to whoever lists processes.

    None: there is none to be seen.
    """
    kept, token = [], None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--token":
            token = next(rest, None)
        elif argument.startswith("--token="):
            token = argument.removeprefix("--token=")
        else:
            kept.append(argument)
    return None if not token else (kept, {**environment, TOKEN_VARIABLE: token})


def hide_token() -> None:
    """Starts this program anew, under the same process id, with `--token TEXT` moved into the environment, where other users do not see it. POSIX only."""
    hidden = without_token_in_sight(sys.orig_argv, dict(os.environ))
    if hidden is not None and os.name == "posix":
        os.execve(sys.executable, *hidden)


def forget_secrets(environment: MutableMapping[str, str]) -> None:
    """Takes them out once they were read: they are not for the programs that this one starts."""
    for name in SECRETS:
        environment.pop(name, None)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "token":
            print(new_token())
        elif given.command == "list":
            for user in read_users(given.users):
                print(f"{user.name}\t{user.role}")
        elif given.command == "add":
            print(_add(given.users, given.name, Role(given.role)))
        else:
            _remove(given.users, given.name)
    except AccessError as error:
        print(f"headcast: {error}", file=sys.stderr)
        return 2
    return 0


def _add(path: Path, name: str, role: Role) -> str:
    if not _NAME.fullmatch(name) or name == "owner":
        raise AccessError(f"name: expected letters, digits, . _ @ and -, at most 64, beginning with a letter or digit, and not owner; got {name!r}")
    users = read_users(path) if path.exists() else ()
    if any(user.name == name for user in users):
        raise AccessError(f"{path}: there is a {name} already: remove them first, their token ends then")
    token = new_token()
    write_users(path, (*users, User(name, role, digest(token))))
    return token


def _remove(path: Path, name: str) -> None:
    users = read_users(path)
    kept = [user for user in users if user.name != name]
    if len(kept) == len(users):
        raise AccessError(f"{path}: there is no {name}")
    write_users(path, kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m realtime.access", description="Says who may enter. A running server notices at once.")
    file = argparse.ArgumentParser(add_help=False)
    default = Path(os.environ.get(USERS_VARIABLE) or DEFAULT_USERS)
    file.add_argument(
        "--users", metavar="FILE", type=Path, default=default, help=f"the file of users (default: {default}); the server takes it by --users FILE"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", parents=[file], help="make a user and print their token: it is shown only this once")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.PUPPETEER), help="what they may do (default: puppeteer)")
    commands.add_parser("list", parents=[file], help="names and roles")
    remove = commands.add_parser("remove", parents=[file], help="end a user's token, and whatever they opened with it")
    remove.add_argument("name", metavar="NAME")
    commands.add_parser("token", help="print a fresh token, for --token-file")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

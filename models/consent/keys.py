"""What this installation knows of consent, in a folder of its user: its own key, the keys that it believes, and what was withdrawn.

    signing.key   Ed25519, PKCS #8 in PEM, made when it is first needed, for its owner's eyes only; it never leaves
    trusted       a public key a line, and whose it is
    withdrawn     a digest of an avatar a line (`signature.content_digest`), and the day

The folder is HEADCAST_KEYS_DIR, else `headcast` in the user's folder of settings (XDG_CONFIG_HOME, else ~/.config).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from models.consent.signature import KEY, key_text
from models.errors import ModelError

VARIABLE = "HEADCAST_KEYS_DIR"
SIGNING, TRUSTED, WITHDRAWN = "signing.key", "trusted", "withdrawn"
SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "avatars" / "digests"
"""Digests of the avatars that come with Headcast, as `python -m training.default_avatars` wrote them."""


class KeyProblem(ModelError):
    """The folder of keys cannot be used."""


@dataclass(frozen=True, slots=True)
class Known:
    """A snapshot of what is believed."""

    own: str | None
    """This installation's public key; None: it has signed nothing yet."""
    trusted: Mapping[str, str]
    """Key → whose it is."""
    withdrawn: frozenset[str]
    """Digests."""
    shipped: Mapping[str, str]
    """Digest → name."""


class KeyFolder:
    """Args: the folder; made when something is first written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def of(environment: Mapping[str, str] = os.environ) -> KeyFolder:
        """This user's.

        Raises:
            KeyProblem: there is no home folder, and no variable that names one.
        """
        if environment.get(VARIABLE):
            return KeyFolder(Path(environment[VARIABLE]))
        try:
            settings = Path(environment["XDG_CONFIG_HOME"]) if environment.get("XDG_CONFIG_HOME") else Path.home() / ".config"
        except RuntimeError as error:
            raise KeyProblem(f"there is no home folder for the keys: set {VARIABLE} to a folder that only you can read") from error
        return KeyFolder(settings / "headcast")

    def known(self) -> Known:
        """Raises KeyProblem: a file there cannot be read."""
        try:
            own = key_text(self._read_key().public_key()) if (self.path / SIGNING).is_file() else None
            return Known(own, _table(self.path / TRUSTED), frozenset(_table(self.path / WITHDRAWN)), _table(SHIPPED))
        except OSError as error:
            raise KeyProblem(f"{self.path}: cannot be read ({error.strerror})") from error

    def signing_key(self) -> Ed25519PrivateKey:
        """This installation's own, made now where there is none.

        Raises:
            KeyProblem: it cannot be read or written.
        """
        try:
            if not (self.path / SIGNING).is_file():
                self._make_key()
            return self._read_key()
        except OSError as error:
            raise KeyProblem(f"{self.path}: the key that signs avatars cannot be kept there ({error.strerror}); set {VARIABLE} to another folder") from error

    def trust(self, key: str, whose: str) -> None:
        """Believes a key from now on.

        Raises:
            KeyProblem: it is none, or cannot be written down.
        """
        if not KEY.fullmatch(key):
            raise KeyProblem(f"expected a public key, ed25519- and 43 letters, digits, - or _, got {key[:60]!r}")
        self._append(TRUSTED, key, " ".join(whose.split())[:100])

    def distrust(self, key: str) -> bool:
        """Believes a key no longer; whether it was believed. Raises KeyProblem."""
        kept = {known: whose for known, whose in _table(self.path / TRUSTED).items() if known != key}
        found = len(kept) < len(_table(self.path / TRUSTED))
        if found:
            self._write(TRUSTED, "".join(f"{known} {whose}\n" for known, whose in kept.items()))
        return found

    def withdraw(self, digest: str, day: date) -> None:
        """Refuses that avatar from now on. Raises KeyProblem: it cannot be written down."""
        self._append(WITHDRAWN, digest, day.isoformat())

    def _append(self, name: str, word: str, rest: str) -> None:
        lines = _table(self.path / name) | {word: rest}
        self._write(name, "".join(f"{key} {value}\n" for key, value in lines.items()))

    def _write(self, name: str, text: str) -> None:
        part = self.path / f".{name}.{os.getpid()}"
        try:
            self._make_folder()
            part.write_text(text, encoding="utf-8")
            os.replace(part, self.path / name)
        except OSError as error:
            raise KeyProblem(f"{self.path / name}: cannot be written ({error.strerror})") from error

    def _make_folder(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _make_key(self) -> None:
        """Written beside its place, readable by its owner only, and put there if nobody else was faster."""
        self._make_folder()
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        part = self.path / f".{SIGNING}.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(part, self.path / SIGNING)
        finally:
            part.unlink(missing_ok=True)

    def _read_key(self) -> Ed25519PrivateKey:
        path = self.path / SIGNING
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise KeyProblem(f"{path}: expected an Ed25519 key in PEM; put it back from a copy, or move it away: then a new one is made") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyProblem(f"{path}: expected an Ed25519 key, it is of another kind")
        return key


def _table(path: Path) -> dict[str, str]:
    """The lines of a file: the first word → the rest. None where there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except UnicodeError as error:
        raise KeyProblem(f"{path}: expected lines of text") from error
    words = (line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {word[0]: word[1].strip() if len(word) > 1 else "" for word in words}

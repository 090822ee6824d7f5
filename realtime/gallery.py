"""Which avatars there are: the files in the folder that comes with Headcast and in the owner's whose people agreed, as somebody says who is believed here.

What a picker needs is kept of each; the rest is read again, and asked for again, when one is worn.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Generic, TypeVar

from models.avatar_parts import AvatarCard
from models.consent.keys import KeyFolder, KeyProblem, Known
from models.consent.opening import Provenance, open_card
from models.errors import BadFile
from realtime.errors import HeadcastError, NotFound

logger = logging.getLogger(__name__)

Worn = TypeVar("Worn")
SUFFIXES = (".avatar", ".safetensors")
FIRST = "mara"
"""Comes before all others, and so is what a session starts with unless another is named: of the shipped ones, her face reads best."""
SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "avatars"
OWN = Path("avatars")
"""Where the owner's avatars are looked for unless folders are named; in the working directory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One avatar of the gallery; its identifier is its file's name without the suffix, what no identifier may hold replaced."""

    id: str
    path: Path
    card: AvatarCard
    thumbnail_tag: str
    """Changes whenever the thumbnail does."""
    provenance: Provenance
    """Who answers for it."""

    @property
    def thumbnail_type(self) -> str:
        """Media type of the thumbnail, by its first bytes."""
        return "image/webp" if self.card.thumbnail[:4] == b"RIFF" else "image/png"


def believed() -> Known:
    """Whose word is taken here, as this user's folder of keys says now.

    Raises:
        HeadcastError: it cannot be read.
    """
    try:
        return KeyFolder.of().known()
    except KeyProblem as error:
        raise HeadcastError(str(error)) from error


def scan(folders: Sequence[Path], today: date) -> tuple[Entry, ...]:
    """Every usable avatar, by folder and then by name, FIRST before the others; of two with one name, the first.

    A folder holds avatar files, or runs of training: then each run's folder holds the avatar of its name. What cannot be used is named in a warning and left
    out.

    Raises:
        HeadcastError: the folder of keys cannot be read.
    """
    known = believed()
    found: dict[str, Entry] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        for path in sorted(_files(folder), key=lambda each: (each.stem != FIRST, each.name)):
            name = identifier(path.stem)
            if name in found:
                logger.warning("%s is left out: there is another of that name, %s", path, found[name].path)
                continue
            try:
                found[name] = entry_of(path, today, known)
            except BadFile as error:
                logger.warning("%s is left out: %s", path, str(error).removeprefix(f"{path.name}: "))
    return tuple(found.values())


def entry_of(path: Path, today: date, known: Known) -> Entry:
    """An avatar file as the gallery shows it.

    Raises:
        NotAgreed: it is not to be shown, and why.
        BadFile: with what was expected and what came.
    """
    shown = open_card(path, today, known)
    return Entry(identifier(path.stem), path, shown.card, hashlib.sha256(shown.card.thumbnail).hexdigest()[:16], shown.provenance)


def identifier(stem: str) -> str:
    """A file's name as letters, digits, dot, dash and underscore, at most 64: `Zoë B.` → `Zoe-B`."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:64] or "avatar-" + hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _files(folder: Path) -> list[Path]:
    """Avatar files of a folder, and of the training runs in it."""
    direct = [each for each in folder.glob("*") if each.suffix in SUFFIXES]
    of_runs = [each for each in folder.glob("*/*.avatar") if each.stem == each.parent.name]
    return [each for each in direct + of_runs if each.is_file()]


class Gallery(Generic[Worn]):
    """The avatars of a server.

    Args:
        entries: as `scan` found them; at least one.
        default_id: what a session starts with; None: the first.
        load: reads one whole, ready to be rendered; each is read once, and shared: nobody may change it.

    Raises:
        NotFound: there is none, or none called `default_id`.
    """

    def __init__(self, entries: Sequence[Entry], default_id: str | None, load: Callable[[Path], Worn]) -> None:
        if not entries:
            raise NotFound("no avatar was found: expected at least one file in assets/avatars or in --avatars-dir")
        self._entries = {entry.id: entry for entry in entries}
        self._default_id = self.entry(default_id).id if default_id is not None else entries[0].id
        self._load = load
        self._loaded: dict[str, Worn] = {}
        self._lock = threading.Lock()

    @property
    def default_id(self) -> str:
        """What a session starts with; the first avatar, where the one that was chosen is gone. Raises NotFound: none is left."""
        entries = self._entries
        if not entries:
            raise NotFound("no avatar is left that may be shown; the server's log says why")
        return self._default_id if self._default_id in entries else next(iter(entries))

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Another avatar, the first of all from now on; one of that identifier is replaced where it stands."""
        with self._lock:
            self._entries = self._entries | {entry.id: entry} if entry.id in self._entries else {entry.id: entry, **self._entries}
            self._loaded.pop(entry.id, None)

    def remove(self, avatar_id: str, folder: Path) -> bool:
        """Takes an avatar out, if its file lies in that folder and it is not the last one; whoever wears it keeps it until they change. Whether it was."""
        with self._lock:
            entry = self._entries.get(avatar_id)
            if entry is None or entry.path.parent != folder or len(self._entries) == 1:
                return False
            self._entries = {name: other for name, other in self._entries.items() if name != avatar_id}
            self._loaded.pop(avatar_id, None)
            return True

    def lapse(self, avatar_id: str) -> None:
        """Takes an avatar out whose person agrees no more, wherever its file lies, and be it the last one."""
        with self._lock:
            self._entries = {name: other for name, other in self._entries.items() if name != avatar_id}
            self._loaded.pop(avatar_id, None)

    def entry(self, avatar_id: str) -> Entry:
        """Raises NotFound, with the names that there are."""
        entry = self._entries.get(avatar_id)
        if entry is None:
            raise NotFound(f"no such avatar; there are {', '.join(self._entries) or 'none'}")
        return entry

    def load(self, avatar_id: str) -> Worn:
        """The avatar itself.

        Raises:
            NotFound: there is no such avatar, or its file can no longer be read.
        """
        entry = self.entry(avatar_id)
        with self._lock:
            if avatar_id not in self._loaded:
                try:
                    self._loaded[avatar_id] = self._load(entry.path)
                except BadFile as error:
                    raise NotFound(f"the avatar cannot be used: {error}") from error
            return self._loaded[avatar_id]

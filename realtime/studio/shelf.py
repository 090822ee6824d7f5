"""The avatars that were made or imported in the studio: put into the gallery at once, renamed, fetched, deleted; and what is known of each."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from models.avatar_file import MAX_BYTES, read_avatar_tensors, rename_avatar
from models.avatar_parts import AvatarCard
from models.consent.keys import KeyFolder, KeyProblem
from models.consent.opening import open_avatar, open_card
from models.consent.signature import content_digest
from models.errors import BadFile, NotAgreed, UnknownSigner
from realtime.errors import BadRequest, Conflict, Forbidden, HeadcastError, NotAccepted, NotFound, Unavailable, Unprocessable
from realtime.gallery import SHIPPED, Entry, Gallery, believed, entry_of, identifier
from realtime.studio.disk import Read, make_private, receive, told_if_full
from realtime.studio.records import NAME, Holding, new_id
from realtime.studio.store import Store

TakeOff = Callable[[str, str], None]
"""Told the identifier of an avatar that is gone, and why: whoever wears it must change."""
DELETED = "this avatar was deleted. Another one is worn instead"


class Shelf:
    """Args: the server's gallery; where records are kept; the folder of these avatars, none of anybody else's; what makes sessions change; whether everybody
    may change what is here, because only the owner of this machine reaches the server."""

    def __init__(self, gallery: Gallery[Any], store: Store, folder: Path, take_off: TakeOff, trusting: bool) -> None:
        self._gallery, self._store, self._folder, self._take_off, self._trusting = gallery, store, folder.resolve(), take_off, trusting
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Deletes what is no avatar of anybody: half imports, and files whose record is gone."""
        make_private(self._folder)
        held = {holding.id for holding in await self._store.holdings()}
        for path in self._folder.iterdir():
            if path.name.startswith(".") or path.name.endswith(".part") or path.stem not in held:
                path.unlink(missing_ok=True)
                self._forget(path.stem)
        gone = [id for id in held if not self._path(id).is_file()]
        await self._store.drop(avatars=gone)

    async def place(self, made: Path, wanted: str, job: str) -> str:
        """Copies the avatar of a job into the gallery; returns its identifier there. A second time for the same job replaces the first.

        Raises:
            Unprocessable: it is not to be shown.
        """
        await asyncio.to_thread(_admitted, made)
        async with self._changing:
            mine = [holding for holding in await self._store.holdings() if holding.job == job]
            holding = mine[0] if mine else Holding(self._free(wanted), job, job, time.time())
            await self._store.put(holding)
            part = self._folder / f".{holding.id}.part"
            try:
                with told_if_full():
                    await asyncio.to_thread(shutil.copyfile, made, part)
                    await asyncio.to_thread(part.replace, self._path(holding.id))
            finally:
                part.unlink(missing_ok=True)
            await self._show(holding.id)
            return holding.id

    async def bring(self, announced: int | None, read: Read, accepted: str = "") -> tuple[Entry, str]:
        """Takes an avatar file from elsewhere, if it may be shown; returns its entry and the key that changes it.

        Args:
            accepted: a signer's key that the owner believes from now on, if this file is signed by it.

        Raises:
            NotAccepted: it is signed by a key that is not believed here.
            Unprocessable: it is no avatar file that can be shown.
            HeadcastError: as `disk.receive`.
        """
        part = self._folder / f".{new_id()}"
        try:
            await receive(read, announced, MAX_BYTES, part, "avatar file")
            card = await asyncio.to_thread(_admitted, part, accepted)
            async with self._changing:
                holding = Holding(self._free(card.name), new_id(), "", time.time())
                await self._store.put(holding)
                await asyncio.to_thread(part.replace, self._path(holding.id))
                return await self._show(holding.id), holding.key
        finally:
            part.unlink(missing_ok=True)

    async def rename(self, avatar: str, keys: frozenset[str], name: str) -> Entry:
        """The name that people see; the identifier stays.

        Raises:
            BadRequest: it is no name. Forbidden, NotFound: as `held`.
        """
        if not NAME.fullmatch(name):
            raise BadRequest("name: expected letters, digits, space, dot, dash and underscore, at most 64, beginning with a letter or digit")
        async with self._changing:
            await self.held(avatar, keys)
            with told_if_full():
                await asyncio.to_thread(rename_avatar, self._path(avatar), name)
            return await self._show(avatar)

    async def withdraw(self, avatar: str) -> None:
        """Refuses an avatar from now on, and every copy of it that comes back. Who may do so was asked before; `remove` is to follow.

        Raises:
            NotFound: there is none. Unavailable: it cannot be written down.
        """
        path = self._path(avatar)
        try:
            await asyncio.to_thread(lambda: KeyFolder.of().withdraw(content_digest(read_avatar_tensors(path)), date.today()))
        except KeyProblem as error:
            raise Unavailable(str(error)) from error
        except BadFile as error:
            raise NotFound(f"the avatar can no longer be read: {error}") from error

    async def remove(self, avatar: str) -> None:
        """Takes it out of the gallery and off everybody who wears it, and deletes the file. Who may do so was asked before."""
        async with self._changing:
            self._forget(avatar)
            self._path(avatar).unlink(missing_ok=True)
            await self._store.drop(avatars=[avatar])

    async def held(self, avatar: str, keys: frozenset[str]) -> Holding:
        """The record of an avatar that the holder of these keys may change.

        Raises:
            NotFound: there is no such avatar. Forbidden: it is not the studio's. Conflict: it comes with Headcast.
        """
        holding = await self._store.holding(avatar)
        if holding is None or not self._path(avatar).is_file():
            entry = self._gallery.entry(avatar)
            if entry.path.parent == SHIPPED:
                raise Conflict(f"{entry.card.name} comes with Headcast and stays as it is")
            raise Forbidden(f"{entry.card.name} was put into a folder by hand: rename or delete the file there")
        if not self._trusting and holding.key not in keys:
            raise Forbidden("only the browser in which this avatar was made or imported may change, fetch or delete it")
        return holding

    async def readable(self, avatar: str, keys: frozenset[str]) -> Path:
        """The file, for those who may have it: what comes with Headcast is everybody's. Raises as `held`."""
        entry = self._gallery.entry(avatar)
        if entry.path.parent != SHIPPED and not self._trusting:
            await self.held(avatar, keys)
        return entry.path

    async def described(self, keys: frozenset[str]) -> list[dict[str, object]]:
        """Every avatar of the gallery: what a list of them shows. And those that are not shown any more, for whoever may delete them."""
        holdings = {holding.id: holding for holding in await self._store.holdings()}
        shown = [self._describe(entry, holdings.get(entry.id), keys) for entry in self._gallery.entries]
        there = {entry.id for entry in self._gallery.entries}
        hidden = [holding for id, holding in holdings.items() if id not in there and (self._trusting or holding.key in keys)]
        return shown + [each for holding in hidden if (each := await asyncio.to_thread(self._refused, holding)) is not None]

    async def describe(self, avatar: str, keys: frozenset[str]) -> dict[str, object]:
        """One of them. Raises NotFound."""
        return self._describe(self._gallery.entry(avatar), await self._store.holding(avatar), keys)

    def _refused(self, holding: Holding) -> dict[str, object] | None:
        """An avatar of the studio that is kept, and shown to nobody; None: it may be shown, or its file is gone."""
        path = self._path(holding.id)
        try:
            open_card(path, date.today(), believed())
        except NotAgreed as error:
            return {"id": holding.id, "name": holding.id, "created": holding.created, "problem": str(error).replace(f"{path.name}: ", "")}
        except (BadFile, HeadcastError):
            return None
        return None

    def _describe(self, entry: Entry, holding: Holding | None, keys: frozenset[str]) -> dict[str, object]:
        origin = "shipped" if entry.path.parent == SHIPPED else "folder" if holding is None else "made" if holding.job else "imported"
        consent = entry.card.consent
        return {
            "id": entry.id,
            "name": entry.card.name,
            "origin": origin,
            "synthetic": consent.synthetic,
            "subject": consent.subject,
            "granted_by": consent.granted_by,
            "date": consent.date,
            "expires": consent.expires,
            "purposes": list(consent.purposes),
            "own_driver_only": consent.own_driver_only,
            "statement": consent.statement,
            "signed_by": entry.provenance.whose,
            "licence": entry.card.licence,
            "created": holding.created if holding is not None else None,
            "bytes": entry.path.stat().st_size if entry.path.is_file() else 0,
            "thumbnail": f"/avatars/{entry.id}/thumbnail?v={entry.thumbnail_tag}",
            "fetchable": self._trusting or origin == "shipped" or (holding is not None and holding.key in keys),
            "yours": holding is not None and (self._trusting or holding.key in keys),
        }

    def _path(self, avatar: str) -> Path:
        return self._folder / f"{avatar}.avatar"

    def _free(self, wanted: str) -> str:
        """An identifier that nobody has yet: `anna`, then `anna-2`."""
        base, taken = identifier(wanted)[:58], {entry.id for entry in self._gallery.entries} | {path.stem for path in self._folder.glob("*.avatar")}
        return next(name for name in (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))) if name not in taken)

    async def _show(self, avatar: str) -> Entry:
        entry = await asyncio.to_thread(lambda: entry_of(self._path(avatar), date.today(), believed()))
        self._gallery.add(entry)
        return entry

    def _forget(self, avatar: str) -> None:
        if self._gallery.remove(avatar, self._folder):
            self._take_off(avatar, DELETED)


def _admitted(part: Path, accepted: str = "") -> AvatarCard:
    """The card of a file that may be shown. Raises as `Shelf.bring`."""
    try:
        keys = KeyFolder.of()
        try:
            return open_avatar(part, date.today(), known=believed()).card
        except UnknownSigner as error:
            if error.key != accepted:
                raise NotAccepted(f"expected an avatar signed by somebody who is believed here: {error}", error.key) from error
            keys.trust(error.key, f"accepted in the studio on {date.today()}")
            return open_avatar(part, date.today(), known=believed()).card
    except KeyProblem as error:
        raise Unavailable(str(error)) from error
    except NotAgreed as error:
        raise Unprocessable(f"expected an avatar whose person agreed: {str(error).replace(f'{part.name}: ', '')}") from error
    except BadFile as error:
        reason = str(error).replace(f"{part.name}: ", "")
        raise Unprocessable(f"expected an avatar file that can be used: {reason}. Import a file that Headcast wrote") from error


def figures(run: Path) -> dict[str, Any]:
    """How good a run's avatar is, out of its report.json; empty where there is none."""
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        held_out = report.get("held_out", {})
        return {
            "held_out": {way: {region: _two(scores) for region, scores in held_out.get(way, {}).items()} for way in ("offline", "live")},
            "frames_judged": report.get("held_out_frames", 0),
            "seconds": report.get("seconds", {}).get("total", 0.0),
            "made": report.get("made", ""),
            "grade": report.get("grade", ""),
            "advice": report.get("advice", []),
        }
    except (OSError, ValueError, AttributeError):
        return {}


def _two(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[name] for name in ("psnr", "ssim") if name in scores}

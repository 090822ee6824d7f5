"""The studio over HTTP.

    GET    /studio/info                                what may be sent, and whether avatars can be made here
    POST   /studio/uploads?name=FILE                   the body is a video; 201 with its identifier, while it is checked
    GET    /studio/uploads/{id}        DELETE          state and findings of the check
    POST   /studio/jobs                                {upload, name, subject, granted_by?, agreed: true, statement, purposes?, own_driver_only?, expires?,
                                                        preset?, keep_video?}: what was agreed to, in the words that the form showed
    GET    /studio/jobs/{id}[?after=TAG]  DELETE       how far it is; with the tag of an earlier answer, as soon as there is something new
    POST   /studio/jobs/{id}/cancel    …/retry
    GET    /studio/jobs/{id}/previews/{number}.jpg
    GET    /studio/avatars                             all of the gallery, with what may be done to each
    POST   /studio/avatars[?trust=KEY]                 the body is an avatar file; the owner believes whose key signed it
    GET    /studio/avatars/{id}        PATCH {name}    DELETE[?withdraw=1]: copies are refused from then on
    GET    /studio/avatars/{id}/file   …/video         the avatar file; the held-out frames beside the avatar's

Whoever holds an identifier of an upload or a job owns it. An avatar's key is its job's identifier, or what an import was answered with; `Avatar-Keys` in a
request's head may hold several, with spaces between them. The server's owner holds every key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from models.consent.statement import USUAL, Agreement, Disagreement, Purpose, agreement, pieces
from realtime.access import Role
from realtime.bodies import json_object
from realtime.errors import BadRequest, Conflict, Forbidden, NotFound
from realtime.gate import person_of
from realtime.studio.disk import Read
from realtime.studio.jobs import Wish
from realtime.studio.records import NAME, Preset, Upload
from realtime.studio.shelf import figures
from realtime.studio.studio import Studio

LONG_POLL_S = 20.0
KEYS_HEADER = "Avatar-Keys"
VIDEO = "evaluate/side_by_side.mp4"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StudioHttp:
    """The handlers."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[web.RouteDef]:
        """To be added before those of the page."""
        upload, job, avatar = "/studio/uploads/{id}", "/studio/jobs/{id}", "/studio/avatars/{id}"
        return [
            web.get("/studio/info", self._info),
            web.post("/studio/uploads", self._own(self._send)),
            web.get(upload, self._own(self._upload)),
            web.delete(upload, self._own(self._delete_upload)),
            web.post("/studio/jobs", self._own(self._begin)),
            web.get(job, self._own(self._job)),
            web.delete(job, self._own(self._delete_job)),
            web.post(job + "/cancel", self._own(self._cancel)),
            web.post(job + "/retry", self._own(self._retry)),
            web.get(job + "/previews/{number:[0-9]{1,4}}.jpg", self._own(self._preview)),
            web.get("/studio/avatars", self._own(self._avatars)),
            web.post("/studio/avatars", self._own(self._bring)),
            web.get(avatar, self._own(self._avatar)),
            web.patch(avatar, self._own(self._rename)),
            web.delete(avatar, self._own(self._delete_avatar)),
            web.get(avatar + "/file", self._own(self._file)),
            web.get(avatar + "/video", self._own(self._video)),
        ]

    def _own(self, handler: Handler) -> Handler:
        """Refuses everything where the studio cannot be used."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self._studio.check()
            return await handler(request)

        return checked

    async def _info(self, request: web.Request) -> web.Response:
        studio = self._studio
        return _json(
            {
                "problem": studio.problem or studio.training_problem,
                "max_upload_bytes": studio.uploads.max_bytes,
                "jobs_at_once": studio.jobs.at_once,
                "consent": pieces(),
                "expire_days": studio.expiry.expire_days,
            }
        )

    async def _send(self, request: web.Request) -> web.Response:
        self._studio.check_training()
        upload = await self._studio.uploads.take(request.query.get("name", ""), request.content_length, _reader(request))
        return _json(_upload(upload), 201)

    async def _upload(self, request: web.Request) -> web.Response:
        return _json(_upload(await self._studio.store.upload(request.match_info["id"])))

    async def _delete_upload(self, request: web.Request) -> web.Response:
        await self._studio.uploads.remove(await self._studio.store.upload(request.match_info["id"]))
        return web.Response(status=204)

    async def _begin(self, request: web.Request) -> web.Response:
        self._studio.check_training()
        body = await json_object(request)
        wish = _wish(body)
        job = await self._studio.jobs.create(await self._studio.store.upload(_text(body, "upload")), wish)
        return await self._answer(job.id, 201)

    async def _job(self, request: web.Request) -> web.Response:
        seen = request.query.get("after")
        jobs, id = self._studio.jobs, request.match_info["id"]
        if seen is None:
            return await self._answer(id)
        return _tagged(await jobs.after(id, lambda description: _tag(description) == seen, LONG_POLL_S))

    async def _delete_job(self, request: web.Request) -> web.Response:
        await self._studio.jobs.remove(request.match_info["id"])
        return web.Response(status=204)

    async def _cancel(self, request: web.Request) -> web.Response:
        return await self._answer((await self._studio.jobs.cancel(request.match_info["id"])).id)

    async def _retry(self, request: web.Request) -> web.Response:
        self._studio.check_training()
        return await self._answer((await self._studio.jobs.retry(request.match_info["id"])).id)

    async def _preview(self, request: web.Request) -> web.StreamResponse:
        job = await self._studio.store.job(request.match_info["id"])
        path = self._studio.jobs.preview(job, int(request.match_info["number"]))
        if not path.is_file():
            raise NotFound("no such picture")
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: "image/jpeg", hdrs.CACHE_CONTROL: "private, max-age=3600"})

    async def _avatars(self, request: web.Request) -> web.Response:
        return _json({"avatars": await self._studio.shelf.described(keys_of(request))})

    async def _bring(self, request: web.Request) -> web.Response:
        trusted = request.query.get("trust", "")
        if trusted and person_of(request).role is not Role.OWNER:
            raise Forbidden("only the owner of this server says whose avatars are believed: they may run python -m models.consent trust")
        entry, key = await self._studio.shelf.bring(request.content_length, _reader(request), trusted)
        return _json({"id": entry.id, "name": entry.card.name, "key": key}, 201)

    async def _avatar(self, request: web.Request) -> web.Response:
        avatar, keys = request.match_info["id"], keys_of(request)
        described = await self._studio.shelf.describe(avatar, keys)
        run = await self._run(avatar, keys) if described["yours"] else None
        if run is None:
            return _json(described)
        return _json({**described, "figures": await asyncio.to_thread(figures, run), "video": (run / VIDEO).is_file()})

    async def _rename(self, request: web.Request) -> web.Response:
        entry = await self._studio.shelf.rename(request.match_info["id"], keys_of(request), _text(await json_object(request), "name").strip())
        return _json({"id": entry.id, "name": entry.card.name})

    async def _delete_avatar(self, request: web.Request) -> web.Response:
        holding = await self._studio.shelf.held(request.match_info["id"], keys_of(request))
        if request.query.get("withdraw") == "1":
            await self._studio.shelf.withdraw(holding.id)
        if holding.job:
            await self._studio.jobs.remove(holding.job)
        else:
            await self._studio.shelf.remove(holding.id)
        return web.Response(status=204)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = await self._studio.shelf.readable(request.match_info["id"], keys_of(request))
        named = f"attachment; filename*=UTF-8''{quote(path.name)}"
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: "application/octet-stream", hdrs.CONTENT_DISPOSITION: named, hdrs.CACHE_CONTROL: "no-store"})

    async def _video(self, request: web.Request) -> web.StreamResponse:
        run = await self._run(request.match_info["id"], keys_of(request))
        if run is None or not (run / VIDEO).is_file():
            raise NotFound("there is no such video of this avatar")
        return web.FileResponse(run / VIDEO, headers={hdrs.CONTENT_TYPE: "video/mp4", hdrs.CACHE_CONTROL: "no-store"})

    async def _run(self, avatar: str, keys: frozenset[str]) -> Path | None:
        """The run that an avatar came from; None: it was imported. Raises as `Shelf.held`."""
        holding = await self._studio.shelf.held(avatar, keys)
        return self._studio.jobs.run_of(await self._studio.store.job(holding.job)) if holding.job else None

    async def _answer(self, id: str, status: int = 200) -> web.Response:
        return _tagged(await self._studio.jobs.describe(await self._studio.store.job(id)), status)


def _upload(upload: Upload) -> dict[str, object]:
    return {
        "id": upload.id,
        "name": upload.name,
        "bytes": upload.size,
        "state": upload.state,
        "video": json.loads(upload.video),
        "findings": json.loads(upload.findings),
        "message": upload.message,
    }


def _wish(body: dict[str, Any]) -> Wish:
    """Raises BadRequest: with the field that is missing or cannot be used."""
    name = _text(body, "name").strip()
    if not NAME.fullmatch(name):
        raise BadRequest("name: expected letters, digits, space, dot, dash and underscore, at most 64, beginning with a letter or digit")
    made = _agreement(body)
    keep_video = body.get("keep_video", False)
    if not isinstance(keep_video, bool):
        raise BadRequest("keep_video: expected true or false")
    try:
        return Wish(name, made, Preset(body.get("preset", Preset.QUICK)), keep_video)
    except ValueError:
        raise BadRequest(f"preset: expected one of {', '.join(Preset)}") from None


def _agreement(body: dict[str, Any]) -> Agreement:
    """What the form showed, and they agreed to.

    Raises:
        BadRequest: a field cannot be used, or nobody agreed. Conflict: to other words than these.
    """
    subject = _text(body, "subject").strip()
    purposes, own, expires = body.get("purposes", list(USUAL)), body.get("own_driver_only", False), body.get("expires")
    if not isinstance(purposes, list) or Purpose.LIVE not in purposes or not all(isinstance(each, str) for each in purposes):
        raise BadRequest(f"purposes: expected a list with live, and of {', '.join(Purpose)} what else was agreed to")
    if not isinstance(own, bool) or not isinstance(expires, str | None):
        raise BadRequest("own_driver_only: expected true or false; expires: expected a day such as 2027-01-31, or null")
    try:
        made = agreement(subject, _text(body, "granted_by", "").strip() or subject, purposes, own, expires or None, datetime.now(UTC))
    except Disagreement as error:
        raise BadRequest(str(error)) from error
    if body.get("agreed") is not True:
        raise BadRequest("agreed: an avatar is made only of somebody who agreed to it; say so")
    if _text(body, "statement") != made.statement:
        raise Conflict("statement: expected the words that the form shows now, which are recorded; they have changed: load the page again and read them")
    return made


def _text(body: dict[str, Any], field: str, default: str | None = None) -> str:
    value = body.get(field, default)
    if not isinstance(value, str):
        raise BadRequest(f"{field}: expected text")
    return value


class EveryKey(frozenset[str]):
    """The owner's."""

    def __contains__(self, key: object) -> bool:
        return True


def keys_of(request: web.Request) -> frozenset[str]:
    """The keys of avatars that a request carries."""
    person = person_of(request)
    if person.known and person.role is Role.OWNER:
        return EveryKey()
    return frozenset(request.headers.get(KEYS_HEADER, "").split())


def _reader(request: web.Request) -> Read:
    """The body piece by piece.

    Raises BadRequest, from the reader: the client went away before the end.
    """

    async def read(size: int) -> bytes:
        try:
            return await request.content.read(size)
        except (web.HTTPException, web.RequestPayloadError, ConnectionError, OSError) as error:
            raise BadRequest("the connection ended in the middle; nothing was kept. Send it again") from error

    return read


def _tag(description: dict[str, object]) -> str:
    """Changes when the description does; the remaining time, which always does, aside."""
    lasting = {name: value for name, value in description.items() if name != "remaining_s"}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]


def _tagged(description: dict[str, object], status: int = 200) -> web.Response:
    return _json({**description, "tag": _tag(description)}, status)


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(body, status=status, headers={hdrs.CACHE_CONTROL: "no-store"})

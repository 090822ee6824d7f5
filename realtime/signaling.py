"""The HTTP side: the page, the offer, sessions, avatars, health. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from realtime.bodies import json_object
from realtime.credentials_http import CredentialsHttp
from realtime.errors import BadRequest, Forbidden, HeadcastError, NotFound, PayloadTooLarge
from realtime.exports import export
from realtime.gallery import SHIPPED, Entry, Gallery
from realtime.gate import GUESTS, Gate, opened, person_of
from realtime.health_http import HealthHttp, counting
from realtime.lapses import Lapses
from realtime.qr import qr_svg
from realtime.rtc.ice_servers import as_json
from realtime.rtc.negotiation import Direction
from realtime.sessions import Sessions
from realtime.studio.http import StudioHttp, keys_of
from realtime.studio.studio import Studio
from realtime.watch import Watch
from realtime.whip import WhipWhep, checked_name

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
SESSIONS = web.AppKey("sessions", Sessions)
GALLERY: web.AppKey[Gallery[Any]] = web.AppKey("gallery", Gallery)
PAGE = web.AppKey("page", Path)
EXPORTING = web.AppKey("exporting", asyncio.Lock)
STUDIO = web.AppKey("studio", Studio)
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,63}/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_application(sessions: Sessions, gallery: Gallery[Any], page: Path, studio: Studio | None = None, lapses: Lapses | None = None) -> web.Application:
    """The whole HTTP application.

    Args:
        page: the folder that holds index.html; it may be missing, then `/` is 404.
        studio: starts and stops with the application; None: there is none.
        lapses: the same, looking after people's consent.
    """
    watch = Watch(sessions, studio)
    gate = Gate(sessions.config)
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[counting(watch), _answer_errors, gate.middleware()])
    application[SESSIONS] = sessions
    application[GALLERY] = gallery
    application[PAGE] = page.resolve()
    application[EXPORTING] = asyncio.Lock()
    application[GUESTS] = gate.guests
    application.on_response_prepare.append(gate.complete)
    if studio is not None:
        application[STUDIO] = studio
        application.on_startup.append(lambda _: studio.start())
        application.on_shutdown.append(lambda _: studio.aclose())
    if lapses is not None:
        application.on_startup.append(lambda _: lapses.start())
        application.on_shutdown.append(lambda _: lapses.aclose())
    application.on_startup.append(lambda _: gate.guests.start())
    application.on_shutdown.append(lambda _: gate.guests.aclose())
    application.on_startup.append(lambda _: watch.start())
    application.on_shutdown.append(lambda _: watch.aclose())
    application.add_routes(
        [
            web.post("/offer", _offer),
            web.delete("/sessions/{id}", _close_session),
            web.get("/sessions/{id}/stats", _session_stats),
            *WhipWhep(sessions, gallery).routes(),
            *([] if studio is None else StudioHttp(studio).routes()),
            web.get("/ice-servers", _ice_servers),
            web.get("/avatars", _avatars),
            web.get("/avatars/{id}/thumbnail", _thumbnail),
            web.get("/avatars/{id}/export", _export),
            *CredentialsHttp(gallery).routes(),
            *HealthHttp(watch).routes(),
            *gate.routes(),
            web.get("/qr.svg", _qr),
            web.get("/login", _login_page),
            web.get("/obs/{session}", _page_for_obs),
            web.get("/", _page),
            web.get("/static/{path:.+}", _page),
            web.get("/{path:.+}", _page),
        ]
    )
    return application


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A problem details answer."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json", headers={"Cache-Control": "no-store", **(headers or {})})


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HeadcastError as error:
        return problem(error.status, error.title, str(error), error.headers)
    except web.HTTPRequestEntityTooLarge:
        return problem(PayloadTooLarge.status, PayloadTooLarge.title, f"expected at most {MAX_BODY_BYTES} bytes")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kept = {str(name): error.headers[name] for name in (hdrs.ALLOW,) if name in error.headers}
        return problem(error.status, error.reason, f"{request.method} is not possible here" if error.status == 405 else error.reason, kept)
    except Exception:
        logger.exception("a request failed")
        return problem(500, HeadcastError.title, "the server failed; its log says why")


@dataclass(frozen=True, slots=True)
class _Offer:
    """The body of POST /offer."""

    sdp: str
    avatar: str | None
    replaces: str | None
    """Identifier of the session that this one takes the place of: knowing it is the right to end it."""
    name: str | None
    """The new session's identifier, where the client chooses it; one that has it already is replaced."""


async def _read_offer(request: web.Request) -> _Offer:
    """What the body says.

    Raises:
        UnsupportedMediaType, BadRequest: with what was expected.
    """
    body = await json_object(request, "sdp and type")
    sdp, kind, avatar = body.get("sdp"), body.get("type"), body.get("avatar")
    if not isinstance(sdp, str) or not sdp:
        raise BadRequest("sdp: expected text")
    if kind != "offer":
        raise BadRequest("type: expected offer")
    if avatar is not None and not isinstance(avatar, str):
        raise BadRequest("avatar: expected an identifier from GET /avatars")
    replaces = body.get("replaces")
    if replaces is not None and not isinstance(replaces, str):
        raise BadRequest("replaces: expected the session_id of an earlier answer")
    name = body.get("session")
    if name is not None and not isinstance(name, str):
        raise BadRequest("session: expected text")
    return _Offer(sdp, avatar, replaces, None if name is None else checked_name(name))


async def _offer(request: web.Request) -> web.Response:
    offer = await _read_offer(request)
    gallery = request.app[GALLERY]
    avatar_id = gallery.entry(offer.avatar).id if offer.avatar is not None else gallery.default_id
    session, answer = await request.app[SESSIONS].open(offer.sdp, avatar_id, offer.name or offer.replaces, name=offer.name, role=person_of(request).role)
    opened(request, session)
    response = _json({"sdp": answer, "type": "answer", "session_id": session.id})
    response.etag = session.trickle.etag
    return response


async def _close_session(request: web.Request) -> web.Response:
    session = request.app[SESSIONS].get(request.match_info["id"])
    await session.aclose()
    return web.Response(status=200 if session.direction is Direction.RECEIVE else 204)  # 200: WHIP clients, OBS among them, warn of any other


async def _session_stats(request: web.Request) -> web.Response:
    return _json(request.app[SESSIONS].get(request.match_info["id"]).stats())


async def _ice_servers(request: web.Request) -> web.Response:
    return _json(as_json(request.app[SESSIONS].ice_servers()))


def _described(entry: Entry) -> dict[str, object]:
    card = entry.card
    return {
        "id": entry.id,
        "name": card.name,
        "description": card.description,
        "licence": card.licence,
        "created_by": card.created_by,
        "consent": asdict(card.consent),
        "signed": {"by": entry.provenance.whose, "key": entry.provenance.key, "at": entry.provenance.signed_at},
        "thumbnail": f"/avatars/{entry.id}/thumbnail",
    }


async def _avatars(request: web.Request) -> web.Response:
    gallery = request.app[GALLERY]
    return _json({"default": gallery.default_id, "avatars": [_described(entry) for entry in gallery.entries]})


async def _thumbnail(request: web.Request) -> web.Response:
    entry = request.app[GALLERY].entry(request.match_info["id"])
    tags = request.if_none_match or ()
    unchanged = any(tag.value in (entry.thumbnail_tag, "*") for tag in tags)
    response = web.Response(status=304) if unchanged else web.Response(body=entry.card.thumbnail, content_type=entry.thumbnail_type)
    response.etag = entry.thumbnail_tag
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    return response


async def _export(request: web.Request) -> web.Response:
    """One at a time: each takes a core for a second or more."""
    entry = request.app[GALLERY].entry(request.match_info["id"])
    await _check_may_leave(request, entry)
    async with request.app[EXPORTING]:
        made = await asyncio.to_thread(export, entry, request.query.get("format"))
    headers = {hdrs.CACHE_CONTROL: "no-store", hdrs.CONTENT_DISPOSITION: f'attachment; filename="{made.name}"'}
    return web.Response(body=made.data, content_type=made.media_type, headers=headers)


async def _check_may_leave(request: web.Request, entry: Entry) -> None:
    """Whoever sees an avatar may not therefore carry it away: it is somebody's face. One that does not come with Headcast leaves a server that others reach
    only for whoever holds its key in the studio.

    Raises:
        Forbidden: they do not.
    """
    if entry.path.parent == SHIPPED or request.app[SESSIONS].local:
        return
    studio = request.app.get(STUDIO)
    if studio is None:
        raise Forbidden("this avatar is exported on the server's own machine only, with python -m models.export")
    studio.check()
    await studio.shelf.held(entry.id, keys_of(request))


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(body, status=status, headers={hdrs.CACHE_CONTROL: "no-store"})


async def _qr(request: web.Request) -> web.Response:
    return web.Response(body=qr_svg(request.query.get("text", "")), content_type=MEDIA_TYPES[".svg"], headers={hdrs.CACHE_CONTROL: "no-store"})


async def _page_for_obs(request: web.Request) -> web.StreamResponse:
    """The same for every session: the page itself finds out whether there is one of that name, and waits for it."""
    return _file(request, "obs.html")


async def _login_page(request: web.Request) -> web.StreamResponse:
    return _file(request, "login.html")


async def _page(request: web.Request) -> web.StreamResponse:
    return _file(request, request.match_info.get("path", "index.html"))


def _file(request: web.Request, name: str) -> web.StreamResponse:
    """A file of the page; browsers ask again each time and get 304 while it is the same."""
    folder = request.app[PAGE]
    if not _PATH.fullmatch(name):
        raise NotFound("no such page")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or path.suffix not in MEDIA_TYPES or not path.is_file():
        raise NotFound("no such page")
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.CONTENT_TYPE: MEDIA_TYPES[path.suffix]}
    return web.FileResponse(path, headers=headers)

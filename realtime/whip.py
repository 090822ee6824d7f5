"""WHIP (RFC 9725): OBS and others send the camera. WHEP (draft-ietf-wish-whep): they show the avatar. Each begins with one HTTP request that holds an offer.

    POST /whip/{avatar}[?session=NAME]             a session driven by the camera that is offered; looks as realtime/looks.py reads from the query
    POST /whep/{session}                           a viewer of any session; so does this one
    PATCH /sessions/{id}[/viewers/{viewer}]        candidates that were found later
    DELETE /sessions/{id}/viewers/{viewer}         the end of a viewer; that of a session is in signaling.py

A session's identifier, whether a WHIP client chose it or not, is known to its client and to whom that tells: knowing it is the right to watch, replace and end
the session, for those whose role allows it. How it looks is not for viewers to say: what they ask for is not heeded.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import hdrs, web

from realtime.access import Role
from realtime.bodies import utf8_text
from realtime.errors import BadRequest, PreconditionFailed, PreconditionRequired, Unprocessable, UnsupportedMediaType
from realtime.gallery import Gallery
from realtime.gate import opened, person_of
from realtime.looks import Look, read_look
from realtime.rtc.ice_servers import link_headers
from realtime.rtc.negotiation import Direction
from realtime.rtc.trickle import Trickle
from realtime.sessions import Sessions

OFFER_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
ENDPOINTS = ("/whip/{avatar}", "/whep/{session}")
RESOURCES = ("/sessions/{id}", "/sessions/{id}/viewers/{viewer}")
_NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")


def checked_name(name: str) -> str:
    """A session's name, chosen by its client.

    Raises:
        BadRequest: it is none.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest("session: expected 8 to 64 letters, digits, - and _")
    return name


class WhipWhep:
    """The handlers."""

    def __init__(self, sessions: Sessions, gallery: Gallery[Any]) -> None:
        self._sessions = sessions
        self._gallery = gallery

    def routes(self) -> list[web.RouteDef]:
        """To be added after the other routes of sessions and before those of the page."""
        whip, whep = ENDPOINTS
        session, viewer = RESOURCES
        return [
            web.post(whip, self._publish),
            web.post(whep, self._watch),
            web.patch(session, self._trickle_session),
            web.patch(viewer, self._trickle_viewer),
            web.delete(viewer, self._end_viewer),
            *(web.options(path, _describe_endpoint) for path in ENDPOINTS),
            *(web.options(path, _describe_resource) for path in RESOURCES),
            *(web.route(hdrs.METH_ANY, path, _refuse_endpoint) for path in ENDPOINTS),
            *(web.route(hdrs.METH_ANY, path, _refuse_resource) for path in RESOURCES),
        ]

    async def _publish(self, request: web.Request) -> web.Response:
        sdp = await _read(request, OFFER_TYPE)
        name = request.query.get("session")
        if name is not None:
            checked_name(name)
        avatar_id = self._gallery.entry(request.match_info["avatar"]).id
        look = self._look(request)
        session, answer = await self._sessions.open(sdp, avatar_id, name, Direction.RECEIVE, name, person_of(request).role)
        opened(request, session)
        session.wear(look)
        return self._created(answer, f"/sessions/{session.id}", session.trickle)

    async def _watch(self, request: web.Request) -> web.Response:
        sdp = await _read(request, OFFER_TYPE)
        session = self._sessions.get(request.match_info["session"])
        look = self._look(request)
        viewer, answer = await session.audience.admit(sdp)
        opened(request, viewer)
        if person_of(request).role.covers(Role.PUPPETEER):
            session.wear(look)
        return self._created(answer, f"/sessions/{session.id}/viewers/{viewer.id}", viewer.trickle)

    async def _trickle_session(self, request: web.Request) -> web.Response:
        return await _trickle(request, self._sessions.get(request.match_info["id"]).trickle)

    async def _trickle_viewer(self, request: web.Request) -> web.Response:
        viewer = self._sessions.get(request.match_info["id"]).audience.get(request.match_info["viewer"])
        return await _trickle(request, viewer.trickle)

    async def _end_viewer(self, request: web.Request) -> web.Response:
        await self._sessions.get(request.match_info["id"]).audience.get(request.match_info["viewer"]).aclose()
        return web.Response()

    def _look(self, request: web.Request) -> Look:
        return read_look(request.query, [entry.id for entry in self._gallery.entries])

    def _created(self, answer: str, location: str, trickle: Trickle) -> web.Response:
        response = web.Response(status=201, body=answer.encode(), content_type=OFFER_TYPE)
        response.headers[hdrs.LOCATION] = location
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        response.etag = trickle.etag
        for link in link_headers(self._sessions.ice_servers().servers):
            response.headers.add(hdrs.LINK, link)
        return response


async def _read(request: web.Request, kind: str) -> str:
    """The body.

    Raises:
        UnsupportedMediaType, BadRequest: with what was expected.
    """
    if request.content_type != kind:
        raise UnsupportedMediaType(f"expected {kind}")
    text = await utf8_text(request)
    if not text.strip():
        raise BadRequest("expected a body, this one is empty")
    return text


async def _trickle(request: web.Request, trickle: Trickle) -> web.Response:
    """Adds candidates where the request was made for this ICE session (RFC 9725, section 4.3)."""
    text = await _read(request, FRAGMENT_TYPE)
    tags = request.if_match
    if tags is None:
        raise PreconditionRequired("If-Match: expected the ETag of the answer")
    if any(tag.value == "*" for tag in tags):
        raise Unprocessable("ICE restarts are not supported: end this session and send a new offer")
    if not any(tag.value == trickle.etag and not tag.is_weak for tag in tags):
        raise PreconditionFailed("If-Match: expected the ETag of the answer, got another")
    await trickle.add(text)
    return web.Response(status=204)


async def _describe_endpoint(request: web.Request) -> web.Response:
    return web.Response(headers={hdrs.ALLOW: "OPTIONS, POST", "Accept-Post": OFFER_TYPE})


async def _describe_resource(request: web.Request) -> web.Response:
    return web.Response(headers={hdrs.ALLOW: "DELETE, OPTIONS, PATCH", "Accept-Patch": FRAGMENT_TYPE})


async def _refuse_endpoint(request: web.Request) -> web.Response:
    raise web.HTTPMethodNotAllowed(request.method, ("OPTIONS", "POST"))


async def _refuse_resource(request: web.Request) -> web.Response:
    raise web.HTTPMethodNotAllowed(request.method, ("DELETE", "OPTIONS", "PATCH"))

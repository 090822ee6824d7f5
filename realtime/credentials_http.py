"""Content credentials over HTTP.

    POST /credentials[?avatar=ID]    the body is a PNG, WebM or MP4 of an avatar, as the page saves them; 200 with the PNG or MP4, signed

Only what bears the invisible mark is signed. Nothing is kept: what comes and what goes lies in files without a name, which vanish with the request.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import hdrs, web

from models.consent.statement import Purpose
from realtime.credentials import sign
from realtime.errors import Forbidden, InsufficientStorage, PayloadTooLarge, RequestTimeout, ServerFull, UnsupportedMediaType
from realtime.gallery import Gallery

PNG, MP4 = "image/png", "video/mp4"
MOST_BYTES = {PNG: 16 << 20, "video/webm": 256 << 20, MP4: 256 << 20}
"""By what is sent: about eight minutes at the page's bitrate."""
MOST_AT_A_TIME = 4
"""Being sent, waiting, and being signed; of these one at a time takes a core."""
SENDING_S = 300.0
CHUNK = 1 << 20
RETRY_AFTER_S = 10


class CredentialsHttp:
    """The handlers."""

    def __init__(self, gallery: Gallery[Any]) -> None:
        self._gallery = gallery
        self._turn = asyncio.Lock()
        self._here = 0

    def routes(self) -> list[web.RouteDef]:
        """To be added before those of the page."""
        return [web.post("/credentials", self._sign)]

    async def _sign(self, request: web.Request) -> web.StreamResponse:
        if request.content_type not in MOST_BYTES:
            raise UnsupportedMediaType(f"expected one of {', '.join(MOST_BYTES)}")
        avatar = self._avatar(request.query["avatar"]) if "avatar" in request.query else None
        if self._here >= MOST_AT_A_TIME:
            raise ServerFull("other recordings are being signed; try again", RETRY_AFTER_S)
        self._here += 1
        try:
            return await self._signed(request, avatar)
        finally:
            self._here -= 1

    def _avatar(self, name: str) -> Path:
        """Raises NotFound. Raises Forbidden: its person did not agree to recordings."""
        entry = self._gallery.entry(name)
        if not entry.card.consent.covers(Purpose.RECORDINGS):
            raise Forbidden("whom this avatar shows did not agree to recordings and pictures")
        return entry.path

    async def _signed(self, request: web.Request, avatar: Path | None) -> web.StreamResponse:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
            await _receive(request, given)
            given.seek(0)
            async with self._turn:
                await asyncio.to_thread(sign, given, made, avatar)
            response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store"})
            response.content_type = PNG if request.content_type == PNG else MP4
            response.content_length = made.seek(0, 2)
            made.seek(0)
            await response.prepare(request)
            while part := await asyncio.to_thread(made.read, CHUNK):
                await response.write(part)
            await response.write_eof()
            return response


async def _receive(request: web.Request, out: BinaryIO) -> None:
    most = MOST_BYTES[request.content_type]
    size = 0
    try:
        async with asyncio.timeout(SENDING_S):
            while part := await request.content.read(CHUNK):
                size += len(part)
                if size > most:
                    raise PayloadTooLarge(f"expected at most {most >> 20} MB")
                await asyncio.to_thread(out.write, part)
            await asyncio.to_thread(out.flush)
    except TimeoutError:
        raise RequestTimeout(f"expected all of it within {SENDING_S:.0f} s") from None
    except OSError as error:
        raise InsufficientStorage(f"there is no room for the recording on the server ({error.strerror})") from error

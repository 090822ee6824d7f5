"""Bodies of HTTP requests."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from models import strict_json
from realtime.errors import BadRequest, RequestTimeout, UnsupportedMediaType

BODY_S = 10.0
"""Longest that a body of text may take to come; it has 64 KB at most."""


async def utf8_text(request: web.Request) -> str:
    """The request's body as UTF-8; other encodings are refused, for some take time that grows with the square of the length.

    Raises:
        BadRequest: it is in another encoding.
        RequestTimeout: it did not come whole within `BODY_S`.
    """
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise BadRequest("expected UTF-8 text")
    try:
        async with asyncio.timeout(BODY_S):
            return (await request.read()).decode()
    except UnicodeDecodeError:
        raise BadRequest("expected UTF-8 text") from None
    except web.RequestPayloadError:
        raise BadRequest("expected a whole body, packed as its headers say") from None
    except TimeoutError:
        raise RequestTimeout(f"what was announced did not come within {BODY_S:.0f} s; check the connection and try again") from None


async def json_object(request: web.Request, holding: str = "") -> dict[str, Any]:
    """The JSON object that is the request's body.

    Args:
        holding: what is in it, for the message: "sdp and type".

    Raises:
        UnsupportedMediaType, BadRequest, RequestTimeout: with what was expected.
    """
    if request.content_type != "application/json":
        raise UnsupportedMediaType("expected application/json")
    try:
        body = strict_json.loads(await utf8_text(request))
    except ValueError:
        raise BadRequest("expected JSON, each key once") from None
    if not isinstance(body, dict):
        raise BadRequest(f"expected a JSON object{' with ' * bool(holding)}{holding}")
    return body

"""Bodies of HTTP requests."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from models import strict_json
from realtime.errors import BadRequest, UnsupportedMediaType


async def utf8_text(request: web.Request) -> str:
    """The request's body as UTF-8; other encodings are refused, for some take time that grows with the square of the length.

    Raises:
        BadRequest: it is in another encoding.
    """
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise BadRequest("expected UTF-8 text")
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError:
        raise BadRequest("expected UTF-8 text") from None


async def json_object(request: web.Request, holding: str = "") -> dict[str, Any]:
    """The JSON object that is the request's body.

    Args:
        holding: what is in it, for the message: "sdp and type".

    Raises:
        UnsupportedMediaType, BadRequest: with what was expected.
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

"""Bodies of HTTP requests."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from realtime.errors import BadRequest, UnsupportedMediaType


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
        body = json.loads(await request.text())
    except (ValueError, LookupError, RecursionError):
        raise BadRequest("expected JSON") from None
    if not isinstance(body, dict):
        raise BadRequest(f"expected a JSON object{' with ' * bool(holding)}{holding}")
    return body

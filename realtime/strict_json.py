"""JSON from strangers (RFC 8259), read more narrowly than Python does: no key twice, no NaN, no text that UTF-8 cannot hold, no nesting without end."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none; or two readers of it could come to different things, or what it holds could not be sent on.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
        if "\\u" in text or not text.isascii():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("expected less nesting") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("expected every key once")
    return fields

"""JSON from strangers (RFC 8259), read more narrowly than Python does: no key twice, no NaN, no half characters, no nesting without end."""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_DEPTH = 32


def loads(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none; or two readers of it could come to different things, or what it holds could not be sent on.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("expected less nesting") from None
    _check(value)
    return value


def _check(value: Any) -> None:
    """Without recursion; a lone surrogate is a UnicodeEncodeError, which is a ValueError."""
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, str):
            each.encode()
        elif isinstance(each, dict | list):
            if depth >= MAX_DEPTH:
                raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting")
            if isinstance(each, dict):
                "".join(each).encode()
            waiting.extend((inner, depth + 1) for inner in (each.values() if isinstance(each, dict) else each))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("expected every key once")
    return fields

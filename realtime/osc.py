"""Open Sound Control 1.0, the sending side: https://opensoundcontrol.stanford.edu/spec-1_0.html. Big-endian, everything padded to four bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

BUNDLE = b"#bundle\0" + struct.pack(">Q", 1)
"""With the time tag that means "at once"."""


def message(address: str, *arguments: int | float | str) -> bytes:
    """One message: its address, the types of its arguments (`i` 32 bit, `f` 32 bit, `s`) and the arguments."""
    tags, data = ",", b""
    for argument in arguments:
        if isinstance(argument, str):
            tags, data = tags + "s", data + _text(argument)
        elif isinstance(argument, int):
            tags, data = tags + "i", data + struct.pack(">i", argument)
        else:
            tags, data = tags + "f", data + struct.pack(">f", argument)
    return _text(address) + _text(tags) + data


def bundles(messages: Iterable[bytes], most_bytes: int) -> list[bytes]:
    """The messages in order, in as few bundles as there can be of at most `most_bytes` each."""
    made, size = [[BUNDLE]], len(BUNDLE)
    for each in messages:
        if size + 4 + len(each) > most_bytes and len(made[-1]) > 1:
            made.append([BUNDLE])
            size = len(BUNDLE)
        made[-1] += [struct.pack(">i", len(each)), each]
        size += 4 + len(each)
    return [b"".join(parts) for parts in made]


def _text(text: str) -> bytes:
    """ASCII, ended by one to four zeros."""
    data = text.encode("ascii")
    return data + b"\0" * (4 - len(data) % 4)

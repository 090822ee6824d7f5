"""Edits of valid inputs: the same few kinds for all targets, as data, so that hypothesis can draw and shrink them and a seeded generator can make millions."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

NUMBERS = (b"0", b"1", b"-1", b"255", b"65535", b"65536", b"99999", b"2147483648", b"4294967296", b"18446744073709551616", b"1e999", b"NaN", b"9" * 400, b"")
WORDS = (
    *(0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF),
    *(1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1),
)
TEXTS = (
    b"\0",
    b"\r\n",
    b"\n",
    b" ",
    b"%",
    b"../",
    b"\xe2\x80\xae",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"\\ud800",
    b'"',
    b"[" * 40,
    b"{" * 40,
    b":",
    b",",
    b"A" * 300,
)
LONGEST = 96 * 1024
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?")


class Kind(IntEnum):
    FLIP = 0
    BYTE = 1
    CUT = 2
    DROP = 3
    REPEAT = 4
    INSERT = 5
    NUMBER = 6
    WORD = 7
    LINES = 8
    SPLICE = 9


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: what is done, where (of what there is, modulo its length), and with what (likewise)."""

    kind: Kind
    where: int
    what: int


def edited(data: bytes, edits: Sequence[Edit], tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """An input after some edits, never longer than `LONGEST`.

    Args:
        tokens: words of the format, to be put in.
        others: other valid inputs, pieces of which are put in.
    """
    for edit in edits:
        data = _one(data, edit, tokens, others)[:LONGEST]
    return data


def random_edits(rng: random.Random) -> list[Edit]:
    """One to eight, fewer being likelier."""
    count = min(1 + int(rng.expovariate(0.7)), 8)
    return [Edit(Kind(rng.randrange(len(Kind))), rng.getrandbits(24), rng.getrandbits(24)) for _ in range(count)]


def _one(data: bytes, edit: Edit, tokens: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    at = edit.where % (len(data) + 1)
    span = 1 + edit.what % 61
    match edit.kind:
        case Kind.FLIP:
            return data[:at] + bytes(each ^ (1 << edit.what % 8) for each in data[at : at + 1]) + data[at + 1 :]
        case Kind.BYTE:
            return data[:at] + bytes([edit.what % 256]) + data[at + 1 :]
        case Kind.CUT:
            return data[:at]
        case Kind.DROP:
            return data[:at] + data[at + span :]
        case Kind.REPEAT:
            return data[:at] + data[at : at + span] * (2 + edit.what % 5) + data[at + span :]
        case Kind.INSERT:
            texts = (*tokens, *TEXTS)
            return data[:at] + texts[edit.what % len(texts)] + data[at:]
        case Kind.NUMBER:
            found = list(_DIGITS.finditer(data))
            if not found:
                return data
            number = found[edit.where % len(found)]
            return data[: number.start()] + NUMBERS[edit.what % len(NUMBERS)] + data[number.end() :]
        case Kind.WORD:
            size = (1, 2, 4, 8)[edit.what % 4]
            word = WORDS[edit.what // 4 % len(WORDS)] % (1 << 8 * size)
            return data[:at] + word.to_bytes(size, "little" if edit.what & 64 else "big") + data[at + size :]
        case Kind.LINES:
            lines = data.split(b"\n")
            taken = lines[edit.what % len(lines)]
            lines.insert(edit.where % len(lines), taken)
            return b"\n".join(lines)
        case Kind.SPLICE:
            other = others[edit.what % len(others)]
            begin = edit.what // 7 % (len(other) + 1)
            return data[:at] + other[begin : begin + 8 * span] + data[at + 8 * span :]

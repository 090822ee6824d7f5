"""Pictures inside a tensor file: PNG or WebP bytes in a uint8 array, looked at before they are decoded.

PNG: W3C PNG specification, 11.2.2 (IHDR). WebP: RFC 9649, sections 2.5 to 2.7.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile

MAX_CHUNKS = 20_000
MOVING = frozenset({b"acTL", b"fcTL", b"fdAT", b"ANIM", b"ANMF"})
"""Chunks of animations, in PNG and in WebP."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def image_size(blob: bytes) -> tuple[int, int] | None:
    """(width, height) that a PNG or WebP header claims; None for anything else."""
    if blob[:8] == PNG_SIGNATURE and blob[12:16] == b"IHDR" and len(blob) >= 24:
        return int.from_bytes(blob[16:20], "big"), int.from_bytes(blob[20:24], "big")
    if blob[:4] != b"RIFF" or blob[8:12] != b"WEBP" or len(blob) < 30:
        return None
    chunk = blob[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(blob[24:27], "little"), 1 + int.from_bytes(blob[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(blob[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(blob[26:28], "little") & 0x3FFF, int.from_bytes(blob[28:30], "little") & 0x3FFF
    return None


def _holds_together(blob: bytes) -> bool:
    """Whether every chunk is as long as it says, and none belongs to an animation. Decoders make room for what a chunk claims before they find that it is not
    there: 254 bytes took 4 GB."""
    png = blob[:8] == PNG_SIGNATURE
    order: Literal["big", "little"] = "big" if png else "little"
    position = 8 if png else 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(blob):
            return not png and position <= len(blob) + 1
        first, second = blob[position : position + 4], blob[position + 4 : position + 8]
        length, kind = int.from_bytes(first if png else second, order), second if png else first
        if kind in MOVING:
            return False
        position += (12 + length) if png else (8 + length + length % 2)
        if kind == b"IEND":
            return position <= len(blob)
    return False


def encode_image(image: NDArray[np.uint8], webp_quality: int | None = None, png_level: int = 9) -> bytes:
    """(H, W, 3) RGB or (H, W, 4) RGBA uint8 → PNG bytes, packed as hard as `png_level` (0…9), or WebP bytes of that quality (101: lossless)."""
    import cv2

    order = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    swapped = cv2.cvtColor(np.ascontiguousarray(image), order)
    if webp_quality is None:
        done, data = cv2.imencode(".png", swapped, [cv2.IMWRITE_PNG_COMPRESSION, png_level])
    else:
        done, data = cv2.imencode(".webp", swapped, [cv2.IMWRITE_WEBP_QUALITY, webp_quality])
    if not done:
        raise BadFile(f"a picture of shape {image.shape} cannot be encoded")
    return bytes(data)


def check_image(blob: bytes, what: str, max_side: int) -> None:
    """Raises BadFile unless `blob` is a PNG or WebP, one that stands still, of at most `max_side` pixels a side."""
    size = image_size(blob)
    if size is None:
        raise BadFile(f"{what} should be a PNG or a WebP picture")
    if not _holds_together(blob):
        raise BadFile(f"{what} is damaged, or is a moving picture: its parts do not lie one after another to its end")
    if not (1 <= size[0] <= max_side and 1 <= size[1] <= max_side):
        raise BadFile(f"{what} should be at most {max_side} pixels a side, it is {size[0]} x {size[1]}")


def decode_image(blob: bytes, what: str, channels: int, max_side: int) -> NDArray[np.uint8]:
    """(H, W, `channels`) uint8 RGB (3) or RGBA (4); a picture without alpha is opaque.

    Raises:
        BadFile: neither PNG nor WebP, larger than `max_side`, or damaged; `what` names it in the message.
    """
    import cv2

    check_image(blob, what, max_side)
    image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise BadFile(f"{what} is damaged, or has more than 8 bits a channel")
    found = 1 if image.ndim == 2 else image.shape[2]
    codes = {(1, 3): cv2.COLOR_GRAY2RGB, (1, 4): cv2.COLOR_GRAY2RGBA, (3, 3): cv2.COLOR_BGR2RGB, (3, 4): cv2.COLOR_BGR2RGBA}
    codes |= {(4, 3): cv2.COLOR_BGRA2RGB, (4, 4): cv2.COLOR_BGRA2RGBA}
    return np.ascontiguousarray(cv2.cvtColor(image, codes[found, channels]), np.uint8)

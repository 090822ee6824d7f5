"""Beginnings of coded pictures of any size, bit by bit."""

from __future__ import annotations


def vp8_keyframe(width: int, height: int, following: bytes = bytes(64)) -> bytes:
    """The uncompressed header of a keyframe (RFC 6386, section 9.1), and what follows it."""
    tag = (0x10 | min(len(following), 0x7FFFF) << 5).to_bytes(3, "little")
    return tag + b"\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + following


def h264_sps(width: int, height: int) -> bytes:
    """A start code and a sequence parameter set of the baseline profile (ITU-T H.264, section 7.3.2.1.1); multiples of 16."""
    codes = [0, 0, 2, 1]  # identifier, log2_max_frame_num - 4, order count of type 2, reference frames
    bits = "".join(_unsigned(code) for code in codes) + "0" + _unsigned(width // 16 - 1) + _unsigned(height // 16 - 1) + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    payload = b"\x42\xe0\x1f" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    escaped = bytearray()
    for byte in payload:
        if byte <= 3 and escaped[-2:] == b"\x00\x00":
            escaped.append(3)
        escaped.append(byte)
    return b"\x00\x00\x01\x67" + bytes(escaped)


def _unsigned(value: int) -> str:
    """ue(v), section 9.1."""
    code = bin(value + 1)[2:]
    return "0" * (len(code) - 1) + code

"""How large a coded picture says it is, read before anything is decoded: a packet of forty bytes can ask for a gigabyte. Pure.

VP8: RFC 6386, section 9.1, in keyframes. H.264: the sequence parameter set, ITU-T H.264, sections 7.3.2.1.1 and 7.4.2.1.1, in Annex B's byte stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

MAX_SIDE_PX = 4096
MAX_PIXELS = 4096 * 2304
"""4K; cameras of video calls stay below."""
_SPS = 7
_VP8_START = b"\x9d\x01\x2a"
_START = b"\x00\x00\x01"
_MACROBLOCK_PX = 16
_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""profile_idc whose sets say how chroma is kept."""
_SPS_BYTES = 512
"""Of a set, what is looked at: the size lies in its first part, behind at most twelve scaling lists."""


def is_absurd(codec_name: str, data: bytes) -> bool:
    """Whether a frame, as it would go to the decoder, begins pictures larger than are taken. One that says no size is none: it cannot be decoded either.

    Args:
        codec_name: `VP8` or `H264`.
    """
    return any(not _fits(*size) for size in _sizes(codec_name, data))


def _fits(width: int, height: int) -> bool:
    return 1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX and width * height <= MAX_PIXELS


def _sizes(codec_name: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of all pictures that begin here; none for those that follow on others."""
    if codec_name == "VP8":
        if len(data) >= 10 and not data[0] & 0x01 and data[3:6] == _VP8_START:
            yield int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
        return
    position = data.find(_START)
    while position >= 0:
        begin = position + len(_START)
        position = data.find(_START, begin)
        if data[begin : begin + 1] and data[begin] & 0x1F == _SPS:
            with suppress(EOFError):
                yield _sps_size(data[begin + 1 : position if position >= 0 else len(data)][:_SPS_BYTES])


class _Bits:
    """Reads a raw byte sequence payload bit by bit. Raises EOFError past its end."""

    def __init__(self, payload: bytes) -> None:
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """ue(v), section 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v), section 9.1.1."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _sps_size(payload: bytes) -> tuple[int, int]:
    """Width and height in pixels before cropping, which is what a decoder makes room for."""
    bits = _Bits(payload.replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    if profile in _WITH_CHROMA_FORMAT:
        _pass_chroma(bits)
    bits.unsigned()
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(_at_most(255, bits.unsigned())):
            bits.signed()
    bits.unsigned()
    bits.take(1)
    width, map_units = bits.unsigned() + 1, bits.unsigned() + 1
    frames_only = bits.take(1)
    return _MACROBLOCK_PX * width, _MACROBLOCK_PX * map_units * (2 - frames_only)


def _pass_chroma(bits: _Bits) -> None:
    """chroma_format_idc up to the scaling lists."""
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)
    bits.unsigned()
    bits.unsigned()
    bits.take(1)
    if bits.take(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _pass_scaling_list(bits, 16 if index < 6 else 64)


def _pass_scaling_list(bits: _Bits, size: int) -> None:
    """Section 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _at_most(limit: int, value: int) -> int:
    if value > limit:
        raise EOFError
    return value

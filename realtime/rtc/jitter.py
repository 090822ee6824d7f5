"""Puts RTP packets together to frames that a decoder can decode: each as soon as its last packet is in, and none after a hole until a keyframe.

aiortc's own jitter buffer ends a frame when the next one begins (one frame interval late), lets one frame go for each packet (what piles up behind a repaired
hole stays for ever) and hands on whatever follows a hole. Here:

- the marker bit ends a frame (RFC 7741, section 4.1 for VP8; RFC 6184, section 5.1 for H.264); a new timestamp does too, for senders that set none;
- one packet frees every frame that it completes;
- after the start, a restart, an overflow or `need_keyframe`, nothing goes until a complete keyframe has come;
- a complete keyframe behind a hole goes at once: what lies before it is given up.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

CAPACITY = 512
"""Packets; as in aiortc."""
MAX_JUMP = 3000
"""Packets. Two in a row that are farther from the newest are a restarted sender (RFC 3550, appendix A.1: MAX_DROPOUT)."""
_STAP_A, _FU_A = 24, 28
_IDR, _SPS = 5, 7
_SLICES = range(1, 6)


@dataclass(frozen=True, slots=True)
class Part:
    """What a packet holds of a frame."""

    starts_keyframe: bool
    """A keyframe can be decoded from this packet on."""
    intra: bool
    """The beginning of a picture that refers to no other."""
    picture: bool
    """Anything of a picture, in contrast to parameter sets or padding."""


PADDING = Part(starts_keyframe=False, intra=False, picture=False)


def part_of(codec_name: str, packet: RtpPacket) -> Part:
    """What a packet holds.

    Args:
        codec_name: `VP8` or `H264`; aiortc decodes no other.
        packet: with `payload` as it came and, in `_data`, as aiortc has unpacked it.
    """
    if not packet.payload:
        return PADDING
    if codec_name == "VP8":
        return _vp8_part(packet.payload, packet._data)  # type: ignore[attr-defined]
    return _h264_part(packet.payload)


def _vp8_part(payload: bytes, data: bytes) -> Part:
    """S bit and partition index 0 (RFC 7741, section 4.2), then the inverse key frame bit (RFC 6386, section 9.1)."""
    key = bool(payload[0] & 0x10) and not payload[0] & 0x07 and len(data) > 0 and not data[0] & 0x01
    return Part(starts_keyframe=key, intra=key, picture=True)


def _h264_part(payload: bytes) -> Part:
    """NAL unit types (RFC 6184, section 5.2); a slice begins a picture where `first_mb_in_slice` is 0, which is a single 1 bit (H.264, section 7.3.3)."""
    starts_keyframe = intra = picture = False
    for kind, slice_header in _nal_units(payload):
        starts_keyframe = starts_keyframe or kind == _SPS
        intra = intra or (kind == _IDR and bool(slice_header[:1] >= b"\x80"))
        picture = picture or kind in _SLICES
    return Part(starts_keyframe, intra, picture)


def _nal_units(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Type of every NAL unit that a payload holds any of, and what follows the unit's header; nothing follows in a later fragment."""
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        yield payload[1] & 0x1F, payload[2:] if payload[1] & 0x80 else b""
    elif kind == _STAP_A:
        position = 1
        while position + 2 < len(payload):
            size = int.from_bytes(payload[position : position + 2], "big")
            unit = payload[position + 2 : position + 2 + size]
            if unit:
                yield unit[0] & 0x1F, unit[1:]
            position += 2 + size
    else:
        yield kind, payload[1:]


class EncodedFrame(JitterFrame):
    """A complete frame, and which codec it is for."""

    def __init__(self, data: bytes, timestamp: int, payload_type: int) -> None:
        super().__init__(data, timestamp)
        self.payload_type = payload_type


@dataclass(frozen=True, slots=True)
class _Held:
    packet: RtpPacket
    part: Part


class FrameBuffer:
    """In the place of aiortc's `JitterBuffer`: `add` takes the packets, `take` gives the frames.

    Sequence numbers are kept unwrapped, as integers without end.

    Args:
        codec_name: name of the codec of a payload type.
        capacity: packets between the oldest awaited and the newest.
    """

    def __init__(self, codec_name: Callable[[int], str], capacity: int = CAPACITY) -> None:
        self._codec_name = codec_name
        self._capacity = capacity
        self._ssrc: int | None = None
        self._packets: dict[int, _Held] = {}
        self._key_starts: list[int] = []
        self._next = 0
        self._highest = 0
        self._untouched = True
        self._aligned = False
        self._stranger: RtpPacket | None = None
        self._ready: deque[EncodedFrame] = deque()
        self._needs_keyframe = True
        self._starved = False
        self._configured = False
        self.frames_skipped = 0
        """Frames of which something came and which were not let go."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Takes a packet. Returns what aiortc's buffer would, saying "ask for no keyframe, no frame": both are told elsewhere."""
        if packet.ssrc != self._ssrc:
            self._restart(packet)
        number = self._unwrapped(packet.sequence_number)
        if abs(number - self._highest) <= MAX_JUMP:
            self._stranger = None
            self._insert(number, packet)
            return False, None
        stranger, self._stranger = self._stranger, packet
        if stranger is not None and (stranger.sequence_number + 1) & 0xFFFF == packet.sequence_number:
            self._restart(stranger)
            self._insert(self._unwrapped(stranger.sequence_number), stranger)
            self._insert(self._unwrapped(packet.sequence_number), packet)
        return False, None

    def take(self) -> list[EncodedFrame]:
        """The frames set free since the last call, in order."""
        frames = list(self._ready)
        self._ready.clear()
        return frames

    def need_keyframe(self) -> None:
        """Nothing goes any more until a complete keyframe is in."""
        self._needs_keyframe = self._starved = True

    @property
    def starved(self) -> bool:
        """A keyframe is needed, and none is on its way."""
        return self._starved and not self._key_starts

    @property
    def wanted_from(self) -> int:
        """The sequence number before which no packet is of use any more."""
        return self._base() & 0xFFFF

    @property
    def hole(self) -> int | None:
        """The sequence number of the first missing packet that holds frames back; None where there is none."""
        if len(self._packets) == self._highest + 1 - self._next:
            return None
        number = self._base()
        while number in self._packets:
            number += 1
        return number & 0xFFFF if number <= self._highest and self._packets else None

    def _base(self) -> int:
        return self._key_starts[0] if self._needs_keyframe and self._key_starts else self._next

    def _unwrapped(self, sequence_number: int) -> int:
        return self._highest + ((sequence_number - self._highest + 0x8000) & 0xFFFF) - 0x8000

    def _restart(self, packet: RtpPacket) -> None:
        self.frames_skipped += len({held.packet.timestamp for held in self._packets.values() if held.part.picture})
        self._packets.clear()
        self._key_starts.clear()
        self._ssrc = packet.ssrc
        self._next = self._highest = packet.sequence_number
        self._untouched = True
        self._aligned = False
        self._stranger = None
        self._needs_keyframe = True
        self._starved = self._configured = False

    def _insert(self, number: int, packet: RtpPacket) -> None:
        if self._untouched and self._highest - self._capacity < number < self._next:
            self._next = number
        if number < self._next or number in self._packets:
            return
        self._highest = max(self._highest, number)
        part = part_of(self._codec_name(packet.payload_type), packet)
        if number - self._next >= self._capacity:
            self._overflow(number)
        self._packets[number] = _Held(packet, part)
        if part.starts_keyframe:
            self._key_starts.append(number)
            self._key_starts.sort()
        before = self._packets.get(number - 1)
        if packet.marker or number + 1 in self._packets or (before is not None and before.packet.timestamp != packet.timestamp):
            self._release()

    def _overflow(self, number: int) -> None:
        start = next((start for start in self._key_starts if start > self._next and number - start < self._capacity), None)
        self._drop_before(number if start is None else start)
        self._aligned = start is not None
        self.need_keyframe()

    def _release(self) -> None:
        while True:
            end = self._end_of_frame(self._next)
            if end is not None:
                self._let_go(end)
            elif (start := self._complete_keyframe()) is not None:
                self._drop_before(start)
            else:
                return

    def _end_of_frame(self, start: int) -> int | None:
        """The number after the last packet of the frame that starts there; None while it is not complete."""
        return self._walk(start)[0]

    def _walk(self, start: int) -> tuple[int | None, int]:
        """The end of the frame that starts there, as `_end_of_frame`; and the number after the last packet that was looked at."""
        first = self._packets.get(start)
        number, picture = start, False
        while first is not None and (held := self._packets.get(number)) is not None:
            if held.packet.timestamp != first.packet.timestamp:
                return number, number
            picture = picture or held.part.picture
            number += 1
            if held.packet.marker and picture:
                return number, number
        return None, number

    def _complete_keyframe(self) -> int | None:
        """Where a complete keyframe starts. Each packet is looked at once, however many of them may begin one: senders could keep the server busy otherwise."""
        behind: int | None = None
        for start in tuple(self._key_starts):
            if behind is not None and start < behind:
                continue
            end, behind = self._walk(start)
            if end is not None:
                if any(self._packets[number].part.intra for number in range(start, end)):
                    return start
                self._key_starts.remove(start)
                behind = None
        return None

    def _let_go(self, end: int) -> None:
        held = [self._packets.pop(number) for number in range(self._next, end)]
        self._passed(end)
        configured, self._aligned = self._configured and self._aligned, True
        if not any(each.part.picture for each in held):
            return
        configures = any(each.part.starts_keyframe for each in held)
        if any(each.part.intra for each in held) and (configures or configured):
            self._needs_keyframe = self._starved = False
        if self._needs_keyframe:
            self._starved = True
            self.frames_skipped += 1
            return
        self._configured = self._configured or configures
        packet = held[0].packet
        self._ready.append(EncodedFrame(b"".join(each.packet._data for each in held), packet.timestamp, packet.payload_type))  # type: ignore[attr-defined]

    def _drop_before(self, end: int) -> None:
        dropped = [self._packets.pop(number) for number in range(self._next, end) if number in self._packets]
        following = self._packets.get(end)
        kept = {following.packet.timestamp} if following is not None else set()
        self.frames_skipped += len({held.packet.timestamp for held in dropped if held.part.picture} - kept)
        self._passed(end)

    def _passed(self, end: int) -> None:
        self._next = end
        self._untouched = False
        self._key_starts = [start for start in self._key_starts if start >= end]

"""RTP packets of a made-up video, as VP8 and H.264 senders cut it, for tests of what receives them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace

from aiortc.codecs import depayload
from aiortc.rtp import RtpPacket

VP8, H264 = 97, 99
NAMES = {VP8: "VP8", H264: "H264"}
SSRC = 1234
STEP = 3000


def packet(payload_type: int, number: int, timestamp: int, payload: bytes, marker: bool, ssrc: int = SSRC) -> RtpPacket:
    """A packet as aiortc hands it to its jitter buffer."""
    made = RtpPacket(
        payload_type=payload_type, marker=int(marker), sequence_number=number & 0xFFFF, timestamp=timestamp & 0xFFFFFFFF, ssrc=ssrc, payload=payload
    )
    made._data = depayload(SimpleNamespace(name=NAMES[payload_type]), payload) if payload else b""  # type: ignore[arg-type, attr-defined]
    return made


def payloads_of(payload_type: int, content: bytes, count: int, key: bool) -> list[bytes]:
    """A frame's payloads: `content` in at least `count` packets."""
    pieces = [content[index::count] or b"." for index in range(count)]
    if payload_type == VP8:
        pieces[0] = bytes([0x10 if key else 0x11]) + pieces[0]
        return [bytes([0x90 if index == 0 else 0x80, 0x80, 0x12]) + piece for index, piece in enumerate(pieces)]
    nri, kind = 0x60, 5 if key else 1
    if count == 1:
        slices = [bytes([nri | kind]) + b"\x88" + pieces[0]]
    else:
        pieces[0] = b"\x88" + pieces[0]
        ends = [0x80] + [0x00] * (count - 2) + [0x40]
        slices = [bytes([nri | 28, end | kind]) + piece for end, piece in zip(ends, pieces, strict=True)]
    sps, pps = b"\x67\x42\xe0\x1f", b"\x68\xce\x3c\x80"
    return [bytes([nri | 24]) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (sps, pps)), *slices] if key else slices


@dataclass(frozen=True)
class Sent:
    """A frame and its packets."""

    index: int
    key: bool
    packets: list[RtpPacket]

    @property
    def timestamp(self) -> int:
        return self.packets[0].timestamp

    @property
    def data(self) -> bytes:
        return b"".join(each._data for each in self.packets)  # type: ignore[attr-defined]


def video(
    payload_type: int, keys: list[bool], counts: list[int], first_number: int = 65_500, first_timestamp: int = 2**32 - 10_000, markers: bool = True
) -> list[Sent]:
    """A frame for each of `keys`; numbers and timestamps wrap."""
    frames, number = [], first_number
    for index, (key, count) in enumerate(zip(keys, counts, strict=True)):
        payloads = payloads_of(payload_type, b"frame %d|" % index * (1 + index % 3), count, key)
        timestamp = first_timestamp + index * STEP
        packets = [packet(payload_type, number + at, timestamp, each, markers and at == len(payloads) - 1) for at, each in enumerate(payloads)]
        frames.append(Sent(index, key, packets))
        number += len(payloads)
    return frames


def random_video(payload_type: int, generator: random.Random, frames: int, key_share: float = 0.1) -> list[Sent]:
    """Begins with a keyframe; 1 to 5 packets a frame."""
    keys = [index == 0 or generator.random() < key_share for index in range(frames)]
    return video(payload_type, keys, [generator.randint(1, 5) for _ in keys], generator.randrange(65_536), generator.randrange(2**32))


def disturbed(packets: list[RtpPacket], generator: random.Random, loss: float, reorder: int, duplicates: float) -> list[RtpPacket]:
    """In the order of arrival: some lost, some twice, each up to `reorder` places late."""
    kept = [(index, each) for index, each in enumerate(packets) if generator.random() >= loss]
    kept += [(index + generator.randint(0, 20), each) for index, each in kept if generator.random() < duplicates]
    return [each for _, _, each in sorted((index + generator.uniform(0, reorder), generator.random(), each) for index, each in kept)]

"""The frame buffer: whole frames at once, none after a hole until a keyframe; on made-up packets, and on random disturbances against a plain reference."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from aiortc import RTCRtpReceiver
from aiortc.codecs import depayload
from aiortc.codecs.h264 import H264Encoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from realtime.rtc.jitter import PADDING, FrameBuffer, part_of
from tests import rtp_stream
from tests.rtp_stream import H264, NAMES, SSRC, VP8, Sent, disturbed, random_video, video

CODECS = pytest.mark.parametrize("payload_type", [VP8, H264], ids=["VP8", "H264"])


def buffer(capacity: int = 512) -> FrameBuffer:
    return FrameBuffer(NAMES.__getitem__, capacity)


def released(frames: FrameBuffer, packets: list[RtpPacket]) -> list[tuple[int, bytes]]:
    """(index of the packet that set it free, data) of every frame."""
    found = []
    for index, each in enumerate(packets):
        assert frames.add(each) == (False, None)
        found += [(index, frame.data) for frame in frames.take()]
    return found


def indices(found: list[tuple[int, bytes]], sent: list[Sent]) -> list[int]:
    """Which of the frames sent were let go; fails where one is not exactly as it was sent."""
    known = {frame.data: frame.index for frame in sent}
    return [known[data] for _, data in found]


def flat(sent: list[Sent], *without: tuple[int, int]) -> list[RtpPacket]:
    """All packets in order but some (frame, packet)."""
    return [each for frame in sent for at, each in enumerate(frame.packets) if (frame.index, at) not in without]


@CODECS
def test_a_frame_goes_with_its_marked_packet(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False], [2, 1, 3])
    ends, count = [], 0
    for frame in sent:
        count += len(frame.packets)
        ends.append(count - 1)
    assert released(buffer(), flat(sent)) == list(zip(ends, [frame.data for frame in sent], strict=True))


@CODECS
def test_without_markers_a_frame_goes_when_the_next_begins_as_in_aiortc(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False], [2, 1, 3], markers=False)
    stock, expected = JitterBuffer(capacity=512, is_video=True), []
    for index, each in enumerate(flat(sent)):
        frame = stock.add(each)[1]
        if frame is not None:
            expected.append((index, frame.data))
    assert released(buffer(), flat(sent)) == expected
    assert len(expected) == 2


@CODECS
def test_one_packet_sets_free_all_that_it_completes(payload_type: int) -> None:
    sent = video(payload_type, [True, *[False] * 5], [2] * 6)
    missing = sent[1].packets[0]
    found = released(buffer(), [*flat(sent, (1, 0)), missing])
    assert indices(found, sent) == [0, 1, 2, 3, 4, 5]
    assert [index for index, _ in found[1:]] == [len(flat(sent)) - 1] * 5


@CODECS
def test_a_complete_keyframe_behind_a_hole_goes_at_once(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False, True, False], [3] * 5)
    frames = buffer()
    found = released(frames, flat(sent, (1, 1)))
    assert indices(found, sent) == [0, 3, 4]
    assert frames.frames_skipped == 2
    assert released(frames, [sent[1].packets[1]]) == []
    assert frames.hole is None


@CODECS
def test_nothing_goes_before_the_first_keyframe(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False, True, False], [3] * 5)
    joined_late = flat(sent)[len(sent[0].packets) + 1 :]
    frames = buffer()
    assert indices(released(frames, joined_late[:3]), sent) == []
    assert frames.starved
    assert indices(released(frames, joined_late[3:]), sent) == [3, 4]
    assert not frames.starved


@CODECS
def test_a_keyframe_with_a_hole_is_not_starved_but_waits(payload_type: int) -> None:
    sent = video(payload_type, [True, False], [3] * 2)
    frames = buffer()
    assert released(frames, flat(sent, (0, 1))) == []
    assert not frames.starved
    assert frames.hole == sent[0].packets[1].sequence_number
    assert indices(released(frames, [sent[0].packets[1]]), sent) == [0, 1]


@CODECS
def test_after_need_keyframe_nothing_goes_until_one(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False, True, False], [2] * 5)
    frames = buffer()
    assert indices(released(frames, flat(sent[:2])), sent) == [0, 1]
    frames.need_keyframe()
    assert frames.starved
    assert indices(released(frames, flat(sent[2:])), sent) == [3, 4]


@CODECS
def test_while_a_keyframe_comes_in_only_its_own_holes_count(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False, True], [3] * 4)
    frames = buffer()
    released(frames, flat(sent[:2], (1, 1)))
    frames.need_keyframe()
    assert frames.starved
    assert frames.hole == sent[1].packets[1].sequence_number
    released(frames, sent[3].packets[:1])
    assert not frames.starved
    assert frames.hole is None
    assert frames.wanted_from == sent[3].packets[0].sequence_number
    released(frames, sent[3].packets[2:])
    assert frames.hole == sent[3].packets[1].sequence_number
    assert indices(released(frames, sent[3].packets[1:2]), sent) == [3]


@CODECS
def test_the_very_first_packets_may_come_in_any_order(payload_type: int) -> None:
    sent = video(payload_type, [True, False], [3, 2])
    second, first, *others = flat(sent)[1::-1] + flat(sent)[2:]
    assert indices(released(buffer(), [second, first, *others]), sent) == [0, 1]


@CODECS
def test_an_overflow_gives_up_and_waits_for_a_keyframe(payload_type: int) -> None:
    sent = video(payload_type, [True, *[False] * 20, True, False], [2] * 23)
    frames = buffer(capacity=16)
    assert indices(released(frames, flat(sent[:21], (1, 0))), sent) == [0]
    assert frames.starved
    assert indices(released(frames, flat(sent[21:])), sent) == [21, 22]


@CODECS
def test_a_partial_keyframe_survives_an_overflow(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False, True, *[False] * 5], [2] * 9)
    frames = buffer(capacity=14)
    assert indices(released(frames, flat(sent, (1, 0), (3, 1))), sent) == [0]
    assert frames.hole == sent[3].packets[1].sequence_number
    assert indices(released(frames, [sent[3].packets[1]]), sent) == [3, 4, 5, 6, 7, 8]


@CODECS
def test_padding_does_not_disturb(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False], [2] * 3)
    packets, number = [], 100
    for frame in sent:
        for each in frame.packets:
            packets.append(rtp_stream.packet(payload_type, number, each.timestamp, each.payload, bool(each.marker)))
            number += 1
        for _ in range(3):  # as Chromium probes: the last frame's timestamp, no marker
            packets.append(rtp_stream.packet(payload_type, number, frame.timestamp, b"", False))
            number += 1
    assert part_of(NAMES[payload_type], packets[-1]) is PADDING
    assert indices(released(buffer(), packets), sent) == [0, 1, 2]
    late_padding = [*packets[: len(sent[0].packets)], *packets[len(sent[0].packets) + 3 :], *packets[len(sent[0].packets) :][:3]]
    assert indices(released(buffer(), late_padding), sent) == [0, 1, 2]


@CODECS
def test_another_source_or_a_restarted_sender_begins_anew(payload_type: int) -> None:
    first, again = video(payload_type, [True, False], [2, 2], 100), video(payload_type, [False, True, False], [2, 2, 2], 20_000)
    other = [rtp_stream.packet(payload_type, 7 + index, each.timestamp, each.payload, bool(each.marker), SSRC + 1) for index, each in enumerate(flat(again))]
    for following in (flat(again), other):
        frames = buffer()
        assert indices(released(frames, flat(first)), first) == [0, 1]
        assert indices(released(frames, following), again) == [1, 2]


@CODECS
def test_one_stray_packet_does_not_begin_anew(payload_type: int) -> None:
    sent = video(payload_type, [True, False, False], [2] * 3, 100)
    stray = rtp_stream.packet(payload_type, 30_000, 5, sent[1].packets[0].payload, False)
    assert indices(released(buffer(), [*flat(sent[:2]), stray, *flat(sent[2:])]), sent) == [0, 1, 2]


def test_h264_parameter_sets_with_a_marker_of_their_own_stay_with_their_picture() -> None:
    payloads = [b"\x67\x42\xe0\x1f", b"\x68\xce\x3c\x80", b"\x65\x88abc"]
    packets = [rtp_stream.packet(H264, index, 0, each, True) for index, each in enumerate(payloads)]
    assert released(buffer(), packets) == [(2, b"".join(b"\0\0\0\1" + each for each in payloads))]


def test_h264_a_keyframe_without_parameter_sets_counts_once_they_are_known() -> None:
    bare = rtp_stream.packet(H264, 10, 9000, b"\x65\x88bare", True)
    assert released(buffer(), [bare]) == []
    sent = video(H264, [True], [1], 8)
    assert [index for index, _ in released(buffer(), [*flat(sent), bare])] == [1, 2]


def test_h264_parameter_sets_before_a_picture_that_refers_to_others_start_no_keyframe() -> None:
    sent = video(H264, [True], [1], 8)
    head = sent[0].packets[0].payload
    dependent = [rtp_stream.packet(H264, 20, 9000, head, False), rtp_stream.packet(H264, 21, 9000, b"\x61\x88p", True)]
    frames = buffer()
    released(frames, flat(sent))
    assert released(frames, dependent) == []
    frames.need_keyframe()
    assert frames.starved


def test_h264_a_later_slice_of_a_keyframe_does_not_begin_it() -> None:
    frames = buffer()
    sent = video(H264, [True], [1], 8)
    released(frames, flat(sent))
    frames.need_keyframe()
    assert released(frames, [rtp_stream.packet(H264, 10, 9000, b"\x65\x48second", True)]) == []


def test_h264_as_aiortc_packetises_it() -> None:
    units = [b"\x67sps", b"\x68pps", b"\x06sei", b"\x65\x88" + bytes(3000)]
    payloads = H264Encoder._packetize(units)
    packets = [rtp_stream.packet(H264, index, 0, each, index == len(payloads) - 1) for index, each in enumerate(payloads)]
    assert [part_of("H264", each).starts_keyframe for each in packets] == [True, False, False, False]
    assert [part_of("H264", each).intra for each in packets] == [False, True, False, False]
    assert len(released(buffer(), packets)) == 1


def reference(sent: list[Sent], arrivals: list[RtpPacket]) -> list[tuple[int, bytes]]:
    """The rule, with all of the truth at hand: the next frame when it is whole, else the newest whole keyframe."""
    there: set[int] = set()
    found: list[tuple[int, bytes]] = []
    last = -1
    for index, packet in enumerate(arrivals):
        there.add(packet.sequence_number)
        while True:
            whole = [frame for frame in sent if frame.index > last and all(each.sequence_number in there for each in frame.packets)]
            follows = [frame for frame in whole if frame.index == last + 1]
            chosen = follows or [frame for frame in whole if frame.key][-1:]
            if not chosen:
                break
            found.append((index, chosen[0].data))
            last = chosen[0].index
    return found


@CODECS
@pytest.mark.parametrize("seed", range(60))
def test_any_disturbance_gives_what_the_plain_rule_gives(payload_type: int, seed: int) -> None:
    generator = random.Random(seed)
    sent = random_video(payload_type, generator, 60)
    first, *others = flat(sent)
    arrivals = [first, *disturbed(others, generator, generator.choice([0, 0.05, 0.3]), generator.choice([0, 3, 40]), generator.choice([0, 0.1]))]
    assert released(buffer(), arrivals) == reference(sent, arrivals)


@CODECS
@pytest.mark.parametrize("seed", range(60))
def test_whatever_comes_every_frame_can_be_decoded(payload_type: int, seed: int) -> None:
    """A small buffer, a stream joined anywhere: each frame let go is as it was sent, and a keyframe or the one after the last; calm brings all of it back."""
    generator = random.Random(1000 + seed)
    keys = [generator.random() < 0.1 for _ in range(80)] + [True] + [False] * 10
    sent = video(payload_type, keys, [generator.randint(1, 5) for _ in keys], generator.randrange(65_536))
    bad = disturbed(flat(sent[:80]), generator, generator.choice([0.05, 0.2, 0.5]), generator.choice([0, 5, 60]), 0.1)[generator.randrange(20) :]
    frames = buffer(capacity=32)
    found = indices(released(frames, bad + flat(sent[80:])), sent)
    assert all(sent[index].key or (at and found[at - 1] == index - 1) for at, index in enumerate(found))
    assert found == sorted(set(found))
    assert found[-11:] == list(range(80, 91))
    assert len(frames._packets) <= 32


def test_aiortc_decodes_no_other_video_and_unpacks_as_here() -> None:
    capabilities = RTCRtpReceiver.getCapabilities("video")
    assert capabilities is not None
    assert {each.mimeType for each in capabilities.codecs} == {"video/VP8", "video/H264", "video/rtx"}
    assert depayload(SimpleNamespace(name="H264"), b"\x65\x88a") == b"\0\0\0\1\x65\x88a"  # type: ignore[arg-type]
    assert depayload(SimpleNamespace(name="VP8"), b"\x90\x80\x12\x10a") == b"\x10a"  # type: ignore[arg-type]


def test_packets_that_could_all_begin_a_keyframe_take_no_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each packet set off a look at all the others, from each of them: 10 ms of the event loop a packet, for everybody."""
    frames, looked = buffer(), 0
    walk = frames._walk

    def counted(start: int) -> tuple[int | None, int]:
        nonlocal looked
        end, after = walk(start)
        looked += after - start + 1
        return end, after

    monkeypatch.setattr(frames, "_walk", counted)
    for number in (0, *range(500, 1, -1)):
        frames.add(rtp_stream.packet(VP8, number, 0 if number == 0 else 3000, b"\x10\x00", marker=False))
    assert len(frames._key_starts) > 400
    assert looked < 500 * 520
    assert frames.take() == []

"""The repair of a received stream: what it bends in aiortc, what it asks for and when, what reaches the decoder."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from realtime.rtc import uplink
from realtime.rtc.jitter import FrameBuffer
from realtime.rtc.nack import LossList
from realtime.rtc.uplink import Uplink, UplinkCounts, improve_uplink
from tests import rtp_stream
from tests.coded import h264_sps, vp8_keyframe
from tests.peers import until
from tests.rtp_stream import SSRC, VP8, video

RTX = 98


class _Thread:
    """In the place of the decoder's thread: its queue is looked at by the test."""

    def join(self) -> None:
        pass


class Receiving:
    """A receiver of aiortc's that is fed by hand, and what it would have sent."""

    def __init__(self, receiver: RTCRtpReceiver, now: list[float]) -> None:
        self.receiver = receiver
        self.now = now
        self.uplink: Uplink = improve_uplink(receiver, lambda: self.now[0])
        self.nacks: list[list[int]] = []
        self.keyframe_requests = 0
        codecs = {VP8: RTCRtpCodecParameters("video/VP8", 90_000, payloadType=VP8)}
        codecs[RTX] = RTCRtpCodecParameters("video/rtx", 90_000, payloadType=RTX, parameters={"apt": VP8})
        getattr(receiver, uplink._CODECS).update(codecs)
        setattr(receiver, uplink._THREAD, _Thread())
        getattr(receiver, f"{uplink._P}__rtx_ssrc")[SSRC + 1] = SSRC
        for name, instead in (("_send_rtcp_nack", self._nack), ("_send_rtcp_pli", self._pli)):
            setattr(receiver, name, instead)

    async def _nack(self, ssrc: int, lost: list[int]) -> None:
        assert ssrc == SSRC
        self.nacks.append(lost)

    async def _pli(self, ssrc: int) -> None:
        assert ssrc == SSRC
        self.keyframe_requests += 1

    async def get(self, *packets: RtpPacket) -> None:
        for each in packets:
            await self.receiver._handle_rtp_packet(each, arrival_time_ms=0)

    def decoded(self) -> list[bytes]:
        """The frames that reached the decoder's queue since the last look."""
        waiting = getattr(self.receiver, uplink._QUEUE)
        return [waiting.get_nowait()[1].data for _ in range(waiting.qsize())]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiving]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    made = Receiving(peer.addTransceiver("video").receiver, [100.0])
    try:
        yield made
    finally:
        made.uplink.close()
        await peer.close()


def retransmitted(packet: RtpPacket, number: int) -> RtpPacket:
    """The same in a retransmission stream (RFC 4588, section 4)."""
    payload = packet.sequence_number.to_bytes(2, "big") + packet.payload
    return RtpPacket(payload_type=RTX, marker=packet.marker, sequence_number=number, timestamp=packet.timestamp, ssrc=SSRC + 1, payload=payload)


async def test_contract_of_the_receiver() -> None:
    async with receiving() as made:
        assert made.uplink.active
        assert isinstance(getattr(made.receiver, uplink._BUFFER), FrameBuffer)
        assert isinstance(getattr(made.receiver, uplink._NACKS), LossList)
    source = inspect.getsource(RTCRtpReceiver._handle_rtp_packet)
    for line in (
        "if self.__nack_generator is not None and self.__nack_generator.add(packet):",
        "await self._send_rtcp_nack(\n                packet.ssrc, sorted(self.__nack_generator.missing)\n            )",
        "packet._data = depayload(codec, packet.payload)",
        "pli_flag, encoded_frame = self.__jitter_buffer.add(packet)",
        "if self.__decoder_error.is_set():",
        "encoded_frame.timestamp = self.__timestamp_mapper.map(\n                encoded_frame.timestamp\n            )",
        "self.__decoder_queue.put((codec, encoded_frame))",
        "packet = unwrap_rtx(packet, payload_type=apt, ssrc=original_ssrc)",
    ):
        assert line in source
    started = inspect.getsource(RTCRtpReceiver.receive)
    assert "self.__decoder_error,\n" in started
    assert "self.__codecs[codec.payloadType] = codec" in started


async def test_another_receiver_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Other:
        pass

    with caplog.at_level(logging.WARNING):
        left = improve_uplink(Other())  # type: ignore[arg-type]
    assert not left.active
    assert left.counts == UplinkCounts()
    left.close()
    assert len(caplog.records) == 1


async def test_a_second_repair_of_one_receiver_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving() as made:
        assert not improve_uplink(made.receiver).active
        assert "another receiver" in caplog.text


async def test_frames_reach_the_decoder_with_their_last_packet_and_mapped_times() -> None:
    sent = video(VP8, [True, False], [2, 2])
    async with receiving() as made:
        await made.get(*sent[0].packets)
        assert made.decoded() == [sent[0].data]
        await made.get(*sent[1].packets)
        codec, frame = getattr(made.receiver, uplink._QUEUE).get_nowait()
        assert codec.name == "VP8"
        assert frame.timestamp == rtp_stream.STEP
        assert made.nacks == []
        assert made.keyframe_requests == 0


async def test_a_lost_packet_is_asked_for_at_once_and_its_answer_sets_all_free() -> None:
    sent = video(VP8, [True, False, False, False], [2] * 4)
    lost = sent[1].packets[0]
    async with receiving() as made:
        await made.get(*sent[0].packets, sent[1].packets[1], *sent[2].packets, *sent[3].packets)
        assert made.nacks == [[lost.sequence_number]]
        assert made.decoded() == [sent[0].data]
        made.now[0] += 0.02
        await made.get(retransmitted(lost, 9))
        assert made.decoded() == [frame.data for frame in sent[1:]]
        assert made.uplink.counts == UplinkCounts(packets_requested=1, round_trip_ms=20.0)


async def test_a_lost_answer_is_asked_for_again_by_the_timer_and_then_a_keyframe() -> None:
    sent = video(VP8, [True, False], [2, 2])
    async with receiving() as made:
        await made.get(*sent[0].packets, sent[1].packets[1])
        made.now[0] += 0.07
        await until(lambda: len(made.nacks) == 2)
        made.now[0] += 0.14
        await until(lambda: made.keyframe_requests == 1)
        assert len(made.nacks) == 3
        made.now[0] += 10.0
        await until(lambda: made.uplink._timer is None)


async def test_a_second_hole_is_as_old_as_its_own_loss() -> None:
    sent = video(VP8, [True, False], [2, 5])
    async with receiving() as made:
        await made.get(*sent[0].packets, sent[1].packets[1], sent[1].packets[3])
        made.now[0] += 0.19
        await made.get(retransmitted(sent[1].packets[0], 9))
        assert made.keyframe_requests == 0
        made.now[0] += 0.06  # patience is a little more than 0.2 s after so slow an answer
        await until(lambda: made.keyframe_requests == 1)


async def test_packets_before_a_released_keyframe_are_not_asked_for_any_more() -> None:
    sent = video(VP8, [True, False, True], [2, 2, 2])
    async with receiving() as made:
        await made.get(*sent[0].packets, sent[1].packets[1], *sent[2].packets)
        assert made.decoded() == [sent[0].data, sent[2].data]
        assert made.uplink._timer is None
        assert made.uplink.counts.frames_skipped == 1


async def test_a_stream_that_begins_without_a_keyframe_is_asked_for_one_at_once_and_again() -> None:
    sent = video(VP8, [False] * 60, [1] * 60)
    async with receiving() as made:
        for frame in sent:
            await made.get(*frame.packets)
            made.now[0] += 1 / 30
        assert made.keyframe_requests == 5  # at 0, 0.4, 0.8, 1.2 and 1.6 s
        assert made.decoded() == []


async def test_a_long_gap_brings_a_keyframe_request_at_once() -> None:
    sent = video(VP8, [True] + [False] * 100, [1] * 101)
    async with receiving() as made:
        await made.get(*sent[0].packets, *sent[100].packets)
        assert (made.nacks, made.keyframe_requests) == ([], 1)


async def test_a_long_gap_before_a_whole_keyframe_needs_nothing() -> None:
    sent = video(VP8, [True] + [False] * 99 + [True], [1] * 101)
    async with receiving() as made:
        await made.get(*sent[0].packets, *sent[100].packets)
        assert made.decoded() == [sent[0].data, sent[100].data]
        assert made.keyframe_requests == 0


async def test_a_packet_that_cannot_be_unpacked_leads_to_a_keyframe() -> None:
    """It came, so nobody asks for it again; but its frame never becomes whole."""
    sent = video(VP8, [True] + [False] * 10, [2] * 11)
    async with receiving() as made:
        sent[1].packets[0].payload = b"\x80"
        for frame in sent:
            await made.get(*frame.packets)
            made.now[0] += 1 / 30
        assert made.decoded() == [sent[0].data]
        assert (made.nacks, made.keyframe_requests) == ([], 1)


async def test_after_a_decode_error_the_decoder_goes_on_with_a_keyframe() -> None:
    sent = video(VP8, [True, False, False, True], [1] * 4)
    async with receiving() as made:
        await made.get(*sent[0].packets, *sent[1].packets)
        getattr(made.receiver, uplink._ERRORS).set()
        await made.get(*sent[2].packets, *sent[3].packets)
        assert made.decoded() == [sent[3].data]
        assert made.keyframe_requests == 1
        assert made.uplink.counts == UplinkCounts(keyframes_requested=1, frames_skipped=3, decode_errors=1)


async def test_a_decoder_that_stays_behind_skips_to_a_keyframe() -> None:
    sent = video(VP8, [True] + [False] * 29 + [True], [1] * 31)
    async with receiving() as made:
        for frame in sent[:-1]:
            await made.get(*frame.packets)
            made.now[0] += 1 / 30
        assert made.keyframe_requests == 1
        assert made.decoded() == []
        await made.get(*sent[-1].packets)
        assert made.decoded() == [sent[-1].data]


async def test_a_backlog_that_is_worked_off_in_time_is_kept() -> None:
    sent = video(VP8, [True] + [False] * 29, [1] * 30)
    async with receiving() as made:
        for frame in sent[:1] + sent[2:] + sent[1:2]:
            await made.get(*frame.packets)
        made.now[0] += 0.1
        assert made.decoded() == [frame.data for frame in sent]
        assert made.keyframe_requests == 0


async def test_packets_that_aiortc_throws_away_leave_nothing_to_ask_for() -> None:
    async with receiving() as made:
        await made.get(rtp_stream.packet(rtp_stream.H264, 10, 0, b"\x61\x88a", True))
        made.now[0] += 1.0
        await made.get(rtp_stream.packet(rtp_stream.H264, 12, 0, b"\x61\x88a", True))
        assert (made.nacks, made.keyframe_requests) == ([], 0)
        assert made.uplink._timer is None


async def test_after_close_nothing_is_asked_for() -> None:
    sent = video(VP8, [True, False, False], [2] * 3)
    async with receiving() as made:
        await made.get(*sent[0].packets, sent[1].packets[1])
        made.uplink.close()
        made.uplink.close()
        made.now[0] += 1.0
        await made.get(*sent[2].packets)
        assert made.keyframe_requests == 0
        assert made.uplink._timer is None or made.uplink._timer.cancelled()


@pytest.mark.parametrize("codec", [VP8, rtp_stream.H264], ids=["VP8", "H264"])
async def test_pictures_too_large_are_not_decoded_and_said_once(codec: int, caplog: pytest.LogCaptureFixture) -> None:
    def keyframe(number: int, side: int) -> RtpPacket:
        payload = (
            b"\x10" + vp8_keyframe(side, side)
            if codec == VP8
            else b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (h264_sps(side, side)[3:], b"\x68\xce\x3c\x80", b"\x65\x88\x00"))
        )
        return rtp_stream.packet(codec, number, 3000 * number, payload, marker=True)

    async with receiving() as made:
        getattr(made.receiver, uplink._CODECS)[rtp_stream.H264] = RTCRtpCodecParameters("video/H264", 90_000, payloadType=rtp_stream.H264)
        await made.get(keyframe(1, 16368), keyframe(2, 16368))
        assert made.decoded() == []
        assert made.uplink.counts.frames_skipped == 2
        assert [record.message.split(":")[0] for record in caplog.records] == ["a camera sends pictures that are too large, they are not decoded"]
        made.now[0] += 1.0
        await made.get(rtp_stream.packet(codec, 3, 9000, b"\x11\x01\x02" if codec == VP8 else b"\x61\x88\x00", marker=True))
        assert made.decoded() == []
        assert made.keyframe_requests >= 1
        await made.get(keyframe(4, 640))
        assert len(made.decoded()) == 1


async def test_sources_are_listened_to_up_to_a_number() -> None:
    """aiortc keeps statistics of each for ever, and its router where each belongs."""
    async with receiving() as made:
        table = made.receiver.transport._rtp_router.ssrc_table
        for source in range(1000, 1000 + 3 * uplink.MAX_SOURCES):
            table[source] = made.receiver
            await made.get(rtp_stream.packet(VP8, 1, 3000, b"\x10" + vp8_keyframe(64, 64), marker=True, ssrc=source))
        known = getattr(made.receiver, f"{uplink._P}__remote_streams")
        assert len(known) == len(table) == uplink.MAX_SOURCES
        assert len(made.decoded()) == uplink.MAX_SOURCES

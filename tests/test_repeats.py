"""Which lost packets are sent again: in virtual time, and by a sender."""

from __future__ import annotations

import inspect
import logging

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from realtime.rtc.repeats import BURST_BYTES, SHARE, RepeatGate, limit_repeats

TARGET = 2_000_000


def test_what_is_asked_for_is_repeated_at_once() -> None:
    gate = RepeatGate()
    assert gate.admit([65_535, 0, 1], TARGET, None, 0.0) == [65_535, 0, 1]


def test_not_again_within_a_round_trip() -> None:
    gate = RepeatGate()
    assert gate.admit([7], TARGET, 0.08, 0.0) == [7]
    assert gate.admit([7, 8], TARGET, 0.08, 0.05) == [8]
    assert gate.admit([7, 8], TARGET, 0.08, 0.09) == [7]
    assert gate.admit([7], TARGET, None, 0.095) == []
    assert gate.admit([7], TARGET, None, 0.11) == [7]


def test_a_storm_gets_a_share_of_the_target_only() -> None:
    gate, sent = RepeatGate(), 0
    for step in range(500):
        sent += len(gate.admit(range(step, step + 200), TARGET, None, step / 100))
    assert 0.8 * SHARE * TARGET * 5 / 8 < 1300 * sent < SHARE * TARGET * 5 / 8 + BURST_BYTES


def test_ordinary_loss_is_repeated_in_full() -> None:
    gate, admitted, asked = RepeatGate(), 0, 0
    for packet in range(0, 2000, 20):  # 5 % of 200 packets a second
        asked += 1
        admitted += len(gate.admit([packet], TARGET, 0.05, packet / 200))
    assert admitted == asked


def test_it_forgets_what_is_long_gone_and_survives_a_clock_that_jumps_back() -> None:
    gate = RepeatGate()
    for step in range(5000):
        gate.admit([step], TARGET, 0.0, step / 10)
    assert len(gate._repeated_s) <= 1024
    assert gate.admit([4999], TARGET, 1.0, 0.0) == [4999]


async def test_contract_of_the_sender() -> None:
    assert "for seq in packet.lost:\n                await self._retransmit(seq)" in inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender, repeated = peer.addTransceiver("video").sender, list[int]()

    async def retransmit(number: int) -> None:
        repeated.append(number)

    sender._retransmit = retransmit  # type: ignore[method-assign, assignment]
    assert limit_repeats(sender, lambda: TARGET, lambda: 0.1, lambda: 7.0)
    for _ in range(3):
        await sender._handle_rtcp_packet(RtcpRtpfbPacket(RTCP_RTPFB_NACK, 1, sender._ssrc, lost=[5, 6]))
    assert repeated == [5, 6]
    await peer.close()


def test_another_sender_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not limit_repeats(object(), lambda: TARGET, lambda: None, lambda: 0.0)  # type: ignore[arg-type]
    assert len(caplog.records) == 1

"""The playout-delay extension: what of Chromium's offer is answered, and the bytes on the wire."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, unpack_header_extensions

from realtime.rtc import playout
from realtime.rtc.negotiation import answer_offer
from realtime.rtc.playout import URI, PlayoutDelayMap, accept_playout_delay, write_playout_delay

MID = RTCRtpHeaderExtensionParameters(id=9, uri="urn:ietf:params:rtp-hdrext:sdes:mid")
PLAYOUT = RTCRtpHeaderExtensionParameters(id=5, uri=URI)
FINGERPRINT = ":".join(["4D"] * 32)
CHROMIUM_OFFER = "\r\n".join(
    [
        *["v=0", "o=- 8815362860733652217 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=extmap-allow-mixed", "a=msid-semantic: WMS"],
        *["m=video 9 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", "a=ice-ufrag:Xy4d", "a=ice-pwd:GKJDa12tTwY4zSSwehWQj+lS"],
        *f"a=ice-options:trickle|a=fingerprint:sha-256 {FINGERPRINT}|a=setup:actpass|a=mid:0".split("|"),
        "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:3 urn:3gpp:video-orientation",
        "a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
        "a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space",
        "a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        *["a=sendrecv", "a=msid:- 1e8476ec-88f3-4bf9-864d-fd3e717178b7", "a=rtcp-mux", "a=rtcp-rsize", "a=rtcp-xr:rcvr-rtt=all", "a=rtpmap:96 VP8/90000"],
        *["a=rtcp-fb:96 goog-remb", "a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"],
        *["a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=ssrc-group:FID 2099112173 653596291", "a=ssrc:2099112173 cname:Q4OVBKMQBz287T1l"],
        "a=ssrc:653596291 cname:Q4OVBKMQBz287T1l",
        "",
    ]
)
"""Made by Chromium for addTransceiver("video"); cut down to one codec."""


@pytest.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield connection
    await connection.close()


def extensions_of(sdp: str) -> dict[str, int]:
    return {uri: int(number) for number, uri in re.findall(r"a=extmap:(\d+) (\S+)", sdp)}


async def test_what_chromium_offers_is_answered(peer: RTCPeerConnection) -> None:
    transceiver = peer.addTransceiver("video", "sendrecv")
    answer = await answer_offer(peer, transceiver, CHROMIUM_OFFER)
    answered = extensions_of(answer.sdp)
    assert answered[URI] == 5
    assert answered.items() <= extensions_of(CHROMIUM_OFFER).items()
    assert set(answered) == {URI, MID.uri, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"}


async def test_what_is_not_offered_is_not_answered(peer: RTCPeerConnection) -> None:
    transceiver = peer.addTransceiver("video", "sendrecv")
    answer = await answer_offer(peer, transceiver, CHROMIUM_OFFER.replace(f"a=extmap:5 {URI}\r\n", ""))
    assert URI not in answer.sdp


async def test_it_is_answered_once_and_never_under_the_number_of_another(peer: RTCPeerConnection) -> None:
    transceiver = peer.addTransceiver("video", "sendrecv")
    twice = CHROMIUM_OFFER.replace("a=extmap:6 ", f"a=extmap:12 {URI}\r\na=extmap:6 ")
    taken = CHROMIUM_OFFER.replace(f"a=extmap:5 {URI}", f"a=extmap:9 {URI}")
    await peer.setRemoteDescription(RTCSessionDescription(CHROMIUM_OFFER, "offer"))
    assert not accept_playout_delay(transceiver, taken)
    assert accept_playout_delay(transceiver, twice)
    assert accept_playout_delay(transceiver, CHROMIUM_OFFER)
    assert [each.uri for each in transceiver._headerExtensions].count(URI) == 1


def packet_bytes(extensions_map: HeaderExtensionsMap, **values: object) -> bytes:
    packet = RtpPacket(payload_type=96, sequence_number=7, timestamp=9, ssrc=1, payload=b"xyz")
    packet.extensions = HeaderExtensions(**values)  # type: ignore[arg-type]
    return packet.serialize(extensions_map)


def test_the_bytes_on_the_wire() -> None:
    """RFC 8285, section 4.2: one-byte header, id 5, length 3, twelve bits of 0 and twelve bits of 0."""
    ours = PlayoutDelayMap()
    ours.configure(RTCRtpParameters(headerExtensions=[MID, PLAYOUT]))
    data = packet_bytes(ours, mid="0")
    assert data[0] >> 4 & 1
    assert data[12:] == bytes.fromhex("bede 0002 90 30 52 000000 0000") + b"xyz"
    stock = HeaderExtensionsMap()
    stock.configure(RTCRtpParameters(headerExtensions=[MID]))
    assert RtpPacket.parse(data, stock).extensions.mid == "0"
    assert RtpPacket.parse(data, stock).payload == b"xyz"


def test_numbers_above_14_take_the_two_byte_header() -> None:
    ours = PlayoutDelayMap()
    ours.configure(RTCRtpParameters(headerExtensions=[MID, RTCRtpHeaderExtensionParameters(id=15, uri=URI)]))
    data = packet_bytes(ours, mid="0")
    assert data[12:14] == bytes.fromhex("1000")
    assert dict(unpack_header_extensions(0x1000, data[16:-3])) == {9: b"0", 15: bytes(3)}


def test_where_it_was_not_negotiated_the_bytes_are_stock() -> None:
    ours, stock = PlayoutDelayMap(), HeaderExtensionsMap()
    for each in (ours, stock):
        each.configure(RTCRtpParameters(headerExtensions=[MID]))
    assert packet_bytes(ours, mid="0") == packet_bytes(stock, mid="0")
    assert packet_bytes(ours) == packet_bytes(stock)


async def test_contract_of_the_sender(peer: RTCPeerConnection) -> None:
    sender = peer.addTransceiver("video").sender
    assert write_playout_delay(sender)
    assert type(getattr(sender, playout._MAP)) is PlayoutDelayMap
    assert not write_playout_delay(sender)
    source = inspect.getsource(RTCRtpSender)
    assert "self.__rtp_header_extensions_map.configure(parameters)" in source
    assert source.count("packet.serialize(self.__rtp_header_extensions_map)") == 2
    assert "extensions_map.set(self.extensions)" in inspect.getsource(RtpPacket.serialize)


async def test_contract_of_the_transceiver(peer: RTCPeerConnection) -> None:
    transceiver = peer.addTransceiver("video")
    await peer.setRemoteDescription(RTCSessionDescription(CHROMIUM_OFFER, "offer"))
    assert isinstance(transceiver, RTCRtpTransceiver)
    assert isinstance(transceiver._headerExtensions, list)
    assert {type(each) for each in transceiver._headerExtensions} == {RTCRtpHeaderExtensionParameters}


async def test_others_are_left_alone_with_a_warning(peer: RTCPeerConnection, caplog: pytest.LogCaptureFixture) -> None:
    transceiver = peer.addTransceiver("video")
    await peer.setRemoteDescription(RTCSessionDescription(CHROMIUM_OFFER, "offer"))
    transceiver._headerExtensions = ()  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        assert not write_playout_delay(object())  # type: ignore[arg-type]
        assert not accept_playout_delay(transceiver, CHROMIUM_OFFER)
    assert len(caplog.records) == 2
    transceiver._headerExtensions = []

"""A path that narrows and widens again, between two aiortc peers over the relay: what is sent follows it, and what is shown stays fresh."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median

import av
import cv2
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket

from realtime.config import Encoder
from realtime.rtc import downlink as downlink_module
from realtime.rtc.bitrate import BitrateRange
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.downlink import Downlink, DownlinkSettings, improve_downlink
from realtime.rtc.ladder import STEPS
from realtime.rtc.uplink import improve_uplink
from tests.fakes import read_stamp, stamp
from tests.frames import frames_of
from tests.peers import until
from tests.relay import Path, Relay, relaying

SIZE, FPS = 512, 30
RANGE = BitrateRange(start=2_500_000, lowest=100_000, highest=2_500_000)
WIDE = Path(delay_s=0.01)
NARROW = Path(delay_s=0.01, bandwidth_bps=160_000, queue_bytes=15_000)


class Avatar(MediaStreamTrack):
    """Clouds that drift, worth some 2 Mbit/s; the milliseconds since the beginning are stamped in."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(3)
        clouds = cv2.resize(random.normal(128, 38, (80, 80)).astype(np.float32), (SIZE + 100, SIZE + 100), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 5, (16, SIZE, SIZE))
        self._pictures = [np.clip(clouds[6 * index :, 6 * index :][:SIZE, :SIZE] + grain[index], 0, 255).astype(np.uint8) for index in range(16)]
        self._count = 0
        self.begun_s = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._count += 1
        await asyncio.sleep(max(0.0, self.begun_s + self._count / FPS - time.monotonic()))
        planes = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
        place = self._count % 30
        planes[:SIZE] = self._pictures[min(place, 30 - place)]
        age_s = time.monotonic() - self.begun_s
        stamp(planes[:SIZE], round(1000 * age_s))
        frame = av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
        frame.pts, frame.time_base = round(age_s * 90_000), Fraction(1, 90_000)
        return frame


@dataclass
class Call:
    """What goes on; `shown` grows: when each frame came, its width, and how old it was."""

    relay: Relay
    avatar: Avatar
    downlink: Downlink
    shown: list[tuple[float, int, float]] = field(default_factory=list)

    async def take(self, track: MediaStreamTrack) -> None:
        async for frame in frames_of(track):
            now = time.monotonic()
            number = read_stamp(np.asarray(cv2.resize(frame.to_ndarray(format="gray"), (SIZE, SIZE)), np.uint8))
            if number is not None:
                self.shown.append((now, frame.width, now - self.avatar.begun_s - number / 1000))

    def since(self, begin_s: float) -> list[tuple[float, int, float]]:
        return [each for each in self.shown if each[0] >= begin_s]


@asynccontextmanager
async def calling(encoder: Encoder, codec: str) -> AsyncIterator[Call]:
    """Begins once the first frame is shown."""
    server, client = RTCPeerConnection(RTCConfiguration(iceServers=[])), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    avatar = Avatar()
    tracks: list[MediaStreamTrack] = []
    client.on("track", tracks.append)
    receiving = client.addTransceiver("video", "recvonly")
    receiving.setCodecPreferences([each for each in RTCRtpSender.getCapabilities("video").codecs if each.mimeType in (f"video/{codec}", "video/rtx")])
    uplink = improve_uplink(receiving.receiver)
    await client.setLocalDescription(await client.createOffer())
    offer = "\r\n".join(line for line in client.localDescription.sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of-candidates")))
    sending = server.addTransceiver(avatar, "sendonly")
    await server.setRemoteDescription(RTCSessionDescription(offer + "\r\n", "offer"))
    answer = await server.createAnswer()
    downlink = improve_downlink(sending.sender, codec, DownlinkSettings(encoder, RANGE), lambda _: None)
    offer_addresses(server, Addressing(loopback=True))
    await server.setLocalDescription(answer)
    async with relaying(seed=5) as relay:
        relay.up = relay.down = WIDE
        call = Call(relay, avatar, downlink)
        await client.setRemoteDescription(RTCSessionDescription(await relay.between(server.localDescription.sdp), "answer"))
        task = asyncio.create_task(call.take(tracks[0]))
        try:
            await until(lambda: call.shown)
            yield call
        finally:
            uplink.close()
            await client.close()
            await server.close()
            await task


@pytest.mark.parametrize(("encoder", "codec", "width"), [(Encoder.VP8, "VP8", 384), (Encoder.X264, "H264", SIZE)])
async def test_a_path_that_narrows_and_widens(encoder: Encoder, codec: str, width: int) -> None:
    """`width`: how far its recovery is waited for."""
    async with calling(encoder, codec) as call:
        downlink = call.downlink
        await asyncio.sleep(1)
        assert downlink.size == (SIZE, SIZE)
        assert downlink.target_bitrate == RANGE.start
        assert downlink.keyframes <= 2

        call.relay.down = NARROW
        narrowed = time.monotonic()
        await until(lambda: downlink.step.every == 2 and downlink.size == (256, 256), 8)
        assert downlink.target_bitrate < 160_000
        await until(lambda: any(shown == 256 for _, shown, _ in call.since(narrowed)), 8)
        await asyncio.sleep(1)  # the queue drains
        calm = time.monotonic()
        await asyncio.sleep(1)
        late = call.since(calm)
        assert len(late) >= 5
        assert median(age for _, _, age in late) < 0.6  # the bottleneck's full queue alone is 0.75 s

        call.relay.down = WIDE
        widened = time.monotonic()
        await until(lambda: downlink.size[0] >= width and downlink.step.every == 1, 20)
        await until(lambda: any(shown >= width for _, shown, _ in call.since(widened)), 5)
        assert downlink.target_bitrate > 400_000
        assert downlink.sent_bitrate > 0
        assert downlink.rtt_s is not None


@pytest.fixture
async def bent() -> AsyncIterator[tuple[RTCRtpSender, Downlink, list[float]]]:
    """A sender that has not begun, its downlink, and a clock to move."""
    peer, now = RTCPeerConnection(RTCConfiguration(iceServers=[])), [0.0]
    sender = peer.addTransceiver("video").sender
    yield sender, improve_downlink(sender, "VP8", DownlinkSettings(Encoder.VP8, RANGE), lambda _: None, lambda: now[0]), now
    await peer.close()


def report(ssrc: int, lost: int, highest: int) -> RtcpRrPacket:
    return RtcpRrPacket(1, [RtcpReceiverInfo(ssrc, fraction_lost=255, packets_lost=lost, highest_sequence=highest, jitter=0, lsr=0, dlsr=0)])


async def test_reports_of_loss_lower_the_bitrate(bent: tuple[RTCRtpSender, Downlink, list[float]]) -> None:
    sender, downlink, now = bent
    await sender._handle_rtcp_packet(report(sender._ssrc, 0, 1000))
    now[0] = 1.0
    await sender._handle_rtcp_packet(report(sender._ssrc + 1, 150, 1200))
    assert downlink.target_bitrate == RANGE.start
    await sender._handle_rtcp_packet(report(sender._ssrc, 100, 1200))
    assert downlink.loss == 0.5
    assert downlink.target_bitrate == round(0.75 * RANGE.start)
    assert "remote-inbound-rtp_" in str((await sender.getStats()).keys())  # the stock handling goes on


async def test_a_storm_of_wishes_for_lost_packets_is_weathered(bent: tuple[RTCRtpSender, Downlink, list[float]]) -> None:
    sender, _, now = bent
    repeated: list[int] = []

    async def retransmit(number: int) -> None:
        repeated.append(number)

    sender._retransmit = retransmit  # type: ignore[method-assign, assignment]
    for step in range(100):
        now[0] = step / 1000
        await sender._handle_rtcp_packet(RtcpRtpfbPacket(RTCP_RTPFB_NACK, 1, sender._ssrc, lost=list(range(300, 310))))
    assert repeated[:10] == list(range(300, 310))
    assert len(repeated) < 25


async def test_pictures_lost_bring_a_keyframe(bent: tuple[RTCRtpSender, Downlink, list[float]]) -> None:
    sender, downlink, _ = bent
    await sender._handle_rtcp_packet(RtcpPsfbPacket(RTCP_PSFB_PLI, 1, sender._ssrc))
    assert getattr(sender, "_RTCRtpSender__force_keyframe") is True  # noqa: B009
    downlink._encoder.force_keyframe()
    assert (downlink.size, downlink.keyframes, downlink.rtt_s, downlink.sent_bitrate, downlink.frame_rate) == ((0, 0), 0, None, 0.0, FPS)
    assert downlink.step == STEPS[0]


async def test_contract_of_the_reports() -> None:
    assert list(inspect.signature(RTCRtpSender._handle_rtcp_packet).parameters) == ["self", "packet"]
    source = inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    assert "self.__encoder.target_bitrate = bitrate" in source
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    assert getattr(sender, downlink_module._LAST_REPORT, "absent") is None
    assert getattr(sender, downlink_module._LAST_REPORT_TIME, "absent") is None
    await peer.close()
    assert "rtt = time.time() - self.__lsr_time - (report.dlsr / 65536)" in source


def test_a_codec_that_the_encoder_cannot_make_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one that --encoder x264 can make, got VP8"):
        improve_downlink(object(), "VP8", DownlinkSettings(Encoder.X264, RANGE), lambda _: None)  # type: ignore[arg-type]


def test_another_sender_is_left_alone_with_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        improve_downlink(object(), "VP8", DownlinkSettings(Encoder.VP8, RANGE), lambda _: None)  # type: ignore[arg-type]
        assert not downlink_module._hear_reports(object(), None, None, time.monotonic)  # type: ignore[arg-type]
    assert len(caplog.records) == 3

"""WHIP and WHEP clients in the test's own process: offers as OBS makes them, and viewers that read the stamps of tests.fakes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from realtime.config import ServerConfig
from realtime.pacing import CLOCK_HZ
from realtime.session import Session
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.viewer import Viewer
from realtime.worker import Worker
from tests import fakes
from tests.frames import frames_of
from tests.serving import ROOT

OFFER = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
NAME = "studio-camera-1"


def as_obs_makes_it(sdp: str) -> str:
    """Without candidates, header extensions, retransmission and the feedback that OBS leaves out; transport attributes once, at session level."""
    head, *sections = re.split(r"(?=^m=)", sdp, flags=re.MULTILINE)
    transport = re.findall(r"^a=(?:ice-ufrag|ice-pwd|fingerprint:sha-256|setup).*\r\n", sections[0], re.MULTILINE)
    kept = []
    for section in sections:
        gone = r"^a=(?:candidate|end-of-candidates|extmap|ice-|fingerprint|setup|rtcp-fb|ssrc-group|rtcp:).*\r\n"
        for payload_type in re.findall(r"^a=rtpmap:(\d+) rtx/", section, re.MULTILINE):
            section = re.sub(rf"^a=(?:rtpmap|fmtp):{payload_type} .*\r\n", "", section, flags=re.MULTILINE)
            section = re.sub(rf"^(m=.*) {payload_type}\b", r"\1", section, flags=re.MULTILINE)
        kept.append(re.sub(gone, "", section, flags=re.MULTILINE))
    return head + "".join(transport) + "".join(kept)


@dataclass
class Client:
    """One WHIP or WHEP client."""

    connection: RTCPeerConnection
    stamps: list[int | None] = field(default_factory=list)
    """What it saw, where it looks."""
    reader: asyncio.Task[None] | None = None

    @property
    def sdp(self) -> str:
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    @property
    def seen(self) -> list[int]:
        return [stamp for stamp in self.stamps if stamp is not None]


async def _read(track: MediaStreamTrack, stamps: list[int | None]) -> None:
    async for frame in frames_of(track):
        stamps.append(fakes.read_stamp(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)[: frame.height]))


@asynccontextmanager
async def offering(
    direction: str, codec: str | None = None, audio: bool = False, reads: bool = True, camera: MediaStreamTrack | None = None
) -> AsyncIterator[Client]:
    """A client that has made its offer.

    Args:
        direction: `sendonly` (it sends green video) or `recvonly`.
        codec: such as `H264`; None: all that aiortc knows.
        reads: whether it looks at what it gets.
        camera: sent in place of green video.
    """
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client = Client(connection)
    if audio:
        connection.addTransceiver("audio", direction)
    transceiver = connection.addTransceiver((camera or VideoStreamTrack()) if direction == "sendonly" else "video", direction)
    if codec is not None:
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([each for each in codecs if each.mimeType in (f"video/{codec}", "video/rtx")])

    def on_track(track: MediaStreamTrack) -> None:
        if track.kind == "video" and reads:
            client.reader = asyncio.create_task(_read(track, client.stamps))

    connection.on("track", on_track)
    await connection.setLocalDescription(await connection.createOffer())
    try:
        yield client
    finally:
        await connection.close()
        if client.reader is not None:
            client.reader.cancel()
            await asyncio.gather(client.reader, return_exceptions=True)


@dataclass
class Studio:
    """A server, and a client of its HTTP side."""

    http: TestClient[Any, Any]
    sessions: Sessions
    factory: fakes.FakeFactory

    async def publish(self, client: Client, avatar: str = "ada", name: str | None = NAME, obs: bool = True) -> ClientResponse:
        path = f"/whip/{avatar}" + ("" if name is None else f"?session={name}")
        response = await self.http.post(path, data=as_obs_makes_it(client.sdp) if obs else client.sdp, headers=OFFER)
        if response.status == 201:
            await client.accept(await response.text())
        return response

    async def watch(self, client: Client, session: str = NAME) -> ClientResponse:
        response = await self.http.post(f"/whep/{session}", data=client.sdp, headers=OFFER)
        if response.status == 201:
            await client.accept(await response.text())
        return response

    def session(self, name: str = NAME) -> Session:
        return self.sessions.get(name)

    def viewer(self, location: str) -> Viewer:
        _, _, session, _, viewer = location.split("/")
        return self.sessions.get(session).audience.get(viewer)


@asynccontextmanager
async def studio(config: ServerConfig | None = None) -> AsyncIterator[Studio]:
    config = config or fakes.config(size=192)
    factory = fakes.FakeFactory(config.size)
    worker: Worker = fakes.started_worker(factory)
    sessions = Sessions(config, worker)
    application: web.Application = build_application(sessions, fakes.gallery("ada", "bo"), ROOT / "web")
    try:
        async with TestClient(TestServer(application)) as http:
            yield Studio(http, sessions, factory)
    finally:
        await sessions.aclose()
        worker.close()


class OwnKeyframes(MediaStreamTrack):
    """H.264 as OBS sends it: High profile, a keyframe every `interval` pictures, none on request, the first ones lost because DTLS was not done.

    Args:
        lost: how many are.
    """

    kind = "video"

    def __init__(self, interval: int, lost: int, size: int = 320) -> None:
        super().__init__()
        self._lost = lost
        self._context = av.CodecContext.create("libx264", "w")
        assert isinstance(self._context, VideoCodecContext)
        self._context.width = self._context.height = size
        self._context.pix_fmt, self._context.framerate, self._context.time_base = "yuv420p", Fraction(30, 1), Fraction(1, CLOCK_HZ)
        self._context.bit_rate, self._context.gop_size, self._context.max_b_frames = 1_000_000, interval, 0
        self._context.options = {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0"}
        self._context.profile = "High"
        self._count = 0
        self.keyframes = 0
        """Sent so far."""

    async def recv(self) -> Packet[Stream]:
        while True:
            await asyncio.sleep(1 / 30)
            frame = av.VideoFrame(self._context.width, self._context.height, "yuv420p")
            frame.pts, frame.time_base = 3000 * self._count, Fraction(1, CLOCK_HZ)
            [packet] = self._context.encode(frame)
            self._count += 1
            if self._count > self._lost:
                self.keyframes += packet.is_keyframe
                packet.time_base = Fraction(1, CLOCK_HZ)
                return packet

"""A WebRTC peer in the test's own process, for tests of sessions and signalling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from realtime.config import ServerConfig
from realtime.sessions import Sessions
from realtime.worker import Worker
from tests import fakes


@dataclass
class Peer:
    """One side of a call, and what it heard on the control channel."""

    connection: RTCPeerConnection
    channel: RTCDataChannel
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sdp(self) -> str:
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def say(self, message: object) -> None:
        self.channel.send(message if isinstance(message, str | bytes) else json.dumps({"v": 1, **message}))  # type: ignore[dict-item]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]


@asynccontextmanager
async def calling(audio: bool = False, camera: MediaStreamTrack | None = None, configuration: RTCConfiguration | None = None) -> AsyncIterator[Peer]:
    """A peer that has made its offer; it sends green video, or the camera's, once it is answered."""
    connection = RTCPeerConnection(configuration or RTCConfiguration(iceServers=[]))
    connection.addTransceiver(camera or VideoStreamTrack(), "sendrecv")
    if audio:
        connection.addTransceiver("audio", "sendrecv")
    peer = Peer(connection, connection.createDataChannel("control"))
    peer.channel.on("message", lambda text: peer.heard.append(json.loads(text)))
    await connection.setLocalDescription(await connection.createOffer())
    try:
        yield peer
    finally:
        await connection.close()


@dataclass
class House:
    """The server without its HTTP side."""

    factory: fakes.FakeFactory
    worker: Worker
    sessions: Sessions

    async def call(self, peer: Peer) -> Any:
        session, answer = await self.sessions.open(peer.sdp, "ada")
        await peer.accept(answer)
        return session


@asynccontextmanager
async def house(factory: fakes.FakeFactory | None = None, config: ServerConfig | None = None) -> AsyncIterator[House]:
    config = config or fakes.config(size=128)
    factory = factory or fakes.FakeFactory(config.size)
    worker = fakes.started_worker(factory)
    sessions = Sessions(config, worker)
    try:
        yield House(factory, worker, sessions)
    finally:
        await sessions.aclose()
        worker.close()


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Waits until something is true; fails when it never is."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)

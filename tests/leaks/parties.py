"""Those who look at a real server: a driver whose camera carries the barcode, and viewers. All that they are sent is kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.virtualcam.feed import Newest, Shot
from realtime.virtualcam.options import Options, Size, Watched
from realtime.virtualcam.picture import card
from realtime.virtualcam.remote import RemoteSource
from tests.leaks.camera import BarcodeCamera
from tests.leaks.outputs import Output, Sight, Stage
from tests.loopback_client import prefer
from tests.peers import until


@dataclass
class Driver:
    """One session, and what its page would see."""

    url: str
    http: aiohttp.ClientSession
    connection: RTCPeerConnection
    camera: BarcodeCamera
    channel: RTCDataChannel
    output: Output
    heard: list[dict[str, Any]] = field(default_factory=list)
    session: str = ""
    _asked: int = 0

    def say(self, kind: str, **fields: object) -> None:
        self.channel.send(json.dumps({"v": 1, "type": kind, **fields}))

    async def ask(self, kind: str, **fields: object) -> None:
        """Says it, and waits until it has been obeyed."""
        self._asked += 1
        number = self._asked
        self.say(kind, id=number, **fields)
        await until(lambda: any(message["type"] == "ack" and message.get("id") == number for message in self.heard), 20.0)

    def states(self) -> list[str]:
        return [str(message["state"]) for message in self.heard if message["type"] == "state"]

    async def live(self) -> None:
        await until(lambda: "live" in self.states(), 60.0)

    async def stats(self) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/sessions/{self.session}/stats") as response:
            assert response.status == 200
            stats: dict[str, Any] = await response.json()
            return stats

    async def end(self) -> None:
        async with self.http.delete(f"{self.url}/sessions/{self.session}") as response:
            assert response.status == 204


@asynccontextmanager
async def _connection(codec: str, source: BarcodeCamera | None, output: Output) -> AsyncIterator[RTCPeerConnection]:
    """One that has made nothing but its transceiver."""
    connection, readers = RTCPeerConnection(RTCConfiguration(iceServers=[])), list[asyncio.Task[None]]()
    prefer(connection.addTransceiver(source or "video", "sendrecv" if source else "recvonly"), codec)

    def on_track(track: MediaStreamTrack) -> None:
        readers.append(asyncio.create_task(output.take(track)))

    connection.on("track", on_track)
    offer_addresses(connection, Addressing(loopback=True))
    try:
        yield connection
    finally:
        await connection.close()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


@asynccontextmanager
async def driving(url: str, codec: str, stage: Stage, **offer: str) -> AsyncIterator[Driver]:
    """A session, from its offer until the block ends.

    Args:
        codec: VP8 or H264.
        offer: further fields of it.
    """
    camera, output = BarcodeCamera(), Output(f"driver's {codec}", stage)
    async with aiohttp.ClientSession() as http, _connection(codec, camera, output) as connection:
        driver = Driver(url, http, connection, camera, connection.createDataChannel("control"), output)
        driver.channel.on("message", lambda text: driver.heard.append(json.loads(text)))
        await connection.setLocalDescription(await connection.createOffer())
        async with http.post(f"{url}/offer", json={"sdp": connection.localDescription.sdp, "type": "offer", **offer}) as response:
            answer = await response.json()
            assert response.status == 200, answer
        driver.session = answer["session_id"]
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        pinging = asyncio.create_task(_ping(driver))
        try:
            yield driver
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            camera.stop()


async def _ping(driver: Driver) -> None:
    while True:
        if driver.channel.readyState == "open":
            driver.say("ping", t=0.0)
        await asyncio.sleep(0.5)


@asynccontextmanager
async def watching(driver: Driver, codec: str) -> AsyncIterator[Output]:
    """Somebody who watches over WHEP."""
    output = Output(f"viewer's {codec}", driver.output.stage)
    async with _connection(codec, None, output) as connection:
        await connection.setLocalDescription(await connection.createOffer())
        body, kind = connection.localDescription.sdp, {"Content-Type": "application/sdp"}
        async with driver.http.post(f"{driver.url}/whep/{driver.session}", data=body, headers=kind) as response:
            answer = await response.text()
            assert response.status == 201, answer
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        yield output


@asynccontextmanager
async def virtual_camera(driver: Driver, size: int) -> AsyncIterator[Output]:
    """The session as a camera of this machine, `python -m realtime.virtualcam --session`: every picture that it would send."""
    output = Output("virtual camera", driver.output.stage)
    options = Options(session=Watched(driver.url, driver.session), size=Size(size, size))
    newest = Kept(Shot(card(size)), output)
    source = RemoteSource(Watched(driver.url, driver.session), options, newest, lambda text: None)
    try:
        yield output
    finally:
        await asyncio.to_thread(source.close)


class Kept(Newest):
    """What the virtual camera takes its pictures from; keeps them all, one that a newer one replaced at once too."""

    def __init__(self, first: Shot, output: Output) -> None:
        super().__init__(first)
        self._output = output
        self.put(first)

    def put(self, shot: Shot) -> None:
        self._output.sights.append(Sight(self._output.stage.name, time.monotonic(), np.asarray(shot.i420)))
        super().put(shot)

"""Servers that send back what they get, to time the way alone: Headcast's media core around a renderer that copies, or aiortc as it comes.

    python -m tests.benchmarks.echo --port 0            # Headcast; every other flag as server.py's
    python -m tests.benchmarks.echo --port 0 --stock    # plain aiortc

With `--render-ms N` each frame takes so long, as if it were rendered.

For benchmarks only: Headcast itself never sends a webcam picture back.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time

import cv2
import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from realtime.flags import read_config_or_exit
from realtime.packets import RenderedFrame, Tracking, VideoPacket
from realtime.rtc.candidates import without_names
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from server import PAGE, serve
from tests.fakes import Behaviour, FakeFactory, FakeReenactor, gallery


class EchoReenactor(FakeReenactor):
    """Shows the webcam frame itself."""

    def step(self, packet: VideoPacket) -> RenderedFrame:
        time.sleep(self.behaviour.delay_s)
        i420 = np.asarray(cv2.cvtColor(packet.image, cv2.COLOR_RGB2YUV_I420), np.uint8)
        return RenderedFrame(i420, packet.pts_s, packet.received_at, Tracking.OK)


class EchoFactory(FakeFactory):
    def create(self, avatar_id: str) -> EchoReenactor:
        return EchoReenactor(self.behaviours[0], avatar_id, self.size)


class StockEcho(MediaStreamTrack):
    """What an aiortc example does: each frame received is a frame sent, in turn."""

    kind = "video"

    def __init__(self, source: MediaStreamTrack, render_s: float) -> None:
        super().__init__()
        self._source = source
        self._render_s = render_s

    async def recv(self) -> VideoFrame:
        frame = await self._source.recv()
        assert isinstance(frame, VideoFrame)
        if self._render_s:
            await asyncio.to_thread(time.sleep, self._render_s)
        return frame


async def serve_stock(render_s: float) -> None:
    """Until the process ends; the address is told as server.py tells it."""
    peers = set()

    async def offer(request: web.Request) -> web.Response:
        body = await request.json()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.add(peer)
        peer.on("track", lambda track: peer.addTrack(StockEcho(track, render_s)))
        await peer.setRemoteDescription(RTCSessionDescription(without_names(body["sdp"]), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.json_response({"sdp": peer.localDescription.sdp, "type": "answer", "session_id": "stock"})

    application = web.Application()
    application.add_routes([web.post("/offer", offer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"Stock aiortc is ready: http://localhost:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--render-ms", type=float, default=0.0)
    options, others = parser.parse_known_args()
    if options.stock:
        asyncio.run(serve_stock(options.render_ms / 1e3))
        return 0
    config = read_config_or_exit(others, os.environ)
    worker = Worker(EchoFactory(config.size, [Behaviour(delay_s=options.render_ms / 1e3)]))
    sessions = Sessions(config, worker)
    return asyncio.run(serve(config, worker, build_application(sessions, gallery(), PAGE), sessions, None))


if __name__ == "__main__":
    sys.exit(main())

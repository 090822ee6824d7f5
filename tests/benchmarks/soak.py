"""Hours in minutes: one call that lasts, and others that come and go, while the server's memory, descriptors, threads and latency are watched.

    python -m tests.benchmarks.soak --minutes 20 [--cycles 40] --out soak.json

JSON out: every quantity at the beginning, at the end, at most, and its slope an hour after the first fifth, in which caches fill. The calls that come and go
end in turn by a DELETE, by closing the connection, and without a word, as a crashed browser does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.benchmarks.report import emit, machine
from tests.frames import frames_of
from tests.loopback_client import Camera, Clip, Options, improve, prefer
from tests.processes import server_process
from tests.serving import ROOT

SAMPLE_EVERY_S = 5.0
CALL_S = 4.0
FREED_S = 5.0
ENDINGS = ("delete", "close", "vanish")


@dataclass
class Caller:
    """One call of an aiortc client that sends a clip and throws away what comes back."""

    url: str
    clip: Clip
    codec: str
    http: aiohttp.ClientSession
    session_id: str = ""
    frames: int = 0
    peer: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[])))
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def call(self) -> None:
        transceiver = self.peer.addTransceiver(Camera(self.clip, 30.0), "sendrecv")
        prefer(transceiver, self.codec)
        improve(transceiver, self.codec)
        self.peer.on("track", lambda track: self.tasks.append(asyncio.create_task(self._drain(track))))
        channel = self.peer.createDataChannel("control")
        channel.on("open", lambda: self.tasks.append(asyncio.create_task(self._ping(channel))))
        await self.peer.setLocalDescription(await self.peer.createOffer())
        async with self.http.post(f"{self.url}/offer", json={"sdp": self.peer.localDescription.sdp, "type": "offer"}) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
        self.session_id = answer["session_id"]
        await self.peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def stats(self) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/sessions/{self.session_id}/stats") as response:
            return dict(await response.json())

    async def end(self, how: str) -> None:
        if how == "delete":
            async with self.http.delete(f"{self.url}/sessions/{self.session_id}"):
                pass
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if how == "vanish":
            for transceiver in self.peer.getTransceivers():
                await transceiver.sender.transport.transport.stop()
        await self.peer.close()

    async def _drain(self, track: MediaStreamTrack) -> None:
        async for _ in frames_of(track):
            self.frames += 1

    async def _ping(self, channel: Any) -> None:
        while channel.readyState == "open":
            channel.send(json.dumps({"v": 1, "type": "ping", "t": time.monotonic()}))
            await asyncio.sleep(1.0)


@asynccontextmanager
async def calling(url: str, clip: Clip, codec: str, ending: str) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        caller = Caller(url, clip, codec, http)
        try:
            await caller.call()
            yield caller
        finally:
            await caller.end(ending)


async def watch(process: psutil.Process, caller: Caller, samples: list[dict[str, float]]) -> None:
    """Samples the server and the call that lasts, until cancelled."""
    start = time.monotonic()
    while True:
        stats = await caller.stats()
        with process.oneshot():
            sample = {"rss_mb": process.memory_info().rss / 2**20, "descriptors": process.num_fds(), "threads": process.num_threads()}
        async with caller.http.get(f"{caller.url}/readyz") as response:
            sample["sessions"] = (await response.json())["sessions"]
        sample |= {"latency_p50_ms": stats["latency_ms"]["p50"], "latency_p95_ms": stats["latency_ms"]["p95"], "queue_age_p95_ms": stats["queue_age_ms"]["p95"]}
        sample |= {"fps_out": stats["fps_out"], "at_s": time.monotonic() - start}
        samples.append(sample)
        await asyncio.sleep(SAMPLE_EVERY_S)


async def churn(url: str, clip: Clip, codec: str, cycles: int, seconds: float) -> dict[str, int]:
    """Calls that come and go, one after the other."""
    heard = dict.fromkeys(ENDINGS, 0)
    for cycle in range(cycles):
        begin = time.monotonic()
        ending = ENDINGS[cycle % len(ENDINGS)]
        async with calling(url, clip, codec, ending) as caller:
            await asyncio.sleep(CALL_S)
            heard[ending] += caller.frames > 0
        await asyncio.sleep(max(FREED_S, begin + seconds / cycles - time.monotonic()))
    return heard


def trend(samples: Sequence[dict[str, float]], name: str) -> dict[str, float]:
    """How a quantity went; the slope is of the last four fifths."""
    values = np.array([sample[name] for sample in samples])
    hours = np.array([sample["at_s"] for sample in samples]) / 3600
    late = slice(len(values) // 5, None)
    slope = float(np.polyfit(hours[late], values[late], 1)[0]) if len(values) > 5 else 0.0
    found = {"first": values[0], "at_a_fifth": values[late][0], "last": values[-1], "max": values.max(), "slope_per_hour": slope}
    return {key: round(float(value), 2) for key, value in found.items()}


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    seconds = 60.0 * options.minutes
    clip = Clip(Options("", clip=options.clip if options.clip.is_file() else None, seconds=10.0))
    samples: list[dict[str, float]] = []
    async with server_process("server.py", "--max-sessions", "4") as server:
        async with calling(server.url, clip, options.codec, "delete") as lasting:
            await asyncio.sleep(3.0)
            watching = asyncio.create_task(watch(psutil.Process(server.process.pid), lasting, samples))
            heard = await churn(server.url, clip, options.codec, options.cycles, seconds)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            frames = lasting.frames
            stats = await lasting.stats()
        code, complaints = await server.stop()
    names = [name for name in samples[0] if name != "at_s"]
    return {
        "minutes": round(samples[-1]["at_s"] / 60, 1),
        "cycles": options.cycles,
        "cycles_with_pictures": heard,
        "frames_of_the_lasting_call": frames,
        "errors": stats["errors"],
        "dropped": stats["dropped"],
        "trends": {name: trend(samples, name) for name in names},
        "exit_code": code,
        "complaints": complaints.splitlines()[:5],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Watches a server for some minutes; prints JSON.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--cycles", type=int, default=40, help="calls that come and go meanwhile")
    parser.add_argument("--codec", choices=("VP8", "H264"), default="VP8")
    parser.add_argument("--clip", type=Path, default=ROOT.parent / "shared" / "data" / "talking_man_512.mp4")
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    emit({"machine": machine(), **asyncio.run(soak(options))}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

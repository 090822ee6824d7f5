"""An hour of coming and going: one call that lasts, others of every kind; the server's memory, descriptors, threads, processes and latency are watched.

    python -m tests.benchmarks.soak --minutes 60 --out soak.json

JSON out: of every quantity the median, the 95th percentile and the slope an hour with its standard error, after the first fifth, in which caches fill. The
calls that come and go end in turn by a DELETE, by closing the connection and without a word, as a crashed browser does; in others the renderer is killed, the
avatar is changed, or somebody watches. Exits with 1 where a quantity clearly rises, a call brings no pictures, or something is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
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
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from tests.benchmarks.report import emit, machine
from tests.frames import frames_of
from tests.loopback_client import Camera, Clip, Options, improve, prefer
from tests.processes import server_process
from tests.serving import ROOT

SAMPLE_EVERY_S = 10.0
CALL_S = 4.0
FREED_S = 6.0
EXPECTED = "the avatar's work failed"
"""The server says so of the renderers that are killed here, with a traceback."""
KINDS = ("delete", "close", "vanish", "kill", "switch", "watch")
"""The first three say how a call ends, the others what happens in it; these end by a DELETE."""
SURE = 3.0
"""A slope of so many standard errors is not by chance."""
MOST_RISE = {"_mb": 20.0, "descriptors": 4.0, "threads": 8.0, "processes": 1.5, "sessions": 1.5, "_ms": 3.0}
"""What a quantity, by the end of its name, may rise over a whole run without being told a leak: caches of malloc and executors, calls at a sample's time."""
JUDGED_MINUTES = 10.0
"""In a shorter run caches still fill: its slopes are told and not judged."""
BLOCKS = 30
"""A run's samples are put together into so many means at most: single ones hang together, and would make slopes look surer than they are."""


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
    channel: RTCDataChannel | None = None

    async def call(self) -> None:
        transceiver = self.peer.addTransceiver(Camera(self.clip, 30.0), "sendrecv")
        prefer(transceiver, self.codec)
        improve(transceiver, self.codec)
        self.peer.on("track", lambda track: self.tasks.append(asyncio.create_task(self._drain(track))))
        channel = self.channel = self.peer.createDataChannel("control")
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

    async def watched(self) -> int:
        """How many frames a viewer of this call is shown while it lasts."""
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        receiver = viewer.addTransceiver("video", "recvonly").receiver
        await viewer.setLocalDescription(await viewer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with self.http.post(f"{self.url}/whep/{self.session_id}", data=viewer.localDescription.sdp, headers=headers) as response:
            assert response.status == 201, await response.text()
            await viewer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
        shown = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_S):
                async for _ in frames_of(receiver.track):
                    shown += 1
        await viewer.close()
        return shown

    async def end(self, how: str) -> None:
        if how not in ("close", "vanish"):
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


class Scales:
    """Weighs a server: itself, what its renderers are forked from, and the renderer of the call that lasts."""

    def __init__(self, server: psutil.Process) -> None:
        self._server = server
        (self._zygote,) = server.children()
        (self._renderer,) = self._zygote.children()

    def newest_renderer(self) -> psutil.Process | None:
        """Of a call that came and goes; None: there is none."""
        others = [child for child in self._zygote.children() if child != self._renderer]
        return max(others, key=lambda child: child.create_time(), default=None)

    def sample(self) -> dict[str, float]:
        """Memory that is a process's own (USS) is told where this user may know it."""
        found: dict[str, float] = {}
        for name, process in (("server", self._server), ("zygote", self._zygote), ("renderer", self._renderer)):
            found[f"{name}_rss_mb"] = process.memory_info().rss / 2**20
            with contextlib.suppress(psutil.AccessDenied):
                found[f"{name}_uss_mb"] = process.memory_full_info().uss / 2**20
                found[f"{name}_descriptors"] = process.num_fds()
        return found | {"threads": self._server.num_threads(), "processes": 1 + len(self._server.children(recursive=True))}


async def watch(scales: Scales, caller: Caller, samples: list[dict[str, float]]) -> None:
    """Samples the server and the call that lasts, until cancelled."""
    start = time.monotonic()
    while True:
        stats = await caller.stats()
        sample = await asyncio.to_thread(scales.sample)
        async with caller.http.get(f"{caller.url}/readyz") as response:
            sample["sessions"] = (await response.json())["sessions"]
        sample |= {"latency_p50_ms": stats["latency_ms"]["p50"], "latency_p95_ms": stats["latency_ms"]["p95"], "queue_age_p95_ms": stats["queue_age_ms"]["p95"]}
        samples.append(sample | {"fps_out": stats["fps_out"], "at_s": time.monotonic() - start})
        await asyncio.sleep(SAMPLE_EVERY_S)


async def disturb(kind: str, caller: Caller, scales: Scales, avatars: Sequence[str]) -> bool:
    """What happens in a call; whether it brought pictures."""
    await asyncio.sleep(CALL_S)
    if kind == "watch":
        return await caller.watched() > 0
    if kind == "kill" and (renderer := scales.newest_renderer()) is not None:
        renderer.kill()
    if kind == "switch":
        assert caller.channel is not None
        caller.channel.send(json.dumps({"v": 1, "type": "set_avatar", "avatar": avatars[-1], "id": 1}))
    if kind in ("kill", "switch"):
        before = caller.frames
        await asyncio.sleep(CALL_S)
        return caller.frames > before
    return caller.frames > 0


async def churn(url: str, clip: Clip, codec: str, cycles: int, seconds: float, scales: Scales, avatars: Sequence[str]) -> dict[str, int]:
    """Calls that come and go, one after the other; how many of each kind brought pictures."""
    brought = dict.fromkeys(KINDS, 0)
    for cycle in range(cycles):
        begin = time.monotonic()
        kind = KINDS[cycle % len(KINDS)]
        async with calling(url, clip, codec, kind) as caller:
            brought[kind] += await disturb(kind, caller, scales, avatars)
        await asyncio.sleep(max(FREED_S, begin + seconds / cycles - time.monotonic()))
    return brought


def trend(samples: Sequence[dict[str, float]], name: str) -> dict[str, float]:
    """How a quantity went after the first fifth: least squares through means of blocks, whose residuals give the slope's standard error."""
    late = samples[len(samples) // 5 :]
    values, hours = (np.array([sample[key] for sample in late]) for key in (name, "at_s"))
    hours = hours / 3600
    blocks = np.array_split(np.arange(len(late)), min(len(late), BLOCKS))
    y, x = (np.array([column[block].mean() for block in blocks]) for column in (values, hours))
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    residuals = y - y.mean() - slope * (x - x.mean())
    error = np.sqrt((residuals**2).sum() / (len(x) - 2) / spread)
    p50, p95 = np.percentile(values, (50, 95))
    found = {"first": samples[0][name], "p50": p50, "p95": p95, "last": values[-1], "slope_per_hour": slope, "standard_error": error}
    return {key: round(float(value), 3) for key, value in found.items()}


def rises(name: str, trend: dict[str, float], hours: float) -> bool:
    """Whether a quantity clearly rose: not by chance, and by more than caches take."""
    slope, error = trend["slope_per_hour"], trend["standard_error"]
    bound = next((most for end, most in MOST_RISE.items() if name.endswith(end)), None)
    return bound is not None and slope > SURE * error and slope * hours > bound


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    seconds = 60.0 * options.minutes
    cycles = options.cycles or max(len(KINDS), round(seconds / 25.0))
    clip = Clip(Options("", clip=options.clip if options.clip.is_file() else None, seconds=10.0))
    samples: list[dict[str, float]] = []
    async with server_process("server.py", "--max-sessions", "4") as server:
        async with calling(server.url, clip, options.codec, "delete") as lasting:
            async with lasting.http.get(f"{server.url}/avatars") as response:
                avatars = [avatar["id"] for avatar in (await response.json())["avatars"]]
            await asyncio.sleep(3.0)
            scales = Scales(psutil.Process(server.process.pid))
            before = scales.sample()
            watching = asyncio.create_task(watch(scales, lasting, samples))
            brought = await churn(server.url, clip, options.codec, cycles, seconds, scales, avatars)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            after, frames, stats = scales.sample(), lasting.frames, await lasting.stats()
        code, complaints = await server.stop()
    hours = (samples[-1]["at_s"] - samples[len(samples) // 5]["at_s"]) / 3600
    trends = {name: trend(samples, name) for name in samples[0] if name != "at_s"}
    unexpected = [line for line in complaints.splitlines() if re.match(r"\d{4}-\d\d-", line) and EXPECTED not in line]
    return {
        "minutes": round(samples[-1]["at_s"] / 60, 1),
        "cycles": cycles,
        "cycles_with_pictures": brought,
        "frames_of_the_lasting_call": frames,
        "errors": stats["errors"],
        "dropped": stats["dropped"],
        "trends": trends,
        "rising": [name for name, found in trends.items() if rises(name, found, hours)],
        "judged": options.minutes >= JUDGED_MINUTES,
        "processes_left_behind": after["processes"] - before["processes"],
        "exit_code": code,
        "complaints": unexpected[:5],
    }


def failed(result: dict[str, Any]) -> bool:
    """Whether anything is not as it should be."""
    return bool(
        (result["judged"] and result["rising"]) or result["processes_left_behind"] or result["exit_code"] or not all(result["cycles_with_pictures"].values())
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Watches a server for some minutes; prints JSON.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cycles", type=int, help="calls that come and go meanwhile (default: one every 25 s)")
    parser.add_argument("--codec", choices=("VP8", "H264"), default="H264")
    parser.add_argument("--clip", type=Path, default=ROOT.parent / "shared" / "data" / "talking_man_512.mp4")
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    result = asyncio.run(soak(options))
    emit({"machine": machine(), **result}, options.out)
    return int(failed(result))


if __name__ == "__main__":
    sys.exit(main())

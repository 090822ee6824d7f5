"""How much the way alone takes: stamps burnt into frames, sent, echoed by the server, read back from what comes out. Stock aiortc and ours side by side.

    python -m tests.benchmarks.latency [--browser] [--seconds 10] [--fps 30] [--codec VP8] [--render-ms 50] --out latency.json

JSON out. Each row: from the moment a frame is handed to the client's encoder to the moment it has come back and is decoded, in milliseconds: median, p95,
maximum, and the slope over the run. Server and client are two processes on this machine; `stock` is aiortc at both ends, `ours` Headcast's media core at both.
With `--browser` the client is headless Chromium: from the canvas to the frame decoded in the page, and to the frame shown, all on the page's own clock.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from tests.benchmarks.latency_browser import measure_in_browser
from tests.benchmarks.report import emit, machine
from tests.fakes import read_stamp, stamp
from tests.frames import frames_of
from tests.loopback_client import improve, planes_of, prefer
from tests.processes import ServerProcess, server_process
from tests.serving import ROOT

CLOCK_HZ = 90_000
SIZE = 512
WARM_UP_S = 2.0
ECHO = ("-m", "tests.benchmarks.echo")
Sample = tuple[float, float]
"""When a frame was sent, in seconds, and how many milliseconds later it was there."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the result."""

    codec: str
    fps: int
    ours: bool
    render_ms: float = 0.0

    @property
    def command(self) -> tuple[str, ...]:
        encoder = "x264" if self.codec == "H264" else "vp8"
        core = ("--size", str(SIZE), "--fps", str(self.fps), "--encoder", encoder) if self.ours else ("--stock",)
        return (*ECHO, *core, "--render-ms", str(self.render_ms))


class StampedCamera(MediaStreamTrack):
    """Sends pictures at a steady rate, each with its number burnt in."""

    kind = "video"

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], fps: int) -> None:
        super().__init__()
        self._pictures = pictures
        self._fps = fps
        self._start_s: float | None = None
        self._number = -1
        self.sent_at: dict[int, float] = {}

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.perf_counter()
        if self._start_s is None:
            self._start_s = now
        self._number = max(self._number + 1, int((now - self._start_s) * self._fps))
        picture = self._pictures[self._number % len(self._pictures)].copy()
        stamp(picture[:SIZE], self._number)
        await asyncio.sleep(max(0.0, self._start_s + self._number / self._fps - time.perf_counter()))
        frame = av.VideoFrame.from_numpy_buffer(picture, format="yuv420p")
        frame.pts = round(self._number * CLOCK_HZ / self._fps)
        frame.time_base = Fraction(1, CLOCK_HZ)
        self.sent_at[self._number] = time.perf_counter()
        return frame


async def watch(track: MediaStreamTrack, camera: StampedCamera, samples: list[Sample]) -> None:
    """Reads the stamps of what comes back, each number once."""
    seen = set()
    async for frame in frames_of(track):
        now = time.perf_counter()
        number = read_stamp(planes_of(frame)[: frame.height])
        if number in camera.sent_at and number not in seen:
            seen.add(number)
            sent = camera.sent_at[number]
            samples.append((sent, (now - sent) * 1e3))


async def measure(case: Case, pictures: Sequence[NDArray[np.uint8]], server: ServerProcess, seconds: float) -> list[Sample]:
    """One call of an aiortc client."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    camera, samples = StampedCamera(pictures, case.fps), list[Sample]()
    tasks: list[asyncio.Task[None]] = []
    transceiver = peer.addTransceiver(camera, "sendrecv")
    prefer(transceiver, case.codec)
    if case.ours:
        improve(transceiver, case.codec)
    peer.on("track", lambda track: tasks.append(asyncio.create_task(watch(track, camera, samples))))
    peer.createDataChannel("control")
    try:
        await peer.setLocalDescription(await peer.createOffer())
        async with aiohttp.ClientSession() as http, http.post(f"{server.url}/offer", json={"sdp": peer.localDescription.sdp, "type": "offer"}) as response:
            answer = await response.json()
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await asyncio.sleep(WARM_UP_S + seconds)
    finally:
        await peer.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return samples


def summary(samples: Sequence[Sample], fps: int) -> dict[str, Any]:
    """Percentiles, worst and trend, of all after the warm-up."""
    if not samples:
        return {"frames": 0}
    first = samples[0][0]
    kept = np.array([each for each in samples if each[0] - first >= WARM_UP_S]).reshape(-1, 2)
    if len(kept) < 2:
        return {"frames": len(kept)}
    at_s, latency_ms = kept.T
    p50, p95 = np.percentile(latency_ms, (50, 95))
    slope = np.polyfit(at_s - at_s[0], latency_ms, 1)[0] * 60
    values = {"p50": p50, "p95": p95, "max": latency_ms.max(), "slope_ms_per_min": slope, "fps": (len(kept) - 1) / (at_s[-1] - at_s[0])}
    return {"frames": len(kept), "fps_sent": fps, **{name: round(float(value), 2) for name, value in values.items()}}


def pictures_of(clip: Path | None, count: int = 60) -> list[NDArray[np.uint8]]:
    """Frames of a clip as I420, or a moving gradient with some noise."""
    if clip is not None:
        with av.open(str(clip)) as container:
            return [planes_of(frame.reformat(width=SIZE, height=SIZE)) for _, frame in zip(range(count), container.decode(video=0), strict=False)]
    noise = np.random.default_rng(1).integers(-6, 7, (SIZE, SIZE))
    made = []
    for index in range(count):
        picture = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
        picture[:SIZE] = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) + 5 * index) % 180 + 40 + np.roll(noise, index, 0)
        made.append(picture)
    return made


async def compare(cases: Sequence[Case], clip: Path | None, seconds: float) -> list[dict[str, Any]]:
    pictures = pictures_of(clip)
    rows = []
    for case in cases:
        async with server_process(*case.command) as server:
            samples = await measure(case, pictures, server, seconds)
        rows.append({"codec": case.codec, "core": "ours" if case.ours else "stock", **summary(samples, case.fps)})
    return rows


async def compare_in_browser(cases: Sequence[Case], chromium: str, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        async with server_process(*case.command) as server:
            decoded, shown, received = await measure_in_browser(server.url, chromium, case.codec, case.fps, WARM_UP_S + seconds)
        row = {"codec": case.codec, "core": "ours" if case.ours else "stock", "decoded": summary(decoded, case.fps), "shown": summary(shown, case.fps)}
        rows.append(row | {"received": received})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Times the way from frame to frame; prints JSON.")
    parser.add_argument("--clip", type=Path, default=ROOT.parent / "shared" / "data" / "talking_man_512.mp4")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run, after a warm-up of 2 s")
    parser.add_argument("--fps", type=int, action="append", help="repeatable (default: 15, 30, 60; in the browser 30)")
    parser.add_argument("--codec", choices=("VP8", "H264"), action="append", help="repeatable (default: both)")
    parser.add_argument("--render-ms", type=float, default=0.0, help="how long the server's renderer takes for each frame")
    parser.add_argument("--browser", action="store_true", help="in headless Chromium instead")
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    clip = options.clip if options.clip.is_file() else None
    rates = options.fps or ([30] if options.browser else [15, 30, 60])
    cases = [Case(codec, fps, ours, options.render_ms) for codec, fps, ours in itertools.product(options.codec or ["VP8", "H264"], rates, (False, True))]
    result: dict[str, Any] = {"machine": machine(), "size": SIZE, "render_ms": options.render_ms}
    if options.browser:
        chromium = shutil.which("chromium")
        if chromium is None:
            print("chromium is not on the path", file=sys.stderr)
            return 2
        result["browser"] = asyncio.run(compare_in_browser(cases, chromium, options.seconds))
    else:
        result |= {"clip": None if clip is None else clip.name, "rows": asyncio.run(compare(cases, clip, options.seconds))}
    emit(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A WebRTC client of a Headcast server, for another process: sends a clip or a synthetic picture as a webcam would, keeps what comes back.

    python -m tests.loopback_client --url http://127.0.0.1:5000 --clip clip.mp4 --seconds 10 --out frames.npz

Prints one JSON object: when each frame was sent and each came back (seconds of the machine's monotonic clock), which stamp of tests.fakes each held, what the
data channel said. `--out` keeps the frames: `.npz` with `frames` (N, height, width, 3) uint8 RGB, or `.mp4`; both with `received_at`, `pts_s` of each frame
and `sent_at`, `sent_index` of each frame sent (beside an `.mp4` in a file of its own, `.npz`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from realtime.config import Encoder
from realtime.rtc.bitrate import BitrateRange
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.downlink import DownlinkSettings, improve_downlink
from realtime.rtc.uplink import improve_uplink
from tests.fakes import read_stamp
from tests.frames import frames_of

CLOCK_HZ = 90_000
CAMERA = DownlinkSettings(Encoder.AUTO, BitrateRange(start=2_500_000, lowest=100_000, highest=2_500_000))
SYNTHETIC_COLOUR = (255, 0, 255)
"""Magenta, RGB: no fake and no avatar shows it."""


@dataclass
class Options:
    url: str
    clip: Path | None = None
    seconds: float = 5.0
    fps: float = 30.0
    width: int = 512
    height: int = 512
    codec: str = "VP8"
    avatar: str | None = None
    out: Path | None = None
    messages: list[str] = field(default_factory=list)
    """Sent over the control channel, one every 20 ms, once it is open; `hex:…` is sent as bytes."""
    vanish: bool = False
    """Leave without a word, as a crashed browser does."""
    pings: bool = True
    flood: int = 0
    """So many of the first of `messages` are sent at once, beside what else is sent."""
    until_eof: bool = False
    """Stay until standard input ends, at most so many `seconds`; each of its lines is sent over the control channel."""


def planes_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(height * 3 / 2, width): Y, U, V one after the other."""
    return np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)


class Clip:
    """A clip's frames as yuv420p, decoded beforehand and played over and over; one frame of the clip for each frame sent."""

    def __init__(self, options: Options) -> None:
        self.pictures = list(self._pictures(options))

    @staticmethod
    def _pictures(options: Options) -> Iterator[NDArray[np.uint8]]:
        if options.clip is None:
            picture = np.empty((options.height, options.width, 3), np.uint8)
            picture[:] = SYNTHETIC_COLOUR
            yield planes_of(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            return
        with av.open(str(options.clip)) as container:
            wanted = round(options.seconds * options.fps)
            for _, frame in zip(range(wanted), container.decode(video=0), strict=False):
                yield planes_of(frame.reformat(width=options.width, height=options.height))


class Camera(MediaStreamTrack):
    """Sends a clip at a steady rate; a frame that comes too late is skipped, as a camera would."""

    kind = "video"

    def __init__(self, clip: Clip, fps: float) -> None:
        super().__init__()
        self._clip = clip
        self._fps = fps
        self._start: float | None = None
        self._index = -1
        self.sent: list[tuple[int, float]] = []
        """(frame number, when)."""

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._start is None:
            self._start = now
        self._index = max(self._index + 1, int((now - self._start) * self._fps))
        await asyncio.sleep(max(0.0, self._start + self._index / self._fps - now))
        frame = av.VideoFrame.from_numpy_buffer(self._clip.pictures[self._index % len(self._clip.pictures)], format="yuv420p")
        frame.pts = round(self._index * CLOCK_HZ / self._fps)
        frame.time_base = Fraction(1, CLOCK_HZ)
        self.sent.append((self._index, time.monotonic()))
        return frame


@dataclass
class Received:
    """What came back."""

    at: list[float] = field(default_factory=list)
    pts_s: list[float] = field(default_factory=list)
    stamps: list[int | None] = field(default_factory=list)
    mean_rgb: list[list[float]] = field(default_factory=list)
    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, track: MediaStreamTrack, keep: bool) -> None:
        async for frame in frames_of(track):
            self.at.append(time.monotonic())
            self.pts_s.append(frame.time or 0.0)
            planes = planes_of(frame)
            self.stamps.append(read_stamp(planes[: frame.height]))
            small = frame.to_ndarray(format="rgb24", width=16, height=16)
            self.mean_rgb.append([round(float(value), 1) for value in small.reshape(-1, 3).mean(0)])
            if keep:
                self.frames.append(planes)


async def talk(channel: RTCDataChannel, options: Options) -> None:
    """Pings every half second and sends what is to be sent."""
    for _ in range(options.flood):
        channel.send(options.messages[0])
    for message in options.messages:
        channel.send(bytes.fromhex(message.removeprefix("hex:")) if message.startswith("hex:") else message)
        await asyncio.sleep(0.02)
    while options.pings and channel.readyState == "open":
        channel.send(json.dumps({"v": 1, "type": "ping", "t": time.monotonic()}))
        await asyncio.sleep(0.5)


def prefer(transceiver: RTCRtpTransceiver, codec: str) -> None:
    """Offers one codec only."""
    known = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([each for each in known if each.mimeType in (f"video/{codec}", "video/rtx")])


def improve(transceiver: RTCRtpTransceiver, codec: str) -> None:
    """Gives the client what a browser has, and aiortc has not: frames released when they are complete, repair of losses, a quick encoder."""
    improve_uplink(transceiver.receiver)
    improve_downlink(transceiver.sender, codec, CAMERA, lambda _: None)


async def run(options: Options) -> dict[str, Any]:
    """One session, from offer to goodbye."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    received, camera = Received(), Camera(Clip(options), options.fps)
    tasks: list[asyncio.Task[None]] = []
    transceiver = peer.addTransceiver(camera, "sendrecv")
    prefer(transceiver, options.codec)
    improve(transceiver, options.codec)
    peer.on("track", lambda track: tasks.append(asyncio.create_task(received.take(track, options.out is not None))))
    channel = peer.createDataChannel("control")
    channel.on("message", lambda text: received.messages.append({"at": time.monotonic(), **json.loads(text)}))
    channel.on("open", lambda: tasks.append(asyncio.create_task(talk(channel, options))))
    offer_addresses(peer, Addressing(loopback=True))
    report: dict[str, Any] = {}
    async with aiohttp.ClientSession() as http:
        await peer.setLocalDescription(await peer.createOffer())
        begin = time.monotonic()
        async with http.post(f"{options.url}/offer", json=offer_of(peer, options)) as response:
            answer = await response.json()
            report |= {"status": response.status, "answer_ms": round((time.monotonic() - begin) * 1e3, 1), "session_id": answer.get("session_id")}
        if report["status"] == 200:
            await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
            await stay(options, channel)
            report |= {"left_at": time.monotonic()}
            report |= {} if options.vanish else await goodbye(http, f"{options.url}/sessions/{answer['session_id']}")
        else:
            report["problem"] = answer
    if not options.vanish:
        await peer.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if options.out is not None:
        save(options.out, camera, received, options)
    return report | {
        "sent": camera.sent,
        "received": [list(row) for row in zip(received.at, received.pts_s, received.stamps, received.mean_rgb, strict=True)],
        "messages": received.messages,
    }


async def stay(options: Options, channel: RTCDataChannel) -> None:
    """For as long as was asked for."""
    if not options.until_eof:
        await asyncio.sleep(options.seconds)
        return
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(options.seconds):
            while line := await reader.readline():
                channel.send(line.decode().strip())


def offer_of(peer: RTCPeerConnection, options: Options) -> dict[str, str]:
    """The body of POST /offer."""
    offer = {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}
    return offer if options.avatar is None else {**offer, "avatar": options.avatar}


async def goodbye(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """The session's last statistics, and its end."""
    async with http.get(f"{url}/stats") as response:
        stats = await response.json() if response.status == 200 else None
    async with http.delete(url) as response:
        return {"stats": stats, "deleted": response.status}


def save(path: Path, camera: Camera, received: Received, options: Options) -> None:
    """Writes the frames that came back, and the times."""
    times: dict[str, Any] = {
        "received_at": np.array(received.at),
        "pts_s": np.array(received.pts_s),
        "sent_index": np.array([index for index, _ in camera.sent], np.int64),
        "sent_at": np.array([at for _, at in camera.sent]),
    }
    if path.suffix == ".npz":
        frames = [av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24") for planes in received.frames]
        np.savez(path, frames=np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8), **times)
        return
    np.savez(path.with_suffix(".npz"), **times)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(options.fps), options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = (received.frames[0].shape[0] * 2 // 3, received.frames[0].shape[1]) if received.frames else (2, 2)
        for planes in received.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())


def read_options(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description="Sends a clip to a Headcast server as a webcam would, and keeps what comes back.")
    defaults = Options("")
    parser.add_argument("--url", required=True)
    parser.add_argument("--clip", type=Path, help="any video; without: one magenta picture")
    parser.add_argument("--seconds", type=float, default=defaults.seconds)
    parser.add_argument("--fps", type=float, default=defaults.fps)
    parser.add_argument("--width", type=int, default=defaults.width)
    parser.add_argument("--height", type=int, default=defaults.height)
    parser.add_argument("--codec", choices=("VP8", "H264"), default=defaults.codec)
    parser.add_argument("--avatar")
    parser.add_argument("--out", type=Path, help=".npz or .mp4")
    parser.add_argument("--message", dest="messages", action="append", default=[], help="sent over the control channel; hex:00ff sends bytes")
    parser.add_argument("--vanish", action="store_true", help="leave without a word")
    parser.add_argument("--flood", type=int, default=0, help="send the first message so many times at once")
    parser.add_argument("--until-eof", action="store_true", help="stay until standard input ends")
    parser.add_argument("--silent", dest="pings", action="store_false", help="never ping")
    return Options(**vars(parser.parse_args(arguments)))


def main() -> None:
    options = read_options()
    print(json.dumps(asyncio.run(run(options))), flush=True)
    if options.vanish:
        os._exit(0)


if __name__ == "__main__":
    main()

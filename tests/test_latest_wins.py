"""A renderer that takes longer than a frame interval, behind a network that loses: fewer frames, each as fresh as the first."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction
from statistics import median

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from realtime.rtc.uplink import improve_uplink
from tests.fakes import Behaviour, FakeFactory, config, read_stamp
from tests.frames import frames_of
from tests.peers import calling, house
from tests.relay import Path, relaying

FPS, SIZE, RENDER_S, SECONDS = 30, 256, 0.05, 9.0
NETWORK = Path(loss=0.02, delay_s=0.015, jitter_s=0.005)


class Camera(MediaStreamTrack):
    """A grey picture at a steady rate."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._begun_s = time.monotonic()
        self._number = 0

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number = max(self._number + 1, int((time.monotonic() - self._begun_s) * FPS))
        await asyncio.sleep(max(0.0, self._begun_s + self._number / FPS - time.monotonic()))
        frame = av.VideoFrame.from_numpy_buffer(np.full((SIZE * 3 // 2, SIZE), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, Fraction(1, 90_000)
        return frame


async def ages_of(track: MediaStreamTrack, ages: list[float]) -> None:
    """How old the webcam frame behind each picture is when the picture comes, compared with the first: the stamps count from the first webcam frame."""
    first: float | None = None
    async for frame in frames_of(track):
        stamp = read_stamp(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)[: frame.height])
        if stamp is None:
            continue
        now = time.monotonic() - stamp / 1000
        first = now if first is None else first
        ages.append(now - first)


async def test_the_age_of_what_is_shown_stays_flat() -> None:
    ages = list[float]()
    async with house(FakeFactory(SIZE, [Behaviour(delay_s=RENDER_S)]), config(size=SIZE)) as server, calling(camera=Camera()) as peer, relaying() as relay:
        relay.up = relay.down = NETWORK
        peer.connection.on("track", lambda track: asyncio.ensure_future(ages_of(track, ages)))
        uplink = improve_uplink(peer.connection.getTransceivers()[0].receiver)
        offer = "\r\n".join(line for line in peer.sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of-candidates"))) + "\r\n"
        session, answer = await server.sessions.open(offer, "ada")
        await peer.accept(await relay.between(answer))
        await asyncio.sleep(SECONDS)
        stats = session.stats()
        uplink.close()
    third = len(ages) // 3
    assert third > 15
    assert median(ages[-third:]) < median(ages[:third]) + RENDER_S
    assert stats["fps_out"] < 0.8 * stats["fps_in"]  # type: ignore[operator]
    assert stats["queue_age_ms"]["p95"] < 400  # type: ignore[index]
    assert stats["dropped"] > SECONDS * FPS / 4  # type: ignore[operator]

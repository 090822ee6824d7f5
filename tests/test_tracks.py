from __future__ import annotations

import asyncio
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from realtime.metrics import SessionMetrics
from realtime.pacing import FrameRateCap
from realtime.packets import RenderedFrame, Tracking
from realtime.tracks import IDLE_INTERVAL_S, AvatarTrack, CameraFrame, blank_i420, drain


def rendered(luma: int, pts_s: float = 0.0, received_at: float = 0.0, size: int = 64) -> RenderedFrame:
    picture = np.full((size * 3 // 2, size), 128, np.uint8)
    picture[:size] = luma
    return RenderedFrame(picture, pts_s, received_at, Tracking.OK)


def luma(frame: av.VideoFrame) -> float:
    return float(frame.to_ndarray()[: frame.height].mean())


def camera(index: int, width: int = 64, height: int = 48, kind: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(width, height, kind)
    frame.pts, frame.time_base = 3000 * index, Fraction(1, 90_000)
    return frame


class Webcam(MediaStreamTrack):
    """Ends after its frames."""

    kind = "video"

    def __init__(self, frames: list[object]) -> None:
        super().__init__()
        self.frames = frames

    async def recv(self) -> av.VideoFrame:
        if not self.frames:
            raise MediaStreamError
        return self.frames.pop(0)  # type: ignore[return-value]


async def test_every_frame_is_drained_and_the_cap_thins_them() -> None:
    offered: list[CameraFrame] = []
    metrics = SessionMetrics()
    webcam = Webcam([camera(index) for index in range(30)])
    await drain(webcam, offered.append, FrameRateCap(15), metrics, lambda: 5.0)
    assert webcam.frames == []
    assert [round(frame.pts_s * 30) for frame in offered] == list(range(0, 30, 2))
    assert (metrics.frames_in.total, metrics.dropped_above_cap) == (30, 15)
    assert {frame.received_at for frame in offered} == {5.0}


@pytest.mark.parametrize(
    ("width", "height", "kind"), [(640, 480, "yuv420p"), (641, 479, "yuv420p"), (2, 2, "yuv420p"), (1, 1, "yuv444p"), (320, 240, "yuvj420p"), (64, 48, "rgb24")]
)
def test_any_size_and_format_becomes_rgb(width: int, height: int, kind: str) -> None:
    frame = CameraFrame(camera(0, width, height, kind), 0.0)
    image = frame.to_rgb()
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_colours_survive_the_way_to_rgb() -> None:
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:32, :32], colours[:32, 32:], colours[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    frame = av.VideoFrame.from_ndarray(colours, format="rgb24").reformat(format="yuv420p")
    assert np.abs(CameraFrame(frame, 0.0).to_rgb().astype(int) - colours)[8:24, 8:24].max() <= 4


def test_a_frame_without_a_time_takes_that_of_its_arrival() -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    assert CameraFrame(frame, 7.5).pts_s == 7.5


async def test_at_first_a_card_then_each_frame_once_in_its_own_time() -> None:
    now = 100.0
    metrics = SessionMetrics()
    track = AvatarTrack(64, metrics, lambda: now)
    first = await track.recv()
    assert luma(first) == pytest.approx(luma(av.VideoFrame.from_ndarray(blank_i420(64), format="yuv420p")))
    stamps = [first.pts]
    for index in range(5):
        now = 101.0 + index / 30
        track.show(rendered(50 + index, pts_s=9.0 + index / 30, received_at=now - 0.02), driven=True)
        frame = await asyncio.wait_for(track.recv(), 0.1)
        assert luma(frame) == 50 + index
        stamps.append(frame.pts)
    assert stamps == [0, *(90_000 + 3000 * index for index in range(5))]
    assert metrics.frames_out.total == 5
    assert metrics.latency_ms.percentiles().p50 == pytest.approx(20.0, abs=0.01)


async def test_the_newest_frame_wins() -> None:
    metrics = SessionMetrics()
    track = AvatarTrack(64, metrics)
    for index in range(4):
        track.show(rendered(50 + index), driven=True)
    assert luma(await track.recv()) == 53
    assert metrics.dropped_out == 3
    assert metrics.frames_out.total == 1


async def test_without_a_new_frame_the_last_comes_again_slowly_and_counts_for_nothing() -> None:
    metrics = SessionMetrics()
    track = AvatarTrack(64, metrics)
    track.show(rendered(77), driven=True)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    frames = [await track.recv() for _ in range(3)]
    assert loop.time() - begin >= 2 * IDLE_INTERVAL_S * 0.9
    assert [luma(frame) for frame in frames] == [77] * 3
    stamps = [frame.pts or 0 for frame in frames]
    assert stamps == sorted(set(stamps))
    assert metrics.frames_out.total == 1


async def test_a_placeholder_is_shown_but_has_no_latency() -> None:
    metrics = SessionMetrics()
    track = AvatarTrack(64, metrics)
    track.show(rendered(60), driven=False)
    assert luma(await track.recv()) == 60
    assert metrics.frames_out.total == 0
    assert metrics.latency_ms.percentiles().p50 == 0.0


async def test_stopping_wakes_whoever_waits() -> None:
    track = AvatarTrack(64, SessionMetrics())
    await track.recv()
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(waiting, 0.1)
    with pytest.raises(MediaStreamError):
        await track.recv()

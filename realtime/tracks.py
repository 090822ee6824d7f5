"""The two video tracks of a session: webcam frames in (always drained, newest wins), avatar frames out (each once, as soon as it is ready)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from realtime.metrics import SessionMetrics
from realtime.pacing import CLOCK_HZ, FrameRateCap, OutputClock
from realtime.packets import MAX_IMAGE_PIXELS, RenderedFrame

IDLE_INTERVAL_S = 0.2
"""Without a new frame, the last one is sent again this often: the stream stays alive, and a late joiner sees something."""
BLANK_LUMA, BLANK_CHROMA = 40, 128


class CameraFrame:
    """A decoded webcam frame, not yet converted."""

    __slots__ = ("_frame", "pts", "pts_s", "received_at")

    def __init__(self, frame: av.VideoFrame, received_at: float) -> None:
        self._frame = frame
        self.received_at = received_at
        self.pts = frame.pts
        self.pts_s = (
            float(frame.pts * Fraction(frame.time_base.numerator, frame.time_base.denominator)) if frame.pts is not None and frame.time_base else received_at
        )

    def to_rgb(self) -> NDArray[np.uint8]:
        """(height, width, 3), by the frame's own colour matrix and range; one of more than MAX_IMAGE_PIXELS is made smaller."""
        width, height = self._frame.width, self._frame.height
        scale = min(1.0, math.sqrt(MAX_IMAGE_PIXELS / (width * height)))
        return np.ascontiguousarray(self._frame.to_ndarray(format="rgb24", width=max(1, int(scale * width)), height=max(1, int(scale * height))), np.uint8)


async def drain(
    track: MediaStreamTrack, offer: Callable[[CameraFrame], None], cap: FrameRateCap, metrics: SessionMetrics, clock: Callable[[], float] = time.monotonic
) -> None:
    """Takes every frame off aiortc's unbounded queue as it comes, until the track ends; `offer` gets those that the frame rate cap lets pass."""
    while True:
        try:
            received = await track.recv()
        except MediaStreamError:
            return
        if not isinstance(received, av.VideoFrame):
            continue
        frame = CameraFrame(received, clock())
        metrics.frames_in.tick(frame.received_at)
        if cap.admit(frame.pts_s):
            offer(frame)
        else:
            metrics.dropped_above_cap += 1


def blank_i420(size: int) -> NDArray[np.uint8]:
    """A quiet dark card, for the moment before there is any avatar: (size * 3 / 2, size)."""
    picture = np.full((size * 3 // 2, size), BLANK_CHROMA, np.uint8)
    picture[:size] = BLANK_LUMA
    return picture


class AvatarTrack(MediaStreamTrack):
    """What is sent back. Only ever holds what `show` was given; there is no way in for a webcam frame.

    Args:
        size: width and height of the card shown at first, in pixels.
        metrics: counts frames that were replaced before they were sent, and measures the latency of those that were.
    """

    kind = "video"

    def __init__(self, size: int, metrics: SessionMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._metrics = metrics
        self._clock = clock
        self._stamps = OutputClock()
        self._picture = blank_i420(size)
        self._newest: RenderedFrame | None = None
        self._driven = False
        self._ready = asyncio.Event()
        self._sent_any = False

    def show(self, frame: RenderedFrame, driven: bool) -> None:
        """Puts a frame up for sending; call it on the event loop.

        Args:
            frame: the avatar; its planes are encoded where they lie, so nobody may write to them any more.
            driven: whether a webcam frame is behind it, whose time stamp counts; False: a placeholder, or what was set by hand.
        """
        if self._newest is not None:
            self._metrics.dropped_out += 1
        self._picture = frame.i420
        self._newest = frame if driven or frame.received_at > 0.0 else None
        self._driven = driven
        self._ready.set()

    async def recv(self) -> av.VideoFrame:
        """The newest frame once, or after a while without one the last again."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._sent_any and not self._ready.is_set():
            timer = asyncio.get_running_loop().call_later(IDLE_INTERVAL_S, self._ready.set)
            try:
                await self._ready.wait()
            finally:
                timer.cancel()
            if self.readyState != "live":
                raise MediaStreamError
        self._ready.clear()
        self._sent_any = True
        frame, self._newest = self._newest, None
        now = self._clock()
        if frame is not None:
            self._metrics.shown(frame.received_at, now)
        return self._encodable(self._stamps.stamp(now, frame.pts_s if frame is not None and self._driven else None))

    def stop(self) -> None:
        """Ends the track; a waiting `recv` ends at once."""
        super().stop()
        self._ready.set()

    def _encodable(self, pts: int) -> av.VideoFrame:
        frame = av.VideoFrame.from_numpy_buffer(self._picture, format="yuv420p")
        frame.pts = pts
        frame.time_base = Fraction(1, CLOCK_HZ)
        return frame

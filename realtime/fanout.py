"""One encode of a session's avatar for all who watch it, apart from the encode for its driver.

A viewer takes encoded pictures from a small queue of its own. One that does not keep up loses pictures and goes on at a keyframe; it can slow neither the
others nor the driver, and its network's estimates change nobody's bitrate. Without viewers nothing is encoded and only the newest picture is referred to.
An encoder that fails costs a picture: the next one gets a new encoder. Where none works for `GIVE_UP_S` the viewers are let go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from realtime.pacing import CLOCK_HZ, OutputClock
from realtime.rtc.keyframes import KeyframeGate

logger = logging.getLogger(__name__)

IDLE_INTERVAL_S = 0.2
"""Without a new picture, the last one is sent again this often."""
JOIN_INTERVAL_S = 0.05
"""As `IDLE_INTERVAL_S`, while somebody waits for a keyframe."""
QUEUE_CAPACITY = 8
"""Pictures that wait for one viewer: a quarter of a second."""
GIVE_UP_S = 5.0
"""When every encoder has failed for so long, viewers learn it by their stream's end; they may come again."""

MakeContext = Callable[[int, int, int], VideoCodecContext]
"""An encoder for a width and height in pixels and a bitrate in bits a second."""
Maker = Callable[[str, bool], MakeContext]
"""Of the encoders of a codec, told by its name in an SDP such as `VP8`, and of those that take the place of one that failed."""


class StreamEnded(Exception):
    """There will be no more pictures."""


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """`pts` is in ticks of `CLOCK_HZ`."""

    data: bytes
    pts: int
    keyframe: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    i420: NDArray[np.uint8]
    pts_s: float | None


class PictureQueue:
    """What one viewer has yet to be sent.

    Args:
        broadcast: where the pictures come from; it serves this queue from the first `get` on.
    """

    def __init__(self, broadcast: Broadcast, capacity: int = QUEUE_CAPACITY) -> None:
        self._broadcast = broadcast
        self._capacity = capacity
        self._pictures: deque[EncodedPicture] = deque()
        self._starved = True
        self._closed = False
        self._ready = asyncio.Event()
        self.lost = 0
        """Pictures that this viewer was not sent because it did not keep up."""

    def put(self, picture: EncodedPicture) -> bool:
        """Queues a picture, or lets it go while a keyframe is missing. False: the viewer has not kept up; it is to be served again when it asks."""
        if self._starved and not picture.keyframe:
            return True
        if len(self._pictures) >= self._capacity:
            self.lost += len(self._pictures) + 1
            self._pictures.clear()
            self._starved = True
            return False
        self._starved = False
        self._pictures.append(picture)
        self._ready.set()
        return True

    async def get(self) -> EncodedPicture:
        """The oldest picture that waits; the first one after a loss is a keyframe.

        Raises:
            StreamEnded
        """
        while not self._pictures:
            if self._closed:
                raise StreamEnded
            self._ready.clear()
            if self._starved:
                self._broadcast.serve(self)
            await self._ready.wait()
        return self._pictures.popleft()

    def request_keyframe(self) -> None:
        """The viewer cannot decode what it was sent."""
        self._broadcast.request_keyframe()

    def close(self) -> None:
        """Ends it: a waiting `get` raises."""
        self._closed = True
        self._pictures.clear()
        self._broadcast.leave(self)
        self._ready.set()


class Broadcast:
    """One codec's encode of one session's pictures, running while anybody takes them.

    Args:
        make: the encoder, given whether one has failed; asked again where the picture's size changes.
        bitrate: bits a second.
        on_encoded: told how many milliseconds a picture took.
        on_failed: told of each picture that could not be encoded.
    """

    def __init__(
        self,
        make: Callable[[bool], MakeContext],
        bitrate: int,
        on_encoded: Callable[[float], None],
        on_failed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._bitrate = bitrate
        self._on_encoded = on_encoded
        self._on_failed = on_failed
        self._clock = clock
        self._queues: set[PictureQueue] = set()
        self._gate = KeyframeGate()
        self._stamps = OutputClock()
        self._picture: _Picture | None = None
        self._fresh = asyncio.Event()
        self._context: VideoCodecContext | None = None
        self._failed = False
        self._failing_since_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.encoded = 0
        """Pictures encoded so far, each once for all viewers."""

    def show(self, picture: _Picture) -> None:
        """The newest picture; one that was not encoded yet is let go."""
        self._picture = picture
        self._fresh.set()

    def serve(self, queue: PictureQueue) -> None:
        """Gives a viewer pictures, from the next keyframe on."""
        if self._closed:
            queue.close()
            return
        self._queues.add(queue)
        self._gate.wish()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def leave(self, queue: PictureQueue) -> None:
        self._queues.discard(queue)

    def request_keyframe(self) -> None:
        self._gate.wish()

    async def aclose(self) -> None:
        """Ends every viewer's queue."""
        self._closed = True
        for queue in tuple(self._queues):
            queue.close()
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._queues:
                await self._encode_next()
        except Exception:
            logger.exception("encoding for viewers failed; they are let go")
            for queue in tuple(self._queues):
                queue.close()
        finally:
            self._context = None
            self._failing_since_s = None
            self._task = None

    async def _encode_next(self) -> None:
        fresh = await self._wait()
        picture = self._picture
        if picture is None or not self._queues:
            return
        self._fresh.clear()
        begin = self._clock()
        stamp = self._stamps.stamp(begin, picture.pts_s if fresh else None)
        try:
            encoded = await asyncio.to_thread(self._encode, picture.i420, stamp, self._gate.due(begin))
        except Exception as error:
            self._replace_encoder(error)
            return
        self._failing_since_s = None
        end = self._clock()
        self.encoded += 1
        self._on_encoded((end - begin) * 1e3)
        if not encoded.data:  # libvpx leaves pictures out where its rate buffer is empty
            return
        if encoded.keyframe:
            self._gate.made(begin)
        self._queues -= {queue for queue in self._queues if not queue.put(encoded)}

    def _replace_encoder(self, error: Exception) -> None:
        """The next picture gets a new one, which begins with a keyframe. Raises the error where that has not helped for `GIVE_UP_S`."""
        now = self._clock()
        self._on_failed()
        self._failed, self._context = True, None
        if self._failing_since_s is None:
            self._failing_since_s = now
            logger.warning("the viewers' encoder failed; a new one goes on in its place: %s", error)
        elif now - self._failing_since_s > GIVE_UP_S:
            raise error

    async def _wait(self) -> bool:
        """Until there is a new picture, or it is time to send the last one again; whether it is a new one."""
        try:
            async with asyncio.timeout(JOIN_INTERVAL_S if self._gate.due(self._clock()) else IDLE_INTERVAL_S):
                await self._fresh.wait()
        except TimeoutError:
            return False
        return True

    def _encode(self, i420: NDArray[np.uint8], stamp: int, force_keyframe: bool) -> EncodedPicture:
        height, width = i420.shape[0] * 2 // 3, i420.shape[1]
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self._context = self._make(self._failed)(width, height, self._bitrate)
        frame = av.VideoFrame.from_numpy_buffer(i420, format="yuv420p")
        frame.pts, frame.time_base = stamp, Fraction(1, CLOCK_HZ)
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        packets = self._context.encode(frame)
        return EncodedPicture(b"".join(bytes(packet) for packet in packets), stamp, any(packet.is_keyframe for packet in packets))


class FanOut:
    """The broadcasts of one session, one a codec, each from its first viewer on.

    Args:
        maker: makes the encoders.
        bitrate: bits a second of each.
        on_encoded: told how many milliseconds a picture took.
        on_failed: told of each picture that could not be encoded.
    """

    def __init__(
        self,
        maker: Maker,
        bitrate: int,
        on_encoded: Callable[[float], None],
        on_failed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maker = maker
        self._bitrate = bitrate
        self._on_encoded = on_encoded
        self._on_failed = on_failed
        self._clock = clock
        self._broadcasts: dict[str, Broadcast] = {}
        self._newest: _Picture | None = None

    def show(self, i420: NDArray[np.uint8], pts_s: float | None) -> None:
        """The newest picture of the session; call it on the event loop.

        Args:
            i420: (height * 3 / 2, width); nobody may write to it any more.
            pts_s: presentation time of the webcam frame behind it; None: there is none.
        """
        self._newest = _Picture(i420, pts_s)
        for broadcast in self._broadcasts.values():
            broadcast.show(self._newest)

    def broadcast(self, codec_name: str) -> Broadcast:
        """The one for a codec."""
        if codec_name not in self._broadcasts:
            make = partial(self._maker, codec_name)
            made = self._broadcasts[codec_name] = Broadcast(make, self._bitrate, self._on_encoded, self._on_failed, self._clock)
            if self._newest is not None:
                made.show(self._newest)
        return self._broadcasts[codec_name]

    async def aclose(self) -> None:
        """Ends all of them; idempotent."""
        await asyncio.gather(*(broadcast.aclose() for broadcast in self._broadcasts.values()))

"""Those who watch a session's avatar over connections of their own (WHEP): admitted up to a cap, let go when they are gone, ended with their session."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import MediaStreamError
from av.packet import Packet
from av.stream import Stream

from realtime.config import ServerConfig
from realtime.errors import NotFound, ServerFull
from realtime.fanout import FanOut, MakeContext, PictureQueue, StreamEnded
from realtime.metrics import SessionMetrics
from realtime.pacing import CLOCK_HZ
from realtime.packets import RenderedFrame
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.encoder import implementation, spare
from realtime.rtc.farewell import close_peer
from realtime.rtc.ice_servers import own_configuration
from realtime.rtc.keyframe_requests import pass_keyframe_requests
from realtime.rtc.liveness import Liveness
from realtime.rtc.negotiation import Direction, answer_offer, check_offer, prefer_codecs, sent_codec
from realtime.rtc.pacer import pace
from realtime.rtc.playout import write_playout_delay
from realtime.rtc.repeats import limit_repeats
from realtime.rtc.trickle import Trickle
from realtime.tasks import Tasks

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 3.0
"""With the second between looks and the wait for an answer, a viewer that vanished is let go within 5 s."""
LOOK_EVERY_S = 1.0
RETRY_AFTER_S = 5


class ViewerTrack(MediaStreamTrack):
    """Hands a viewer's queue to aiortc's sender as packets, which it sends without encoding."""

    kind = "video"

    def __init__(self, queue: PictureQueue) -> None:
        super().__init__()
        self._queue = queue
        self.picture_bytes = 0
        """Of the picture that was handed over last."""

    async def recv(self) -> Packet[Stream]:
        try:
            picture = await self._queue.get()
        except StreamEnded:
            self.stop()
            raise MediaStreamError from None
        self.picture_bytes = len(picture.data)
        packet: Packet[Stream] = Packet(picture.data)
        packet.pts, packet.time_base = picture.pts, Fraction(1, CLOCK_HZ)
        return packet

    def stop(self) -> None:
        """Ends the track and its queue."""
        super().stop()
        self._queue.close()


class Viewer:
    """One of them. Built, started with an offer, closed once or many times.

    Args:
        on_closing: called once, as soon as the viewer no longer counts, with the task that frees what it holds.
    """

    def __init__(
        self, config: ServerConfig, fan_out: FanOut, on_closing: Callable[[Viewer, asyncio.Task[None]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self._config = config
        self._fan_out = fan_out
        self._on_closing = on_closing
        self._clock = clock
        self._peer = RTCPeerConnection(own_configuration(config, time.time()))
        self._connected = asyncio.Event()
        self._tasks = Tasks("a viewer", lambda: self.end("a task failed"))
        self._closing: asyncio.Task[None] | None = None
        self.trickle = Trickle(self._peer)

    async def start(self, checked_sdp: str) -> str:
        """Answers an offer that `check_offer` has passed, once every address is known.

        Raises:
            Unprocessable: the offer cannot be answered. The viewer is to be closed then.
        """
        self._peer.on("connectionstatechange", self._on_connection_state)
        transceiver = self._peer.addTransceiver("video", Direction.SEND)
        prefer_codecs(transceiver, self._config.codec)
        answer = await answer_offer(self._peer, transceiver, checked_sdp)
        queue = PictureQueue(self._fan_out.broadcast(sent_codec(answer.sdp)))
        track = ViewerTrack(queue)
        track.on("ended", lambda: self.end("its stream ended"))
        transceiver.sender.replaceTrack(track)
        self._bend(transceiver.sender, track, queue)
        offer_addresses(self._peer, Addressing.of(self._config))
        await self._peer.setLocalDescription(answer)
        self._tasks.start(self._watch())
        return self._peer.localDescription.sdp

    def end(self, reason: str) -> None:
        """Begins to close, without waiting for it; the place is free at once."""
        if self._closing is None:
            logger.info("a viewer ends: %s", reason)
        self._begin_closing()

    async def aclose(self) -> None:
        """Frees everything; the first call does it, the others wait for it."""
        await asyncio.shield(self._begin_closing())

    def _bend(self, sender: RTCRtpSender, track: ViewerTrack, queue: PictureQueue) -> None:
        pass_keyframe_requests(sender, queue.request_keyframe)
        pace(sender, lambda: (track.picture_bytes, 1000 * self._config.bitrate), lambda size, now_s: None, self._clock)
        limit_repeats(sender, lambda: 1000 * self._config.bitrate, lambda: None, self._clock)
        write_playout_delay(sender)

    def _begin_closing(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
            self._on_closing(self, self._closing)
        return self._closing

    async def _close(self) -> None:
        await self._tasks.cancel()
        for sender in self._peer.getSenders():
            if sender.track is not None:
                sender.track.stop()
        await close_peer(self._peer, "a viewer")

    async def _watch(self) -> None:
        """Is the viewer still there?"""
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            self.end("it never connected")
            return
        liveness = Liveness(self._peer, self._clock)
        while await liveness.silent_s() <= SILENCE_TIMEOUT_S:
            await asyncio.sleep(LOOK_EVERY_S)
        self.end("it fell silent")

    async def _on_connection_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.end(f"the connection {state}")


class Audience:
    """The viewers of one session.

    Args:
        config: `max_viewers` and what they are sent.
        metrics: the session's; told how long each picture took to encode, and of those that could not be.
    """

    def __init__(self, config: ServerConfig, metrics: SessionMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        on_encoded = partial(metrics.stage, "encode_viewers")
        self._fan_out = FanOut(self._maker, 1000 * config.bitrate, on_encoded, metrics.viewer_encoder_failed, clock)
        self._viewers: dict[str, Viewer] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._viewers)

    def show(self, frame: RenderedFrame, driven: bool) -> None:
        """The session's newest picture; see `AvatarTrack.show`."""
        self._fan_out.show(frame.i420, frame.pts_s if driven else None)

    async def admit(self, offer_sdp: str) -> tuple[Viewer, str]:
        """A new viewer and its answer.

        Raises:
            NotFound: the session has ended.
            ServerFull: there are as many viewers as there may be.
            Unprocessable: the offer cannot be answered.
        """
        checked_sdp = check_offer(offer_sdp, self._config.codec, Direction.SEND)
        if self._closed:
            raise NotFound("no such session; it may have ended")
        if len(self._viewers) >= self._config.max_viewers:
            raise ServerFull(f"all {self._config.max_viewers} viewers of this session are there; try again later", RETRY_AFTER_S)
        viewer = Viewer(self._config, self._fan_out, self._forget, self._clock)
        self._viewers[viewer.id] = viewer
        try:
            answer = await viewer.start(checked_sdp)
        except BaseException:
            await viewer.aclose()
            raise
        return viewer, answer

    def get(self, viewer_id: str) -> Viewer:
        """Raises NotFound."""
        viewer = self._viewers.get(viewer_id)
        if viewer is None:
            raise NotFound("no such viewer; it may have ended")
        return viewer

    async def aclose(self) -> None:
        """Ends all of them and waits for those that are ending already; none is admitted afterwards."""
        self._closed = True
        await asyncio.gather(*(viewer.aclose() for viewer in tuple(self._viewers.values())), *self._leaving, return_exceptions=True)
        await self._fan_out.aclose()

    def _maker(self, codec_name: str, failed: bool) -> MakeContext:
        by = implementation(self._config.encoder, codec_name)
        assert by is not None, "only codecs that can be made are negotiated"
        by = spare(by) if failed else by
        return lambda width, height, bitrate: by.make(width, height, bitrate, bitrate)

    def _forget(self, viewer: Viewer, closing: asyncio.Task[None]) -> None:
        self._viewers.pop(viewer.id, None)
        self._leaving.add(closing)
        closing.add_done_callback(self._leaving.discard)

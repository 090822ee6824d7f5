"""One peer connection: webcam up, avatar down, the control channel beside them. Frees itself when the peer goes away.

States: new → connecting → warming → live ⇄ paused → closed; and restarting, while what rendered is gone and made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum

from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpTransceiver

from realtime import control
from realtime.access import Role
from realtime.channel import ControlChannel
from realtime.config import Codec, ServerConfig
from realtime.errors import HeadcastError, ServerFull
from realtime.listener import LoopListener
from realtime.looks import Look, Wishes
from realtime.metrics import SessionMetrics
from realtime.pacing import FrameRateCap, Spacing
from realtime.packets import Lock, PuppetPose, RenderedFrame, Tracking, Unit
from realtime.reenactor import Action
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.downlink import Downlink, DownlinkFigures, DownlinkSettings, improve_downlink
from realtime.rtc.farewell import close_peer
from realtime.rtc.ice_servers import own_configuration
from realtime.rtc.liveness import received
from realtime.rtc.negotiation import Direction, answer_offer, prefer_codecs, sent_codec
from realtime.rtc.policing import police_data
from realtime.rtc.trickle import Trickle
from realtime.rtc.uplink import Uplink, UplinkCounts, improve_uplink
from realtime.stay import Notice, Stay
from realtime.tasks import Tasks
from realtime.tracks import AvatarTrack, CameraFrame, drain
from realtime.viewer import Audience
from realtime.worker import Worker

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 20.0
SILENCE_TIMEOUT_S = 3.5
"""A page pings every second; one that says nothing and sends no frame for so long is gone: all it held is free within 5 s."""
REPORT_EVERY_S = 1.0
FAREWELL_S = 0.05
RETRY_AFTER_S = 5


class SessionState(StrEnum):
    NEW = "new"
    CONNECTING = "connecting"
    WARMING = "warming"
    LIVE = "live"
    PAUSED = "paused"
    RESTARTING = "restarting"
    CLOSED = "closed"


class Session:
    """Built, started with an offer, closed once or many times.

    Args:
        session_id: what the client knows it by; unguessable.
        avatar_id: the avatar worn first.
        on_closing: called once, as soon as the session no longer counts, with the task that frees what it holds.
        direction: `BOTH`, or `RECEIVE` for a camera whose avatar is only watched by viewers.
        role: of whoever opened it.
    """

    def __init__(
        self,
        session_id: str,
        avatar_id: str,
        config: ServerConfig,
        worker: Worker,
        on_closing: Callable[[Session, asyncio.Task[None]], None],
        direction: Direction = Direction.BOTH,
        role: Role = Role.OWNER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = session_id
        self.tag = hashlib.sha256(session_id.encode()).hexdigest()[:6]
        """What logs call it: knowing the identifier is the right to end the session."""
        self.direction = direction
        self.role = role
        self.state = SessionState.NEW
        self.metrics = SessionMetrics()
        self._config = config
        self._worker = worker
        self._on_closing = on_closing
        self._clock = clock
        self._started_s = self._heard_s = clock()
        self._stay = Stay(config.idle_timeout, config.max_session_seconds, self._started_s)
        self._connected = False
        self._was_live = False
        self._by_hand = self._resting = False
        self._failure: HeadcastError | None = None
        self._tracking, self._lock = Tracking.LOST, Lock.OFF
        self._peer = RTCPeerConnection(own_configuration(config, time.time()))
        self.trickle = Trickle(self._peer)
        self.audience = Audience(config, self.metrics, clock)
        self._received = 0
        self._wishes = Wishes(clock)
        self._avatar = AvatarTrack(config.size, self.metrics, clock)
        self._channel = ControlChannel(self._heard, self._obey, lambda: self.end("a flood of messages"), clock)
        self._say = self._channel.say
        self._listener = LoopListener(self._show, self._lost, self._back, self._fail)
        self._seat = worker.seat(avatar_id, self._listener, self.metrics)
        self._poses: Spacing[PuppetPose] = Spacing(1.0 / config.fps, lambda pose: self._seat.pose(pose, clock()), self._listener.later, clock)
        self._units_told: tuple[Unit, ...] | None = None
        self._downlink: Downlink | None = None
        self._uplink: Uplink | None = None
        self._tasks = Tasks("a session", lambda: self.end("a task failed"))
        self._closing: asyncio.Task[None] | None = None

    async def start(self, offer_sdp: str) -> str:
        """Answers an offer that `check_offer` has passed; the answer holds every address that media may come to.

        Raises:
            Unprocessable: the offer cannot be answered. The session is to be closed then.
            HeadcastError: the session ended meanwhile, for want of an avatar or because the server stops.
        """
        try:
            answer = await self._answer(offer_sdp)
        except Exception:
            if self._closing is None:
                raise
        if self._closing is not None:
            raise self._failure or ServerFull("the server is stopping", RETRY_AFTER_S)
        return answer

    async def _answer(self, offer_sdp: str) -> str:
        self.state = SessionState.CONNECTING
        self._peer.on("connectionstatechange", self._on_connection_state)
        self._peer.on("datachannel", self._on_channel)
        both = self.direction is Direction.BOTH
        transceiver = self._peer.addTransceiver(self._avatar if both else "video", self.direction)
        prefer_codecs(transceiver, self._config.codec if both else Codec.AUTO)
        answer = await answer_offer(self._peer, transceiver, offer_sdp)
        self._bend(transceiver, sent_codec(answer.sdp))
        await self._peer.setLocalDescription(answer)
        self._tasks.start(drain(transceiver.receiver.track, self._on_camera_frame, FrameRateCap(self._config.fps), self.metrics, self._clock))
        self._tasks.start(self._watch())
        return self._peer.localDescription.sdp

    async def aclose(self) -> None:
        """Frees everything; the first call does it, the others wait for it."""
        await asyncio.shield(self._begin_closing())

    def end(self, reason: str) -> None:
        """Begins to close, without waiting for it; the slot is free at once."""
        if self._closing is None:
            logger.info("session %s ends: %s", self.tag, reason, extra={"session": self.tag})
        self._begin_closing()

    def give_way(self) -> None:
        """As `end`, to a newer session; a page that is told does not come back and end that one."""
        self._say_state("replaced")
        self.end("replaced by a newer one")

    def wear(self, look: Look) -> None:
        """Has the avatar look as somebody without a control channel asks; where it cannot, it stays as it is."""
        self._wishes.add(look)
        self._dress(look)

    def _dress(self, look: Look) -> None:
        for command in look.commands:
            self._seat.submit(command, lambda error: self._listener.call(self._tell_units))

    def take_off(self, avatar_id: str, instead: str | None, why: str) -> None:
        """Wears another avatar, if it is this one that is worn, and tells the page why; ends where there is no other."""
        if self._seat.avatar_id != avatar_id:
            return
        self._say(control.error(why, None, None))

        def worn(error: Exception | None) -> None:
            self._tell_units() if error is None else self.end("its avatar is gone, and no other can be worn")

        if instead is None or not self._seat.submit(control.SetAvatar(instead), lambda error: self._listener.call(worn, error)):
            self.end("its avatar is gone")

    def stats(self) -> dict[str, object]:
        """What GET /sessions/{id}/stats and the `stats` message hold."""
        now = self._clock()
        return {
            "session_id": self.id,
            "state": str(self.state),
            "avatar": self._seat.avatar_id,
            "tracking": str(self._tracking),
            "lock": str(self._lock),
            "viewers": len(self.audience),
            "uptime_s": round(now - self._started_s, 1),
            "uplink": asdict(self._uplink.counts if self._uplink is not None else UplinkCounts()),
            "downlink": asdict(self._downlink.figures if self._downlink is not None else DownlinkFigures()),
            **self.metrics.snapshot(now).as_dict(),
        }

    def _bend(self, transceiver: RTCRtpTransceiver, codec_name: str) -> None:
        self._uplink = improve_uplink(transceiver.receiver, self._clock)
        if self.direction is Direction.BOTH:
            self._downlink = improve_downlink(
                transceiver.sender,
                codec_name,
                DownlinkSettings.of(self._config),
                lambda milliseconds: self.metrics.stage("encode", milliseconds),
                on_failed=self.metrics.encoder_failed,
            )
        police_data(self._peer, self._clock)
        offer_addresses(self._peer, Addressing.of(self._config))

    def _begin_closing(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
            self._say_state("stopped")
            self.state = SessionState.CLOSED
            self._worker.leave(self._seat)
            self._on_closing(self, self._closing)
        return self._closing

    async def _close(self) -> None:
        await self._tasks.cancel()
        viewers_left = asyncio.create_task(self.audience.aclose())
        if self._channel.open:
            await asyncio.sleep(FAREWELL_S)
        if self._uplink is not None:
            self._uplink.close()
        self._avatar.stop()
        await close_peer(self._peer, f"session {self.tag}")
        await viewers_left

    async def _watch(self) -> None:
        """Once a second: is the peer still there? And what the numbers are."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            now = self._clock()
            if self.direction is Direction.RECEIVE and (count := await received(self._peer)) != self._received:
                self._received, self._heard_s = count, now  # not only what could be decoded: a keyframe may be long in coming
            if not self._connected and now - self._started_s > CONNECT_TIMEOUT_S:
                self.end("never connected")
            elif self._connected and now - self._heard_s > SILENCE_TIMEOUT_S:
                self.end("the peer fell silent")
            self._say(control.stats(self.stats()))
            self._heed(self._stay.look(now))

    def _heed(self, notice: Notice | None) -> None:
        if notice is None:
            return
        if notice.left_s:
            self._say(control.ending(notice.end, notice.left_s))
            return
        self._say_state(notice.end)
        self.end(f"its time is over ({notice.end})")

    async def _on_connection_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected" and not self._connected:
            self._connected = True
            self._heard_s = self._clock()
            if self.state is SessionState.CONNECTING:
                self._enter(SessionState.WARMING)
                if self._by_hand:
                    self._seat.puppet(True)  # its picture may have come before, when nobody was live yet
        elif state in ("failed", "closed"):
            self.end(f"the connection {state}")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if not self._channel.adopt(channel, lambda: self.end("the control channel closed")):
            return
        self._wishes.connected()
        self._say_state(self.state)
        self._say(control.tracking(self._tracking))
        if self._lock is not Lock.OFF:
            self._say(control.lock(self._lock))
        self._tell_units()

    def _on_camera_frame(self, frame: CameraFrame) -> None:
        self._heard_s = frame.received_at
        self._seat.offer(frame)
        way = self._uplink.times.take(frame.pts) if self._uplink is not None and frame.pts is not None else None
        if way is not None:
            self.metrics.stage("receive", 1e3 * (way.complete_s - way.first_s))
            self.metrics.stage("decode", 1e3 * (frame.received_at - way.complete_s))

    def _heard(self) -> None:
        self._heard_s = self._clock()

    def _obey(self, request: control.Request) -> None:
        if not isinstance(request.command, control.Ping):
            self._stay.stirred(self._heard_s)
        match request.command:
            case control.Ping(t):
                self._say(control.pong(t))
            case control.Pause(enabled):
                self._pause(enabled)
                self._say(control.ack(request.command.type, request.id))
            case control.Pose(pose):
                self._pose(pose, request)
            case control.Puppet(enabled):
                self._puppet(enabled)
                self._say(control.ack(request.command.type, request.id))
            case control.Badge() if self.role is not Role.OWNER:
                self._say(control.error("only the owner of this server may take the badge off", request.command.type, request.id))
            case command:
                self._submit(request, command)

    def _submit(self, request: control.Request, action: Action) -> None:
        of, id = request.command.type, request.id

        def answer(error: Exception | None) -> None:
            if error is None:
                self._say(control.ack(of, id))
                self._tell_units()
            else:
                self._say(control.error(str(error) if isinstance(error, HeadcastError) else "that failed; see the server's log", of, id))

        if not self._seat.submit(action, lambda error: self._listener.call(answer, error)):
            self._say(control.error("too many commands wait already; try again", of, id))
        self._dress(self._wishes.after_settings)

    def _pose(self, pose: PuppetPose, request: control.Request) -> None:
        units = self._seat.units
        unknown = () if units is None else sorted({setting.name for setting in pose.settings} - {unit.name for unit in units})
        if unknown:
            self._say(control.error(f"expected units of this avatar, it has no {', '.join(unknown[:3])}", request.command.type, request.id))
            return
        self._poses.offer(pose)
        self._say(control.ack(request.command.type, request.id))

    def _puppet(self, enabled: bool) -> None:
        if self._by_hand and not enabled:
            self._was_live = False
        self._by_hand = enabled
        self._seat.puppet(enabled)
        if not enabled and not self._was_live and self.state is SessionState.LIVE:
            self._enter(SessionState.WARMING)

    def _tell_units(self) -> None:
        """Whenever they are others than those that the page knows."""
        units = self._seat.units
        if units is not None and units is not self._units_told and self._channel.open:
            self._units_told = units
            self._say(control.units(self._seat.avatar_id, units))

    def _pause(self, enabled: bool) -> None:
        self._resting = enabled
        self._seat.pause(enabled)
        if self.state is not SessionState.RESTARTING:
            self._enter(SessionState.PAUSED if enabled else SessionState.LIVE if self._was_live else SessionState.WARMING)

    def _lost(self) -> None:
        self._was_live = False
        self._tracking = Tracking.LOST
        self._enter(SessionState.RESTARTING)

    def _back(self) -> None:
        self._enter(SessionState.PAUSED if self._resting else SessionState.WARMING)

    def _show(self, frame: RenderedFrame, driven: bool) -> None:
        if self._closing is not None:
            return
        self.audience.show(frame, driven)
        if frame.lock is not self._lock:
            self._lock = frame.lock
            self._say(control.lock(frame.lock))
        if self.direction is Direction.BOTH:
            self._avatar.show(frame, driven)
        elif driven:
            self.metrics.shown(frame.received_at, self._clock())
        if not driven:
            self._tell_units()
            if self._by_hand and self.state is SessionState.WARMING:
                self._was_live = True
                self._enter(SessionState.LIVE)
            return
        if frame.tracking is not Tracking.LOST:
            self._stay.stirred(self._clock())
        if frame.tracking is not self._tracking:
            self._tracking = frame.tracking
            self._say(control.tracking(frame.tracking))
        if self.state is SessionState.WARMING:
            self._was_live = True
            self._enter(SessionState.LIVE)

    def _fail(self, error: Exception) -> None:
        self._failure = error if isinstance(error, HeadcastError) else HeadcastError("the avatar could not be made; see the server's log")
        self._say(control.error(str(self._failure), None, None))
        self.end("no avatar")

    def _enter(self, state: SessionState) -> None:
        if self._closing is None and state is not self.state:
            self.state = state
            self._say_state(state)

    def _say_state(self, name: str) -> None:
        self._say(control.state(SessionState.WARMING if name == SessionState.CONNECTING else name))

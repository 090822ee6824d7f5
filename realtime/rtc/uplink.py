"""Repairs the video that a peer receives: asks for lost packets until they come, for a keyframe where they do not, and lets only whole frames to the decoder.

Bends one `RTCRtpReceiver`, before it starts: its private jitter buffer, NACK generator and decode-error flag are replaced, its `_handle_rtp_packet` is wrapped,
frames go straight to its decoder queue (tests/test_uplink.py holds aiortc to what is used here).

Loss of the last packets before a pause stays unseen: nothing that comes later shows the gap.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RtpPacket

from realtime.rtc.frame_size import MAX_PIXELS, MAX_SIDE_PX, is_absurd
from realtime.rtc.frame_times import FrameTimes
from realtime.rtc.jitter import FrameBuffer
from realtime.rtc.nack import KeyframeRequests, LossList

logger = logging.getLogger(__name__)

SILENCE_S = 2.0
"""Without any packet for so long, nothing more is asked for until one comes."""
MAX_UNDECODED = 12
BEHIND_S = 0.25
"""A decoder that has had more than `MAX_UNDECODED` frames to do for so long is too slow for the stream."""
MAX_SOURCES = 16
"""Synchronisation sources that are listened to. A sender has one, and one for retransmissions, until it starts anew; aiortc remembers each for ever, and a
receiver report has room for 31 (RFC 3550, section 6.4.2)."""
_P = "_RTCRtpReceiver"
_BUFFER, _NACKS, _ERRORS = f"{_P}__jitter_buffer", f"{_P}__nack_generator", f"{_P}__decoder_error"
_CODECS, _MAPPER, _QUEUE, _THREAD = f"{_P}__codecs", f"{_P}__timestamp_mapper", f"{_P}__decoder_queue", f"{_P}__decoder_thread"


@dataclass(frozen=True, slots=True)
class UplinkCounts:
    """What the repair has cost so far, and how far away the sender is."""

    packets_requested: int = 0
    """Repetitions included."""
    keyframes_requested: int = 0
    frames_skipped: int = 0
    """Frames that came, in whole or in part, and were never decoded."""
    decode_errors: int = 0
    round_trip_ms: float = 0.0
    """0 before the first measurement, which takes a loss."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What to send now."""

    packets: list[int]
    """Sequence numbers to ask for again (RFC 4585, section 6.2.1)."""
    keyframe: bool
    """Whether to send a picture loss indication (RFC 4585, section 6.3.1)."""


class Repair:
    """Decides what to ask the sender for, and when. Pure: the clock is passed in."""

    def __init__(self, codec_name: Callable[[int], str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self.frames = FrameBuffer(codec_name)
        self.losses = LossList(clock)
        self.keyframes = KeyframeRequests()
        self._hole: int | None = None
        self._hole_s: float | None = None
        self._starved_s: float | None = None
        self._heard_s = 0.0

    def review(self) -> None:
        """Looks at what the last packet has changed; call it after the losses and the frames have got it."""
        now = self._heard_s = self._clock()
        if self.losses.pop_burst() and self.frames.hole is not None:
            self.frames.need_keyframe()
        self.losses.forget_before(self.frames.wanted_from)
        hole = self.frames.hole
        if hole is None:
            self._hole_s = None
        elif hole != self._hole or self._hole_s is None:
            noticed = self.losses.noticed_s(hole)
            self._hole_s = now if noticed is None else noticed
        self._hole = hole
        if not self.frames.starved:
            self._starved_s = None
        elif self._starved_s is None:
            self._starved_s = now

    def next_s(self) -> float | None:
        """When there is something to ask for; None: nothing is missing, or the sender has fallen silent."""
        due = [at for at in (self.losses.next_s(), self._keyframe_s()) if at is not None]
        return min(due) if due and min(due) <= self._heard_s + SILENCE_S else None

    def feedback(self) -> Feedback:
        """What to ask for now; it counts as asked for."""
        now = self._clock()
        due = self._keyframe_s()
        keyframe = due is not None and due <= now
        if keyframe:
            self.keyframes.ask(now)
        return Feedback(self.losses.due(now), keyframe)

    def _keyframe_s(self) -> float | None:
        return self.keyframes.next_s(self._starved_s, self._hole_s, self.losses.round_trip.seconds)


class _DecodeErrors:
    """In the place of the receiver's flag, which the decoder's thread sets; kept from aiortc, which would ask for a keyframe after every error."""

    def __init__(self) -> None:
        self.count = 0

    def set(self) -> None:
        self.count += 1

    def is_set(self) -> bool:
        return False


class Uplink:
    """The repair at work on one receiver. Made by `improve_uplink`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.times = FrameTimes()
        """How long each frame was under way, by the presentation time of the decoded frame."""
        self._clock = clock
        self._repair = Repair(self._codec_name, clock)
        self._errors = _DecodeErrors()
        self._errors_seen = 0
        self._receiver: Any = None
        self._stock: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._behind_s: float | None = None
        self._sources: set[int] = set()
        self._told_of_size = False
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether there is any repair; False where aiortc is not as expected."""
        return self._receiver is not None

    @property
    def counts(self) -> UplinkCounts:
        repair = self._repair
        return UplinkCounts(
            packets_requested=repair.losses.asked,
            keyframes_requested=repair.keyframes.asked,
            frames_skipped=repair.frames.frames_skipped,
            decode_errors=self._errors.count,
            round_trip_ms=round(1e3 * (repair.losses.round_trip.smoothed_s or 0.0), 1),
        )

    def close(self) -> None:
        """Asks for nothing any more. The second call does nothing."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _attach(self, receiver: RTCRtpReceiver) -> None:
        self._receiver, self._stock = receiver, receiver._handle_rtp_packet
        setattr(receiver, _BUFFER, self._repair.frames)
        setattr(receiver, _NACKS, self._repair.losses)
        setattr(receiver, _ERRORS, self._errors)
        receiver._handle_rtp_packet = self._handle_rtp_packet  # type: ignore[method-assign]

    def _codec_name(self, payload_type: int) -> str:
        return str(getattr(self._receiver, _CODECS)[payload_type].name)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        if not self._listens_to(packet.ssrc):
            return
        if self._errors.count != self._errors_seen or self._decoder_is_behind():
            self._errors_seen = self._errors.count
            self._start_over()
        codec = getattr(self._receiver, _CODECS).get(packet.payload_type)
        self.times.packet(packet.timestamp, self._clock())
        self._repair.losses.expect(retransmitted=codec is not None and codec.name.lower() == "rtx")
        await self._stock(packet, arrival_time_ms=arrival_time_ms)
        self._hand_over()
        self._repair.review()
        if not self._closed:
            await self._ask()

    def _hand_over(self) -> None:
        """Every frame that is complete, to the decoder's thread."""
        for frame in self._repair.frames.take():
            if is_absurd(self._codec_name(frame.payload_type), frame.data):
                self._refuse()
                continue
            pts = getattr(self._receiver, _MAPPER).map(frame.timestamp)
            self.times.complete(frame.timestamp, pts, self._clock())
            frame.timestamp = pts
            if getattr(self._receiver, _THREAD) is not None:
                getattr(self._receiver, _QUEUE).put((getattr(self._receiver, _CODECS)[frame.payload_type], frame))

    def _listens_to(self, source: int) -> bool:
        if source not in self._sources and len(self._sources) >= MAX_SOURCES:
            self._receiver.transport._rtp_router.ssrc_table.pop(source, None)
            return False
        self._sources.add(source)
        return True

    def _refuse(self) -> None:
        """Nothing of a picture that is too large reaches the decoder, nor what follows on it."""
        if not self._told_of_size:
            self._told_of_size = True
            logger.warning("a camera sends pictures that are too large, they are not decoded: expected at most %d pixels, %d a side", MAX_PIXELS, MAX_SIDE_PX)
        self._repair.frames.need_keyframe()
        self._repair.frames.frames_skipped += 1

    def _decoder_is_behind(self) -> bool:
        now = self._clock()
        if getattr(self._receiver, _QUEUE).qsize() <= MAX_UNDECODED:
            self._behind_s = None
        elif self._behind_s is None:
            self._behind_s = now
        return self._behind_s is not None and now - self._behind_s >= BEHIND_S

    def _start_over(self) -> None:
        """Drops what waits for the decoder: it goes on with a keyframe."""
        self._behind_s = None
        self._repair.frames.need_keyframe()
        waiting: queue.Queue[object] = getattr(self._receiver, _QUEUE)
        while getattr(self._receiver, _THREAD) is not None:
            try:
                waiting.get_nowait()
            except queue.Empty:
                return
            self._repair.frames.frames_skipped += 1

    async def _ask(self) -> None:
        """Sends what is due, and sets the timer for what is due later."""
        feedback, ssrc = self._repair.feedback(), self._repair.losses.ssrc
        if self._timer is not None:
            self._timer.cancel()
        at = self._repair.next_s()
        self._timer = None if at is None else asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._on_timer)
        if feedback.packets:
            await self._receiver._send_rtcp_nack(ssrc, feedback.packets)
        if feedback.keyframe:
            await self._receiver._send_rtcp_pli(ssrc)

    def _on_timer(self) -> None:
        if not self._closed:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(_report)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("asking for lost video failed; it is asked for again with the next packet", exc_info=task.exception())


def improve_uplink(receiver: RTCRtpReceiver, clock: Callable[[], float] = time.monotonic) -> Uplink:
    """Gives a video receiver that has not begun yet a repair of its own. Where aiortc is not as expected it stays as it was, with a warning.

    Args:
        clock: seconds; only differences count.

    Returns:
        what it counts, and how it ends: call its `close`.
    """
    uplink = Uplink(clock)
    if _as_expected(receiver):
        uplink._attach(receiver)
    else:
        logger.warning(
            "this version of aiortc has another receiver: webcam frames arrive one frame interval later, and freeze or break up on a network that loses packets"
        )
    return uplink


def _as_expected(receiver: RTCRtpReceiver) -> bool:
    if type(getattr(receiver, _BUFFER, None)) is not JitterBuffer or type(getattr(receiver, _NACKS, None)) is not NackGenerator:
        return False
    if not all(hasattr(receiver, name) for name in (_CODECS, _MAPPER, _QUEUE, _THREAD, _ERRORS, "_send_rtcp_nack", "_send_rtcp_pli")):
        return False
    if not isinstance(getattr(getattr(receiver.transport, "_rtp_router", None), "ssrc_table", None), dict):
        return False
    handle = getattr(receiver, "_handle_rtp_packet", None)
    return getattr(receiver, _THREAD) is None and handle is not None and list(inspect.signature(handle).parameters) == ["packet", "arrival_time_ms"]

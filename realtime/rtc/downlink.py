"""What the avatar's stream is on its way to the peer: encoded for the path of the moment, paced, told to be shown at once.

`improve_downlink` bends one `RTCRtpSender` before it begins; each part by itself, each with the stock behaviour where aiortc is not as expected.

Bends: `_handle_rtcp_packet` of one `RTCRtpSender` (tests/test_congestion.py), and what encoder.py, pacer.py, repeats.py and playout.py say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import RTCRtpSender
from aiortc.rtp import AnyRtcpPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket

from realtime.config import Encoder, ServerConfig
from realtime.rtc.bitrate import BitrateGovernor, BitrateRange
from realtime.rtc.encoder import AvatarH264Encoder, AvatarVp8Encoder, OnEncoded, OnFailed, implementation, use_encoder
from realtime.rtc.ladder import Step
from realtime.rtc.meters import DelayMeter, LossMeter
from realtime.rtc.pacer import pace
from realtime.rtc.playout import write_playout_delay
from realtime.rtc.repeats import handles_rtcp_as_expected, limit_repeats

logger = logging.getLogger(__name__)

_LAST_REPORT, _LAST_REPORT_TIME = "_RTCRtpSender__lsr", "_RTCRtpSender__lsr_time"


@dataclass(frozen=True, slots=True)
class DownlinkSettings:
    """What the owner of a server chose."""

    encoder: Encoder
    """What may encode."""
    bitrate: BitrateRange

    @classmethod
    def of(cls, config: ServerConfig) -> DownlinkSettings:
        """From the server's flags."""
        return cls(config.encoder, BitrateRange(1000 * config.bitrate, 1000 * config.min_bitrate, 1000 * config.max_bitrate))


@dataclass(frozen=True, slots=True)
class DownlinkFigures:
    """How the stream is doing, as statistics tell it."""

    target_kbps: int = 0
    """What the encoder is to produce."""
    sent_kbps: int = 0
    """What left over the last second, with all of RTP."""
    width: int = 0
    height: int = 0
    """Of the frames sent, in pixels; smaller than asked for while the path is narrow."""
    keyframes: int = 0
    loss_percent: float = 0.0
    """Packets that the peer missed, as of its last report."""
    round_trip_ms: float = 0.0
    """0 before the first report."""


class Downlink:
    """How the stream is doing; holds nothing that would have to be freed. Read it on the event loop."""

    def __init__(self, governor: BitrateGovernor, delay: DelayMeter, encoder: AvatarVp8Encoder | AvatarH264Encoder, clock: Callable[[], float]) -> None:
        self._delay = delay
        self._governor = governor
        self._encoder = encoder
        self._clock = clock

    @property
    def target_bitrate(self) -> int:
        """What the encoder is to produce, in bits a second."""
        return self._governor.target

    @property
    def sent_bitrate(self) -> float:
        """What left over the last second, in bits a second, with all of RTP."""
        return self._governor.sending(self._clock())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames sent, in pixels; zeros before the first."""
        return self._encoder.size

    @property
    def step(self) -> Step:
        """Which part of the picture's size and of its frames the path has room for."""
        return self._encoder.step

    @property
    def frame_rate(self) -> float:
        """Frames a second that come and are not left out by the step."""
        return self._encoder.frame_rate

    @property
    def keyframes(self) -> int:
        """How many were sent."""
        return self._encoder.keyframes

    @property
    def loss(self) -> float:
        """Fraction of packets that the peer missed, 0…1, as of its last report."""
        return self._governor.loss

    @property
    def rtt_s(self) -> float | None:
        """Round trip time in seconds, by RTCP (RFC 3550, section 6.4.1); None before the first report."""
        return self._delay.rtt_s

    @property
    def figures(self) -> DownlinkFigures:
        width, height = self.size
        return DownlinkFigures(
            target_kbps=round(self.target_bitrate / 1e3),
            sent_kbps=round(self.sent_bitrate / 1e3),
            width=width,
            height=height,
            keyframes=self.keyframes,
            loss_percent=round(100 * self.loss, 1),
            round_trip_ms=round(1e3 * (self.rtt_s or 0.0), 1),
        )


def improve_downlink(
    sender: RTCRtpSender,
    codec_name: str,
    settings: DownlinkSettings,
    on_encoded: OnEncoded,
    clock: Callable[[], float] = time.monotonic,
    on_failed: OnFailed = lambda: None,
) -> Downlink:
    """Bends a sender that has not begun yet.

    Args:
        codec_name: `VP8` or `H264`, as negotiated.
        on_encoded: told how many milliseconds each frame took, from the thread that encodes.
        on_failed: told, from there, of each frame that could not be encoded.
    """
    by = implementation(settings.encoder, codec_name)
    if by is None:
        raise ValueError(f"codec_name: expected one that --encoder {settings.encoder} can make, got {codec_name}")
    governor, delay = BitrateGovernor(settings.bitrate), DelayMeter()
    make = AvatarVp8Encoder if codec_name == "VP8" else AvatarH264Encoder
    encoder = make(by, governor, settings.bitrate.highest, on_encoded, clock)
    encoder.on_failed = on_failed
    if use_encoder(sender, encoder):
        pace(sender, lambda: (encoder.frame_bytes, governor.target), governor.sent, clock)
        _hear_reports(sender, governor, delay, clock)
        limit_repeats(sender, lambda: governor.target, lambda: delay.rtt_s, clock)
    write_playout_delay(sender)
    return Downlink(governor, delay, encoder, clock)


def _hear_reports(sender: RTCRtpSender, governor: BitrateGovernor, delay: DelayMeter, clock: Callable[[], float]) -> bool:
    """Tells the governor of loss and delay in receiver reports, before the sender handles them as ever."""
    if not handles_rtcp_as_expected(sender) or not hasattr(sender, _LAST_REPORT_TIME):
        logger.warning("this version of aiortc handles RTCP in another way: the bitrate gives way neither to loss nor to delay")
        return False
    stock, losses = sender._handle_rtcp_packet, LossMeter()

    def hear(report: RtcpReceiverInfo, now_s: float) -> None:
        loss = losses.report(report.packets_lost, report.highest_sequence, now_s)
        if loss is not None:
            governor.report(loss, now_s)
        if report.dlsr and report.lsr == getattr(sender, _LAST_REPORT):
            rtt_s = time.time() - getattr(sender, _LAST_REPORT_TIME) - report.dlsr / 65536
            governor.queueing(delay.sample(max(0.0, rtt_s), now_s), now_s)

    async def handle(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == sender._ssrc:
                    hear(report, clock())
        await stock(packet)

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]
    return True

"""What an offer must hold before aiortc sees it, and which of it is answered: one video stream each way, and the control channel."""

from __future__ import annotations

import logging
from enum import StrEnum

from aiortc import RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription

from realtime.config import Codec, Encoder
from realtime.errors import Unprocessable
from realtime.rtc.candidates import without_names
from realtime.rtc.encoder import IMPLEMENTATIONS, encoders, nvenc_works
from realtime.rtc.playout import accept_playout_delay

logger = logging.getLogger(__name__)


class Direction(StrEnum):
    """Which way video goes, as the answer says it."""

    BOTH = "sendrecv"
    """A page: its webcam comes, the avatar goes."""
    RECEIVE = "recvonly"
    """A WHIP client: its camera comes."""
    SEND = "sendonly"
    """A WHEP client: the avatar goes."""


MAX_SECTIONS = 8
MAX_CANDIDATES = 64
_OFFERED = {
    Direction.BOTH: ("sendrecv",),
    Direction.RECEIVE: ("sendonly", "sendrecv"),
    Direction.SEND: ("recvonly", "sendrecv"),
}
"""Of the first video section in an offer; absent: sendrecv (RFC 8866, section 6.7)."""
_MIME_TYPES = {Codec.VP8: ("video/VP8",), Codec.H264: ("video/H264",)}


def _mime_types(codec: Codec) -> tuple[str, ...]:
    """Best first."""
    if codec is not Codec.AUTO:
        return _MIME_TYPES[codec]
    return tuple(dict.fromkeys(f"video/{IMPLEMENTATIONS[each].codec}" for each in encoders(Encoder.AUTO, nvenc_works())))


def prefer_codecs(transceiver: RTCRtpTransceiver, codec: Codec) -> None:
    """Restricts and orders what is answered: the peer sends, and is sent, the first that both speak."""
    known = RTCRtpSender.getCapabilities("video").codecs
    wanted = [each for mime_type in _mime_types(codec) for each in known if each.mimeType == mime_type]
    transceiver.setCodecPreferences(wanted + [each for each in known if each.mimeType == "video/rtx"])


def check_offer(offer_sdp: str, codec: Codec, direction: Direction = Direction.BOTH) -> str:
    """The offer as it can be answered, without names for addresses.

    Args:
        codec: what video may be coded as.
        direction: which way it is to go.

    Raises:
        Unprocessable: with what is missing; never with the offer itself.
    """
    sdp = without_names(offer_sdp)
    try:
        offer = SessionDescription.parse(sdp)
    except Exception as error:  # the parser raises whatever the bad line leads to
        raise Unprocessable("sdp: expected a session description, this one cannot be read") from error
    _check_sections(offer.media, direction)
    _check_identifiers(offer)
    mime_types = {each.lower() for each in _mime_types(codec)}
    video = next(media for media in offer.media if media.kind == "video")
    if not mime_types & {each.mimeType.lower() for each in video.rtp.codecs}:
        raise Unprocessable(f"sdp: expected video as {' or '.join(name.removeprefix('video/') for name in _mime_types(codec))}, the offer has none of it")
    return sdp


async def answer_offer(peer: RTCPeerConnection, kept: RTCRtpTransceiver, sdp: str) -> RTCSessionDescription:
    """The answer to a checked offer: `kept` as offered, every other audio or video section inactive, so that nothing is decoded that nobody takes.

    Raises:
        Unprocessable: aiortc cannot answer it.
    """
    try:
        await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        for transceiver in peer.getTransceivers():
            if transceiver is not kept:
                transceiver.direction = "inactive"
        accept_playout_delay(kept, sdp)
        return await peer.createAnswer()
    except Exception as error:  # as above: codec profiles, bundle groups and ports are only looked at here
        logger.debug("an offer was refused by aiortc", exc_info=error)
        raise Unprocessable("sdp: the offer cannot be answered; expected VP8, or H.264 baseline with packetization-mode 1, with RTCP multiplexed") from error


def _check_sections(sections: list[MediaDescription], direction: Direction) -> None:
    video = [media for media in sections if media.kind == "video"]
    if not video:
        raise Unprocessable("sdp: expected a video section, the offer has none")
    if direction is not Direction.BOTH and len(video) > 1:
        raise Unprocessable("sdp: expected one video section, the offer has several")
    if len(sections) > MAX_SECTIONS or sum(len(media.ice_candidates) for media in sections) > MAX_CANDIDATES:
        raise Unprocessable(f"sdp: expected at most {MAX_SECTIONS} sections and {MAX_CANDIDATES} candidates")
    for media in sections:
        if media.kind not in ("audio", "video", "application"):
            raise Unprocessable("sdp: expected audio, video and application sections only")
        if media.dtls is None or not media.dtls.fingerprints or media.ice is None or not media.ice.usernameFragment or not media.ice.password:
            raise Unprocessable("sdp: expected a DTLS fingerprint and ICE credentials in every section")
    if video[0].direction not in (None, *_OFFERED[direction]):
        raise Unprocessable(f"sdp: expected the first video section to be {' or '.join(_OFFERED[direction])}")


def _check_identifiers(offer: SessionDescription) -> None:
    identifiers = [media.rtp.muxId for media in offer.media]
    bundled = [identifier for group in offer.group if group.semantic == "BUNDLE" for identifier in group.items]
    if not all(identifiers) or len(set(identifiers)) < len(identifiers) or not set(bundled) <= set(identifiers):
        raise Unprocessable("sdp: expected a mid of its own in every section, and BUNDLE groups of these")


def sent_codec(answer_sdp: str) -> str:
    """Name of the codec, such as `VP8`, that an answer says will be sent."""
    answer = SessionDescription.parse(answer_sdp)
    return next(media for media in answer.media if media.kind == "video").rtp.codecs[0].name

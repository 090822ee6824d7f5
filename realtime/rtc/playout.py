"""Asks the receiver to show every frame as soon as it is there: the playout-delay header extension, with a delay of 0 to 0.

A browser else adds what its jitter buffer finds prudent, and waits for the screen's rhythm: 17 to 30 ms in Chromium. It offers the extension for every video
section; aiortc does not know it. The values are two times 12 bits in units of 10 ms
(http://www.webrtc.org/experiments/rtp-hdrext/playout-delay), carried as RFC 8285 says.

Bends: `_headerExtensions` of one `RTCRtpTransceiver`, and the private extension map of one `RTCRtpSender` (tests/test_playout.py).
"""

from __future__ import annotations

import logging

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions
from aiortc.sdp import SessionDescription

logger = logging.getLogger(__name__)

URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AT_ONCE = bytes(3)
"""Between 0 and 0 ms."""
_MAP = "_RTCRtpSender__rtp_header_extensions_map"
_LOST = "this version of aiortc has other header extensions: browsers may show the avatar a frame later"


class PlayoutDelayMap(HeaderExtensionsMap):
    """The stock map, and the playout delay on every packet where it was negotiated."""

    def __init__(self) -> None:
        super().__init__()
        self._playout_delay_id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == URI:
                self._playout_delay_id = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, value = super().set(values)
        if self._playout_delay_id is None:
            return profile, value
        return pack_header_extensions([*unpack_header_extensions(profile, value), (self._playout_delay_id, AT_ONCE)])


def accept_playout_delay(transceiver: RTCRtpTransceiver, offer_sdp: str) -> bool:
    """Has the answer, which is not made yet, hold the extension if the offer that was set does. Whether it will."""
    media = next((each for each in SessionDescription.parse(offer_sdp).media if each.rtp.muxId == transceiver.mid), None)
    identifier = next((each.id for each in media.rtp.headerExtensions if each.uri == URI), None) if media is not None else None
    if identifier is None:
        return False
    known = getattr(transceiver, "_headerExtensions", None)
    if not isinstance(known, list) or not all(isinstance(each, RTCRtpHeaderExtensionParameters) for each in known):
        logger.warning(_LOST)
        return False
    if identifier not in {each.id for each in known}:
        known.append(RTCRtpHeaderExtensionParameters(id=identifier, uri=URI))
    return any(each.uri == URI for each in known)


def write_playout_delay(sender: RTCRtpSender) -> bool:
    """Has a sender that has not begun yet write the extension, if it was negotiated. False, with a warning, where aiortc is not as expected."""
    if type(getattr(sender, _MAP, None)) is not HeaderExtensionsMap:
        logger.warning(_LOST)
        return False
    setattr(sender, _MAP, PlayoutDelayMap())
    return True

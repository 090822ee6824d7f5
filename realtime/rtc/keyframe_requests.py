"""Where a viewer's requests for a keyframe go when its pictures are encoded elsewhere, once for many.

An `RTCRtpSender` that packs pictures encoded elsewhere remembers such a request (RFC 4585, section 6.3.1; RFC 5104, section 4.3.1) for an encoder that it
never calls.

Bends: `_send_keyframe` of one `RTCRtpSender` (tests/test_fanout.py).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable

from aiortc import RTCRtpSender

logger = logging.getLogger(__name__)


def pass_keyframe_requests(sender: RTCRtpSender, request: Callable[[], None]) -> bool:
    """Has a sender call `request` for each picture loss indication and full intra request of its peer.

    False, with a warning, where aiortc is not as expected: then viewers who lost a packet for good see damaged pictures until somebody else joins.
    """
    stock = getattr(sender, "_send_keyframe", None)
    if not isinstance(sender, RTCRtpSender) or stock is None or inspect.signature(stock).parameters:
        logger.warning("this version of aiortc asks for keyframes in another way: viewers on bad networks may see damaged pictures for long")
        return False
    sender._send_keyframe = request  # type: ignore[method-assign]
    return True

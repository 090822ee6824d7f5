"""Candidates that a client finds after its offer: fragments of a session description (RFC 8840, section 9), as WHIP and WHEP clients send them."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from aiortc import RTCIceCandidate, RTCPeerConnection
from aiortc.sdp import SessionDescription, candidate_from_sdp

from realtime.errors import BadRequest, Unprocessable
from realtime.rtc.candidates import without_names
from realtime.rtc.negotiation import MAX_CANDIDATES

_LINE = re.compile(r"[a-z]=.*")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is used of one."""

    username_fragments: frozenset[str]
    candidates: tuple[RTCIceCandidate, ...]
    """With `sdpMid` as it was told, or None."""


def parse_fragment(text: str) -> Fragment:
    """Reads a fragment.

    Raises:
        BadRequest: with what was expected; never with the fragment itself.
    """
    mid, candidates, fragments = None, [], set()
    for line in filter(None, text.splitlines()):
        if not _LINE.fullmatch(line):
            raise BadRequest("expected a fragment of a session description: lines such as a=candidate:…")
        name, _, value = line[2:].rstrip().partition(":")
        if line.startswith("m="):
            mid = None
        elif not line.startswith("a="):
            continue
        elif name == "mid":
            mid = value
        elif name == "ice-ufrag":
            fragments.add(value)
        elif name == "candidate":
            candidates.append(_candidate(value, mid))
    return Fragment(frozenset(fragments), tuple(candidates))


def _candidate(value: str, mid: str | None) -> RTCIceCandidate:
    try:
        candidate = candidate_from_sdp(value)
    except (AssertionError, ValueError, IndexError) as error:
        raise BadRequest("a=candidate: expected foundation, component, transport, priority, address, port, typ and type (RFC 8839, section 5.1)") from error
    candidate.sdpMid = mid
    return candidate


class Trickle:
    """Takes a client's later candidates for one peer connection, whose remote description is set."""

    def __init__(self, peer: RTCPeerConnection) -> None:
        self._peer = peer
        self._count = 0
        self.etag = secrets.token_urlsafe(9)
        """Names the ICE session (RFC 9725, section 4.3.1); there is no other after it, for ICE is never restarted."""

    async def add(self, text: str) -> None:
        """Adds the candidates of a fragment; those that cannot be used, such as names or TCP, are let go without a word.

        Raises:
            BadRequest: it cannot be read.
            Unprocessable: it asks for a restart of ICE, or holds too many candidates.
        """
        fragment = parse_fragment(text)
        reachable = parse_fragment(without_names(text)).candidates
        offer = SessionDescription.parse(self._peer.remoteDescription.sdp)
        if not fragment.username_fragments <= {media.ice.usernameFragment for media in offer.media if media.ice is not None}:
            raise Unprocessable("ICE restarts are not supported: end this session and send a new offer")
        self._count += len(fragment.candidates)
        if self._count > MAX_CANDIDATES:
            raise Unprocessable(f"expected at most {MAX_CANDIDATES} candidates")
        mids = {media.rtp.muxId for media in offer.media}
        for candidate in reachable:
            if candidate.sdpMid not in mids:
                candidate.sdpMid, candidate.sdpMLineIndex = None, 0
            if candidate.component == 1 and candidate.protocol.lower() == "udp":
                await self._peer.addIceCandidate(candidate)

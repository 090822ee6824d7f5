"""Targets that are text: offers, fragments, control messages, bodies, queries, names, headers, the file of users."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import VideoStreamTrack
from multidict import MultiDict

from models import strict_json
from models.consent.statement import USUAL
from realtime import control
from realtime.access import AccessError, Role, User, digest, read_users, write_users
from realtime.config import Codec
from realtime.errors import HeadcastError
from realtime.gallery import identifier
from realtime.hosts import address_of, host_name, normal_origin, passed_on
from realtime.looks import read_look
from realtime.rtc.candidates import without_names
from realtime.rtc.negotiation import Direction, answer_offer, check_offer, prefer_codecs, sent_codec
from realtime.rtc.trickle import parse_fragment
from realtime.signaling import _read_offer
from realtime.studio.http import _wish
from realtime.studio.uploads import shown_name
from realtime.whip import checked_name
from tests.fuzz.target import Target, scratch
from tests.studios import ANNA

SDP_TOKENS = (
    *(b"a=candidate:", b"a=mid:", b"a=group:BUNDLE ", b"a=rtpmap:", b"a=fmtp:", b"a=ssrc:", b"a=ssrc-group:FID ", b"a=extmap:", b"a=rtcp-fb:", b"a=setup:"),
    *(b"a=fingerprint:sha-256 ", b"a=ice-ufrag:", b"a=ice-pwd:", b"a=sctp-port:", b"a=sctpmap:", b"a=max-message-size:", b"a=rtcp:9 IN IP4 ", b"a=msid:"),
    *(
        b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        b"m=audio ",
        b"m=application ",
        b"c=IN IP6 ::1\r\n",
        b"a=sendrecv\r\n",
        b"a=inactive\r\n",
        b"VP8/90000",
        b"H264/0",
    ),
    *(b"packetization-mode=1;profile-level-id=42e01f", b"apt=", b".local", b"127.0.0.1", b"224.0.0.1", b"fe80::1%lo", b" typ host", b"a=ice-lite\r\n"),
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


async def _offer_of(direction: Direction) -> str:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        if direction is Direction.SEND:
            peer.addTransceiver("video", "recvonly")
        else:
            peer.addTransceiver(VideoStreamTrack(), "sendonly" if direction is Direction.RECEIVE else "sendrecv")
        if direction is Direction.BOTH:
            peer.createDataChannel(control.LABEL)
            peer.addTransceiver("audio", "recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        return peer.localDescription.sdp
    finally:
        await peer.close()


def offers() -> tuple[bytes, ...]:
    """What a page, a WHIP and a WHEP client send."""

    async def all_of_them() -> list[str]:
        return [await _offer_of(direction) for direction in Direction]

    return tuple(each.encode() for each in asyncio.run(all_of_them()))


def offer() -> Target:
    """An offer up to where aiortc gets it."""

    def feed(data: bytes) -> None:
        for direction in Direction:
            with suppress(HeadcastError):
                check_offer(_text(data), Codec.AUTO, direction)

    return Target(feed, offers(), SDP_TOKENS)


def answer() -> Target:
    """An offer up to its answer, by a peer connection of its own each time: slow."""
    loop = asyncio.new_event_loop()

    async def answered(sdp: str) -> None:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            checked = check_offer(sdp, Codec.AUTO)
            kept = peer.addTransceiver(VideoStreamTrack(), "sendrecv")
            prefer_codecs(kept, Codec.AUTO)
            sent_codec((await answer_offer(peer, kept, checked)).sdp)
        except HeadcastError:
            pass
        finally:
            await peer.close()

    return Target(lambda data: loop.run_until_complete(answered(_text(data))), offers()[:1], SDP_TOKENS)


def fragment() -> Target:
    """Candidates that come later."""
    seed = b"a=ice-ufrag:abcd\r\na=ice-pwd:" + b"x" * 24 + b"\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.7 58000 typ host\r\n"
    seed += b"a=candidate:2 1 tcp 1 192.0.2.7 9 typ srflx raddr 10.0.0.1 rport 9 tcptype active\r\na=end-of-candidates\r\n"

    def feed(data: bytes) -> None:
        text = _text(data)
        with suppress(HeadcastError):
            parse_fragment(text)
            for candidate in parse_fragment(without_names(text)).candidates:
                assert 1 <= candidate.port <= 65_535
                assert address_of(candidate.ip) is not None

    return Target(feed, (seed,), SDP_TOKENS)


def messages() -> Target:
    """The data channel."""
    commands: tuple[dict[str, Any], ...] = (
        {"type": "calibrate", "mode": "best", "id": 7},
        {"type": "set_avatar", "avatar": "mara"},
        {"type": "set_background", "background": "#00b140"},
        {"type": "mirror", "enabled": True},
        {"type": "drive", "mode": "own"},
        {"type": "gain", "group": "mouth", "value": 1.5},
        {"type": "pose", "offsets": {"jawOpen": 0.5}, "overrides": {"headYaw": -0.25}},
        {"type": "puppet", "enabled": False},
        {"type": "ping", "t": 12.5},
    )

    def feed(data: bytes) -> None:
        try:
            request = control.parse(data.decode("utf-8", "surrogateescape"))
            answer = control.ack(request.command.type, request.id)
        except control.ControlError as error:
            answer = control.error(str(error), error.of, error.id)
        assert len(answer.encode()) < 2000

    seeds = tuple(json.dumps({"v": 1, **each}).encode() for each in commands)
    words = (json.dumps(word).encode() for each in commands for word in each)
    return Target(feed, seeds, (*words, b"true", b"null", b"1e400"))


def bodies() -> Target:
    """JSON of requests: offers and what the studio is asked to make."""
    loop = asyncio.new_event_loop()
    wish = {"upload": "x" * 22, **ANNA, "preset": "quick", "purposes": [*map(str, USUAL)], "expires": None, "own_driver_only": False}
    seeds = (json.dumps({"sdp": "v=0\r\n", "type": "offer", "avatar": "mara", "session": "my-session", "replaces": "abcdefgh"}), json.dumps(wish))

    def feed(data: bytes) -> None:
        async def read() -> bytes:
            return data

        request = cast(web.Request, SimpleNamespace(content_type="application/json", charset=None, read=read))
        with suppress(HeadcastError):
            loop.run_until_complete(_read_offer(request))
        with suppress(ValueError, HeadcastError):
            body = strict_json.loads(data)
            if isinstance(body, dict):
                made = _wish(body)
                made.name.encode()

    return Target(feed, tuple(each.encode() for each in seeds), (b'"sdp":', b'"agreed":true', b"\\u202e", b"\\ud83d\\ude00", b"\\u0000"))


def queries() -> Target:
    """Queries, names of sessions and of files, headers that are read here: Host, Origin, X-Forwarded-For."""

    def feed(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        with suppress(HeadcastError, ValueError):
            read_look(MultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=100)), ("mara",))
        with suppress(HeadcastError):
            assert "/" not in checked_name(text)
        shown = shown_name(text)
        assert "/" not in shown
        assert shown.isprintable()
        assert identifier(text).replace("-", "").replace(".", "").replace("_", "").isalnum()
        host_name(text)
        normal_origin(text)
        passed_on("127.0.0.1", False, text.split("\n"), text, [])

    seeds = (b"avatar=mara&background=%23ff0000&mirror=1", b"my-session-1", b"C:\\fakepath\\My clip.MP4", b"[::1]:5000", b"https://example.org:8443")
    return Target(feed, (*seeds, b"192.0.2.7, 2001:db8::1%eth0"), (b"%2e%2e%2f", b"%00", b"avatar=", b"xn--", b"@", b"//", b"["))


def users() -> Target:
    """The file of users."""
    path = scratch() / "users.json"
    write_users(path, [User("anna", Role.PUPPETEER, digest("a" * 20)), User("bo@example.org", Role.VIEWER, digest("b" * 20))])
    seed = path.read_bytes()

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(AccessError):
            read_users(path)

    return Target(feed, (seed,), (b'"users"', b'"role"', b'"owner"', b'"sha256"', b'"name"'))

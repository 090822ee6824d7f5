"""Through the front door: broken HTTP, noise at the media port, and a peer whose video and messages are broken, while somebody else's call goes on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection

from tests.frames import frames_of
from tests.fuzz.mutation import edited, random_edits
from tests.peers import Peer, calling, until
from tests.serving import Served, serving

LONGEST_PAUSE_S = 2.0
"""Of somebody else's video; a still picture is sent again every 0.2 s."""
SEED = 7

REQUESTS = {
    "nothing": b"\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "two lengths": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nabcde",
    "length and chunks": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    b"GET /healthz HTTP/1.1\r\n\r\n",
    "a folded encoding": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "a signed length": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nabcde",
    "an endless chunk": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    "a chunk of a minus": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "a NUL": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "another's host": b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a whole address": b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "a bomb": b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789",
    "strange tags": b'GET /avatars/ada/thumbnail HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: "' + b'a","' * 1500 + b"\r\n\r\n",
    "a strange range": b"GET /static/app.js HTTP/1.1\r\nHost: localhost\r\nRange: bytes=9999999999999999999-1,-0\r\n\r\n",
    "strange dates": b"GET /static/app.js HTTP/1.1\r\nHost: localhost\r\nIf-Modified-Since: Thu, 99 Foo 99999 99:99:99 GMT\r\n\r\n",
    "a strange type": b'POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset="\\\xff; =;;\r\nContent-Length: 2\r\n\r\n{}',
    "strange cookies": b"GET /avatars HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"headcast=\x01;;=;$Version=" * 200 + b"\r\n\r\n",
}


@dataclass
class Bystander:
    """Somebody else's call."""

    peer: Peer
    session: str
    ports: tuple[int, ...]
    """The server's, of this call."""
    came: list[float] = field(default_factory=list)

    def longest_pause_s(self, since_s: float) -> float:
        times = [since_s, *[at for at in self.came if at > since_s], time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))


async def call(served: Served, peer: Peer) -> tuple[str, str]:
    """The session's identifier and the answer."""
    async with aiohttp.ClientSession() as http, http.post(f"{served.url}/offer", json={"sdp": peer.sdp, "type": "offer"}) as response:
        body: dict[str, Any] = await response.json()
        assert response.status == 200, body
        await peer.accept(body["sdp"])
        return body["session_id"], body["sdp"]


@asynccontextmanager
async def bystander(served: Served) -> AsyncIterator[Bystander]:
    """Is live when the block begins; its video must have gone on when it ends."""
    async with calling() as peer:
        tracks: list[MediaStreamTrack] = []
        peer.connection.on("track", tracks.append)
        session, answer = await call(served, peer)
        there = Bystander(peer, session, tuple({int(port) for port in re.findall(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ host", answer)}))

        async def watch() -> None:
            async for _ in frames_of(tracks[0]):
                there.came.append(time.monotonic())

        watching = asyncio.create_task(watch())
        try:
            await until(lambda: len(there.came) > 5)
            began = time.monotonic()
            yield there
            await asyncio.sleep(0.3)
            assert there.longest_pause_s(began) < LONGEST_PAUSE_S
            assert peer.connection.connectionState == "connected"
            assert served.sessions.get(session)
        finally:
            watching.cancel()


async def send(served: Served, data: bytes, reading_s: float = 0.15) -> bytes:
    """What a server says to raw bytes until it closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    answer = b""
    try:
        with suppress(ConnectionError, TimeoutError):
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(reading_s):
                while piece := await reader.read(65_536):
                    answer += piece
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return answer


async def test_broken_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with serving() as served, bystander(served):
        for name, data in REQUESTS.items():
            answer = await send(served, data)
            for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer):
                assert status[:1] != b"5", (name, answer[:200])
            if name in ("another's host", "two hosts", "a tunnel", "no host", "length and chunks", "two lengths"):
                assert b" 200 " not in answer, name
        rng = random.Random(SEED)
        for _ in range(100):
            await send(served, edited(rng.choice([*REQUESTS.values()]), random_edits(rng), (b"\r\n", b"Host: localhost\r\n"), [*REQUESTS.values()]), 0.02)
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/avatars") as response:
            assert response.status == 200
    assert not [record.getMessage() for record in caplog.records if record.name != "aiohttp.server"]  # which tells of each broken request itself


async def test_clients_that_dawdle() -> None:
    """Two hundred connections that say a little and no more, and some that close half."""
    async with serving() as served, bystander(served):
        port = int(served.url.rpartition(":")[2])
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for number, (_, writer) in enumerate(opened):
            writer.write(b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{" if number % 2 else b"GET / HTTP/1.1\r\nHo")
            if number % 5 == 0:
                writer.write_eof()
        async with aiohttp.ClientSession() as http:
            for _ in range(5):
                async with http.get(f"{served.url}/avatars", timeout=aiohttp.ClientTimeout(5)) as response:
                    assert response.status == 200
        for _, writer in opened:
            writer.close()


def noise(rng: random.Random) -> Iterator[bytes]:
    """Datagrams: nothing, STUN, DTLS, RTP and RTCP by their first byte (RFC 7983), and any."""
    magic = b"\x21\x12\xa4\x42"
    while True:
        body = rng.randbytes(rng.choice((0, 1, 2, 12, 40, 200, 1200)))
        yield b""
        yield body
        yield rng.choice((b"\x00\x01", b"\x01\x01", b"\x01\x11", b"\x00\x16")) + len(body).to_bytes(2, "big") + magic + rng.randbytes(12) + body
        yield rng.choice((b"\x14", b"\x15", b"\x16", b"\x17", b"\x19")) + b"\xfe\xfd" + bytes(8) + len(body).to_bytes(2, "big") + body
        yield bytes([0x80 | rng.getrandbits(4), rng.getrandbits(8)]) + body


async def test_noise_at_the_media_port() -> None:
    """An empty datagram, from whomever, ended any call."""
    async with serving() as served, bystander(served) as there:
        assert there.ports
        datagrams = noise(random.Random(SEED))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number, datagram in enumerate(itertools.islice(datagrams, 1500)):
                stranger.sendto(datagram, ("127.0.0.1", there.ports[number % len(there.ports)]))
                if number % 20 == 0:
                    await asyncio.sleep(0.005)
        there.peer.say({"type": "ping", "t": 5})
        await until(lambda: there.peer.of("pong"))


def broken(connection: RTCPeerConnection, rng: random.Random) -> None:
    """From now on, much of what this peer sends as RTP and RTCP is broken before it is encrypted: the server takes it for its client's own."""
    for transceiver in connection.getTransceivers():
        transport = transceiver.sender.transport
        stock = transport._send_rtp

        async def bent(data: bytes, stock: Any = stock) -> None:
            sent = [data]
            if rng.random() < 0.5:
                payload = edited(data[12:], random_edits(rng), (b"\x9d\x01\x2a\xff\x3f\xff\x3f", b"\x67\x42\xe0\x1f"), [data])
                sent.append((data[:2] + rng.randbytes(2) + data[4:12] if rng.random() < 0.3 else data[:12]) + payload[:1200])
            if rng.random() < 0.1:
                sent.append(data[:8] + rng.randbytes(4) + data[12:])
            for each in sent:
                with suppress(Exception):  # libsrtp refuses headers that are none
                    await stock(each)

        transport._send_rtp = bent  # type: ignore[method-assign]


async def test_a_peer_whose_video_and_messages_are_broken() -> None:
    rng = random.Random(SEED)
    async with serving() as served, bystander(served), calling() as peer:
        await call(served, peer)
        await until(lambda: peer.channel.readyState == "open")
        broken(peer.connection, rng)
        messages = [
            b'{"v": 1, "type": "pose", "offsets": {"jawOpen": 0.5}}',
            b'{"v": 1, "type": "ping", "t": 1}',
            b'{"v": 1, "type": "gain", "group": "mouth", "value": 1}',
        ]
        end = time.monotonic() + 4.0
        while time.monotonic() < end and peer.channel.readyState == "open":
            data = edited(rng.choice(messages), random_edits(rng), (), messages)
            peer.say(data.decode("utf-8", "replace") if rng.random() < 0.7 else data)
            await asyncio.sleep(0.02)
        assert peer.of("error")

"""Clients that vanish, flood, dawdle or come in crowds: refused politely or let go, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest

from realtime.bodies import BODY_S
from realtime.connections import MOST_IDLE
from tests.faults.house import GAP_S, House, house
from tests.peers import calling

pytestmark = pytest.mark.faults

CROWD, FLOOD, DAWDLERS, CYCLES, MESSAGES = 100, 200, 50, 40, 5000
WAVES, SILENT, FEW_DESCRIPTORS = 3, 300, ("sh", "-c", 'ulimit -n 512 && exec "$@"', "sh")
"""More connections than the server may have, if it kept them."""
SILENCE_S = 5.0
LOADED_GAP_S = 2 * GAP_S
"""While a client asks for as much as it can, on the same two cores."""


async def offered(http: aiohttp.ClientSession, url: str, sdp: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    async with http.post(f"{url}/offer", json={"sdp": sdp, "type": "offer"}) as response:
        return response.status, dict(response.headers), await response.json(content_type=None)


async def all_at_once(at: House, count: int) -> Counter[int]:
    """So many offers, each on a connection of its own; how many got which status. Refusals are polite, and sessions that came of it are ended."""
    async with calling() as peer, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        answers = await asyncio.gather(*(offered(http, at.url, peer.sdp) for _ in range(count)))
        for status, headers, body in answers:
            if status == 200:
                async with http.delete(f"{at.url}/sessions/{body['session_id']}") as response:
                    assert response.status == 204
            else:
                assert headers["Content-Type"].startswith("application/problem+json")
                assert int(headers["Retry-After"]) >= 1
                assert body["status"] == status
    return Counter(status for status, _, _ in answers)


async def test_a_hundred_parallel_sessions_beyond_capacity_are_refused_politely() -> None:
    async with house("--max-sessions", "2", gap_s=LOADED_GAP_S) as at:
        assert await all_at_once(at, CROWD) == {200: 1, 503: CROWD - 1}
        assert (await at.health())["status"] in ("ok", "degraded")


async def test_a_flood_of_two_hundred_offers_is_stemmed() -> None:
    async with house("--max-sessions", "2", gap_s=LOADED_GAP_S) as at:
        answers = await all_at_once(at, FLOOD)
        assert answers[200] == 1
        assert answers[429] > 0
        assert answers[503] + answers[429] == FLOOD - 1

        async def counted() -> bool:
            refused = await at.metrics()
            return sum(refused.get(f"headcast_offers_refused_total{{{reason}}}", 0) for reason in ("full", "too_many")) == FLOOD - 1

        await at.until(counted, 3.0)


async def dawdle(at: House, answered: list[bytes]) -> None:
    """An offer that comes byte by byte and never whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(at.url.rsplit(":", 1)[1]))
    writer.write(b"POST /offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    reading = asyncio.create_task(reader.readline())
    try:
        while not reading.done():
            writer.write(b" ")
            await asyncio.wait({reading}, timeout=0.5)
        answered.append(await reading)
    finally:
        reading.cancel()
        writer.close()


@pytest.mark.beside
async def test_offers_that_never_come_whole_are_given_up() -> None:
    async with house() as at:
        answered: list[bytes] = []
        begin = time.monotonic()
        await asyncio.gather(*(dawdle(at, answered) for _ in range(DAWDLERS)))
        assert time.monotonic() - begin < BODY_S + 5.0
        assert Counter(line.split()[1] for line in answered) == {b"408": DAWDLERS}


async def opened(at: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection; None: the server has no room for it for now."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5.0):
            return await asyncio.open_connection("127.0.0.1", int(at.url.rsplit(":", 1)[1]))
    return None


@pytest.mark.beside
async def test_connections_that_ask_for_nothing_keep_nobody_out() -> None:
    async with house("--max-sessions", "2", prefix=FEW_DESCRIPTORS, gap_s=LOADED_GAP_S) as at:
        silent = []
        try:
            for _ in range(WAVES):
                silent += [stream for stream in await asyncio.gather(*(opened(at) for _ in range(SILENT))) if stream is not None]
                await asyncio.sleep(2.0)
            assert len(silent) > MOST_IDLE
            await at.call()
            await at.until_live(2)
        finally:
            for _, writer in silent:
                writer.close()


async def test_a_peer_that_vanishes_is_let_go() -> None:
    async with house() as at:
        client = await at.call()
        await at.until_live(2)
        await client.kill()
        begin = time.monotonic()
        while (await at.holdings()).sessions > 1:
            await asyncio.sleep(0.1)
        assert time.monotonic() - begin < SILENCE_S
        assert len(at.renderers()) == 1


async def test_a_flood_over_the_control_channel_is_the_sender_s_trouble() -> None:
    async with house("--max-sessions", "4", gap_s=LOADED_GAP_S) as at:
        command = json.dumps({"v": 1, "type": "mirror", "enabled": True})
        await asyncio.gather(*(at.call("--message", message, "--flood", str(MESSAGES)) for message in (command, "{not json", "hex:00ff")))

        async def flooded() -> bool:
            found = await at.metrics()
            return found["headcast_sessions_opened_total"] == 4 and "headcast_sessions{connecting}" not in found

        await at.until(flooded)
        await asyncio.sleep(3.0)
        assert (await at.health())["code"] == 200
        assert await at.sessions() >= 1


@pytest.mark.beside
async def test_forty_sessions_that_come_and_go_leave_nothing() -> None:
    async with house("--max-sessions", "2", gap_s=LOADED_GAP_S) as at:
        begin = await at.holdings()
        async with aiohttp.ClientSession() as http:  # closed before anything is counted: its connection is no session's
            for _ in range(CYCLES):
                async with calling() as peer:
                    status, _, body = await offered(http, at.url, peer.sdp)
                    assert status == 200, body
                    await peer.accept(body["sdp"])
                    while peer.connection.connectionState != "connected":
                        await asyncio.sleep(0.01)
                    async with http.delete(f"{at.url}/sessions/{body['session_id']}") as response:
                        assert response.status == 204
        await at.settled(begin)
        assert (await at.metrics())["headcast_sessions_opened_total"] == CYCLES + 1


async def test_it_stops_under_load_within_five_seconds_and_leaves_no_process() -> None:
    async with house("--max-sessions", "3", ends=True) as at:
        await asyncio.gather(at.call(), at.call())
        await at.until_live(3)
        dawdling = [asyncio.create_task(dawdle(at, [])) for _ in range(5)]
        await asyncio.sleep(0.5)
        code, errors = await at.server.stop()
        assert (code, errors) == (0, "")
        await asyncio.gather(*dawdling, return_exceptions=True)

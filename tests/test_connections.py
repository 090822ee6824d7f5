"""Connections that ask for nothing are let go; those that are of use stay."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from realtime import connections
from realtime.connections import IDLE_S, MOST_IDLE, GuardedRunner, allow_descriptors
from tests.peers import until

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[GuardedRunner, int]]:
    """A server with one quick answer and one that takes until it is told; its port."""

    async def quick(request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await request.app[DONE].wait()
        await response.write_eof()
        return response

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=bytes(1 << 25))

    application = web.Application()
    application[DONE] = asyncio.Event()
    application.add_routes([web.get("/quick", quick), web.get("/slow", slow), web.get("/large", large)])
    runner = GuardedRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner, runner.addresses[0][1]
    finally:
        application[DONE].set()
        await runner.cleanup()


DONE = web.AppKey("done", asyncio.Event)


async def connected(port: int, count: int) -> list[Stream]:
    return list(await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(count))))


async def ends(stream: Stream) -> bool:
    """Whether the server has closed it."""
    try:
        async with asyncio.timeout(0.5):
            return await stream[0].read(1) == b""
    except TimeoutError:
        return False


async def test_a_connection_that_asks_for_nothing_is_let_go() -> None:
    async with serving() as (runner, port):
        (silent,) = await connected(port, 1)
        assert runner.server is not None
        await until(lambda: len(runner.server.connections) == 1)  # type: ignore[union-attr]
        now = time.monotonic()
        assert runner.let_go(now) == 0
        assert runner.let_go(now + IDLE_S - 1.0) == 0
        assert not await ends(silent)
        assert runner.let_go(now + IDLE_S + 1.0) == 1
        assert await ends(silent)
        silent[1].close()


async def test_headers_that_never_end_are_no_request() -> None:
    async with serving() as (runner, port):
        (dawdler,) = await connected(port, 1)
        dawdler[1].write(b"GET /quick HTTP/1.1\r\nHost: localhost\r\nX-")
        await asyncio.sleep(0.1)
        now = time.monotonic()
        assert [runner.let_go(now), runner.let_go(now + IDLE_S + 1.0)] == [0, 1]
        assert await ends(dawdler)
        dawdler[1].close()


async def test_what_is_being_answered_or_was_just_asked_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as (runner, port), aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/slow") as slow:
        assert slow.status == 200
        now = time.monotonic()
        assert [runner.let_go(now), runner.let_go(now + 10 * IDLE_S)] == [0, 0]
        async with http.get(f"http://127.0.0.1:{port}/quick") as quick:
            assert await quick.text() == "here"
        assert runner.let_go(time.monotonic() + IDLE_S - 1.0) == 0


async def test_of_one_address_only_so_many_idle() -> None:
    async with serving() as (runner, port):
        streams = await connected(port, MOST_IDLE + 40)
        assert runner.server is not None
        await until(lambda: len(runner.server.connections) == len(streams))  # type: ignore[union-attr]
        assert runner.let_go(time.monotonic()) == 40
        for _, writer in streams:
            writer.close()


async def test_addresses_of_one_household_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as (runner, port):
        streams = await connected(port, MOST_IDLE + 40)
        assert runner.server is not None
        await until(lambda: len(runner.server.connections) == len(streams))  # type: ignore[union-attr]
        for number, connection in enumerate(runner.server.connections):
            monkeypatch.setitem(connection.transport._extra, "peername", (f"2001:db8::{number + 1:x}", 1, 0, 0))  # type: ignore[union-attr]
        assert runner.let_go(time.monotonic()) == 40
        for _, writer in streams:
            writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends what is not taken")
async def test_who_does_not_take_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.3)
    async with serving() as (runner, port):
        greedy = socket.create_connection(("127.0.0.1", port))
        greedy.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert runner.server is not None
        await until(lambda: len(runner.server.connections) == 1)  # type: ignore[union-attr]
        await until(lambda: not runner.server.connections)  # type: ignore[union-attr]
        greedy.close()


async def test_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(connections, "IDLE_S", 0.1)
    async with serving() as (_, port):
        (silent,) = await connected(port, 1)
        assert await ends(silent)
        silent[1].close()


def test_contract_of_the_connections() -> None:
    assert hasattr(RequestHandler, "_request_in_progress")
    assert hasattr(RequestHandler, "force_close")


async def test_other_connections_are_left_alone_with_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(connections, "_BUSY", "_something_else")
    with caplog.at_level(logging.WARNING):
        async with serving():
            pass
    assert ["other connections" in record.getMessage() for record in caplog.records] == [True]


def test_as_many_descriptors_as_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_descriptors()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == min(before[1], connections.MOST_DESCRIPTORS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

"""The process as a whole: it says where it is, ends when told, complains in one line."""

from __future__ import annotations

import asyncio
import signal
import socket

import aiohttp
import pytest

from realtime.config import ServerConfig
from server import url_of
from tests.processes import launch, server_process
from tests.serving import client

FAKE = ("-m", "tests.fake_server")


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (ServerConfig(), "http://localhost:5000"),
        (ServerConfig(host="0.0.0.0"), "http://localhost:5000"),
        (ServerConfig(host="::"), "http://localhost:5000"),
        (ServerConfig(host="192.0.2.1"), "http://192.0.2.1:5000"),
        (ServerConfig(host="2001:db8::1"), "http://[2001:db8::1]:5000"),
    ],
)
def test_the_address_it_tells(config: ServerConfig, url: str) -> None:
    assert url_of(config, 5000) == url


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_cleanly_under_load(number: signal.Signals) -> None:
    async with server_process(*FAKE, "--size", "256") as server:
        clients = [asyncio.create_task(client(server.url, "--seconds", "6")) for _ in range(2)]
        async with aiohttp.ClientSession() as http:

            async def sessions() -> int:
                async with http.get(f"{server.url}/readyz") as response:
                    return int((await response.json())["sessions"])

            while await sessions() < 2:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        assert await server.stop(number) == (0, "")
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def test_it_ends_cleanly_at_once() -> None:
    async with server_process(*FAKE) as server:
        assert await server.stop() == (0, "")


async def run(*command: str) -> tuple[int | None, str, str]:
    process = await launch(*command)
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output, errors = await run(*FAKE, "--port", str(taken.getsockname()[1]))
    assert (code, output) == (1, "")
    assert errors.startswith("headcast: cannot serve on 127.0.0.1 port ")
    assert errors.count("\n") == 1


async def test_a_bad_flag() -> None:
    assert await run("server.py", "--fps", "x") == (2, "", "headcast: --fps: expected an integer from 1 to 60, got 'x'\n")


async def test_what_cannot_be_made_ready_is_said_in_one_line() -> None:
    assert await run(*FAKE, "--port", "0", "--avatar", "unready") == (1, "", "headcast: the weights are missing\n")


async def test_a_bad_certificate() -> None:
    code, _, errors = await run("server.py", "--cert-file", "LICENSE", "--key-file", "LICENSE")
    assert code == 2
    assert errors.startswith("headcast: --cert-file, --key-file: ")
    assert errors.count("\n") == 1


async def test_readiness_follows_warming_up() -> None:
    async with server_process(*FAKE) as server, aiohttp.ClientSession() as http, http.get(f"{server.url}/readyz") as response:
        assert (response.status, (await response.json())["warm"]) == (200, True)

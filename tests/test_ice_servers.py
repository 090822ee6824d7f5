"""STUN and TURN servers as clients and as aiortc are told of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiortc.rtcicetransport import connection_kwargs

from realtime.config import IceServer, ServerConfig
from realtime.rtc.ice_servers import IceServers, as_json, configured_servers, link_headers, own_configuration, turn_credentials, with_credentials
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes

STUN = IceServer("stun:stun.example.org")
BARE = IceServer("turn:turn.example.org:3478?transport=udp")
OWN = IceServer("turns:other.example.org?transport=tcp", "me", 'pass"wo\\rd')


def test_credentials_are_those_of_coturns_rest_api() -> None:
    """The password of `printf 1433895918:ninefingers | openssl dgst -sha1 -hmac north -binary | base64`."""
    assert turn_credentials("north", 1_433_892_318.9, 3600, "ninefingers") == ("1433895918:ninefingers", "jy8hTxmOO7UtEKXqSkSlvakPVYA=")


def test_credentials_change_with_time_and_secret() -> None:
    first = turn_credentials("north", 1000.0)
    assert first[0] == "4600:headcast"
    assert len({first, turn_credentials("north", 1001.0), turn_credentials("south", 1000.0)}) == 3


def test_only_turn_servers_without_credentials_are_given_some() -> None:
    found = with_credentials([STUN, BARE, OWN], "north", 1000.0, lifetime_s=60)
    username, credential = turn_credentials("north", 1000.0, 60)
    assert found == IceServers((STUN, IceServer(BARE.url, username, credential), OWN), 60)
    assert with_credentials([STUN, OWN], None, 1000.0) == IceServers((STUN, OWN), None)


def test_what_a_page_is_told() -> None:
    assert as_json(IceServers((), None)) == {"ice_servers": [], "expires_in_s": None}
    assert as_json(IceServers((STUN, IceServer(BARE.url, "4600:headcast", "abc=")), 3600)) == {
        "ice_servers": [{"urls": STUN.url}, {"urls": BARE.url, "username": "4600:headcast", "credential": "abc="}],
        "expires_in_s": 3600,
    }


def test_link_headers() -> None:
    assert link_headers([STUN, IceServer(BARE.url, "4600:headcast", "abc="), OWN]) == (
        '<stun:stun.example.org>; rel="ice-server"',
        '<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="4600:headcast"; credential="abc="; credential-type="password"',
        '<turns:other.example.org?transport=tcp>; rel="ice-server"; username="me"; credential="pass\\"wo\\\\rd"; credential-type="password"',
    )
    assert link_headers([]) == ()


def test_a_session_that_begins_now_gets_credentials_of_now() -> None:
    config = ServerConfig(ice_servers=(BARE,), turn_secret="north")
    assert configured_servers(config, 1000.0) == with_credentials([BARE], "north", 1000.0)
    (server,) = own_configuration(config, 1000.0).iceServers or []
    assert (server.urls, server.username, server.credential) == (BARE.url, *turn_credentials("north", 1000.0))


@pytest.mark.parametrize("servers", [(), (IceServer("turn:[2001:db8::7]:3478", "me", "secret"),)])
def test_the_server_asks_nobody_unless_told_to(servers: tuple[IceServer, ...]) -> None:
    configuration = own_configuration(ServerConfig(ice_servers=servers), 0.0)
    assert configuration.iceServers == []  # not None, with which aiortc asks a server of its own choice


def test_contract_aiortc_takes_the_first_of_each_kind() -> None:
    servers = (IceServer("stuns:a.example"), STUN, OWN, IceServer("turn:second.example", "a", "b"), IceServer("stun:second.example"))
    assert connection_kwargs(own_configuration(ServerConfig(ice_servers=servers), 0.0).iceServers or []) == {
        "stun_server": ("stun.example.org", 3478),
        "turn_server": ("other.example.org", 5349),
        "turn_ssl": True,
        "turn_transport": "tcp",
        "turn_username": OWN.username,
        "turn_password": OWN.credential,
    }


@pytest.mark.parametrize(("config", "count", "lifetime_s"), [(ServerConfig(), 0, None), (ServerConfig(ice_servers=(STUN, BARE), turn_secret="north"), 2, 3600)])
async def test_a_page_gets_the_servers_and_keeps_them_to_itself(
    aiohttp_client: Callable[[web.Application], Awaitable[TestClient[Any, Any]]], tmp_path: Path, config: ServerConfig, count: int, lifetime_s: int | None
) -> None:
    client = await aiohttp_client(build_application(Sessions(config, Worker(fakes.FakeFactory())), fakes.gallery(), tmp_path))
    response = await client.get("/ice-servers")
    assert (response.status, response.content_type, response.headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert "Access-Control-Allow-Origin" not in response.headers
    body = await response.json()
    assert (len(body["ice_servers"]), body["expires_in_s"]) == (count, lifetime_s)
    assert "north" not in await response.text()
    assert all(each["username"].endswith(":headcast") for each in body["ice_servers"] if each["urls"].startswith("turn"))

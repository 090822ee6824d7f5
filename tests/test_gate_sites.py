"""Whose pages may ask what of this server, under which names, through which proxies, and with which headers it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from realtime.hosts import own_names
from tests.guarded import OWNER, Client, bearer, detail, guarded, own_origin, sign_in
from tests.peers import calling


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with guarded() as client:
        yield client


@pytest.fixture
async def open_client() -> AsyncIterator[Client]:
    """Of a server that nobody said who may enter."""
    async with guarded(token=None) as client:
        yield client


async def test_what_a_cookie_allows_needs_a_page_of_this_server(client: Client) -> None:
    await sign_in(client, OWNER)
    own = own_origin(client)
    for headers, status in (
        ({}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": own, "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": own}, 404),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 404),
    ):
        assert (await client.delete("/sessions/nobody-knows", headers=headers)).status == status, headers
    assert (await client.delete("/sessions/nobody-knows", headers=bearer(OWNER))).status == 404, "a program has no page"
    assert (await client.get("/avatars", headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await client.get("/", headers=linked)).status == 200, "a link"
    assert (await client.get("/avatars/ada/export", headers=linked)).status == 403, "but not to what costs"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("avatar.localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("127.1.2.3", 200),
        ("evil.example", 421),
        ("evil.example:{port}", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("203.0.113.7", 421),
        ("0.0.0.0", 421),
        ("localhost@evil.example", 421),
        ("localhost:port", 421),
        ("", 421),
    ],
)
async def test_a_server_answers_to_its_own_names_only(open_client: Client, host: str, status: int) -> None:
    response = await open_client.get("/avatars", headers={"Host": host.format(port=open_client.port)})
    assert response.status == status
    if status == 421:
        assert "--allowed-host" in await detail(response, 421)
        assert response.headers["Content-Security-Policy"]


async def test_a_name_in_the_request_line_must_be_its_own_too(open_client: Client) -> None:
    for target, status in (("http://localhost", b"200"), ("http://evil.example", b"421")):
        reader, writer = await asyncio.open_connection("127.0.0.1", open_client.port)
        writer.write(f"GET {target}/avatars HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == status
        writer.close()


async def test_names_of_the_machine_and_those_on_the_list() -> None:
    async with guarded(host="0.0.0.0", allowed_hosts=("headcast.example.org",), public_ips=("203.0.113.7",)) as client:
        for name in (*own_names(), "headcast.example.org", "203.0.113.7:5000"):
            assert (await client.get("/healthz", headers={"Host": name})).status in (200, 503), name
        assert (await client.get("/healthz", headers={"Host": "other.example.org"})).status == 421


async def test_an_offer_of_another_sites_page_is_refused(open_client: Client) -> None:
    async with calling() as peer:
        body = {"sdp": peer.sdp, "type": "offer"}
        for origin in (
            "https://evil.example",
            "null",
            f"https://127.0.0.1:{open_client.port}",
            "http://127.0.0.1:1",
            "http://127.0.0.1.evil.example",
            "file://",
        ):
            assert "another site" in await detail(await open_client.post("/offer", json=body, headers={"Origin": origin}), 403)
        simple = {"Origin": "https://evil.example", "Content-Type": "application/sdp"}
        assert (await open_client.post("/whip/ada", data=peer.sdp, headers=simple)).status == 403
        assert (await open_client.post("/offer", json=body, headers={"Origin": own_origin(open_client)})).status == 200
        assert (await (await open_client.get("/readyz")).json())["sessions"] == 1


async def test_rebinding_a_name_to_this_machine_opens_nothing(open_client: Client) -> None:
    """The page's own name is in Host and Origin alike, and the browser says same-origin."""
    rebound = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}
    for method, path in (("GET", "/"), ("GET", "/avatars"), ("POST", "/offer"), ("GET", "/healthz"), ("GET", "/metrics"), ("POST", "/login")):
        assert (await open_client.request(method, path, headers=rebound)).status == 421


async def test_sites_on_the_list_may_ask_with_a_token() -> None:
    async with guarded(allowed_origins=("https://studio.example",)) as client:
        origin = {"Origin": "https://studio.example", "Sec-Fetch-Site": "cross-site"}
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        preflight = await client.options("/offer", headers=origin | asked)
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://studio.example"
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        assert (await client.options("/offer", headers={"Origin": "https://evil.example"} | asked)).status == 403
        assert (await client.options("/offer", headers={"Origin": own_origin(client)} | asked)).status == 403
        allowed = await client.get("/avatars", headers=origin | bearer(OWNER))
        assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"], allowed.headers["Vary"]) == (200, "https://studio.example", "Origin")
        assert "Location" in allowed.headers["Access-Control-Expose-Headers"]
        refused = await client.get("/avatars", headers=origin)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://studio.example"), "so that its page can read why"
        await sign_in(client, OWNER)
        assert (await client.get("/avatars", headers=origin)).status == 401, "a cookie is for this server's own pages"
        assert "Access-Control-Allow-Origin" not in (await client.get("/avatars")).headers
        assert "Access-Control-Allow-Credentials" not in allowed.headers


async def test_a_proxy_that_nobody_spoke_of_opens_nothing(open_client: Client) -> None:
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert "reached through a proxy" in await detail(await open_client.get("/avatars", headers={header: "203.0.113.7"}), 403)


async def test_a_proxy_that_is_believed() -> None:
    async with guarded(trust_proxy=(ip_network("127.0.0.1"),), allowed_hosts=("headcast.example.org",)) as client:
        there = {"Host": "headcast.example.org", "X-Forwarded-For": "198.51.100.1, 203.0.113.7", "X-Forwarded-Proto": "https"}
        response = await client.post("/login", json={"token": OWNER}, headers=there | {"Origin": "https://headcast.example.org"})
        assert response.status == 200
        assert "Secure" in response.headers["Set-Cookie"]
        assert response.headers["Set-Cookie"].startswith("__Host-headcast=")
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert (await client.get("/metrics", headers=there)).status == 401
        assert (await client.get("/metrics", headers={"Host": "headcast.example.org"})).status == 401, "a proxy that does not say for whom it asks"
        assert (await client.get("/metrics")).status == 200
        for _ in range(8):
            assert (await client.get("/avatars", headers=there | bearer("nonsense"))).status == 401
        assert (await client.get("/avatars", headers=there | bearer(OWNER))).status == 429
        elsewhere = there | {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}
        assert (await client.get("/avatars", headers=elsewhere | bearer(OWNER))).status == 200, "the last one is who the proxy saw"


async def test_every_answer_has_the_headers(client: Client) -> None:
    answers = [
        await client.get("/login"),
        await client.get("/style.css"),
        await client.get("/", allow_redirects=False),
        await client.get("/avatars"),
        await client.get("/avatars", headers=bearer(OWNER)),
        await client.get("/avatars/ada/thumbnail", headers=bearer(OWNER)),
        await client.get("/nothing.css"),
        await client.put("/offer", headers=bearer(OWNER)),
        await client.get("/healthz", headers={"Host": "evil.example"}),
        await client.post("/offer", data=b"x" * 100_000, headers={"Content-Type": "application/json", **bearer(OWNER)}),
        await client.get("/metrics"),
    ]
    assert {answer.status for answer in answers} >= {200, 303, 401, 404, 405, 413, 421}
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert answer.headers["Cross-Origin-Opener-Policy"] == answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] in ("no-cache", "no-store")
        assert answer.headers["Server"] == "Headcast"
        assert "Strict-Transport-Security" not in answer.headers

"""A server that lets in only people whom it knows, and its client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from realtime.access import Role, digest, new_token
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.studio.studio import Studio, StudioSettings
from tests import fakes
from tests.serving import ROOT

TOKENS = {role: new_token() for role in Role}
ANNA, VERA = TOKENS[Role.PUPPETEER], TOKENS[Role.VIEWER]
OWNER = TOKENS[Role.OWNER]
Client = TestClient[web.Request, web.Application]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def guarded(users: Path | None = None, studio: StudioSettings | None = None, **changes: Any) -> AsyncIterator[Client]:
    """A client of a server with an owner's token, which keeps cookies as a browser does; with a studio, if its settings are given."""
    config = fakes.config(**({"size": 128, "token": digest(OWNER), "users": users} | changes))
    worker = fakes.started_worker(fakes.FakeFactory(128))
    sessions = Sessions(config, worker)
    gallery = fakes.gallery("ada", "bo")
    made = None if studio is None else Studio(studio, gallery, lambda gone, why: None)
    server = TestServer(build_application(sessions, gallery, ROOT / "web", made))
    try:
        async with TestClient(server, cookie_jar=CookieJar(unsafe=True)) as client:
            yield client
    finally:
        await sessions.aclose()
        worker.close()


async def detail(response: ClientResponse, status: int) -> str:
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    return str((await response.json())["detail"])


async def sign_in(client: Client, token: str, **headers: str) -> ClientResponse:
    return await client.post("/login", json={"token": token}, headers=headers)


def own_origin(client: Client) -> str:
    return f"http://127.0.0.1:{client.port}"

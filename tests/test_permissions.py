"""Every route of a whole server, asked by everybody: strangers, viewers, puppeteers, the owner. A route that is not in this table fails."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from realtime.access import Role, User, digest, write_users
from realtime.studio.studio import StudioSettings
from tests.guarded import ANNA, TOKENS, VERA, Client, bearer, guarded
from tests.serving import ROOT
from tests.studios import training_command

OPEN = {
    "GET": ("/healthz", "/readyz", "/whoami", "/login", "/static/{path}", "/{path}"),
    "POST": ("/login", "/logout"),
    "OPTIONS": ("/whip/{avatar}", "/whep/{session}", "/sessions/{id}", "/sessions/{id}/viewers/{viewer}"),
}
VIEWERS = {
    "GET": ("/avatars", "/avatars/{id}/thumbnail", "/ice-servers", "/sessions/{id}/stats", "/obs/{session}"),
    "POST": ("/whep/{session}",),
    "PATCH": ("/sessions/{id}/viewers/{viewer}",),
    "DELETE": ("/sessions/{id}/viewers/{viewer}",),
}
PUPPETEERS = {
    "GET": (
        "/",
        "/avatars/{id}/export",
        "/qr.svg",
        "/studio/info",
        "/studio/uploads/{id}",
        "/studio/jobs/{id}",
        "/studio/jobs/{id}/previews/{number}.jpg",
        "/studio/avatars",
        "/studio/avatars/{id}",
        "/studio/avatars/{id}/file",
        "/studio/avatars/{id}/video",
    ),
    "POST": (
        "/offer",
        "/whip/{avatar}",
        "/credentials",
        "/studio/uploads",
        "/studio/jobs",
        "/studio/jobs/{id}/cancel",
        "/studio/jobs/{id}/retry",
        "/studio/avatars",
    ),
    "PATCH": ("/sessions/{id}", "/studio/avatars/{id}"),
    "DELETE": ("/sessions/{id}", "/studio/uploads/{id}", "/studio/jobs/{id}", "/studio/avatars/{id}"),
}
OWNERS = {"GET": ("/metrics",), "*": ("/whip/{avatar}", "/whep/{session}", "/sessions/{id}", "/sessions/{id}/viewers/{viewer}")}
LOWEST: dict[tuple[str, str], Role | None] = {
    (method, path): role
    for role, table in ((None, OPEN), (Role.VIEWER, VIEWERS), (Role.PUPPETEER, PUPPETEERS), (Role.OWNER, OWNERS))
    for method, paths in table.items()
    for path in paths
}
"""Who may, at least; None: anybody. What GET may, HEAD may."""
PAGES: dict[str, Role | None] = {"login.html": None} | dict.fromkeys(("viewer.html", "call.html", "obs.html", "watch.html"), Role.VIEWER)
"""All others are a puppeteer's."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    write_users(tmp_path / "users.json", [User("anna", Role.PUPPETEER, digest(ANNA)), User("vera", Role.VIEWER, digest(VERA))])
    studio = StudioSettings(folder=tmp_path / "studio", python=training_command(tmp_path))
    async with guarded(tmp_path / "users.json", studio=studio) as client:
        yield client


async def check(response: ClientResponse, role: Role | None, lowest: Role | None) -> None:
    """Whether somebody was let in or kept out as they should be; whatever else became of it."""
    words, asked = await response.text(), (str(role), response.method, response.url.path, response.status)
    if lowest is None or (role is not None and role.covers(lowest)):
        assert response.status not in (401, 403, 429, 500), asked
        assert response.headers.get("Location") is None, asked
    elif role is None:
        assert response.status == 401 or (response.status == 303 and "login?next=" in response.headers["Location"]), asked
    else:
        start = response.url.path in ("/", "/index.html", "/static/index.html")
        shown_elsewhere = response.status == 303 and start and response.headers["Location"].endswith("viewer.html")
        assert shown_elsewhere or response.status == 403, asked
        assert shown_elsewhere or response.method == "HEAD" or f"needs the role {lowest}, and yours is {role}" in words, asked


async def test_every_route_lets_in_whom_it_should_and_nobody_else(client: Client) -> None:
    routes = {(route.method, route.resource.canonical) for route in client.app.router.routes() if route.resource is not None}
    assert {route for route in routes if route[0] != "HEAD"} == LOWEST.keys(), "say in this table who may ask for a new route"
    for method, path in routes:
        lowest = LOWEST["GET" if method == "HEAD" else method, path]
        place = re.sub(r"\{\w+\}", "nobody-knows", path.replace("{path}", "style.css").replace("{number}", "1"))
        for role in (None, *Role):
            headers = {"Via": "1.1 a-proxy", **({} if role is None else bearer(TOKENS[role]))}
            response = await client.request("PUT" if method == "*" else method, place, headers=headers, allow_redirects=False)
            await check(response, role, lowest)


@pytest.mark.parametrize("folder", ["", "static/"])
async def test_every_page_lets_in_whom_it_should_and_nobody_else(client: Client, folder: str) -> None:
    pages = sorted(path.name for path in (ROOT / "web").glob("*.html"))
    assert PAGES.keys() < set(pages)
    for page in pages:
        for role in (None, *Role):
            response = await client.get(f"/{folder}{page}", headers={} if role is None else bearer(TOKENS[role]), allow_redirects=False)
            await check(response, role, PAGES.get(page, Role.PUPPETEER))

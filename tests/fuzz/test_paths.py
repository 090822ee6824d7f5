"""Identifiers never become paths: every route that takes one, with what would lead elsewhere, leads nowhere and touches nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.studios import StudioClient, studio_client

HOSTILE = {
    "up": "..",
    "encoded up": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "twice encoded": "%252e%252e%252fetc%252fpasswd",
    "backslashes": "..%5c..%5cserver.py",
    "absolute": "%2fetc%2fpasswd",
    "of this machine": "file:%2f%2f%2fetc%2fpasswd",
    "NUL": "mara%00.png",
    "NUL alone": "%00",
    "no UTF-8": "%ff%fe",
    "half a character": "%ed%a0%80",
    "overlong dot": "%c0%ae%c0%ae%2f",
    "turned around": "%e2%80%aeanna",
    "lines": "a%0d%0aSet-Cookie:%20x=1",
    "very long": "a" * 4000,
    "a query's": "x'%20OR%20'1'='1",
    "hidden": ".lock",
    "half": ".mara.part",
}


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[StudioClient]:
    async with studio_client(tmp_path) as made:
        yield made


def routes(application: web.Application) -> Iterator[tuple[str, str]]:
    """Method and pattern of every route that takes something from the path."""
    for route in application.router.routes():
        pattern = route.resource.canonical if route.resource is not None else ""
        if "{" in pattern:
            yield (route.method if route.method != "*" else "PUT"), pattern


def files(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and not path.name.startswith("studio.sqlite")
    }


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
async def test_every_route(studio: StudioClient, hostile: str, tmp_path: Path) -> None:
    marker = tmp_path / "passwd"
    marker.write_text("root:x:0:0", encoding="utf-8")
    before = files(studio.folder)
    server = studio.http.server
    assert isinstance(server, TestServer)
    asked = set(routes(server.app))
    assert len(asked) > 20
    for method, pattern in sorted(asked):
        path = re.sub(r"\{[^}]*\}", lambda _: hostile, pattern)
        answer = await studio.http.request(method, URL(path, encoded=True), allow_redirects=False)
        body = await answer.read()
        assert answer.status < 500, (method, path)
        assert method in ("OPTIONS", "HEAD") or answer.status >= 400 or pattern.startswith("/obs/"), (method, path, answer.status)
        assert b"root:" not in body
        assert b"import " not in body
        assert "Set-Cookie" not in answer.headers
    assert files(studio.folder) == before


@pytest.mark.parametrize(
    "name", ["../../x.mp4", "/etc/passwd", "a\0b.mp4", "..\\..\\x.mp4", "x" * 5000 + ".mp4", "\u202e4pm.exe", "clip.mp4/../../y", "CON", ""]
)
async def test_names_of_uploads_are_for_people(studio: StudioClient, name: str) -> None:
    upload = await (await studio.send(name=name)).json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", upload["id"])
    assert "/" not in upload["name"]
    assert upload["name"].isprintable()
    kept = [path for path in studio.folder.rglob("clip*") if path.is_file()]
    assert len(kept) == 1
    assert re.fullmatch(r"clip(\.[a-z0-9]{1,5})?", kept[0].name)
    assert not list(studio.folder.parent.glob("x*"))


async def test_links_in_a_folder_of_pages_lead_nowhere_else(studio: StudioClient) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/../server.py", "/.git/config", "/static/./x"):
        answer = await studio.http.get(URL(path, encoded=True))
        assert answer.status in (400, 404), path

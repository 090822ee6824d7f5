"""`GET /avatars/{id}/export`: an avatar as a download."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from realtime import exports, signaling
from realtime.gallery import SHIPPED, Entry, Gallery, scan
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes
from tests.consents import write_signed
from tests.gltf_reader import Glb
from tests.studios import holding, studio_client
from tests.test_signaling import problem_of
from tests.tiny_avatar import NAMES, tiny_avatar

pytestmark = pytest.mark.beside

AiohttpClient = Callable[[web.Application], Awaitable[TestClient[Any, Any]]]
TODAY = date(2026, 6, 1)
WRITES_ITS_ARGUMENT = (sys.executable, "-c", "import sys; open(sys.argv[3], 'w').write(sys.argv[1])")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_signed(tmp_path / "ball.avatar", tiny_avatar(8))
    write_signed(tmp_path / "trained.avatar", tiny_avatar(8, trained=True))
    return tmp_path


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, folder: Path) -> TestClient[Any, Any]:
    gallery = Gallery(scan([folder], TODAY), None, str)
    return await aiohttp_client(build_application(Sessions(fakes.config(), Worker(fakes.FakeFactory())), gallery, folder / "none"))


@pytest.mark.parametrize(("kind", "media_type", "name"), [("glb", "model/gltf-binary", "ball.glb"), ("obj", "application/zip", "ball.zip")])
async def test_a_download_has_a_name_and_a_type(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, kind: str, media_type: str, name: str) -> None:
    monkeypatch.setattr(exports, "COMMAND", WRITES_ITS_ARGUMENT)
    response = await client.get(f"/avatars/ball/export?format={kind}")
    assert (response.status, response.content_type) == (200, media_type)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (await response.text()).endswith("ball.avatar")


async def test_what_comes_is_what_the_command_makes(client: TestClient[Any, Any]) -> None:
    """tests/test_export_cli.py has the other formats."""
    glb = Glb.of(await (await client.get("/avatars/trained/export?format=glb")).read())
    assert glb.target_names == list(NAMES)


async def test_unknown_formats_and_avatars(client: TestClient[Any, Any]) -> None:
    for query in ("?format=fbx", "", "?format=", "?format=GLB%00"):
        assert "glb, obj, json" in await problem_of(await client.get(f"/avatars/ball/export{query}"), 400)
    assert "there are ball, trained" in await problem_of(await client.get("/avatars/nobody/export?format=glb"), 404)


async def test_an_avatar_that_can_no_longer_be_read(client: TestClient[Any, Any], folder: Path) -> None:
    (folder / "ball.avatar").write_bytes(b"no avatar any more")
    detail = await problem_of(await client.get("/avatars/ball/export?format=json"), 404)
    assert "ball.avatar: not a Headcast file" in detail
    assert str(folder) not in detail


async def test_a_failure_is_a_500_that_tells_nothing(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(exports, "COMMAND", (sys.executable, "-c", "raise ZeroDivisionError('secret')"))
    assert "secret" not in await problem_of(await client.get("/avatars/ball/export?format=glb"), 500)
    assert "secret" in caplog.text
    monkeypatch.setattr(exports, "COMMAND", (sys.executable, "-c", "import time; time.sleep(20)"))
    monkeypatch.setattr(exports, "LONGEST_S", 0.2)
    assert "too busy" in await problem_of(await client.get("/avatars/ball/export?format=glb"), 503)


async def test_on_an_open_network_a_face_leaves_for_the_holder_of_its_key_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "COMMAND", WRITES_ITS_ARGUMENT)
    async with studio_client(tmp_path, trusting=False) as studio:
        job = await studio.made()
        url = "/avatars/Anna-B/export?format=glb"
        for wrong in ((), ("x",)):
            assert "only the browser" in await problem_of(await studio.http.get(url, headers=holding(*wrong)), 403)
        assert (await studio.http.get(url, headers=holding(job["id"]))).status == 200
        assert (await studio.http.get("/avatars/mara/export?format=glb")).status == 200
    async with studio_client(tmp_path) as studio:
        assert (await studio.http.get(url)).status == 200


async def test_without_a_studio_what_the_owner_made_stays_on_the_machine(aiohttp_client: AiohttpClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "COMMAND", WRITES_ITS_ARGUMENT)
    gallery = Gallery(scan([folder, SHIPPED], TODAY), None, str)
    sessions = Sessions(fakes.config(host="0.0.0.0"), Worker(fakes.FakeFactory()))
    client = await aiohttp_client(build_application(sessions, gallery, folder / "none"))
    assert "python -m models.export" in await problem_of(await client.get("/avatars/ball/export?format=glb"), 403)
    assert (await client.get("/avatars/mara/export?format=glb")).status == 200


async def test_others_are_served_meanwhile_and_exports_take_turns(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    going, most, go_on, lock = 0, 0, threading.Event(), threading.Lock()

    def slow(entry: Entry, name: str | None) -> exports.Download:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        assert go_on.wait(20)
        with lock:
            going -= 1
        return exports.Download("ball.glb", "model/gltf-binary", b"made")

    monkeypatch.setattr(signaling, "export", slow)
    asked = [asyncio.create_task(client.get("/avatars/ball/export?format=glb")) for _ in range(3)]
    while not going:
        await asyncio.sleep(0)
    assert (await client.get("/healthz")).status == 200
    assert not any(task.done() for task in asked)
    go_on.set()
    assert [await (await task).read() for task in asked] == [b"made"] * 3
    assert most == 1

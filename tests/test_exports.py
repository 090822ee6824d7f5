"""`GET /avatars/{id}/export`: an avatar as a download."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from models.avatar_file import write_avatar
from models.avatar_parts import Consent
from realtime import exports, signaling
from realtime.gallery import Entry, Gallery, scan
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes
from tests.gltf_reader import Glb
from tests.test_signaling import problem_of
from tests.tiny_avatar import NAMES, tiny_avatar

AiohttpClient = Callable[[web.Application], Awaitable[TestClient[Any, Any]]]
TODAY = date(2026, 6, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_avatar(tmp_path / "ball.avatar", tiny_avatar(8))
    write_avatar(tmp_path / "trained.avatar", tiny_avatar(8, trained=True))
    return tmp_path


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, folder: Path) -> TestClient[Any, Any]:
    gallery = Gallery(scan([folder], TODAY), None, str)
    return await aiohttp_client(build_application(Sessions(fakes.config(), Worker(fakes.FakeFactory())), gallery, folder / "none"))


@pytest.mark.parametrize(
    ("kind", "media_type", "name"),
    [("glb", "model/gltf-binary", "ball.glb"), ("obj", "application/zip", "ball.zip"), ("json", "application/json", "ball.json")],
)
async def test_a_download_has_a_name_and_a_type(client: TestClient[Any, Any], kind: str, media_type: str, name: str) -> None:
    response = await client.get(f"/avatars/ball/export?format={kind}")
    assert (response.status, response.content_type) == (200, media_type)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_is_in_the_files(client: TestClient[Any, Any]) -> None:
    glb = Glb.of(await (await client.get("/avatars/trained/export?format=glb")).read())
    assert glb.target_names == list(NAMES)
    archive = zipfile.ZipFile(io.BytesIO(await (await client.get("/avatars/trained/export?format=obj")).read()))
    assert archive.namelist() == ["trained.obj", "trained.mtl", "trained.png"]
    body = json.loads(await (await client.get("/avatars/trained/export?format=json")).read())
    assert body["avatar"]["consent"]["synthetic"] is True
    assert body["expression_names"] == list(NAMES)
    assert len(body["frames"]) == 1
    assert body["frames"][0]["left_eye_yaw_rad"] == pytest.approx(0.05)


async def test_wrong_requests(client: TestClient[Any, Any], folder: Path) -> None:
    for query in ("?format=fbx", "", "?format=", "?format=GLB%00"):
        assert "glb, obj, json" in await problem_of(await client.get(f"/avatars/ball/export{query}"), 400)
    assert "there are ball, trained" in await problem_of(await client.get("/avatars/nobody/export?format=glb"), 404)
    (folder / "ball.avatar").write_bytes(b"no avatar any more")
    assert "cannot be used" in await problem_of(await client.get("/avatars/ball/export?format=glb"), 404)
    (folder / "trained.avatar").unlink()
    assert str(folder) not in await problem_of(await client.get("/avatars/trained/export?format=obj"), 404)


async def test_no_avatar_leaves_after_its_consent_has_ended(client: TestClient[Any, Any], folder: Path) -> None:
    file = tiny_avatar(8)
    consent = Consent(False, "Anna", "Anna", "yes", "2020-01-01", expires="2020-12-31")
    write_avatar(folder / "ball.avatar", replace(file, card=replace(file.card, consent=consent)))
    assert "ended on 2020-12-31" in await problem_of(await client.get("/avatars/ball/export?format=glb"), 404)


async def test_others_are_served_meanwhile_and_exports_take_turns(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    going, most, go_on, lock = 0, 0, threading.Event(), threading.Lock()

    def slow(entry: Entry, name: str | None, today: date) -> exports.Download:
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

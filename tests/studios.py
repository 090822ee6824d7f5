"""A server with a studio in the test's own process, and its client; training is tests/fake_training.py."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from models.consent.statement import USUAL, words
from realtime.gallery import SHIPPED, Gallery, scan
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.studio.studio import Studio, StudioSettings
from tests import fakes

ROOT = Path(__file__).resolve().parents[1]
FAKE_TRAINING, SMALL_TRAINING = ROOT / "tests" / "fake_training.py", ROOT / "tests" / "small_training.py"
CLIP = b"good " + b"x" * 4000
ANNA = {"name": "Anna B", "subject": "Anna Berg", "granted_by": "Anna Berg", "agreed": True, "statement": words(USUAL, False, None), "keep_video": True}


@dataclass
class StudioClient:
    """What a page would do."""

    http: TestClient[web.Request, web.Application]
    studio: Studio
    gallery: Gallery[Any]
    folder: Path
    taken_off: list[str] = field(default_factory=list)

    async def get(self, path: str, *keys: str) -> dict[str, Any]:
        return await answer(await self.http.get(path, headers=holding(*keys)))

    async def send(self, content: bytes = CLIP, name: str = "me.mp4") -> ClientResponse:
        return await self.http.post("/studio/uploads", params={"name": name}, data=io.BytesIO(content))

    async def checked(self, content: bytes = CLIP) -> dict[str, Any]:
        """An upload, once it was checked."""
        upload = await answer(await self.send(content), 201)
        return await self.until(f"/studio/uploads/{upload['id']}", lambda now: now["state"] != "checking")

    async def begin(self, content: bytes = CLIP, **changes: object) -> dict[str, Any]:
        """A job of a new upload."""
        upload = await self.checked(content)
        return await answer(await self.http.post("/studio/jobs", json={"upload": upload["id"], **ANNA, **changes}), 201)

    async def made(self, content: bytes = CLIP, **changes: object) -> dict[str, Any]:
        """A job that is done."""
        job = await self.begin(content, **changes)
        return await self.job(job, "done")

    async def job(self, job: dict[str, Any], state: str) -> dict[str, Any]:
        return await self.until(f"/studio/jobs/{job['id']}", lambda now: now["state"] == state)

    async def until(self, path: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 20.0
        while not condition(now := await self.get(path)):
            assert time.monotonic() < deadline, now
            await asyncio.sleep(0.02)
        return now


def holding(*keys: str) -> dict[str, str]:
    return {"Avatar-Keys": " ".join(keys)} if keys else {}


async def answer(response: ClientResponse, status: int = 200) -> dict[str, Any]:
    body: dict[str, Any] = await response.json(content_type=None)
    assert response.status == status, body
    return body


async def refusal(response: ClientResponse, status: int) -> str:
    """The words of a problem."""
    body = await response.json(content_type=None)
    assert response.status == status, body
    assert response.content_type == "application/problem+json"
    assert 0 < len(body["detail"]) < 400
    return str(body["detail"])


def training_command(folder: Path, script: Path = FAKE_TRAINING) -> str:
    """A program that is called as a Python is (`PROGRAM -m training …`) and runs that script."""
    program = folder / "training-python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return str(program)


@asynccontextmanager
async def studio_client(folder: Path, **changes: object) -> AsyncIterator[StudioClient]:
    """Serves a studio in `folder`/studio while the block runs."""
    settings = StudioSettings(**({"folder": folder / "studio", "python": training_command(folder), "max_upload_bytes": 1 << 20} | changes))  # type: ignore[arg-type]
    gallery: Gallery[Any] = Gallery(scan([settings.avatars, SHIPPED], date.today()), None, lambda path: path.name)
    taken_off: list[str] = []
    studio = Studio(settings, gallery, lambda gone, why: taken_off.append(gone))
    worker = fakes.started_worker(fakes.FakeFactory(128))
    sessions = Sessions(fakes.config(size=128, host="127.0.0.1" if settings.trusting else "0.0.0.0"), worker)
    server = TestServer(build_application(sessions, gallery, folder, studio))
    try:
        async with TestClient(server) as http:
            yield StudioClient(http, studio, gallery, settings.folder, taken_off)
    finally:
        await sessions.aclose()
        worker.close()

"""POST /credentials: what comes back, what is refused, what is kept (nothing), and that others are served meanwhile."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from models.consent.keys import KeyFolder
from models.consent.statement import Purpose
from models.credentials.identity import identity
from models.credentials.manifest import MP4, PNG, verify
from realtime import credentials, credentials_http
from realtime.gallery import SHIPPED, Gallery, scan
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes
from tests.consents import agreed, write_signed
from tests.test_credentials import frames, recording, snapshot
from tests.test_exports import TODAY
from tests.test_signaling import problem_of
from tests.tiny_avatar import tiny_avatar

pytestmark = pytest.mark.beside

__all__ = ["frames"]
Frames = Any
COPIES = (sys.executable, "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> TestClient[Any, Any]:
    sessions = Sessions(fakes.config(), Worker(fakes.FakeFactory()))
    return await aiohttp_client(build_application(sessions, Gallery(scan([SHIPPED], TODAY), None, str), tmp_path / "none"))


def of(media_type: str) -> dict[str, str]:
    return {"Content-Type": media_type}


async def test_a_recording_and_a_snapshot_come_back_signed(client: TestClient[Any, Any], frames: Frames) -> None:
    trusted = identity(KeyFolder.of(), datetime.now(UTC)).authority.decode()
    sent = (("image/png", snapshot(frames), PNG), ("video/webm", recording(frames, "webm", sound=True), MP4))
    for given, data, media_type in sent:
        answer = await client.post("/credentials?avatar=mara", data=data, headers=of(given))
        assert answer.status == 200, await answer.text()
        assert answer.content_type == media_type
        assert answer.headers["Cache-Control"] == "no-store"
        verdict = verify(io.BytesIO(await answer.read()), media_type, trusted)
        assert verdict.state == "Trusted"
        assert verdict.avatar is not None


async def test_what_is_not_ours_is_not_signed(client: TestClient[Any, Any], frames: Frames) -> None:
    grey = [frames[0] // 255 + 120] * 20
    assert "the mark was found in 0 of 1" in await problem_of(await client.post("/credentials", data=recording(grey, "webm"), headers=of("video/webm")), 422)
    assert "expected a recording" in await problem_of(await client.post("/credentials", data=b"nothing", headers=of("video/mp4")), 422)


async def test_nothing_is_signed_of_somebody_who_did_not_agree_to_recordings(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    write_signed(tmp_path / "shy.avatar", tiny_avatar(6), agreed(purposes=(Purpose.LIVE,)))
    sessions = Sessions(fakes.config(), Worker(fakes.FakeFactory()))
    shown = await aiohttp_client(build_application(sessions, Gallery(scan([tmp_path], TODAY), None, str), tmp_path / "none"))
    assert "did not agree to recordings" in await problem_of(await shown.post("/credentials?avatar=shy", data=b"x", headers=of(PNG)), 403)


async def test_what_is_asked_wrongly_is_refused(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(credentials_http.MOST_BYTES, PNG, 1 << 20)
    assert "image/png" in await problem_of(await client.post("/credentials", data=b"x", headers=of("text/plain")), 415)
    await problem_of(await client.post("/credentials?avatar=nobody", data=b"x", headers=of(PNG)), 404)
    assert "at most 1 MB" in await problem_of(await client.post("/credentials", data=io.BytesIO(bytes((1 << 20) + 1)), headers=of(PNG)), 413)
    monkeypatch.setattr(credentials_http, "SENDING_S", 0.1)

    async def slowly() -> Any:
        yield b"x"
        await asyncio.sleep(5)

    await problem_of(await client.post("/credentials", data=slowly(), headers=of(PNG)), 408)


async def test_a_failure_is_a_500_that_tells_nothing(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(credentials, "COMMAND", (sys.executable, "-c", "raise ZeroDivisionError('secret')"))
    assert "secret" not in await problem_of(await client.post("/credentials", data=b"x", headers=of(PNG)), 500)
    assert "secret" in caplog.text
    monkeypatch.setattr(credentials, "COMMAND", (sys.executable, "-c", "import time; time.sleep(20)"))
    monkeypatch.setattr(credentials, "LONGEST_S", 0.2)
    assert "less busy" in await problem_of(await client.post("/credentials", data=b"x", headers=of(PNG)), 503)


async def test_a_full_disk_is_told(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, frames: Frames) -> None:
    full = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    run = "sys.argv = ['credentials', 'sign']; runpy.run_module('models.credentials', run_name='__main__')"
    monkeypatch.setattr(credentials, "COMMAND", (sys.executable, "-c", full + run))
    identity(KeyFolder.of(), datetime.now(UTC))
    assert "no room" in await problem_of(await client.post("/credentials", data=snapshot(frames), headers=of(PNG)), 507)

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    assert "No space left" in await problem_of(await client.post("/credentials", data=b"x", headers=of(PNG)), 507)


async def test_nothing_is_kept(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither while it is signed nor after; and what comes is what the process gets."""
    monkeypatch.setattr(credentials, "COMMAND", COPIES)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[list[str]] = []
    real = credentials.sign

    def looking(*arguments: Any) -> None:
        seen.append([each.name for each in tmp_path.iterdir()])
        real(*arguments)

    monkeypatch.setattr(credentials_http, "sign", looking)
    data = bytes(range(256)) * 9000
    answer = await client.post("/credentials", data=io.BytesIO(data), headers=of("video/webm"))
    assert await answer.read() == data
    assert seen == [[]]
    assert list(tmp_path.iterdir()) == []


async def test_others_are_served_meanwhile_and_too_many_come_back_later(client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    going, most, go_on, lock = 0, 0, threading.Event(), threading.Lock()

    def slow(given: Any, made: Any, avatar: Path | None) -> None:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        assert go_on.wait(20)
        made.write(b"made")
        with lock:
            going -= 1

    monkeypatch.setattr(credentials_http, "sign", slow)
    asked = [asyncio.create_task(client.post("/credentials", data=b"x", headers=of(PNG))) for _ in range(credentials_http.MOST_AT_A_TIME + 1)]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    (first,) = done
    refused = first.result()
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "10"
    assert (await client.get("/healthz")).status in (200, 503)
    go_on.set()
    assert [await (await task).read() for task in asked if task is not first] == [b"made"] * credentials_http.MOST_AT_A_TIME
    assert most == 1

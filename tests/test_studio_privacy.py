"""What the studio keeps of people, for how long, who can read it, and what is left when it is deleted."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realtime.discretion import PRIVATE_UMASK
from realtime.studio.expiry import DAY_S, lapses_s
from realtime.studio.process import run
from realtime.studio.records import Job, JobState, Preset
from realtime.studio.store import Store
from realtime.studio.uploads import FORGOTTEN_S
from tests.studios import ANNA, StudioClient, answer, studio_client

pytestmark = pytest.mark.beside

PERSON, FILE = "Wilhelmina Przybylska-Oyelaran", "wilhelmina on her birthday.mp4"
WISH = {**ANNA, "name": "Wilhelmina P", "subject": PERSON, "granted_by": PERSON, "keep_video": False}
TOLD = ("Wilhelmina", "wilhelmina", "Przybylska", "birthday")


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[StudioClient]:
    async with studio_client(tmp_path) as client:
        yield client


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


async def made(studio: StudioClient, content: bytes = b"good", **changes: object) -> dict[str, Any]:
    upload = await answer(await studio.http.post("/studio/uploads", params={"name": FILE}, data=content), 201)
    await studio.until(f"/studio/uploads/{upload['id']}", lambda now: now["state"] != "checking")
    body = {"upload": upload["id"], **WISH, **changes}
    return await studio.job(await answer(await studio.http.post("/studio/jobs", json=body), 201), "done")


def files_of(folder: Path) -> list[str]:
    """All that is left, but the lock and the database."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock" and "sqlite" not in path.name)


def bytes_of_database(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("studio.sqlite*"))


def words_left(folder: Path, *further: str) -> list[str]:
    kept = bytes_of_database(folder)
    return [word for word in (*TOLD, *further) if word.encode() in kept]


async def test_deleting_leaves_nothing(studio: StudioClient) -> None:
    """No file, no folder, and not a byte of a name in the database, while the server runs and after it."""
    job = await made(studio, keep_video=True)
    assert len(files_of(studio.folder)) >= 4, "a video, a run and an avatar"
    assert set(words_left(studio.folder, job["id"], job["upload"])) == {"Wilhelmina", "wilhelmina", "Przybylska", "birthday", job["id"], job["upload"]}
    assert (await studio.http.delete("/studio/avatars/Wilhelmina-P")).status == 204
    assert files_of(studio.folder) == []
    assert [path for name in ("uploads", "runs", "avatars", "scratch") for path in (studio.folder / name).iterdir()] == []
    assert words_left(studio.folder, job["id"], job["upload"]) == []


async def test_a_video_that_is_deleted_leaves_nothing(studio: StudioClient) -> None:
    upload = await answer(await studio.http.post("/studio/uploads", params={"name": FILE}, data=b"refused"), 201)
    await studio.until(f"/studio/uploads/{upload['id']}", lambda now: now["state"] == "refused")
    assert (await studio.http.delete(f"/studio/uploads/{upload['id']}")).status == 204
    assert (files_of(studio.folder), words_left(studio.folder, upload["id"])) == ([], [])


async def test_what_an_older_version_left_in_the_database_goes_too(tmp_path: Path) -> None:
    """It did not overwrite what it dropped: the names of people whose avatars are long deleted are still there, until now."""
    path = tmp_path / "studio.sqlite"
    store = Store(path)
    await store.open()
    await store.aclose()
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("INSERT INTO avatars VALUES (?, 'key', '', 1.0)", (PERSON,))
        database.execute("DELETE FROM avatars")
    database.close()
    assert words_left(tmp_path, PERSON) != []
    store = Store(path)
    await store.open()
    await store.aclose()
    assert words_left(tmp_path, PERSON) == []


async def test_the_video_goes_as_soon_as_the_avatar_is_made_and_its_pictures_after_a_day(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await made(studio)
    await studio.until("/studio/avatars/Wilhelmina-P", lambda now: not list((studio.folder / "uploads").iterdir()))
    assert (await studio.http.get(f"/studio/uploads/{job['upload']}")).status == 404
    shown = await studio.get("/studio/avatars/Wilhelmina-P")
    assert shown["video"], "the comparison is there to judge the avatar by"
    monkeypatch.setattr(studio.studio.expiry, "_now", lambda: time.time() + FORGOTTEN_S + 60.0)
    await studio.studio.expiry.look()
    shown = await studio.get("/studio/avatars/Wilhelmina-P")
    assert (shown["video"], bool(shown["figures"])) == (False, True)
    assert (await studio.http.get("/studio/avatars/Wilhelmina-P/file")).status == 200
    run = studio.folder / "runs" / job["id"] / "Wilhelmina P"
    assert sorted(path.name for path in run.iterdir()) == ["Wilhelmina P.avatar", "report.json"]


async def test_a_video_that_was_to_be_kept_stays_until_the_owner_of_the_server_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for days, kept in ((0, True), (7, False)):
        folder = tmp_path / str(days)
        folder.mkdir()
        async with studio_client(folder, expire_days=days) as studio:
            assert (await studio.get("/studio/info"))["expire_days"] == days
            job = await made(studio, keep_video=True)
            for later_s, there in ((6.9 * DAY_S, True), (7.1 * DAY_S, kept)):
                monkeypatch.setattr(studio.studio.expiry, "_now", lambda later_s=later_s: time.time() + later_s)
                await studio.studio.expiry.look()
                assert (studio.folder / "uploads" / job["upload"]).is_dir() == there
                assert (await studio.get("/studio/avatars/Wilhelmina-P"))["video"] == there
            assert (studio.folder / "avatars" / "Wilhelmina-P.avatar").is_file()


async def test_a_failed_job_is_forgotten_with_its_video(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await studio.begin(b"broken", keep_video=False)
    await studio.job(job, "failed")
    monkeypatch.setattr(studio.studio.expiry, "_now", lambda: time.time() + FORGOTTEN_S - 60.0)
    await studio.studio.expiry.look()
    assert files_of(studio.folder) != []
    monkeypatch.setattr(studio.studio.expiry, "_now", lambda: time.time() + FORGOTTEN_S + 60.0)
    await studio.studio.expiry.look()
    assert (await studio.http.get(f"/studio/jobs/{job['id']}")).status == 404
    assert (files_of(studio.folder), words_left(studio.folder, job["id"])) == ([], [])


async def test_two_jobs_of_one_video(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays for the one that was promised it, and goes when that has lapsed too."""
    upload = await studio.checked(b"good")
    for name, keep in (("A", True), ("B", False)):
        body = {"upload": upload["id"], **WISH, "name": name, "keep_video": keep}
        await studio.job(await answer(await studio.http.post("/studio/jobs", json=body), 201), "done")
    await asyncio.sleep(0.1)
    assert (studio.folder / "uploads" / upload["id"]).is_dir()
    studio.studio.expiry.expire_days = 3
    monkeypatch.setattr(studio.studio.expiry, "_now", lambda: time.time() + 4 * DAY_S)
    await studio.studio.expiry.look()
    assert not (studio.folder / "uploads" / upload["id"]).exists()


def test_when_pictures_lapse() -> None:
    job = Job("i" * 22, "u" * 22, "A", "A", "A", Preset.QUICK, 0.0, 0.0, JobState.DONE, ended=1000.0)
    assert lapses_s(job, 0) is None
    assert lapses_s(job, 2) == 1000.0 + 2 * DAY_S
    assert lapses_s(replace(job, keep_video=False), 2) == lapses_s(replace(job, keep_video=False, state=JobState.FAILED), 0) == 1000.0 + FORGOTTEN_S
    assert lapses_s(replace(job, state=JobState.RUNNING, keep_video=False), 2) is None


async def test_only_the_owner_of_the_server_can_read_it(tmp_path: Path, usual_umask: None) -> None:
    """A folder that was there before with wider modes is closed too."""
    (tmp_path / "studio" / "runs").mkdir(parents=True)
    async with studio_client(tmp_path) as studio:
        for folder in (studio.folder, *(studio.folder / name for name in ("uploads", "runs", "avatars"))):
            assert folder.stat().st_mode & 0o777 == 0o700, folder.name
    os.umask(PRIVATE_UMASK)
    async with studio_client(tmp_path) as studio:
        job = await made(studio, keep_video=True)
        await made(studio, keep_video=True, name="Another")
        modes = {str(path): path.stat().st_mode & 0o777 for path in (studio.folder, *studio.folder.rglob("*")) if path.name != ".lock"}
        assert job["id"] in " ".join(modes)
    assert {path: mode for path, mode in modes.items() if mode & 0o077} == {}


async def test_nothing_of_the_folder_is_served(studio: StudioClient) -> None:
    job = await made(studio, keep_video=True)
    clip = next((studio.folder / "uploads").rglob("clip*"))
    for path in (
        f"/studio/uploads/{job['upload']}/{clip.name}",
        f"/uploads/{job['upload']}/{clip.name}",
        f"/studio/runs/{job['id']}/Wilhelmina P/evaluate/side_by_side.mp4",
        f"/static/../studio/uploads/{job['upload']}/{clip.name}",
        f"/static/%2e%2e/studio/uploads/{job['upload']}/{clip.name}",
        "/studio/studio.sqlite",
        "/studio.sqlite",
        f"/studio/jobs/{job['id']}/previews/../../../../studio.sqlite",
    ):
        assert (await studio.http.get(path)).status in (400, 404), path


async def test_logs_tell_neither_names_nor_identifiers(studio: StudioClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    job = await made(studio, keep_video=True)
    await studio.job(await studio.begin(b"broken", **WISH | {"name": "Wilhelmina Two"}), "failed")
    await studio.http.get("/studio/jobs/" + "x" * 22)
    await studio.http.delete("/studio/avatars/Wilhelmina-P")
    said = "\n".join(record.getMessage() for record in caplog.records if record.name != "aiohttp.access")  # the test server's: server.py has none
    assert [word for word in (*TOLD, job["id"], job["upload"]) if word in said] == []


async def test_what_training_puts_aside_goes_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    code = "import tempfile, time; print(tempfile.mkdtemp(), flush=True); open(tempfile.mkstemp()[1], 'w').write('a face'); time.sleep({})"
    scratch, told = tmp_path / "scratch", list[str]()
    await run([sys.executable, "-c", code.format(0)], told.append, scratch)
    assert told[0].startswith(str(scratch))
    assert list(scratch.iterdir()) == []
    running = asyncio.ensure_future(run([sys.executable, "-c", code.format(60)], told.append, scratch))
    while len(told) < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert list(scratch.iterdir()) == []


async def test_what_a_killed_server_left_aside_goes_with_its_next_start(tmp_path: Path) -> None:
    left = tmp_path / "studio" / "scratch" / "tmpx"
    left.mkdir(parents=True)
    (left / "crops.npy").write_bytes(b"a face")
    async with studio_client(tmp_path) as studio:
        assert not left.exists()
        assert files_of(studio.folder) == []


async def test_a_database_of_before_is_taken_over(tmp_path: Path) -> None:
    """Its jobs were promised that their videos stay."""
    path = tmp_path / "studio.sqlite"
    store = Store(path)
    await store.open()
    job = Job("i" * 22, "u" * 22, "A", "A", "A", Preset.QUICK, 1.0, 1.0, JobState.DONE, ended=2.0)
    await store.put(job)
    await store.aclose()
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("ALTER TABLE jobs DROP COLUMN keep_video")
    database.close()
    for _ in range(2):
        store = Store(path)
        await store.open()
        assert await store.jobs() == [job]
        await store.put(replace(job, keep_video=False))
        assert (await store.job(job.id)).keep_video is False
        await store.put(job)
        await store.aclose()

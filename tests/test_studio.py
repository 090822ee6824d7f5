"""The studio's HTTP side with a fake training: from a video to an avatar in the gallery, and what becomes of everything else that people send."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from models.consent.statement import pieces, words
from realtime.gallery import SHIPPED
from realtime.studio import disk, trainer, uploads
from realtime.studio.jobs import Progress
from realtime.studio.studio import DATABASE
from tests.peers import until
from tests.studios import ANNA, CLIP, StudioClient, answer, refusal, studio_client

pytestmark = pytest.mark.beside

UNKNOWN = "A" * 22
KILLED_S = 10.0
"""In which whoever was killed is gone: the system ends a process when its turn comes, late on a busy machine. By itself it would go on for a minute."""


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[StudioClient]:
    async with studio_client(tmp_path) as client:
        yield client


async def test_a_video_becomes_an_avatar_that_can_be_worn_at_once(studio: StudioClient) -> None:
    upload = await studio.checked()
    assert upload["state"] == "good"
    assert upload["video"] == {"width": 640, "height": 480, "seconds": 12.5, "frames": 300}
    assert [finding["instead"] for finding in upload["findings"]] == ["Face a window"]
    begun = await answer(await studio.http.post("/studio/jobs", json={"upload": upload["id"], **ANNA, "preset": "full"}), 201)
    done = await studio.job(begun, "done")
    assert (done["share"], done["position"], done["previews"], done["avatar"]) == (1.0, 0, [1], "Anna-B")
    listed = (await studio.get("/avatars"))["avatars"]
    assert listed[0]["id"] == "Anna-B"
    assert studio.gallery.load("Anna-B") == "Anna-B.avatar"
    run = studio.folder / "runs" / done["id"] / "Anna B"
    asked = {"name": "Anna B", "runs": str(run.parent), "preset": "full", "subject": "Anna Berg", "granted-by": "Anna Berg", "purposes": "live,recordings"}
    assert asked.items() <= json.loads((run / "asked.json").read_text()).items()
    assert not (run / "dataset").exists(), "gigabytes that nobody needs any more"
    picture = await studio.http.get(f"/studio/jobs/{done['id']}/previews/1.jpg")
    assert (picture.status, picture.content_type) == (200, "image/jpeg")


async def test_what_is_no_video_is_not_kept(studio: StudioClient) -> None:
    said = await refusal(await studio.send(b"notvideo at all", "../../etc/passwd"), 415)
    assert said == "passwd is not a video that can be read. Record it again."
    assert list((studio.folder / "uploads").iterdir()) == []


async def test_a_file_that_keeps_us_busy_is_given_up(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "PROBE_S", 0.3)
    assert "took longer" in await refusal(await studio.send(b"bomb"), 415)
    assert list((studio.folder / "uploads").iterdir()) == []


async def test_a_refused_video_says_why_and_makes_no_avatar(studio: StudioClient) -> None:
    upload = await studio.checked(b"refused")
    assert (upload["state"], upload["findings"][0]["refuses"]) == ("refused", True)
    assert "the check says why" in await refusal(await studio.http.post("/studio/jobs", json={"upload": upload["id"], **ANNA}), 409)


async def test_too_large_by_its_own_word_or_in_truth(studio: StudioClient) -> None:
    limit = studio.studio.uploads.max_bytes
    assert "too large" in await refusal(await studio.send(b"x" * (limit + 1)), 413)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(limit // 65536 + 2):
            yield b"good" * 16384

    assert "too large" in await refusal(await studio.http.post("/studio/uploads", data=endless()), 413)
    assert "got nothing" in await refusal(await studio.send(b""), 400)
    assert list((studio.folder / "uploads").iterdir()) == []


@pytest.mark.parametrize("length", ["100000", "-5", "1e9", "99999999999999999999"])
async def test_lies_about_length(studio: StudioClient, length: str, caplog: pytest.LogCaptureFixture) -> None:
    """More is announced than comes, or nonsense: nothing is kept, and the server goes on."""
    reader, writer = await asyncio.open_connection(studio.http.host, studio.http.port)
    writer.write(f"POST /studio/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + b"good but cut short")
    await writer.drain()
    writer.write_eof()
    status = (await asyncio.wait_for(reader.read(), 10)).split(b"\r\n")[0]
    writer.close()
    assert b" 20" not in status
    assert [record.getMessage() for record in caplog.records if record.name.startswith("realtime")] == []
    for _ in range(100):
        if not list((studio.folder / "uploads").iterdir()):
            break
        await asyncio.sleep(0.02)
    assert list((studio.folder / "uploads").iterdir()) == []
    assert (await studio.checked())["state"] == "good"


async def test_an_upload_that_stalls_is_given_up(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "STALL_S", 0.1)

    async def stalling() -> AsyncIterator[bytes]:
        yield b"good"
        await asyncio.sleep(1.0)

    assert "check the connection" in await refusal(await studio.http.post("/studio/uploads", data=stalling()), 408)
    assert list((studio.folder / "uploads").iterdir()) == []


async def test_a_full_disk(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(disk, "RESERVE_BYTES", 1 << 60)
        assert "no room is left" in await refusal(await studio.send(), 507)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(disk, "_settle", fail)
        assert "no room is left" in await refusal(await studio.send(), 507)
        assert "no room is left" in await refusal(await studio.http.post("/studio/avatars", data=io.BytesIO((SHIPPED / "ama.avatar").read_bytes())), 507)
    assert list((studio.folder / "uploads").iterdir()) == list((studio.folder / "avatars").iterdir()) == []
    assert (await studio.checked())["state"] == "good"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.MP4", "clip.MP4"),
        ("a\x00b\n.mp4", "ab.mp4"),
        ("", "video"),
        ("ü" * 300, "ü" * 100),
        ("/", "video"),
    ],
)
async def test_a_file_s_name_is_never_a_path(studio: StudioClient, name: str, shown: str) -> None:
    upload = await answer(await studio.send(CLIP, name), 201)
    assert upload["name"] == shown
    (file,) = (studio.folder / "uploads" / upload["id"]).iterdir()
    assert file.name in ("clip", "clip.mp4")


@pytest.mark.parametrize("id", [UNKNOWN, "..%2F..%2Fetc", "x", "a" * 5000, "%00", "' OR 1=1 --"])
async def test_unknown_identifiers(studio: StudioClient, id: str) -> None:
    for method, path in (
        ("GET", f"/studio/uploads/{id}"),
        ("DELETE", f"/studio/uploads/{id}"),
        ("GET", f"/studio/jobs/{id}"),
        ("DELETE", f"/studio/jobs/{id}"),
        ("POST", f"/studio/jobs/{id}/cancel"),
        ("POST", f"/studio/jobs/{id}/retry"),
        ("GET", f"/studio/jobs/{id}/previews/1.jpg"),
        ("DELETE", f"/studio/avatars/{id}"),
        ("GET", f"/studio/avatars/{id}/file"),
    ):
        response = await studio.http.request(method, path)
        assert response.status == 404, (method, path)


async def test_nothing_of_one_job_is_reached_through_another(studio: StudioClient) -> None:
    first, second = await studio.made(), await studio.made(name="Bo")
    for path in ("../" + first["id"], f"..%2F{first['id']}%2FAnna B%2Fpreviews"):
        assert (await studio.http.get(f"/studio/jobs/{second['id']}/previews/{path}/1.jpg")).status == 404
    for number in ("0", "2", "9999", "-1", "1e1", "..%2F1"):
        assert (await studio.http.get(f"/studio/jobs/{second['id']}/previews/{number}.jpg")).status == 404
    assert (await studio.http.delete(f"/studio/jobs/{second['id']}")).status == 204
    assert (await studio.get(f"/studio/jobs/{first['id']}"))["state"] == "done"
    assert (await studio.http.get(f"/studio/jobs/{first['id']}/previews/1.jpg")).status == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../../x"}, "name:"),
        ({"name": 5}, "name:"),
        ({"name": "--force"}, "name:"),
        ({"subject": ""}, "subject:"),
        ({"subject": "a\nb"}, "subject:"),
        ({"subject": "a\u202eb"}, "subject:"),
        ({"granted_by": "\ud800"}, "expected JSON"),
        ({"granted_by": "x" * 101}, "granted_by:"),
        ({"agreed": False}, "agreed:"),
        ({"agreed": "yes"}, "agreed:"),
        ({"statement": None}, "statement:"),
        ({"purposes": ["recordings"]}, "purposes: expected a list with live"),
        ({"purposes": "live"}, "purposes:"),
        ({"purposes": ["live", {}]}, "purposes:"),
        ({"purposes": ["live", "sale"]}, "got sale"),
        ({"own_driver_only": "no"}, "own_driver_only:"),
        ({"expires": 5}, "expires:"),
        ({"expires": "soon"}, "expires:"),
        ({"expires": "2020-01-01"}, "today or later"),
        ({"preset": "huge"}, "preset:"),
        ({"preset": ["quick"]}, "preset:"),
    ],
)
async def test_no_avatar_without_a_name_a_person_and_their_agreement(studio: StudioClient, changes: dict[str, object], words: str) -> None:
    upload = await studio.checked()
    assert words in await refusal(await studio.http.post("/studio/jobs", json={"upload": upload["id"], **ANNA, **changes}), 400)


async def test_only_what_the_form_showed_is_agreed_to(studio: StudioClient) -> None:
    upload = await studio.checked()
    for changes in ({"statement": "Whatever."}, {"purposes": ["live"]}, {"own_driver_only": True}, {"expires": "2100-01-31"}):
        said = await refusal(await studio.http.post("/studio/jobs", json={"upload": upload["id"], **ANNA, **changes}), 409)
        assert "load the page again" in said
    statement = words(["live", "export"], True, "2100-01-31")
    chosen: dict[str, Any] = {"purposes": ["export", "live"], "own_driver_only": True, "expires": "2100-01-31", "statement": statement}
    job = await studio.job(await studio.begin(**chosen, keep_video=True), "done")
    run = studio.folder / "runs" / str(job["id"]) / "Anna B"
    asked = json.loads((run / "asked.json").read_text())
    assert {name: asked[name] for name in ("subject", "granted-by", "purposes", "expires")} == {
        "subject": "Anna Berg", "granted-by": "Anna Berg", "purposes": "live,export", "expires": "2100-01-31",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", asked["agreed-at"])
    assert {"--agreed", "--own-driver-only"} <= set(asked["flags"])


async def test_the_page_is_told_the_words_that_the_server_would_put_together(studio: StudioClient) -> None:
    told = (await studio.get("/studio/info"))["consent"]
    assert told == pieces()
    said = f"{told['opening']} {told['live']['anybody']}; {told['clauses']['recordings']}; {told['nothing_else']} {told['no_end']} {told['ending']}"
    assert said == words(told["usual"], False, None)


async def test_bodies_that_are_no_job(studio: StudioClient) -> None:
    for body, status in ((b"{", 400), (b"[]", 400), (b"[" * 5000, 400), (b"{}", 400)):
        await refusal(await studio.http.post("/studio/jobs", data=body, headers={"Content-Type": "application/json"}), status)
    await refusal(await studio.http.post("/studio/jobs", data=b"{}"), 415)
    await refusal(await studio.http.post("/studio/jobs", json={"upload": UNKNOWN, **ANNA}), 404)


async def test_two_tabs_get_one_job(studio: StudioClient) -> None:
    upload = await studio.checked(b"slow")
    body = {"upload": upload["id"], **ANNA}
    both = await asyncio.gather(*(studio.http.post("/studio/jobs", json=body) for _ in range(2)))
    jobs = [await answer(response, 201) for response in both]
    assert jobs[0]["id"] == jobs[1]["id"]
    assert "cancel that first" in await refusal(await studio.http.delete(f"/studio/uploads/{upload['id']}"), 409)


async def test_one_at_a_time_and_the_others_wait_in_order(studio: StudioClient) -> None:
    first, second, third = [await studio.begin(b"slow", name=name) for name in ("A", "B", "C")]
    await studio.job(first, "running")
    assert [(await studio.get(f"/studio/jobs/{job['id']}"))["position"] for job in (first, second, third)] == [0, 1, 2]
    assert (await answer(await studio.http.post(f"/studio/jobs/{second['id']}/cancel")))["state"] == "cancelled"
    assert (await studio.get(f"/studio/jobs/{third['id']}"))["position"] == 1
    (studio.folder / "go").touch()
    await studio.job(first, "done")
    await studio.job(third, "done")
    assert (await studio.get(f"/studio/jobs/{second['id']}"))["state"] == "cancelled"
    assert (await answer(await studio.http.post(f"/studio/jobs/{second['id']}/retry")))["state"] == "queued"
    await studio.job(second, "done")


async def test_as_many_at_a_time_as_the_owner_wants(tmp_path: Path) -> None:
    async with studio_client(tmp_path, jobs=2) as studio:
        jobs = [await studio.begin(b"slow", name=name) for name in ("A", "B", "C")]
        await studio.job(jobs[0], "running")
        await studio.job(jobs[1], "running")
        assert (await studio.get(f"/studio/jobs/{jobs[2]['id']}"))["state"] == "queued"


def alive(group: int) -> list[str]:
    """Processes of a group that still run."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stats.append(path.read_text().rpartition(")")[2].split())
    return [" ".join(stat[:3]) for stat in stats if int(stat[2]) == group and stat[0] != "Z"]


async def test_cancelling_kills_the_whole_group(studio: StudioClient) -> None:
    job = await studio.begin(b"slow")
    run = studio.folder / "runs" / job["id"] / "Anna B"
    await studio.until(f"/studio/jobs/{job['id']}", lambda now: bool(now["previews"]))
    pid = int((run / "started").read_text())
    assert len(alive(pid)) == 2
    cancelled = await answer(await studio.http.post(f"/studio/jobs/{job['id']}/cancel"))
    assert cancelled["state"] == "cancelled"
    await until(lambda: not alive(pid), KILLED_S)
    assert await answer(await studio.http.post(f"/studio/jobs/{job['id']}/cancel")), "twice does no harm"


async def test_a_failure_tells_why_and_a_retry_goes_on(studio: StudioClient) -> None:
    job = await studio.begin(b"broken")
    failed = await studio.job(job, "failed")
    assert "has no room. Free some." in failed["message"]
    assert "a retry goes on" in failed["message"]
    assert "a line before" in failed["log"]
    assert str(studio.folder) not in failed["message"] + failed["log"]
    await answer(await studio.http.post(f"/studio/jobs/{job['id']}/retry"))
    assert (await studio.job(job, "done"))["message"] == ""
    assert "made already" in await refusal(await studio.http.post(f"/studio/jobs/{job['id']}/retry"), 409)


async def test_watching_waits_for_news(studio: StudioClient) -> None:
    job = await studio.begin(b"slow")
    now = await studio.until(f"/studio/jobs/{job['id']}", lambda now: bool(now["previews"]))
    waiting = asyncio.ensure_future(studio.get(f"/studio/jobs/{job['id']}?after={now['tag']}"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    (studio.folder / "go").touch()
    assert (await asyncio.wait_for(waiting, 10))["tag"] != now["tag"]


def test_the_remaining_time_counts_only_what_is_done_now() -> None:
    progress = Progress()
    assert progress.remaining_s(0.0) is None
    progress.take("dataset", "", 0.0, 0.0)
    progress.take("fit", "", 0.4, 1.0)
    progress.take("fit", "keyframes", 0.4, 2.0)
    progress.take("fit", "keyframes", 0.5, 4.0)
    assert progress.remaining_s(4.0) is None, "too early to be sure"
    assert progress.remaining_s(12.0) == pytest.approx(50.0)
    progress.take("evaluate", "judging", 2.0, 30.0)
    assert progress.remaining_s(30.0) == 0.0


async def test_after_a_stop_the_job_goes_on(tmp_path: Path) -> None:
    async with studio_client(tmp_path) as studio:
        job = await studio.begin(b"slow")
        waiting = await studio.begin(b"good", name="Later")
        await studio.until(f"/studio/jobs/{job['id']}", lambda now: bool(now["previews"]))
    pid = int((tmp_path / "studio" / "runs" / job["id"] / "Anna B" / "started").read_text())
    await until(lambda: not alive(pid), KILLED_S)
    (tmp_path / "studio" / "go").touch()
    async with studio_client(tmp_path) as studio:
        assert (await studio.job(job, "done"))["avatar"] == "Anna-B"
        await studio.job(waiting, "done")
    async with studio_client(tmp_path) as studio:
        assert {"Anna-B", "Later"} <= {avatar["id"] for avatar in (await studio.get("/avatars"))["avatars"]}


async def test_what_came_half_is_gone_after_a_start(tmp_path: Path) -> None:
    async with studio_client(tmp_path) as studio:
        kept, lost = await studio.checked(), await studio.checked()
    folder = tmp_path / "studio"
    (folder / "uploads" / lost["id"] / "clip.mp4").unlink()
    (folder / "uploads" / UNKNOWN).mkdir()
    (folder / "uploads" / UNKNOWN / ".clip.mp4.part").write_bytes(b"half")
    (folder / "runs" / UNKNOWN).mkdir()
    (folder / "avatars" / ".half").write_bytes(b"half")
    async with studio_client(tmp_path) as studio:
        assert (await studio.get(f"/studio/uploads/{kept['id']}"))["state"] == "good"
        await refusal(await studio.http.get(f"/studio/uploads/{lost['id']}"), 404)
        assert [path.name for path in (folder / "uploads").iterdir()] == [kept["id"]]
        assert list((folder / "runs").iterdir()) == list((folder / "avatars").iterdir()) == []


async def test_a_video_that_nobody_used_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with studio_client(tmp_path) as studio:
        old, used = await studio.checked(), await studio.made()
        monkeypatch.setattr(uploads, "FORGOTTEN_S", -1.0)
        await studio.studio.uploads.forget_old()
        await refusal(await studio.http.get(f"/studio/uploads/{old['id']}"), 404)
        assert (await studio.get(f"/studio/uploads/{used['upload']}"))["state"] == "good"


async def test_too_many_videos_that_nobody_uses(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_UNUSED", 2)
    first = await studio.made()
    waiting = [await studio.checked() for _ in range(2)]
    response = await studio.send()
    assert "2 videos wait" in await refusal(response, 503)
    assert int(response.headers["Retry-After"]) > 0
    assert (await studio.http.delete(f"/studio/uploads/{waiting[0]['id']}")).status == 204
    assert (await studio.checked())["state"] == "good"
    assert (await studio.get(f"/studio/uploads/{first['upload']}"))["state"] == "good"


async def test_a_locked_database_is_told_and_waited_for(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await studio.begin(b"slow")
    await studio.until(f"/studio/jobs/{job['id']}", lambda now: bool(now["previews"]))
    await studio.studio.store._do(lambda db: db.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(studio.folder / DATABASE, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert "try again" in await refusal(await studio.http.get(f"/studio/jobs/{job['id']}"), 503)
        assert (await studio.http.get("/avatars")).status == 200
        (studio.folder / "go").touch()
        await asyncio.sleep(0.3)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert (await studio.job(job, "done"))["avatar"] == "Anna-B"


async def test_a_second_server_does_without_this_folder(studio: StudioClient, tmp_path: Path) -> None:
    async with studio_client(tmp_path) as second:
        assert "another server uses" in (await second.get("/studio/info"))["problem"]
        assert "another server uses" in await refusal(await second.send(), 503)
        assert (await second.http.get("/avatars")).status == 200
    assert (await studio.checked())["state"] == "good"


async def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / DATABASE).write_bytes(b"no database" * 500)
    async with studio_client(tmp_path) as studio:
        assert "cannot be used" in (await studio.get("/studio/info"))["problem"]
        assert (await studio.http.get("/avatars")).status == 200


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "studio").touch()
    async with studio_client(tmp_path) as studio:
        assert "cannot be written" in (await studio.get("/studio/info"))["problem"]
        assert "--studio-dir" in await refusal(await studio.send(), 503)
        assert (await studio.http.get("/avatars")).status == 200


async def test_without_training_the_gallery_is_still_looked_after(tmp_path: Path) -> None:
    program = tmp_path / "python-without"
    program.write_text("#!/bin/sh\necho 'error: Training is not installed here. Run once: make install-train' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    async with studio_client(tmp_path, python=str(program)) as studio:
        info = await studio.until("/studio/info", lambda now: bool(now["problem"]))
        assert "make install-train" in info["problem"]
        assert "make install-train" in await refusal(await studio.send(), 503)
        assert (await studio.http.post("/studio/avatars", data=io.BytesIO((SHIPPED / "ama.avatar").read_bytes()))).status == 201
    async with studio_client(tmp_path, python=str(tmp_path / "nothing")) as studio:
        assert "cannot be started" in (await studio.until("/studio/info", lambda now: bool(now["problem"])))["problem"]


async def test_other_sites_may_ask_for_nothing(studio: StudioClient) -> None:
    for site in ("cross-site", "same-site"):
        response = await studio.http.post("/studio/uploads", data=CLIP, headers={"Sec-Fetch-Site": site})
        assert "pages of another site" in await refusal(response, 403)
    assert (await studio.http.post("/studio/uploads", data=CLIP, headers={"Sec-Fetch-Site": "same-origin"})).status == 201

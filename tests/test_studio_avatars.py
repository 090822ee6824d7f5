"""The avatars that were made or brought into the studio: details, names, files, keys, and their end."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from models.avatar_file import read_avatar, write_avatar
from models.consent.keys import VARIABLE, KeyFolder
from models.consent.statement import Purpose
from realtime.gallery import SHIPPED
from realtime.studio.studio import DATABASE
from tests.consents import agreed, write_signed
from tests.studios import StudioClient, answer, holding, refusal, studio_client
from tests.tiny_avatar import tiny_avatar

pytestmark = pytest.mark.beside

UNKNOWN = "A" * 22


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[StudioClient]:
    async with studio_client(tmp_path) as client:
        yield client


async def test_details_and_download_of_an_avatar(studio: StudioClient) -> None:
    await studio.made()
    details = await studio.get("/studio/avatars/Anna-B")
    assert (details["origin"], details["yours"], details["video"]) == ("made", True, True)
    assert details["figures"]["held_out"]["offline"] == {"head_box": {"psnr": 30.5, "ssim": 0.9}}
    assert details["figures"]["advice"] == ["More light."]
    fetched = await studio.http.get("/studio/avatars/Anna-B/file")
    assert await fetched.read() == (SHIPPED / "theo.avatar").read_bytes()
    assert "Anna-B.avatar" in fetched.headers["Content-Disposition"]
    assert (await studio.http.get("/studio/avatars/Anna-B/video")).content_type == "video/mp4"
    assert (await studio.get("/studio/avatars/mara"))["origin"] == "shipped"


async def test_renaming_changes_the_name_and_nothing_else(studio: StudioClient) -> None:
    await studio.made()
    before = read_avatar(studio.folder / "avatars" / "Anna-B.avatar")
    assert await answer(await studio.http.patch("/studio/avatars/Anna-B", json={"name": "Ännchen"})) == {"id": "Anna-B", "name": "Ännchen"}
    assert (await studio.get("/avatars"))["avatars"][0]["name"] == "Ännchen"
    after = read_avatar(studio.folder / "avatars" / "Anna-B.avatar")
    assert after.card.name == "Ännchen"
    assert (after.card.consent, after.texture, after.mesh.vertices.tobytes()) == (before.card.consent, before.texture, before.mesh.vertices.tobytes())
    for name in ("", "../x", "a/b", ".hidden", "n" * 65, "a\nb"):
        assert "name:" in await refusal(await studio.http.patch("/studio/avatars/Anna-B", json={"name": name}), 400)


async def test_deleting_takes_everything_at_once(studio: StudioClient) -> None:
    job = await studio.made()
    assert (await studio.http.delete("/studio/avatars/Anna-B")).status == 204
    assert studio.taken_off == ["Anna-B"]
    assert "Anna-B" not in {avatar["id"] for avatar in (await studio.get("/avatars"))["avatars"]}
    left = [path for path in studio.folder.rglob("*") if path.is_file() and path.name not in (".lock", *(DATABASE + end for end in ("", "-wal", "-shm")))]
    assert left == []
    for path in (f"/studio/jobs/{job['id']}", f"/studio/uploads/{job['upload']}", "/studio/avatars/Anna-B"):
        assert "no such" in await refusal(await studio.http.get(path), 404)


async def test_what_comes_with_headcast_stays_as_it_is(studio: StudioClient) -> None:
    assert "comes with Headcast" in await refusal(await studio.http.delete("/studio/avatars/mara"), 409)
    assert "comes with Headcast" in await refusal(await studio.http.patch("/studio/avatars/mara", json={"name": "Maria"}), 409)
    assert (await studio.http.get("/studio/avatars/mara/file")).status == 200
    assert (SHIPPED / "mara.avatar").is_file()


async def test_an_avatar_file_can_be_brought_and_taken_along(studio: StudioClient) -> None:
    content = (SHIPPED / "ama.avatar").read_bytes()
    brought = [await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 201) for _ in range(2)]
    assert [each["id"] for each in brought] == ["Ama", "Ama-2"]
    assert (await studio.get("/studio/avatars/Ama"))["origin"] == "imported"
    assert await (await studio.http.get("/studio/avatars/Ama/file")).read() == content
    assert (await studio.http.delete("/studio/avatars/Ama")).status == 204
    assert not (studio.folder / "avatars" / "Ama.avatar").exists()


@pytest.mark.parametrize("content", [b"not an avatar", b"\xff" * 5000, (SHIPPED / "ama.avatar").read_bytes()[:-10], b"PK\x03\x04" + b"\0" * 500])
async def test_what_is_no_avatar_is_not_taken(studio: StudioClient, content: bytes) -> None:
    said = await refusal(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 422)
    assert "expected an avatar file" in said
    assert str(studio.folder) not in said
    assert list((studio.folder / "avatars").iterdir()) == []


async def test_an_avatar_whose_person_did_not_agree_is_not_taken(studio: StudioClient, tmp_path: Path) -> None:
    made = tiny_avatar(6)
    signed = write_signed(tmp_path / "anna.avatar", made, agreed()).read_bytes()
    write_avatar(tmp_path / "plain.avatar", replace(made, card=replace(made.card, consent=agreed())))
    cases = {
        "nobody signed that Anna B. agreed": (tmp_path / "plain.avatar").read_bytes(),
        "it was altered after it was signed": signed.replace(b"Anna B.", b"Anna C."),
        "ended on 2026-01-31": write_signed(tmp_path / "old.avatar", made, agreed("2026-01-31")).read_bytes(),
        "is not shown live: Anna B. agreed to export": write_signed(tmp_path / "still.avatar", made, agreed(purposes=(Purpose.EXPORT,))).read_bytes(),
    }
    for words, content in cases.items():
        said = await refusal(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 422)
        assert words in said
    assert list((studio.folder / "avatars").iterdir()) == []
    assert (await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(signed)), 201))["id"] == "Ball"
    (listed,) = [each for each in (await studio.get("/avatars"))["avatars"] if each["id"] == "Ball"]
    assert (listed["consent"]["subject"], listed["consent"]["purposes"], listed["signed"]["by"]) == (
        "Anna B.",
        [str(each) for each in Purpose],
        "this installation",
    )
    shown = await studio.get("/studio/avatars/Ball")
    assert (shown["granted_by"], shown["signed_by"], shown["own_driver_only"]) == ("Anna B.", "this installation", False)


async def test_the_owner_says_whose_avatars_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "here"))
    bert = KeyFolder(tmp_path / "bert")
    content = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed(), bert).read_bytes()
    async with studio_client(tmp_path) as studio:
        refused = await studio.http.post("/studio/avatars", data=io.BytesIO(content))
        assert "signed by somebody who is believed here" in await refusal(refused, 409)
        key = refused.headers["Headcast-Signer"]
        assert key == bert.known().own
        await refusal(await studio.http.post("/studio/avatars", params={"trust": "ed25519-" + "A" * 43}, data=io.BytesIO(content)), 409)
        assert KeyFolder.of().known().trusted == {}
        assert (await answer(await studio.http.post("/studio/avatars", params={"trust": key}, data=io.BytesIO(content)), 201))["id"] == "Ball"
        assert (await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 201))["id"] == "Ball-2"
    assert list(KeyFolder.of().known().trusted) == [key]


async def test_withdrawing_deletes_and_refuses_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "here"))
    content = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed()).read_bytes()
    async with studio_client(tmp_path, trusting=False) as studio:
        brought = await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 201)
        url = "/studio/avatars/Ball?withdraw=1"
        assert "only the browser" in await refusal(await studio.http.delete(url), 403)
        assert KeyFolder.of().known().withdrawn == frozenset()
        assert (await studio.http.delete(url, headers=holding(brought["key"]))).status == 204
        assert studio.taken_off == ["Ball"]
        assert list((studio.folder / "avatars").iterdir()) == []
        assert "has withdrawn their consent" in await refusal(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 422)


async def test_what_is_not_shown_any_more_can_still_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed("2100-01-31")).read_bytes()
    async with studio_client(tmp_path, trusting=False) as studio:
        brought = await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(content)), 201)
    monkeypatch.setattr("realtime.studio.shelf.date", Later)
    monkeypatch.setattr("tests.studios.date", Later)
    async with studio_client(tmp_path, trusting=False) as studio:
        assert "Ball" not in {each["id"] for each in (await studio.get("/avatars"))["avatars"]}
        assert "Ball" not in {each["id"] for each in (await studio.get("/studio/avatars"))["avatars"]}
        listed = {each["id"]: each for each in (await studio.get("/studio/avatars", brought["key"]))["avatars"]}
        assert listed["Ball"]["problem"].startswith("the consent of the person it shows ended on 2100-01-31")
        fresh = write_signed(tmp_path / "other.avatar", tiny_avatar(6), agreed()).read_bytes()
        assert (await answer(await studio.http.post("/studio/avatars", data=io.BytesIO(fresh)), 201))["id"] == "Ball-2", "nobody else's file is replaced"
        assert (studio.folder / "avatars" / "Ball.avatar").read_bytes() == content
        assert "only the browser" in await refusal(await studio.http.delete("/studio/avatars/Ball"), 403)
        assert (await studio.http.delete("/studio/avatars/Ball", headers=holding(brought["key"]))).status == 204
        assert [path.name for path in (studio.folder / "avatars").iterdir()] == ["Ball-2.avatar"]


class Later(date):
    """A calendar far ahead."""

    @classmethod
    def today(cls) -> Later:
        return cls(2100, 2, 1)


async def test_an_empty_or_too_large_avatar_file(studio: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "got nothing" in await refusal(await studio.http.post("/studio/avatars", data=b""), 400)
    monkeypatch.setattr("realtime.studio.shelf.MAX_BYTES", 1000)
    assert "too large" in await refusal(await studio.http.post("/studio/avatars", data=b"x" * 1001), 413)


async def test_on_an_open_network_only_the_holder_of_the_key_may_change_an_avatar(tmp_path: Path) -> None:
    async with studio_client(tmp_path, trusting=False) as studio:
        job = await studio.made()
        url = "/studio/avatars/Anna-B"
        assert (await studio.get(url))["yours"] is False
        for wrong in ((), ("x",), (UNKNOWN,)):
            for method, path in (("DELETE", url), ("PATCH", url), ("GET", url + "/file"), ("GET", url + "/video")):
                response = await studio.http.request(method, path, headers=holding(*wrong), json={"name": "X"} if method == "PATCH" else None)
                assert "only the browser" in await refusal(response, 403)
        assert (await studio.get(url, UNKNOWN, job["id"]))["yours"] is True
        assert (await studio.http.get(url + "/file", headers=holding(job["id"]))).status == 200
        assert (await studio.http.delete(url, headers=holding(job["id"]))).status == 204

"""An avatar whose person agrees no more is worn by nobody from then on, while the server runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from models.avatar_file import read_avatar_tensors
from models.avatar_parts import Consent
from models.consent.keys import KeyFolder, Known
from models.consent.signature import content_digest
from realtime import lapses as lapses_module
from realtime.errors import HeadcastError
from realtime.gallery import SHIPPED, Gallery, scan
from realtime.lapses import Lapses
from realtime.session import SessionState
from tests.consents import agreed, write_signed
from tests.fakes import FakeFactory
from tests.peers import calling, house, until
from tests.tiny_avatar import tiny_avatar

pytestmark = pytest.mark.beside


class Day:
    """A calendar that a test turns."""

    def __init__(self) -> None:
        self.today = date(2026, 11, 22)

    def __call__(self) -> date:
        return self.today


class Wearers:
    def __init__(self) -> None:
        self.told: list[tuple[str, str | None, str]] = []

    def take_off(self, avatar_id: str, instead: str | None, why: str) -> None:
        self.told.append((avatar_id, instead, why))


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


def served(folder: Path, keys: KeyFolder, consent: Consent, day: Day, monkeypatch: pytest.MonkeyPatch, *more: Path) -> tuple[Gallery[Any], Wearers, Lapses]:
    """A gallery with Anna's avatar, as a server with these keys has it."""
    (folder / "mine").mkdir()
    write_signed(folder / "mine" / "anna.avatar", tiny_avatar(6), consent, keys)
    monkeypatch.setattr("realtime.gallery.believed", keys.known)
    gallery: Gallery[Any] = Gallery(scan([folder / "mine", *more], day.today), None, str)
    wearers = Wearers()
    return gallery, wearers, Lapses(gallery, wearers, day, keys.known)


async def test_the_day_after_the_last_one(tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    day = Day()
    gallery, wearers, lapses = served(tmp_path, keys, agreed("2026-11-23"), day, monkeypatch, SHIPPED)
    for _ in range(2):
        await lapses.look()
        assert wearers.told == []
        day.today = date(2026, 11, 23)
    day.today = date(2026, 11, 24)
    await lapses.look()
    await lapses.look()
    reason = "Ball is not shown any more: the consent of the person it shows ended on 2026-11-23. Another avatar is worn instead"
    assert wearers.told == [("anna", gallery.default_id, reason)]
    assert "anna" not in {entry.id for entry in gallery.entries}
    assert len(gallery.entries) == 4, "what comes with Headcast stays"


async def test_withdrawn_or_no_longer_believed(tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, wearers, lapses = served(tmp_path, keys, agreed(), Day(), monkeypatch)
    before = keys.known()

    def stranger() -> Known:
        return replace(before, own=None)

    doubtful = Lapses(gallery, wearers, Day(), stranger)
    keys.withdraw(content_digest(read_avatar_tensors(tmp_path / "mine" / "anna.avatar")), date(2026, 11, 22))
    await lapses.look()
    assert wearers.told == [("anna", None, "Ball is not shown any more: the person it shows has withdrawn their consent. Another avatar is worn instead")]
    assert gallery.entries == ()
    gallery.add(scan_of(before, tmp_path, monkeypatch))
    await doubtful.look()
    assert "a key that was not accepted here" in wearers.told[-1][2]
    assert gallery.entries == ()


def scan_of(known: Known, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("realtime.gallery.believed", lambda: known)
    return scan([folder / "mine"], date(2026, 11, 22))[0]


async def test_it_looks_by_itself_and_survives_a_folder_that_cannot_be_read(
    tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lapses_module, "LOOK_EVERY_S", 0.01)
    day, broken = Day(), True
    gallery, wearers, _ = served(tmp_path, keys, agreed("2026-11-22"), day, monkeypatch, SHIPPED)

    def known() -> Known:
        if broken:
            raise HeadcastError("no such folder")
        return keys.known()

    lapses = Lapses(gallery, wearers, day, known)
    await lapses.start()
    try:
        day.today = date(2026, 11, 23)
        await until(lambda: "nobody can say which avatars may be shown" in caplog.text)
        assert wearers.told == []
        broken = False
        await until(lambda: len(wearers.told) == 1)
    finally:
        await lapses.aclose()
        await lapses.aclose()
    await asyncio.sleep(0)


async def test_a_session_without_another_avatar_ends() -> None:
    async with house(FakeFactory(128)) as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.LIVE)
        server.sessions.take_off("ada", None, "ada is not shown any more")
        await until(lambda: session.state is SessionState.CLOSED)


async def test_a_session_that_cannot_wear_the_other_avatar_ends() -> None:
    async with house(FakeFactory(128)) as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.LIVE)
        server.sessions.take_off("ada", "nobody", "ada is not shown any more")
        await until(lambda: session.state is SessionState.CLOSED)

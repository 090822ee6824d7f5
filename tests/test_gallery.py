from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from models.consent.keys import Known
from models.consent.opening import Provenance, Showable
from models.errors import BadFile, NotAgreed
from realtime import gallery as gallery_module
from realtime.errors import NotFound
from realtime.gallery import Gallery, believed, entry_of, identifier, scan
from tests.fakes import card, gallery

TODAY = date(2026, 6, 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are not parsed: a name that begins with `bad` is damaged, one with `old` shows somebody who agrees no more."""

    def read(path: Path, today: date, known: Known) -> Showable:
        assert today == TODAY
        if path.stem.startswith("bad"):
            raise BadFile(f"{path.name}: damaged")
        if path.stem.startswith("old"):
            raise NotAgreed("their consent has ended")
        return Showable(card(path.stem), Provenance(path.stem, "", "tests", ""))

    monkeypatch.setattr(gallery_module, "open_card", read)
    return tmp_path


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


def test_scan_finds_avatars_and_leaves_out_the_rest(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(folder, "bo.avatar", "ada.safetensors", "notes.txt", "bad.avatar", "old.avatar", "Zoë B.avatar")
    with caplog.at_level(logging.WARNING):
        assert [entry.id for entry in scan([folder], TODAY)] == ["Zoe-B", "ada", "bo"]
    messages = sorted(record.getMessage().removeprefix(f"{folder.resolve()}{os.sep}") for record in caplog.records)
    assert messages == ["bad.avatar is left out: damaged", "old.avatar is left out: their consent has ended"]


@pytest.mark.parametrize(("stem", "expected"), [("anna", "anna"), ("Anna B. 2", "Anna-B.-2"), ("Łukasz_1", "ukasz_1"), ("-../x", "x"), ("n" * 80, "n" * 64)])
def test_identifiers_are_plain(stem: str, expected: str) -> None:
    assert identifier(stem) == expected


def test_identifiers_of_names_without_a_plain_letter_differ() -> None:
    assert identifier("安娜") != identifier("安妮")
    assert identifier("安娜").startswith("avatar-")
    assert identifier("\udcff").startswith("avatar-"), "a file's name that is no UTF-8"


def test_a_folder_of_training_runs_gives_the_avatar_of_each(folder: Path) -> None:
    for run in ("anna", "bert"):
        (folder / run / "train").mkdir(parents=True)
        put(folder / run, f"{run}.avatar", "other.avatar")
        put(folder / run / "train", "draft.avatar")
    assert [entry.id for entry in scan([folder], TODAY)] == ["anna", "bert"]
    assert [entry.id for entry in scan([folder / "anna"], TODAY)] == ["anna", "other"]


def test_a_folder_named_twice_counts_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(folder, "ada.avatar")
    (folder / "deep").mkdir()
    assert len(scan([folder, folder / "deep" / ".."], TODAY)) == 1
    assert not caplog.records


def test_one_name_comes_before_the_others(folder: Path) -> None:
    put(folder, "ada.avatar", "mara.avatar")
    assert [entry.id for entry in scan([folder], TODAY)] == ["mara", "ada"]


def test_of_two_with_one_name_the_first_folder_wins(folder: Path) -> None:
    mine, shipped = folder / "mine", folder / "shipped"
    mine.mkdir()
    shipped.mkdir()
    put(mine, "ada.avatar")
    put(shipped, "ada.avatar", "bo.avatar")
    assert [(entry.id, entry.path.parent.name) for entry in scan([mine, shipped, folder / "absent"], TODAY)] == [("ada", "mine"), ("bo", "shipped")]


def test_the_default_is_the_first_or_the_named(folder: Path) -> None:
    put(folder, "ada.avatar", "bo.avatar")
    entries = scan([folder], TODAY)
    assert Gallery(entries, None, str).default_id == "ada"
    assert Gallery(entries, "bo", str).default_id == "bo"
    with pytest.raises(NotFound, match="there are ada, bo"):
        Gallery(entries, "carl", str)
    with pytest.raises(NotFound, match="no avatar was found"):
        Gallery((), None, str)


def test_an_avatar_is_read_once_when_it_is_first_worn(folder: Path) -> None:
    put(folder, "ada.avatar", "bo.avatar")
    read: list[str] = []

    def load(path: Path) -> str:
        read.append(path.stem)
        return path.stem.upper()

    made = Gallery(scan([folder], TODAY), None, load)
    assert read == []
    assert [made.load("bo"), made.load("bo"), made.load("ada")] == ["BO", "BO", "ADA"]
    assert read == ["bo", "ada"]
    with pytest.raises(NotFound):
        made.load("../ada")


def test_a_file_that_went_bad_meanwhile_is_not_found(folder: Path) -> None:
    put(folder, "ada.avatar")

    def load(path: Path) -> str:
        raise BadFile("damaged")

    with pytest.raises(NotFound, match="damaged"):
        Gallery(scan([folder], TODAY), None, load).load("ada")


def test_thumbnail_types() -> None:
    entry = gallery("ada").entry("ada")
    assert entry.thumbnail_type == "image/png"
    assert replace(entry, card=replace(entry.card, thumbnail=b"RIFF....WEBP")).thumbnail_type == "image/webp"


def test_an_avatar_can_come_and_go(folder: Path) -> None:
    put(folder, "ada.avatar", "bo.avatar")
    made = Gallery(scan([folder], TODAY), "bo", lambda path: path.read_bytes())
    assert made.load("bo") == b"x"
    put(folder, "new.avatar")
    made.add(entry_of(folder / "new.avatar", TODAY, believed()))
    assert [entry.id for entry in made.entries] == ["new", "ada", "bo"]
    (folder / "bo.avatar").write_bytes(b"again")
    made.add(entry_of(folder / "bo.avatar", TODAY, believed()))
    assert [entry.id for entry in made.entries] == ["new", "ada", "bo"]
    assert made.load("bo") == b"again", "what was there before is not worn again"
    assert not made.remove("bo", folder / "elsewhere")
    assert made.remove("bo", folder)
    assert (made.default_id, [entry.id for entry in made.entries]) == ("new", ["new", "ada"])
    with pytest.raises(NotFound):
        made.load("bo")
    assert not made.remove("bo", folder)
    assert made.remove("ada", folder)
    assert not made.remove("new", folder), "one always stays"


def test_the_last_avatar_can_lapse(folder: Path) -> None:
    put(folder, "ada.avatar", "bo.avatar")
    made = Gallery(scan([folder], TODAY), None, str)
    made.lapse("ada")
    assert made.default_id == "bo"
    made.lapse("bo")
    with pytest.raises(NotFound, match="there are none"):
        made.entry("bo")
    with pytest.raises(NotFound, match="no avatar is left"):
        assert made.default_id

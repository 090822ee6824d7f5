"""`python -m models.consent`: what a person types, and what they are told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from models.avatar_file import read_avatar, write_avatar
from models.avatar_parts import Consent
from models.consent.__main__ import main
from models.consent.keys import SIGNING, VARIABLE, KeyFolder
from models.consent.opening import open_card
from models.errors import NotAgreed
from realtime.gallery import SHIPPED
from tests.consents import agreed, write_signed
from tests.tiny_avatar import tiny_avatar

ROOT = Path(__file__).resolve().parents[1]
TODAY = date.today()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFolder:
    """Of an installation that has signed nothing yet."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "keys"))
    return KeyFolder.of()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An avatar of somebody, of before there were signatures."""
    file, before = tiny_avatar(6), Consent(False, "Anna", "Anna", "Agreed to this.", "2026-01-31")
    write_avatar(tmp_path / "anna.avatar", replace(file, card=replace(file.card, consent=before)))
    return tmp_path / "anna.avatar"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_an_avatar_of_before_is_shown_once_its_person_agreed(keys: KeyFolder, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = old.read_bytes()
    assert run("verify", old) == 2
    assert "nobody signed that Anna agreed to it. Ask them, then: python -m models.consent sign FILE" in capsys.readouterr().err
    assert run("sign", old) == 3
    assert "nobody agreed; nothing was changed" in capsys.readouterr().err
    assert old.read_bytes() == whole
    assert run("sign", old, "--purposes", "live", "--expires", "2100-01-31", "--agreed") == 0
    assert "live video, moved by the person shown and by those they let; and for nothing else" in capsys.readouterr().out
    assert run("verify", old) == 0
    shown = open_card(old, TODAY)
    assert (shown.card.consent.subject, shown.card.consent.expires, shown.provenance.key) == ("Anna", "2100-01-31", keys.known().own)
    assert run("show", old) == 0
    told = capsys.readouterr().out
    for line in ("subject:            Anna\n", "purposes:           live\n", "expires:            2100-01-31\n", f"signed by:          {keys.known().own}\n"):
        assert line in told


def test_whoever_sits_there_is_asked_in_the_words_that_are_recorded(keys: KeyFolder, old: Path) -> None:
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    assert main(["sign", str(old), "--own-driver-only"], refuse) == 3
    assert main(["sign", str(old), "--own-driver-only"], lambda question: True) == 0
    consent = read_avatar(old).card.consent
    assert consent.own_driver_only
    assert asked[0].startswith(f"{consent.statement}\n\nDoes Anna agree to this, for Anna?")


def test_renewing(keys: KeyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed("2026-12-31"))
    assert run("renew", path, "--agreed") == 2
    assert "expected until when they agree now" in capsys.readouterr().err
    assert run("renew", path, "--expires", "2020-01-01", "--agreed") == 2
    assert run("renew", path, "--expires", "2100-01-31", "--agreed") == 0
    consent = read_avatar(path).card.consent
    assert (consent.expires, consent.purposes, consent.subject) == ("2100-01-31", agreed().purposes, "Anna B.")
    assert run("show", path) == 0
    assert "before, 1:          signed 2026-11-22T20:30:00Z by ed25519-" in capsys.readouterr().out
    assert run("renew", write_signed(tmp_path / "ball.avatar", tiny_avatar(6)), "--agreed") == 2
    assert "nobody's likeness: there is nothing to renew" in capsys.readouterr().err


def test_keys_of_others(keys: KeyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bert = KeyFolder(tmp_path / "bert")
    path = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed(), bert)
    assert run("verify", path) == 2
    key = bert.known().own
    assert f"python -m models.consent trust {key}" in capsys.readouterr().err
    assert run("trust", key, "--name", "Bert\nsays") == 0
    assert run("verify", path) == 0
    assert open_card(path, TODAY).provenance.whose == "Bert says"
    assert run("distrust", key) == 0
    assert run("verify", path) == 2
    assert run("distrust", key) == 2
    assert run("trust", "nonsense") == 2
    capsys.readouterr()
    assert run("key") == 0
    assert capsys.readouterr().out.strip() == keys.known().own


def test_a_made_up_face_is_signed_by_whoever_made_it(keys: KeyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_avatar(tmp_path / "ball.avatar", tiny_avatar(6))
    assert run("verify", tmp_path / "ball.avatar") == 2
    assert "sign FILE --synthetic" in capsys.readouterr().err
    assert run("sign", tmp_path / "ball.avatar", "--synthetic") == 0
    assert run("verify", tmp_path / "ball.avatar") == 0
    path = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed())
    assert run("sign", path, "--synthetic") == 2
    assert "a record of a person is never made into nobody's" in capsys.readouterr().err


def test_withdrawing(keys: KeyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_signed(tmp_path / "anna.avatar", tiny_avatar(6), agreed())
    copy = path.read_bytes()
    assert run("withdraw", path) == 3
    assert path.exists()
    assert run("withdraw", path, "--yes") == 0
    assert not path.exists()
    path.write_bytes(copy)
    assert run("verify", path) == 2
    assert "has withdrawn their consent" in capsys.readouterr().err
    with pytest.raises(NotAgreed):
        open_card(path, TODAY)
    assert run("sign", path, "--agreed") == 2


def test_what_is_no_avatar(keys: KeyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.avatar").write_bytes(b"nonsense")
    for command in ("show", "verify", "sign", "renew", "withdraw"):
        assert run(command, tmp_path / "x.avatar") == 2
        assert run(command, tmp_path / "none.avatar") == 2
    assert capsys.readouterr().err.count("headcast: ") == 10
    assert not (keys.path / SIGNING).exists()


def test_the_command_itself(keys: KeyFolder) -> None:
    """Nobody sits at this terminal, and what comes with Headcast needs no key."""
    done = subprocess.run([sys.executable, "-m", "models.consent", "verify", str(SHIPPED / "mara.avatar")], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "may be shown: nobody’s likeness" in done.stdout
    assert not keys.path.exists()

"""People and their tokens: the file of users, the command that keeps it, and what is never to be seen."""

from __future__ import annotations

import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime import access
from realtime.access import (
    AccessError,
    People,
    Role,
    User,
    digest,
    digest_of_chosen,
    forget_secrets,
    new_token,
    read_users,
    without_token_in_sight,
    write_users,
)
from realtime.access import main as command
from realtime.logins import LIFETIME_S, MAX_LOGINS, MOST_OF_ONE, Logins
from tests.serving import ROOT

OWNER, ANNA = new_token(), new_token()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.json"
    write_users(path, [User("anna", Role.PUPPETEER, digest(ANNA))])
    return path


def test_roles_cover_those_after_them() -> None:
    assert [[one.covers(other) for other in Role] for one in Role] == [[True, True, True], [False, True, True], [False, False, True]]


def test_tokens_cannot_be_guessed_and_only_their_hash_is_kept(users: Path) -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) == 43, "32 bytes"
    assert ANNA not in users.read_text()
    assert digest(ANNA) == read_users(users)[0].sha256


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_the_file_is_for_its_owner_only(users: Path) -> None:
    assert users.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in users.parent.iterdir()] == ["users.json"]
    users.chmod(0o620)
    with pytest.raises(AccessError, match="chmod 600"):
        read_users(users)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"users": 5}',
        '{"users": [5]}',
        '{"users": [{"name": "anna"}]}',
        json.dumps({"users": [{"name": "anna", "role": "king", "sha256": "0" * 64}]}),
        json.dumps({"users": [{"name": "an\nna", "role": "owner", "sha256": "0" * 64}]}),
        json.dumps({"users": [{"name": "anna", "role": "owner", "sha256": "plain text"}]}),
        json.dumps({"users": [{"name": "anna", "role": "owner", "sha256": "0" * 64}] * 2}),
        "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "x" * (access.MAX_FILE_BYTES + 1),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(AccessError, match="expected"):
        read_users(path)


def test_who_has_which_token(users: Path) -> None:
    people = People(digest(OWNER), users)
    assert not people.everybody
    found = {token: people.identify(token) for token in (OWNER, ANNA, "", "nonsense", digest(ANNA), "\ud800")}
    assert {token: person and (person[0].name, person[0].role) for token, person in found.items() if person} == {
        OWNER: ("owner", Role.OWNER),
        ANNA: ("anna", Role.PUPPETEER),
    }
    assert People(None, None).everybody
    assert not People(None, users).everybody


def test_every_user_is_compared_whoever_it_is(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    stock = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return stock(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    people = People(digest(OWNER), users)
    for token in (ANNA, OWNER, "nonsense"):
        compared.clear()
        people.identify(token)
        assert sorted(compared) == sorted([digest(ANNA), digest(OWNER)])


def test_the_file_is_read_again_when_it_changes_and_nobody_enters_by_a_broken_one(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    people = People(digest(OWNER), users)
    users.write_text("broken")
    assert people.identify(ANNA) is None
    assert people.identify(OWNER) is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"], "once, not for each request"
    write_users(users, [User("anna", Role.VIEWER, digest(ANNA))])
    person = people.identify(ANNA)
    assert person is not None
    assert person[0].role is Role.VIEWER
    users.unlink()
    assert people.identify(ANNA) is None


def test_a_login_lasts_a_week_or_until_its_token_ends(users: Path) -> None:
    logins = Logins(People(None, users))
    secret = logins.open(digest(ANNA), 0.0)
    person = logins.person(secret, LIFETIME_S)
    assert person is not None
    assert person.name == "anna"
    assert logins.person(secret, LIFETIME_S + 1) is None
    assert len(logins) == 0
    assert logins.person("nonsense", 0.0) is None
    gone = logins.open(digest(ANNA), 0.0)
    write_users(users, [])
    assert logins.person(gone, 1.0) is None


def test_logins_take_no_more_memory_than_they_may(users: Path) -> None:
    logins = Logins(People(None, users), capacity=3)
    secrets = [logins.open(digest(ANNA), 0.0) for _ in range(5)]
    assert [logins.person(secret, 1.0) is not None for secret in secrets] == [False, False, True, True, True]
    assert not any(secret in repr(vars(logins)) for secret in secrets), "only hashes are kept"


def test_who_signs_in_again_and_again_ends_nobody_elses_login(users: Path) -> None:
    logins = Logins(People(digest(OWNER), users))
    owners = logins.open(digest(OWNER), 0.0)
    own = [logins.open(digest(ANNA), 0.0) for _ in range(MAX_LOGINS + 1)]
    assert logins.person(owners, 1.0) is not None
    assert [logins.person(secret, 1.0) is not None for secret in own].count(True) == MOST_OF_ONE
    assert logins.person(own[-1], 1.0) is not None


def test_the_command(users: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--users", str(users)]
    assert command(["add", "bo", "--role", "viewer", *given]) == 0
    token = capsys.readouterr().out.strip()
    assert digest(token) == read_users(users)[1].sha256
    assert token not in users.read_text()
    assert command(["list", *given]) == 0
    assert capsys.readouterr().out == "anna\tpuppeteer\nbo\tviewer\n"
    for wrong in (["add", "bo"], ["add", "owner"], ["add", "two words"], ["remove", "nobody"]):
        assert command([*wrong, *given]) == 2
        assert capsys.readouterr().err.startswith("headcast: ")
    assert command(["remove", "anna", *given]) == 0
    assert [user.name for user in read_users(users)] == ["bo"]
    assert command(["token"]) == 0
    assert digest_of_chosen(capsys.readouterr().out)


def test_the_command_makes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADCAST_USERS", str(tmp_path / "those.json"))
    assert command(["list"]) == 2
    assert command(["add", "anna"]) == 0
    assert [user.role for user in read_users(tmp_path / "those.json")] == [Role.PUPPETEER]
    monkeypatch.setenv("HEADCAST_USERS", str(tmp_path / "no" / "such.json"))
    assert command(["add", "anna"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "short", "fifteen letters", "with a space in it", "ümläute-und-mehr-davon"])
def test_a_chosen_token_must_be_long_and_plain(text: str) -> None:
    with pytest.raises(AccessError, match="at least 16"):
        digest_of_chosen(text)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ("python server.py --token T --port 1", "python server.py --port 1"),
        ("python server.py --port 1 --token=T", "python server.py --port 1"),
        ("python server.py --token-file T", None),
        ("python server.py", None),
        ("python server.py --token", None),
    ],
)
def test_a_token_is_taken_out_of_the_arguments(arguments: str, kept: str | None) -> None:
    hidden = without_token_in_sight(arguments.split(), {"A": "b"})
    assert hidden == (None if kept is None else (kept.split(), {"A": "b", "HEADCAST_TOKEN": "T"}))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_who_lists_processes_sees_no_token() -> None:
    code = """
import os, sys
from realtime.access import forget_secrets, hide_token
hide_token()
token = os.environ["HEADCAST_TOKEN"]
forget_secrets(os.environ)
import subprocess
child = subprocess.run(["env"], capture_output=True, text=True).stdout
print(token, token in open("/proc/self/cmdline").read(), token in child, sys.argv[1:])
"""
    told = subprocess.run([sys.executable, "-c", code, "--token", OWNER, "--port", "1"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{OWNER} False False ['--port', '1']\n"


def test_secrets_are_not_handed_on() -> None:
    environment = {"HEADCAST_TOKEN": "x", "HEADCAST_TURN_SECRET": "y", "PATH": "z"}
    forget_secrets(environment)
    assert environment == {"PATH": "z"}

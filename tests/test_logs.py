"""Log lines: their forms, and that nothing private is in them, whoever logs it."""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.http_exceptions import BadStatusLine

from realtime.config import IceServer, LogFormat, ServerConfig
from realtime.logs import HIDDEN, MAX_CHARACTERS, JsonLines, Redactor, TextLines, set_up_logging
from tests import fakes
from tests.peers import calling, until
from tests.processes import server_process
from tests.serving import client, serving

OURS = ("realtime", "server", "headcast", "models")
SDP = "v=0\r\no=- 3844 3844 IN IP4 192.0.2.7\r\ns=-\r\na=ice-ufrag:Xy7q\r\na=ice-pwd:bRq9Lk2\r\na=candidate:1 1 udp 2130706431 198.51.100.9 50123 typ host\r\n"


def clean(text: str) -> str:
    return Redactor().clean(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET /x Authorization: Bearer s3cr3t-of-anna", "s3cr3t"),
        ("{'Authorization': 'Bearer s3cr3t', 'Host': 'x'}", "s3cr3t"),
        ("(b'Authorization', b'Basic s3cr3tz')", "s3cr3t"),
        ("Cookie: headcast=s3cr3t; other=1", "s3cr3t"),
        ('Set-Cookie: headcast="s3cr3t"; HttpOnly', "s3cr3t"),
        ("asked for /?token=s3cr3t&x=1", "s3cr3t"),
        ('{"token": "s3cr3t"}', "s3cr3t"),
        ("turn_secret='s3cr3t'", "s3cr3t"),
        ("IceServer(url='turn:x', username='1700000000:a', credential='s3cr3t')", "s3cr3t"),
        ("turn:anna:s3cr3t@turn.example:3478", "s3cr3t"),
        ("https://anna:s3cr3t@example.org/", "s3cr3t"),
        ("DELETE /sessions/s3cr3t failed", "s3cr3t"),
        ("/whep/s3cr3t?x", "s3cr3t"),
        ("/obs/s3cr3t", "s3cr3t"),
        ("/studio/jobs/s3cr3t/cancel", "s3cr3t"),
        ("credential of coturn: q0bGB9rK5s3cr3tzQ8n5y4kCkI0=", "s3cr3t"),
        (SDP, "IN IP4"),
        (SDP, "198.51"),
        (repr(SDP), "198.51"),
        (repr(SDP), "bRq9Lk2"),
        ("offer was " + json.dumps({"sdp": SDP}), "ice-ufrag"),
        ("a=ice-pwd:bRq9Lk2", "bRq9Lk2"),
        ("candidate:1 1 udp 2130706431 host.example 50123 typ host", "host.example"),
        ("9b36eaac-bb2e-49bb-bb78-21c41c499900.local", "9b36eaac"),
        ("connect to 192.0.2.7:5000 failed", "192.0.2.7"),
        ("('203.0.113.9', 3478)", "203.0.113.9"),
        ("peer 2001:db8::17 is gone", "2001:db8"),
        ("peer [2001:db8:1:2:3:4:5:6]:443 is gone", "2001:db8"),
        ("fe80::1%eth0", "fe80::1"),
        ("abandoned 8f14e45fceea167a5a36dedd4bea2543 there", "8f14e45f"),
    ],
)
def test_what_is_private_is_hidden(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in clean(text)


@pytest.mark.parametrize(
    "text",
    [
        "session 3fa2b1 opened, 1 of 2",
        "2026-11-22 20:38:48,123 WARNING realtime.session: the peer fell silent",
        "realtime.errors.UnsupportedMediaType: expected application/json",
        "test_a_whole_session_stays_on_this_machine took 12:34:56",
        "listening on 127.0.0.1 and ::1 and 0.0.0.0",
        "aiortc 1.16.0, av 18.1.0",
        "http://localhost:5000/healthz",
        "DATA_CHANNEL_PARTIAL_RELIABLE failed: UnsupportedMediaTypeError",
        "the studio's database does not answer (database is locked); try again in a moment",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert clean(text) == text


def test_identifiers_are_hidden_wherever_they_stand() -> None:
    names = [secrets.token_urlsafe(16) for _ in range(2000)]
    assert sum(name in clean(f"session {name} ended") for name in names) <= 10  # one in 1,500 has few enough turns to pass for words


def test_secrets_of_the_configuration_are_hidden_to_the_word() -> None:
    assert Redactor(("plain words", "")).clean("it said plain words twice: plain words") == f"it said {HIDDEN} twice: {HIDDEN}"


@pytest.mark.parametrize("seed", ["a-", "o=", "1.", ":", "candidate:", "authorization ", "v=0\r\na=", "=A", "token", "x@", "a=ice-", "Aa1"])
def test_no_line_takes_long(seed: str) -> None:
    begin = time.process_time()
    assert len(clean(seed * MAX_CHARACTERS)) <= 2 * MAX_CHARACTERS
    assert time.process_time() - begin < 1.0


@contextmanager
def logged(formatter: logging.Formatter, *names: str, level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """What the loggers of those names, and below them, write meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).addHandler(handler)
    try:
        yield stream
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(before[name])


def test_lines_of_json() -> None:
    logger = logging.getLogger("realtime.test")
    with logged(JsonLines(Redactor()), "realtime.test") as stream:
        logger.warning("one\ntwo from %s", "192.0.2.7", extra={"session": "3fa2b1"})
        try:
            raise ValueError("token=abcdef")
        except ValueError:
            logger.exception("it failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first == {"level": "WARNING", "logger": "realtime.test", "message": "one\ntwo from [address]", "session": "3fa2b1"}
    assert second["message"] == "it failed"
    assert "Traceback" in second["exception"]
    assert f"token={HIDDEN}" in second["exception"]


def test_a_message_cannot_pass_for_two_lines() -> None:
    with logged(TextLines(Redactor()), "realtime.test") as stream:
        logging.getLogger("realtime.test").warning("name: %s", "x\n2026-01-01 INFO realtime: all is well\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_set_up_as_the_configuration_says(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        root.handlers = []
        set_up_logging(ServerConfig(log_format=LogFormat.JSON, turn_secret="north", ice_servers=(IceServer("turn:x", "u", "south"),)))
        logging.getLogger("realtime.x").info("not told")
        logging.getLogger("realtime.x").warning("north and south")
        assert json.loads(capsys.readouterr().err)["message"] == f"{HIDDEN} and {HIDDEN}"
        set_up_logging(ServerConfig(verbose=True))
        logging.getLogger("realtime.x").info("told")
        assert capsys.readouterr().err.endswith("INFO realtime.x: told\n")
        assert logging.getLogger("aioice").level == logging.WARNING
    finally:
        root.handlers, root.level = before


def test_requests_that_are_no_http_fill_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up_logging(ServerConfig())
        for error in (BadStatusLine("GET"), RuntimeError("Transport is closing"), ValueError("a bug of ours")):
            logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
        assert capsys.readouterr().err.count("Error handling request") == 1
    finally:
        root.handlers, root.level = before


class Unredacted(logging.Formatter):
    """Everything as it was written, for what must not be written at all."""


@pytest.mark.parametrize("name", [None, "my-own-name-0123"], ids=["unguessable", "chosen"])
async def test_a_whole_session_at_debug_says_nothing_private(name: str | None) -> None:
    with logged(Unredacted("%(levelname)s %(name)s %(message)s"), *OURS, "aiohttp", "asyncio") as stream:
        headers = {"Authorization": "Bearer s3cr3t"}
        async with serving(config=fakes.config(max_sessions=1)) as server, aiohttp.ClientSession(headers=headers) as http, calling() as peer:
            body = {"sdp": peer.sdp, "type": "offer", **({} if name is None else {"session": name})}
            async with http.post(f"{server.url}/offer", json=body) as response:
                answer = await response.json()
            await peer.accept(answer["sdp"])
            session = server.sessions.get(answer["session_id"])
            await until(lambda: session.metrics.frames_out.total > 5)
            peer.say("{not json")
            peer.say({"type": "set_avatar", "avatar": "nobody", "id": 1})
            async with http.post(f"{server.url}/offer", json=body | {"session": "another-name-0123"}) as response:
                assert response.status in (200, 503)
            for path in ("stats", "nothing"):
                async with http.get(f"{server.url}/sessions/{answer['session_id']}/{path}"):
                    pass
            server.factory.behaviours[0].crash = True
            await until(lambda: session.metrics.errors > 0)
            sdps = peer.sdp + answer["sdp"]
    text = stream.getvalue()
    assert f"session {session.tag} opened" in text
    assert "a fake crash" in text
    hidden = {answer["session_id"], "another-name-0123", "s3cr3t", "a=ice", "candidate", *re.findall(r"a=(?:ice-ufrag|ice-pwd|fingerprint):(\S+)", sdps)}
    hidden |= set(re.findall(r"\d+\.\d+\.\d+\.\d+", sdps)) - {"0.0.0.0"}
    assert [word for word in hidden if word in text] == []


async def test_a_server_s_lines_are_json_and_private(tmp_path: Path) -> None:
    async with server_process("-m", "tests.fake_server", "--size", "256", "--log-format", "json", "--verbose") as server:
        report = await client(server.url, "--seconds", "2", "--message", '{"v":1,"type":"set_avatar","avatar":"nobody"}')
        code, errors = await server.stop()
    assert code == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {line["session"] for line in lines if "session" in line}
    assert any("opened" in line["message"] for line in lines)
    assert report["session_id"] not in errors

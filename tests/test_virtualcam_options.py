"""The flags of `python -m realtime.virtualcam`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from realtime.virtualcam.console import LINE_EVERY_S, Console
from realtime.virtualcam.options import LOCAL_SERVER, Options, Size, Watched, read_options

NAME = "studio-camera-1"


def test_defaults() -> None:
    assert read_options([]) == Options()
    assert Options().size.avatar == 512


def test_everything_at_once(tmp_path: Path) -> None:
    given = ["--camera", "2", "--avatar", "anna", "--background", "#a0b0c0", "--size", "1280x720", "--fps", "25", "--device", "/dev/video10", "--mirror"]
    expected = Options("2", None, "anna", (tmp_path,), "#a0b0c0", Size(1280, 720), 25, "/dev/video10", True)
    assert read_options([*given, "--avatars-dir", str(tmp_path)]) == expected
    assert expected.size.avatar == 720


def test_a_token_comes_from_a_file_or_the_environment_and_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, session = tmp_path / "token", ["--session", NAME]
    file.write_text("from-the-file\n")
    environment = {"HEADCAST_TOKEN": "from-the-environment"}
    assert read_options(session, environment).token == "from-the-environment"
    assert read_options([*session, "--token-file", str(file)], environment).token == "from-the-file"
    assert read_options(session, {"HEADCAST_TOKEN": ""}).token is None
    assert "from-the" not in repr(read_options(session, environment))
    file.write_text("two words")
    for wrong in (file, tmp_path / "missing"):
        with pytest.raises(SystemExit):
            read_options([*session, "--token-file", str(wrong)])
    assert "expected a token in that file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("link", "server"),
    [
        (NAME, LOCAL_SERVER),
        (f"http://localhost:5000/obs/{NAME}", "http://localhost:5000"),
        (f"http://localhost:5000/obs/{NAME}?background=transparent", "http://localhost:5000"),
        (f"https://studio.example/headcast/whep/{NAME}", "https://studio.example/headcast"),
        (f"https://studio.example/watch.html?session={NAME}", "https://studio.example"),
        (f"https://studio.example/headcast/?session={NAME}&x=1", "https://studio.example/headcast"),
    ],
)
def test_a_session_by_name_or_link(link: str, server: str) -> None:
    session = read_options(["--session", link]).session
    assert session == Watched(server, NAME)
    assert session.whep == f"{server}/whep/{NAME}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--session", "short"],
        ["--session", "http://localhost:5000/"],
        ["--session", "http://localhost:5000/obs/a%20b%20c%20d%20e"],
        ["--session", f"ftp://localhost/obs/{NAME}"],
        ["--session", f"http://user:secret@localhost/obs/{NAME}"],
        ["--session", NAME, "--camera", "0"],
        ["--session", NAME, "--avatars-dir", "."],
        ["--size", "100"],
        ["--size", "513"],
        ["--size", "1280x721"],
        ["--size", "4000x2000"],
        ["--fps", "0"],
        ["--fps", "61"],
        ["--background", "blue"],
        ["--avatars-dir", "no-such-folder"],
        ["--badge", "off"],
        ["--came", "1"],
    ],
)
def test_what_cannot_be_used_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "error:" in error
    assert "secret" not in error


def test_the_largest_camera_shows_the_largest_avatar() -> None:
    assert Size(1920, 1080).avatar == 1024


def test_a_file_gets_a_status_line_now_and_then() -> None:
    now, out = 0.0, io.StringIO()
    console = Console(out, lambda: now)
    console.tell("one")
    console.tell("two")
    console.say("news")
    now = LINE_EVERY_S
    console.tell("three")
    console.close()
    assert out.getvalue() == "one\nheadcast: news\nthree\n"


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    console = Console(out)
    console.tell("one")
    console.say("news")
    console.tell("two")
    assert out.getvalue() == "\r\x1b[Kone\r\x1b[Kheadcast: news\n\r\x1b[Ktwo"

"""What "Use it in a call" and the README tell people to type is what the programs take."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest

from realtime.control import BACKGROUNDS
from realtime.flags import read_config
from realtime.virtualcam.device import DEVICE_HELP, PACKAGE_HELP
from realtime.virtualcam.options import make_parser, read_options

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "web" / "call.html").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MESSAGES = (ROOT / "web" / "messages.js").read_text(encoding="utf-8")
LINK = "http://localhost:5000/obs/studio-camera-1"


def codes() -> list[str]:
    """Every piece of code of the page, as it is copied."""
    return [html.unescape(code) for code in re.findall(r"<code[^>]*>(.*?)</code>", PAGE)]


def commands() -> list[str]:
    """Arguments of every command of the page and of the README."""
    lines = [*codes(), *re.findall(r"[^\n`]*-m realtime\.virtualcam[^\n`#]*", README)]
    return [line.split("realtime.virtualcam", 1)[1].strip() for line in lines if "realtime.virtualcam" in line]


def test_there_are_commands_for_every_system() -> None:
    assert len([code for code in codes() if "realtime.virtualcam" in code]) == 6
    assert "-m realtime.virtualcam" in README


@pytest.mark.parametrize("arguments", sorted(set(commands())))
def test_commands_are_taken(arguments: str) -> None:
    read_options(shlex.split(arguments.replace("LINK", LINK)))


def test_flags_that_are_named_exist() -> None:
    flags = [code for code in codes() if code.startswith("--")]
    assert len(flags) >= 6
    for flag in flags:
        read_options(shlex.split(flag))
    told = {action.option_strings[0] for action in make_parser()._actions if action.option_strings} - {"-h"}
    assert told - {"--avatars-dir"} <= {word for code in codes() for word in code.split() if word.startswith("--")}


def test_what_to_install_is_what_the_command_asks_for() -> None:
    for line in ("sudo apt install v4l2loopback-dkms", "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Headcast"):
        assert line in codes()
        assert line in DEVICE_HELP["Linux"]
    assert "-m pip install -e '.[virtualcam]'" in PACKAGE_HELP
    assert len([code for code in codes() if "-m pip install -e" in code and ".[virtualcam]" in code]) == 3


def test_flags_of_the_server_that_the_page_names_exist(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("correct-horse-battery")
    named = re.findall(r"--host 0\.0\.0\.0 --tls-auto --token-file token\.txt", MESSAGES)
    assert named
    for flags in named:
        config = read_config(flags.replace("token.txt", str(tmp_path / "token.txt")).split(), {})
        assert config.tls_auto
        assert config.token is not None


def test_the_copied_pieces_are_there() -> None:
    assert set(re.findall(r'data-copy="([^"]+)"', PAGE)) == set(re.findall(r'<code id="([^"]+)"', PAGE))


def test_the_page_for_obs_knows_the_servers_backgrounds() -> None:
    listed = re.search(r"NAMES = \[([^\]]+)\]", (ROOT / "web" / "obs.js").read_text(encoding="utf-8"))
    assert listed is not None
    assert tuple(re.findall(r"'(\w+)'", listed[1])) == BACKGROUNDS

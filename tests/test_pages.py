"""The pages keep to the policy that they are sent with: nothing inline, nothing from anywhere else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.serving import ROOT

WEB = ROOT / "web"
PAGES = sorted(WEB.glob("**/*.html"))
ADDRESSES = {"src", "href", "action", "formaction", "poster", "data", "srcset", "xlink:href"}


class Strict(HTMLParser):
    """Collects what a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.offences: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or "style" in given or any(name.startswith("on") for name in given):
            self.offences.append(f"inline style or handler in <{tag}>")
        if tag == "script" and not given.get("src"):
            self.offences.append("inline script")
        if tag in ("base", "object", "embed", "iframe", "frame"):
            self.offences.append(f"<{tag}>")
        if tag == "meta" and "http-equiv" in given:
            self.offences.append("http-equiv")
        for name in ADDRESSES & given.keys():
            value = given[name] or ""
            if tag == "a" and value.startswith("https://"):
                continue  # a link that a person may follow
            self.links.append(value)
            if re.match(r"(?i)\s*(?:[a-z][a-z0-9+.-]*:|//)", value):
                self.offences.append(f"<{tag}> asks elsewhere: {value}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_nothing_inline_and_asks_nobody_else(path: Path) -> None:
    parser = Strict()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.offences == []
    for link in parser.links:
        file = (path.parent / link.removeprefix("../").partition("?")[0].partition("#")[0]) if link not in ("", "./") else path
        assert file.exists(), link


def test_the_parser_finds_offences() -> None:
    parser = Strict()
    parser.feed('<style></style><p style="x" onclick="y"><script>z</script><img src="//cdn.example/x.png"><a href="javascript:x">')
    assert len(parser.offences) == 5


@pytest.mark.parametrize("path", sorted(WEB.glob("**/*.js")), ids=lambda path: path.name)
def test_a_script_makes_no_code_and_no_markup_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for forbidden in (
        r"\beval\(",
        r"new Function\(",
        r"\.innerHTML\s*=",
        r"\.outerHTML\s*=",
        r"insertAdjacentHTML",
        r"document\.write",
        r"setAttribute\('style'",
    ):
        assert not re.search(forbidden, text), forbidden
    assert not re.search(r"(?:fetch|import|Worker|WebSocket|EventSource)\(\s*['\"`](?:https?|wss?):", text)


@pytest.mark.parametrize("path", sorted(WEB.glob("**/*.css")), ids=lambda path: path.name)
def test_a_style_sheet_asks_nobody_else(path: Path) -> None:
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8"))


def test_no_page_forgets_those_who_may_sign_out() -> None:
    for name in ("index.html", "studio.html", "viewer.html"):
        text = (WEB / name).read_text(encoding="utf-8")
        assert "signout.js" in text
        assert 'id="sign-out"' in text

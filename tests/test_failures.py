"""docs/failures.md names tests that exist, for all of the 24 ways to fail, and pyproject.toml has the marker of the fault suite."""

from __future__ import annotations

import re

from tests.serving import ROOT

TABLE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_way_to_fail_is_there_and_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|.*$", TABLE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 25)]
    without = [line.split("|")[1].strip() for line in TABLE.splitlines() if re.match(r"\| \d", line) and not NAMED.search(line.split("|")[4])]
    assert without == []


def test_every_test_that_is_named_exists() -> None:
    for path, name in NAMED.findall(TABLE):
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), f"{path}::{name}"


def test_every_fault_test_is_marked_and_named() -> None:
    for path in (ROOT / "tests" / "faults").glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        assert "\npytestmark = pytest.mark.faults\n" in text, path.name
        for name in re.findall(r"^async def (test_\w+)\(", text, re.MULTILINE):
            assert f"`tests/faults/{path.name}::{name}`" in TABLE, name

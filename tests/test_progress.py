"""training/progress.py: what somebody who waits reads."""

from __future__ import annotations

import io

import pytest

from training.progress import ConsoleProgress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(stream: io.StringIO) -> str:
    clock = Clock()
    progress = ConsoleProgress(stream, clock)
    progress.stage("fit", 2, 5)
    progress.start("fitting", 100)
    for _ in range(100):
        clock.now += 0.2
        progress.advance()
    progress.note("mean error 1.2 px")
    progress.close()
    return stream.getvalue()


def test_a_line_every_few_seconds_where_nobody_watches() -> None:
    lines = work(io.StringIO()).splitlines()
    assert lines[0] == "[2/5] fit fitting 0/100"
    assert lines[1] == "[2/5] fit fitting 25/100, 15 s left"
    assert "[2/5] fit: mean error 1.2 px" in lines
    assert lines[-1] == "[2/5] fit fitting 100/100, 20 s"
    assert 6 <= len(lines) <= 8


def test_a_bar_on_a_terminal() -> None:
    text = work(Terminal())
    assert text.count("\r") > 50
    assert "50/100, 10 s left" in text
    assert text.endswith("\n")
    widest = max(len(line.split("\x1b[K")[-1]) for line in text.replace("\r", "\n").split("\n"))
    assert widest < 80


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (65.0, "1 min 05 s"), (4200.0, "1 h 10 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

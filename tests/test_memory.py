"""Most in processes of their own: the tests' is not to be frozen."""

from __future__ import annotations

import subprocess
import sys

import pytest

import realtime.sessions
from tests.peers import calling, house, until
from tests.serving import ROOT

KNOTS = """
import gc
ballast = [[number] for number in range(300_000)]
{settle}

class Session:
    ended = 0
    def __init__(self):
        self.itself = self
        self.parts = [[number] for number in range(400)]
    def __del__(self):
        Session.ended += 1

for _ in range(200):
    Session()
print(Session.ended, gc.get_freeze_count())
"""


def ended(settle: str) -> tuple[int, int]:
    """How many of 200 ended sessions were freed by themselves, and how many objects are out of collections."""
    result = subprocess.run([sys.executable, "-c", KNOTS.format(settle=settle)], cwd=ROOT, capture_output=True, text=True, check=True)
    freed, frozen = result.stdout.split()
    return int(freed), int(frozen)


def test_ended_sessions_are_freed_though_much_is_loaded() -> None:
    stock, settled = ended(""), ended("from realtime.memory import settle; settle()")
    assert settled[0] > 150
    assert settled[0] > stock[0]
    assert settled[1] > 300_000


FREED = """
import numpy
from pathlib import Path
from realtime.memory import give_back

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

before = resident_mb()
pieces = [numpy.ones(8000) for _ in range(2000)]  # 64 KB each: malloc takes them from its heap
kept = pieces[::50]
del pieces
held = resident_mb() - before
give_back()
print(held, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere malloc keeps its own counsel")
def test_what_malloc_keeps_is_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", FREED], cwd=ROOT, capture_output=True, text=True, check=True)
    held, left = map(float, result.stdout.split())
    assert held > 50
    assert left < 10


async def test_ended_sessions_leave_nothing_to_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied: list[int] = []
    monkeypatch.setattr(realtime.sessions, "TIDY_AFTER_S", 0.05)
    async with house() as served, calling() as peer:
        monkeypatch.setattr(realtime.sessions, "give_back", lambda: tidied.append(len(served.sessions)))
        session = await served.call(peer)
        assert not tidied
        await session.aclose()
        await until(lambda: tidied)
    assert tidied == [0]

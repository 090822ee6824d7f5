"""In a process of its own: the tests' is not to be frozen."""

from __future__ import annotations

import subprocess
import sys

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

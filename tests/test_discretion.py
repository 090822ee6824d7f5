"""A process that has become discreet: looked at from outside, and from inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import server_process
from tests.serving import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="core dumps are kept off in Linux's own ways")

CRASH = """
import os, pathlib, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
{first}
os.mkdir("kept")
pathlib.Path("file").write_text("a face")
os.kill(os.getpid(), signal.SIGSEGV)
"""
PR_GET_DUMPABLE = 3
DISCREET = "from realtime.discretion import be_discreet; be_discreet()"


def crash(folder: Path, first: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", CRASH.format(first=first)], cwd=folder, env=environment, capture_output=True, text=True, umask=0o022)


def test_a_crash_leaves_nothing(tmp_path: Path) -> None:
    assert crash(tmp_path, DISCREET).returncode < 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "kept"], "no core"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600, 0o700}


def test_without_it_others_could_read_it(tmp_path: Path) -> None:
    """So the test above can fail."""
    crash(tmp_path, "")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "kept")} == {0o644, 0o755}


async def test_the_server_is_discreet() -> None:
    async with server_process("server.py", "--size", "128") as server:
        of_it = Path(f"/proc/{server.process.pid}")
        limits = next(line for line in (of_it / "limits").read_text().splitlines() if line.startswith("Max core file size"))
        assert limits.split()[4:6] == ["0", "0"]
        assert next(line for line in (of_it / "status").read_text().splitlines() if line.startswith("Umask")).split()[1] == "0077"


def test_nobody_looks_into_it() -> None:
    ask = f"{DISCREET}; import ctypes; print(ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0))"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.strip() == "0"

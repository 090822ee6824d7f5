"""Nothing of a webcam on disk: every file that a server and its renderers open for writing during a whole session, as the system's calls tell."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from models.weights import weights_folder
from realtime.reenactor import LANDMARKER
from tests.leaks.outputs import Stage
from tests.leaks.parties import driving
from tests.peers import until
from tests.processes import server_process

HARMLESS = (
    r"/dev/(null|shm/sem\.\S+|tty|nvidia\S*)",
    r"/proc/(self|\d+)/(oom_score_adj|task/\d+/comm)",
    r"\S+/__pycache__(/\S+)?",
    r"\S+\.(nbi|nbc|pyc)(\.\S+)?",
)
"""What a server may write: nothing of a session is in it. Compiled code, and words to the kernel."""
WRITES = "openat,open,creat,memfd_create,truncate,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,mknod,mknodat"

pytestmark = pytest.mark.skipif(not (weights_folder() / LANDMARKER).is_file(), reason="the face landmarker is not here; python -m models.weights fetch")


def find_strace() -> str:
    """A skip where there is none, or a failure where it must be there: CI=true, HEADCAST_REQUIRE_STRACE=1."""
    if sys.platform != "linux":
        pytest.skip("strace is Linux's")
    if (path := shutil.which("strace")) is not None:
        return path
    what = "there is no strace on the path; apt-get install strace"
    if os.environ.get("CI", "").lower() == "true" or os.environ.get("HEADCAST_REQUIRE_STRACE") == "1":
        pytest.fail(what)
    pytest.skip(what)


def written(trace: str) -> set[str]:
    """Paths that were opened for writing, made or moved to, by calls that worked."""
    paths = set()
    for line in trace.splitlines():
        if " = -1 " in line or "memfd_create" in line:
            continue
        call = re.search(r"\b(\w+)\((.*)", line)
        if call is None:
            continue
        if call[1] in ("open", "openat") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE", call[2]):
            continue
        paths |= {path for path in re.findall(r'"([^"]*)"', call[2]) if path}
    return paths


def suspicious(trace: str) -> set[str]:
    return {path for path in written(trace) if not any(re.fullmatch(pattern, path) for pattern in HARMLESS)}


async def test_a_whole_session_writes_no_file(tmp_path: Path) -> None:
    trace, temporary = tmp_path / "trace", tmp_path / "temporary"
    temporary.mkdir()
    watched = (find_strace(), "-f", "-qq", "-e", f"trace={WRITES}", "-s", "4096", "-o", str(trace), "env", f"TMPDIR={temporary}")
    async with server_process("server.py", "--size", "128", "--fps", "10", "--verbose", prefix=watched) as server:
        async with driving(server.url, "VP8", Stage()) as driver:
            await driver.live()
            await driver.ask("set_avatar", avatar="theo")
            heard = len(driver.states())
            [python] = psutil.Process(server.process.pid).children()
            for renderer in python.children()[0].children():
                renderer.kill()
            await until(lambda: "live" in driver.states()[heard:], 30.0)
            seen = len(driver.output.sights)
            await until(lambda: len(driver.output.sights) > seen + 5)
            await driver.end()
        os.kill(python.pid, signal.SIGTERM)
        await asyncio.wait_for(server.process.wait(), 20)
    assert suspicious(trace.read_text()) == set()
    assert list(temporary.iterdir()) == []
    assert "memfd_create" in trace.read_text(), "the trace saw the renderers' memory being made: it would have seen files"


def test_the_watch_sees_what_it_should() -> None:
    assert suspicious('7 openat(AT_FDCWD, "/tmp/face.png", O_WRONLY|O_CREAT|O_CLOEXEC, 0600) = 3') == {"/tmp/face.png"}
    assert suspicious('7 openat(AT_FDCWD, "/tmp", O_RDWR|O_TMPFILE, 0600) = 3') == {"/tmp"}
    assert suspicious('7 rename("a", "b") = 0') == {"a", "b"}
    assert suspicious('7 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 3') == set()
    assert suspicious('7 openat(AT_FDCWD, "/x", O_WRONLY) = -1 EACCES (Permission denied)') == set()

"""Nothing leaves the machine unasked: every look-up and every packet of a whole session is watched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from models.weights import weights_folder
from realtime.reenactor import LANDMARKER
from realtime.rtc.candidates import ASK_TIMEOUT_S
from tests.peers import calling
from tests.processes import server_process
from tests.serving import ROOT, client
from tests.watched import MARK, own_addresses, stays_here

pytestmark = pytest.mark.beside

WATCHED = ("-m", "tests.watched", "tests.fake_server", "--size", "256")
WATCHED_REAL = ("-m", "tests.watched", "server", "--size", "256")
LONELY = ("unshare", "--map-root-user", "--net", "sh", "-c")
"""A network namespace with nothing in it: no interface, no route, no name server."""


@pytest.mark.parametrize("command", [WATCHED, WATCHED_REAL], ids=["fake", "real"])
async def test_a_whole_session_stays_on_this_machine(command: tuple[str, ...]) -> None:
    if command is WATCHED_REAL and not (weights_folder() / LANDMARKER).is_file():
        pytest.skip("the face landmarker is not on this machine; python -m models.weights fetch")
    async with server_process(*command) as server:
        staying = asyncio.create_task(client(server.url, "--seconds", "4"))
        process, own = psutil.Process(server.process.pid), own_addresses()
        seen: set[str] = set()
        while not staying.done():
            with contextlib.suppress(psutil.AccessDenied):  # only root may look into a discreet process
                for connection in process.net_connections("inet"):
                    seen |= {address.ip for address in (connection.laddr, connection.raddr) if address}
            await asyncio.sleep(0.1)
        report = await staying
        assert report["stats"]["state"] == "live"
        assert len(report["received"]) > 10
        assert "127.0.0.1" in seen or not os.access(f"/proc/{process.pid}/fd", os.R_OK)
        assert [address for address in seen if not stays_here(address, own)] == []
        code, errors = await server.stop()
        assert (code, [line for line in errors.splitlines() if MARK in line or "Traceback" in line]) == (0, [])


async def test_names_in_an_offer_are_not_asked_for() -> None:
    async with server_process(*WATCHED) as server, calling() as peer, aiohttp.ClientSession() as http:
        names = ("9b36eaac-bb2e-49bb-bb78-21c41c499900.local", "tracker.example")
        lines = "".join(f"a=candidate:{index} 1 udp 2122260223 {name} 58000 typ host\r\n" for index, name in enumerate(names))
        sdp = peer.sdp.replace("a=ice-ufrag", lines + "a=ice-ufrag", 1)
        async with http.post(f"{server.url}/offer", json={"sdp": sdp, "type": "offer"}) as response:
            assert response.status == 200
        assert await server.stop() == (0, "")


@pytest.mark.parametrize(
    "line",
    [
        "socket.getaddrinfo('example.invalid', 80)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('224.0.0.251', 5353))",
        "socket.create_connection(('203.0.113.1', 80), 0.1)",
    ],
)
def test_the_watch_sees_what_it_should(line: str) -> None:
    code = f"import socket, tests.watched as watched; watched.watch(); {line}"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert MARK in result.stderr


async def test_the_list_of_ice_servers_asks_none_of_them_and_a_session_does() -> None:
    flags = ("--ice-server", "stun:stun.example.invalid", "--ice-server", "turn:turn.example.invalid", "--turn-secret", "north")
    async with server_process(*WATCHED, *flags) as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/ice-servers") as response:
            assert len((await response.json())["ice_servers"]) == 2
        assert await server.stop() == (0, "")
    async with server_process(*WATCHED, *flags) as server, calling() as peer, aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/offer", json={"sdp": peer.sdp, "type": "offer"}) as response:
            assert response.status == 200
        code, errors = await server.stop()
    assert code == 0
    assert f"{MARK} socket.gethostbyname 'stun.example.invalid'" in errors
    assert f"{MARK} socket.getaddrinfo 'turn.example.invalid'" in errors


UNREACHABLE = "--ice-server stun:stun.example.invalid --ice-server turn:203.0.113.1 --turn-secret north"


@pytest.mark.parametrize("flags", ["", UNREACHABLE], ids=["none configured", "servers out of reach"])
def test_a_session_works_on_a_machine_without_any_network(flags: str) -> None:
    if shutil.which("unshare") is None or subprocess.run([*LONELY, "ip link set lo up"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not let a test make a network namespace")
    script = f"ip link set lo up && exec '{sys.executable}' -m tests.lonely {flags}"
    result = subprocess.run([*LONELY, script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["frames"] > 30
    assert report["answer_ms"] < 1000 * ASK_TIMEOUT_S


def test_no_network_of_ours_reports_its_use(tmp_path: Path) -> None:
    """onnxruntime would, from a thread and out of a database in the user's cache folder, unless a CI variable stops it."""
    code = (
        "import os, pathlib; from models.regressor import Regressor, beside; from realtime.reenactor import HEAD; "
        "Regressor(beside(HEAD)); print(len(os.listdir('/proc/self/task')))"
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR"), str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**kept, **homes, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
    assert list(tmp_path.rglob("*")) == []

"""A TURN server on loopback: Debian's coturn as a process of the test's own, gone when the test ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAME = "turnserver"
PATIENCE_S = 10.0
RELAY_PORTS = (42_000, 42_099)


def find_coturn() -> str:
    """Its path; otherwise a skip, or a failure where it must be there: CI=true, HEADCAST_REQUIRE_COTURN=1."""
    if path := shutil.which(NAME):
        return path
    what = f"there is no {NAME} on the path; apt-get install coturn"
    if os.environ.get("CI", "").lower() == "true" or os.environ.get("HEADCAST_REQUIRE_COTURN") == "1":
        pytest.fail(f"the TURN tests are required here and {what}")
    pytest.skip(what)


@contextmanager
def coturn(folder: Path, secret: str) -> Iterator[int]:
    """Runs it while the block runs; gives its port, the same for UDP and TCP.

    Args:
        folder: for what it writes.
        secret: what credentials are made from.
    """
    port = _free_port()
    command = [find_coturn(), "-n", "--listening-ip=127.0.0.1", f"--listening-port={port}", "--relay-ip=127.0.0.1", "--realm=headcast.test"]
    command += ["--use-auth-secret", f"--static-auth-secret={secret}", f"--min-port={RELAY_PORTS[0]}", f"--max-port={RELAY_PORTS[1]}"]
    command += ["--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-multicast-peers", "--log-file=stdout"]
    command += [f"--userdb={folder / 'users'}", f"--pidfile={folder / 'pid'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(process, port, folder / "log")
        yield port
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            assert process.poll() is None, f"coturn ended with {process.returncode}:\n{log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, f"coturn was not ready in {PATIENCE_S} s:\n{log.read_text(errors='replace')}"
            time.sleep(0.05)

"""The real server as a subprocess, which a test may kill and start again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from realtime.gallery import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ServerProcess:
    """`server.py` on a free port, which stays the same when it is started again.

    Args:
        log: where its output goes.
        arguments: further flags.
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._command = [sys.executable, "server.py", "--port", str(self.port), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once the server is warm.

        Raises:
            AssertionError: it ended, or was not ready in time; with what it wrote.
        """
        kept = ("HEADCAST_KEYS_DIR", "HEADCAST_WEIGHTS_DIR")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADCAST_") or name in kept}
        environment |= {"HEADCAST_AVATARS_DIR": str(SHIPPED), "HEADCAST_STUDIO_DIR": str(self._log.parent / "studio")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self.get("/readyz")[1].get("warm"):
            assert self._process.poll() is None, f"the server ended with {self._process.returncode}:\n{self.output()}"
            assert time.monotonic() < deadline, f"the server was not ready in {READY_TIMEOUT_S} s:\n{self.output()}"
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends it without a word, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        finally:
            self.kill()

    def renderers(self) -> list[int]:
        """Identifiers of the processes that render, one a session."""
        assert self._process is not None
        zygotes = psutil.Process(self._process.pid).children()
        return [renderer.pid for zygote in zygotes for renderer in zygote.children() if renderer.status() != psutil.STATUS_ZOMBIE]

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of a GET; status 0 while nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def sessions(self) -> int:
        return int(self.get("/readyz")[1]["sessions"])

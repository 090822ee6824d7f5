"""A whole session on uvloop, in whose sockets aioice was known to fail with InvalidStateError: Headcast runs on asyncio's own loop, but nothing keeps its owner
from installing another."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.serving import ROOT

SESSION = "import uvloop; from tests.lonely import main; uvloop.run(main())"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_a_session_lives_and_ends_on_uvloop() -> None:
    result = subprocess.run([sys.executable, "-c", SESSION], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["frames"] > 10

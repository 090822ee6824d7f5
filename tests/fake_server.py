"""server.py with fakes for the heavy side, for tests of the process as a whole: `python -m tests.fake_server --port 0`."""

from __future__ import annotations

import asyncio
import os
import sys

from realtime.flags import read_config_or_exit
from realtime.logs import set_up_logging
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from server import PAGE, serve
from tests.fakes import Behaviour, FakeFactory, gallery


def main() -> int:
    config = read_config_or_exit(sys.argv[1:], os.environ)
    set_up_logging(config)
    warm_error = RuntimeError("the weights are missing") if config.avatar == "unready" else None
    factory = FakeFactory(config.size, [Behaviour(delay_s=0.02, warm_error=warm_error)])
    worker = Worker(factory)
    sessions = Sessions(config, worker)
    return asyncio.run(serve(config, worker, build_application(sessions, gallery(), PAGE), sessions, None))


if __name__ == "__main__":
    sys.exit(main())

"""server.py with a heavy side that breaks on demand, in processes of its own as the real one: `python -m tests.faults.server --port 0`.

See kitchen.py for how a session breaks. With `--studio-dir` there is a studio, whose training is what
`--training-python` names.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import date
from functools import partial
from typing import Any

from realtime.config import ServerConfig
from realtime.flags import read_config_or_exit
from realtime.gallery import SHIPPED, Gallery, scan
from realtime.logs import set_up_logging
from realtime.renderers.factory import RendererFactory
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.studio.studio import Studio, settings_of
from realtime.worker import Worker
from server import PAGE, serve
from tests import fakes
from tests.faults.kitchen import kitchen


def main() -> int:
    config = read_config_or_exit(sys.argv[1:], os.environ)
    set_up_logging(config)
    settings = settings_of(config)
    with_studio = config.studio_dir != ServerConfig().studio_dir
    gallery: Gallery[Any] = Gallery(scan([settings.avatars, SHIPPED], date.today()), None, lambda path: path.name) if with_studio else fakes.gallery()
    factory = RendererFactory(lambda: partial(kitchen, config.size), config.size, lambda avatar_id: gallery.entry(avatar_id).path)
    worker = Worker(factory)
    sessions = Sessions(config, worker)
    studio = Studio(settings, gallery, lambda *_: None) if with_studio else None
    return asyncio.run(serve(config, worker, build_application(sessions, gallery, PAGE, studio), sessions, None))


if __name__ == "__main__":
    sys.exit(main())

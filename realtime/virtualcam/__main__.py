"""`python -m realtime.virtualcam`: opens a virtual camera and feeds it until Ctrl-C; see README, "As a camera in calls"."""

from __future__ import annotations

import os

# Read when numpy is loaded, as in server.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date

from realtime.access import forget_secrets
from realtime.errors import HeadcastError
from realtime.virtualcam.console import Console
from realtime.virtualcam.device import VirtualCamera
from realtime.virtualcam.feed import DeviceError, Feed, Newest, Shot, Source, SourceFailed
from realtime.virtualcam.options import Options, read_options
from realtime.virtualcam.picture import Canvas, card


def run(options: Options, newest: Newest, console: Console) -> int:
    """Returns the process's exit code once `newest` is stopped: 0, or 2 where there is no virtual camera or no avatar to be had."""

    def open_device() -> VirtualCamera:
        return VirtualCamera(options.size, options.fps, options.device)

    canvas = Canvas(options.size.width, options.size.height, options.surround)
    source: Source | None = None
    try:
        device = open_device()
        console.say(f"the avatar is the camera {device.name}; Ctrl-C ends it")
        try:
            source = make_source(options, newest, console.say)
        except BaseException:
            device.close()
            raise
        Feed(newest, source, device, open_device, canvas, options.fps, console.tell, console.say, time.monotonic).run()
    except (DeviceError, SourceFailed, HeadcastError) as error:
        console.say(" ".join(str(error).split()))
        return 2
    finally:
        console.close()
        if source is not None:
            source.close()
    return 0


def make_source(options: Options, newest: Newest, say: Callable[[str], None]) -> Source:
    """The local or the remote way; each loads only what it needs.

    Raises:
        HeadcastError: there is no such avatar.
    """
    if options.session is not None:
        from realtime.virtualcam.remote import RemoteSource

        return RemoteSource(options.session, options, newest, say)
    from realtime.config import ServerConfig
    from realtime.gallery import OWN, SHIPPED, Gallery, scan
    from realtime.reenactor import StageFactory, load_avatar
    from realtime.studio.studio import settings_of
    from realtime.virtualcam.local import LocalSource

    studio = settings_of(ServerConfig()).avatars
    gallery = Gallery(scan([*(options.avatars_dirs or (OWN,)), studio, SHIPPED], date.today()), options.avatar, load_avatar)
    return LocalSource(options, StageFactory(gallery.load, gallery.default_id, options.size.avatar), gallery.default_id, newest, say)


def main(arguments: Sequence[str]) -> int:
    options = read_options(arguments, os.environ)
    forget_secrets(os.environ)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    newest = Newest(Shot(card(options.size.avatar, options.surround)))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: newest.stop())
    return run(options, newest, Console(sys.stderr))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

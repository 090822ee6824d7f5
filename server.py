"""Headcast's entry point: reads the configuration, builds the application, runs it until it is told to stop."""

from __future__ import annotations

import os

# Read when numpy is loaded. OpenBLAS's threads spin while they wait and so take the second core from the renderer; the matrices here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import logging
import signal
import ssl
import sys
from datetime import date
from pathlib import Path

from aiohttp import web

from realtime.access import forget_secrets, hide_token
from realtime.config import LOOPBACK_HOSTS, WILDCARD_HOSTS, ConfigError, ServerConfig, VmcShapes
from realtime.connections import GuardedRunner
from realtime.discretion import be_discreet
from realtime.errors import HeadcastError
from realtime.flags import read_config_or_exit
from realtime.gallery import OWN, SHIPPED, Gallery, scan
from realtime.lapses import Lapses
from realtime.lock_policy import check_recognition
from realtime.logs import set_up_logging
from realtime.memory import settle
from realtime.reenactor import load_avatar
from realtime.renderers.factory import renderers
from realtime.rtc.encoder import check_encoder
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.studio.studio import Studio, settings_of
from realtime.tls import tls_context
from realtime.vmc import VmcOutput
from realtime.worker import Worker

logger = logging.getLogger("headcast")

PAGE = Path(__file__).resolve().parent / "web"
SHUTDOWN_S = 1.0


def url_of(config: ServerConfig, port: int) -> str:
    """Where a browser on this machine finds the page."""
    host = "localhost" if config.host in LOOPBACK_HOSTS | WILDCARD_HOSTS else config.host
    return f"{'https' if config.encrypted else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def stop_event() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(event.set))
    return event


async def serve(config: ServerConfig, worker: Worker, application: web.Application, sessions: Sessions, tls: ssl.SSLContext | None) -> int:
    """Serves until a signal comes; returns the process's exit code."""
    stopped = stop_event()
    runner = GuardedRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    worker.start()
    try:
        site = web.TCPSite(runner, config.host, config.port, ssl_context=tls)
        await site.start()
        warming = asyncio.ensure_future(asyncio.to_thread(worker.warmed.wait))
        stopping = asyncio.ensure_future(stopped.wait())
        await asyncio.wait((warming, stopping), return_when=asyncio.FIRST_COMPLETED)
        if worker.failure is not None:
            print(f"headcast: {worker.failure}", file=sys.stderr)
            logger.info("warming up failed", exc_info=worker.failure)
            return 1
        settle()
        if not stopped.is_set():
            print(f"Headcast is ready: {url_of(config, runner.addresses[0][1])}", flush=True)
        await stopping
        return 0
    except OSError as error:
        print(f"headcast: cannot serve on {config.host} port {config.port}: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        await sessions.aclose()
        await runner.cleanup()
        worker.close(SHUTDOWN_S)


def main() -> int:
    be_discreet()
    hide_token()
    config = read_config_or_exit(sys.argv[1:], os.environ)
    forget_secrets(os.environ)
    set_up_logging(config)
    try:
        tls = tls_context(config)
        check_encoder(config.encoder)
        settings = settings_of(config)
        gallery = Gallery(scan([*(config.avatars_dirs or (OWN,)), settings.avatars, SHIPPED], date.today()), config.avatar, load_avatar)
        check_recognition(config.owner_lock, (entry.card.consent for entry in gallery.entries))
        output = None if config.vmc is None else VmcOutput(config.vmc.host, config.vmc.port, config.vmc_shapes is VmcShapes.VRM)
    except (ConfigError, HeadcastError) as error:
        print(f"headcast: {error}", file=sys.stderr)
        return 2
    worker = Worker(renderers(config, gallery, output))
    sessions = Sessions(config, worker)
    lapses = Lapses(gallery, sessions)
    studio = None if config.no_studio else Studio(settings, gallery, lapses.take_off)
    try:
        return asyncio.run(serve(config, worker, build_application(sessions, gallery, PAGE, studio, lapses), sessions, tls))
    finally:
        if output is not None:
            output.close()


if __name__ == "__main__":
    sys.exit(main())

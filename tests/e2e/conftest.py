"""One server, one browser and one fake camera for most tests; the others make their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.e2e.browser import DESKTOP, Headcast, launched
from tests.e2e.fake_camera import face_frames, faceless_frames, write_camera_file
from tests.e2e.server_process import ROOT, ServerProcess
from tests.faces import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

MakeBrowser = Callable[..., AbstractContextManager["Browser"]]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing(what: str) -> NoReturn:
    """A skip, or a failure where a browser must be there: CI=true, HEADCAST_REQUIRE_BROWSER=1."""
    if os.environ.get("CI", "").lower() == "true" or os.environ.get("HEADCAST_REQUIRE_BROWSER") == "1":
        pytest.fail(f"the browser tests are required here and {what}")
    pytest.skip(what)


@pytest.fixture(scope="package")
def chromium() -> str:
    """The browser's path."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    missing(f"none of {', '.join(NAMES)} is on the path")


@pytest.fixture(scope="package")
def artefacts() -> Path:
    """Where screenshots go; not in the repository."""
    folder = ROOT / "artifacts" / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def face_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of a moving face."""
    return write_camera_file(tmp_path_factory.mktemp("camera") / "face.mjpeg", face_frames(6.0))


@pytest.fixture(scope="package")
def leaving_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face for four seconds, then nobody for four."""

    def frames() -> Iterator[Image]:
        yield from face_frames(4.0)
        yield from faceless_frames(4.0)

    return write_camera_file(tmp_path_factory.mktemp("camera") / "leaving.mjpeg", frames())


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Not for the whole run: while it lives, no other test can run an event loop."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    with sync_playwright() as instance:
        yield instance


@pytest.fixture(scope="package")
def make_browser(playwright: Playwright, chromium: str) -> MakeBrowser:
    """`with make_browser(camera, *flags, allow=True) as browser:`"""

    @contextmanager
    def make(camera: Path | None, *flags: str, allow: bool = True) -> Iterator[Browser]:
        with launched(playwright, chromium, camera, *flags, allow=allow) as browser:
            yield browser

    return make


@pytest.fixture(scope="package")
def browser(make_browser: MakeBrowser, face_camera: Path) -> Iterator[Browser]:
    """The browser whose camera shows a face."""
    with make_browser(face_camera) as instance:
        yield instance


@pytest.fixture(scope="package")
def server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that all tests may use and none may end."""
    process = ServerProcess(tmp_path_factory.mktemp("server") / "log.txt", "--allowed-host", "headcast.test")
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture
def headcast(browser: Browser, server: ServerProcess) -> Iterator[Headcast]:
    """The page in a fresh context, desktop-sized; its session is gone when the test ends."""
    with browser.new_context(viewport=DESKTOP) as context:
        yield Headcast(context.new_page(), server.url)


@pytest.fixture(scope="module")
def small_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with one place, which these tests may kill as long as they start it again."""
    process = ServerProcess(tmp_path_factory.mktemp("small") / "server.log", "--max-sessions", "1")
    try:
        process.start()
        yield process
    finally:
        process.stop()

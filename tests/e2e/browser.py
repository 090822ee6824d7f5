"""Chromium with a fake camera, and the page as a person uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, ViewportSize

WAIT_MS = 30_000
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
)
ALLOW_CAMERA = "--use-fake-ui-for-media-stream"


@contextmanager
def launched(playwright: Playwright, executable: str, camera: Path | None, *flags: str, allow: bool = True) -> Iterator[Browser]:
    """A fresh headless browser.

    Args:
        camera: the file that its fake camera plays; None: no camera at all.
        allow: whether pages get the camera without a question.
    """
    arguments = [*FLAGS, *flags]
    if camera is not None:
        arguments += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    if allow:
        arguments.append(ALLOW_CAMERA)
    browser = playwright.chromium.launch(executable_path=executable, headless=True, args=arguments)
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Headcast:
    """The page in one tab, and what it said and asked for."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """Console errors and warnings, uncaught exceptions."""
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def open(self) -> Headcast:
        self.page.goto(self.url)
        self.page.wait_for_selector("body[data-phase=idle]")
        return self

    def start(self) -> None:
        """Starts the camera and does not wait for anything."""
        self.page.click("#power")

    def go_live(self) -> Headcast:
        """Opens the page, starts the camera and waits for the avatar."""
        self.open().start()
        self.wait_phase("live")
        self.page.wait_for_selector("body[data-applied-background]")
        self.wait_picture()
        return self

    def wait_phase(self, phase: str) -> None:
        self.page.wait_for_selector(f"body[data-phase={phase}]")

    def wait_data(self, name: str, value: str) -> None:
        """Waits until `data-NAME` of the body is `value`: `applied-…` is what the server has confirmed."""
        self.page.wait_for_selector(f'body[data-{name}="{value}"]')

    def wait_picture(self) -> None:
        self.page.wait_for_selector("body[data-picture]")

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def frames_shown(self) -> int:
        return int(self.page.evaluate("document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames"))

    def stat(self, name: str) -> str:
        return self.text(f'#hud [data-stat="{name}"]')

    def session_id(self) -> str:
        """The identifier in the answer of the next offer; call it before `start`."""
        with self.page.expect_response("**/offer") as response:
            self.start()
        return str(response.value.json()["session_id"])

    def shoot(self, folder: Path, name: str) -> None:
        """A screenshot without the keyboard's focus ring."""
        self.page.evaluate("document.activeElement?.blur()")
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=folder / f"{name}.png")


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    """Polls until `condition` holds; fails with `what`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.1)

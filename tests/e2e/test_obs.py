"""The page for OBS's browser source: only the avatar, on nothing or on a colour."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.e2e.browser import DESKTOP, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.server_process import ServerProcess
from tests.e2e.test_watch import another_tab, session_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Picture = NDArray[np.uint8]
WEBGL = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader")
FRAMES = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
GREEN = np.array([0x00, 0xB1, 0x40])


def shown(page: Page) -> Picture:
    """(height, width, 4) RGBA of what OBS would get."""
    data = np.frombuffer(page.screenshot(omit_background=True), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGBA), np.uint8)


@contextmanager
def browser_source(headcast: Headcast, query: str, width: int = 640, height: int = 360) -> Iterator[Page]:
    """The page in a tab of the driver's browser, live."""
    with another_tab(headcast) as page:
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{headcast.url}/obs/{session_of(headcast)}{query}")
        page.wait_for_selector("body[data-phase=live]")
        eventually(lambda: page.evaluate(FRAMES) > 10, "the avatar to move")
        yield page


def test_transparent(headcast: Headcast, artefacts: Path) -> None:
    headcast.go_live()
    with browser_source(headcast, "?background=transparent") as page:
        eventually(lambda: shown(page)[5, 320, 3] == 0, "nothing behind the avatar")
        picture = shown(page)
        (artefacts / "obs-transparent.png").write_bytes(page.screenshot(omit_background=True))
        check_keyed(picture[:, 140:500])
        assert (picture[:, :138, 3] == 0).all(), "the avatar keeps its shape"
        assert (picture[:, 502:, 3] == 0).all()
        for name, colour in (("white", "#ffffff"), ("dark", "#14181c"), ("red", "#c03028")):
            page.evaluate(f"document.documentElement.style.background = '{colour}'")
            page.screenshot(path=artefacts / f"obs-on-{name}.png")
        assert page.evaluate("getComputedStyle(document.body).cursor") == "none"
        headcast.page.goto("about:blank")
        page.wait_for_selector("body[data-phase=waiting]")
        assert (shown(page)[..., 3] == 0).all() or page.evaluate("document.documentElement.style.background") != ""


def check_keyed(picture: Picture) -> None:
    """No green is left, the middle of the face is solid, and between the two there is a soft edge."""
    alpha = picture[..., 3]
    face = alpha[120:240, 130:230]
    assert (face > 250).mean() > 0.99  # a head that turns shows a little of the backdrop in a corner
    seen = picture[alpha > 24].astype(int)
    excess = seen[:, 1] - np.maximum(seen[:, 0], seen[:, 2])
    assert np.percentile(excess, 99.9) <= 14, "no green is left"
    assert 0.2 < (alpha > 128).mean() < 0.8
    assert 0.002 < ((alpha > 20) & (alpha < 235)).mean() < 0.1


def test_both_ways_of_keying_agree(make_browser: MakeBrowser, server: ServerProcess, face_camera: Path) -> None:
    with make_browser(face_camera, *WEBGL) as browser, browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).go_live()
        with browser_source(headcast, "?background=transparent") as page:
            eventually(lambda: shown(page)[5, 320, 3] == 0, "nothing behind the avatar")
            pictures = page.evaluate(BOTH)
    graphics, plain = (np.frombuffer(base64.b64decode(each), np.uint8).reshape(512, 512, 4).astype(int) for each in pictures)
    assert np.abs(graphics[..., 3] - plain[..., 3]).max() <= 3
    solid = plain[..., 3] > 64
    assert np.abs(graphics - plain)[solid].max() <= 8
    check_keyed(np.asarray(cv2.resize(graphics.astype(np.uint8), (360, 360), interpolation=cv2.INTER_AREA), np.uint8))


BOTH = """async () => {
  const { GraphicsKeyer, PlainKeyer, KeyFinder } = await import('/key.js');
  const video = document.querySelector('video');
  const still = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  still.getContext('2d').drawImage(video, 0, 0);
  const source = Object.assign(document.createElement('canvas'), { width: still.width, height: still.height });
  source.getContext('2d').drawImage(still, 0, 0);
  for (const [name, size] of [['videoWidth', still.width], ['videoHeight', still.height]]) Object.defineProperty(source, name, { value: size });
  const key = new KeyFinder().find(source);
  return [GraphicsKeyer, PlainKeyer].map((Keyer) => {
    const canvas = document.createElement('canvas');
    new Keyer(canvas).draw(source, key);
    const copy = new OffscreenCanvas(still.width, still.height).getContext('2d');
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, still.width, still.height);
    let text = '';
    for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
    return btoa(text);
  });
}"""


@pytest.mark.parametrize(("query", "fills"), [("?background=%23c03028", False), ("?background=%23c03028&fit=cover&mirror=1", True)])
def test_a_colour(headcast: Headcast, artefacts: Path, query: str, fills: bool) -> None:
    headcast.go_live()
    with browser_source(headcast, query) as page:
        red = np.array([0xC0, 0x30, 0x28])
        eventually(lambda: np.abs(shown(page)[5, 150, :3] - red).max() < 6, "the colour behind the avatar")
        (artefacts / f"obs-colour-{'cover' if fills else 'contain'}.png").write_bytes(page.screenshot())
        page.evaluate("document.querySelector('p').style.opacity = 0")
        picture = shown(page)
        assert (picture[..., 3] == 255).all()
        off = np.abs(picture[..., :3] - red).max(-1)
        assert off[3, [3, 145, 495, -3]].max() < 6, "no seam beside the picture"
        assert page.locator("p").is_visible() == fills, "the mark is cut off with the picture's edges: the page has its own"
        assert (np.ptp(np.flatnonzero((off > 40).any(0))) > 360) == fills, "as wide as the window, or as it is high"


def test_as_it_is(headcast: Headcast) -> None:
    headcast.go_live()
    with browser_source(headcast, "", 512, 512) as page:
        assert (shown(page)[..., 3] == 255).all()
        state: dict[str, Any] = page.evaluate("({ keyed: 'keyed' in document.body.dataset, canvas: !document.querySelector('canvas').hidden })")
        assert state == {"keyed": False, "canvas": False}


def test_it_waits_for_its_session_and_comes_back(headcast: Headcast) -> None:
    """And tells nobody of it: no request leaves for another place."""
    with another_tab(headcast) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{headcast.url}/obs/nobody-is-there?background=transparent")
        page.wait_for_timeout(1500)
        assert page.get_attribute("body", "data-phase") == "waiting"
        assert (shown(page)[..., 3] == 0).all()
        assert all(url.startswith(headcast.url) for url in requests)
        assert len([url for url in requests if "/whep/" in url]) >= 2


def test_it_may_be_there_before_its_session(browser: Browser, server: ServerProcess) -> None:
    """And again after it: the page's own settings do not undo what it asks for."""
    with browser.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.set_viewport_size({"width": 640, "height": 360})
        page.goto(f"{server.url}/obs/obs-was-first?background=transparent")
        driver = Headcast(context.new_page(), f"{server.url}/?session=obs-was-first")
        for _ in range(2):
            driver.go_live()
            page.wait_for_selector("body[data-phase=live]")
            eventually(lambda: shown(page)[5, 320, 3] == 0, "nothing behind the avatar")
            page.wait_for_timeout(1000)
            assert shown(page)[5, 320, 3] == 0

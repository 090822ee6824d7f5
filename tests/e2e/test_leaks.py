"""What leaves the page and the server's pages while the camera carries a barcode: recordings, snapshots, OBS's page; and where the page sends anything to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest

from tests.e2e.browser import DESKTOP, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.fake_camera import face_frames, write_camera_file
from tests.e2e.server_process import ServerProcess
from tests.e2e.test_recording import take
from tests.e2e.test_watch import another_tab, session_of
from tests.e2e.watching import decoded, picture
from tests.faces import Image
from tests.leaks.barcode import search, stamped
from tests.leaks.outputs import leaks_in
from tests.watched import own_addresses

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 90_000
"""What is kept is signed by the server first, which a busy machine takes its time for."""
PREVIEW = """
async () => {
  const video = document.querySelector('#preview');
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0);
  return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
}
"""
CONNECTIONS = """
window.connections = [];
const Real = RTCPeerConnection;
window.RTCPeerConnection = class extends Real {
  constructor(configuration) { super(configuration); window.connections.push(this); }
};
"""
REMOTES = """
async () => {
  const found = [];
  for (const connection of window.connections)
    for (const [, each] of await connection.getStats()) if (each.type === 'remote-candidate') found.push(each.address ?? each.ip);
  return found;
}
"""
ELSEWHERE = """
async () => {
  const refused = [];
  const told = new Promise((resolve) => {
    document.addEventListener('securitypolicyviolation', (event) => (refused.push(event.effectiveDirective), refused.length === 3 && resolve()));
  });
  fetch('https://example.invalid/', { method: 'POST', body: 'a face' }).catch(() => {});
  try { new WebSocket('wss://example.invalid/'); } catch { /* refused */ }
  navigator.sendBeacon('https://example.invalid/', 'a face');
  await Promise.race([told, new Promise((resolve) => setTimeout(resolve, 3000))]);
  return refused;
}
"""


@pytest.fixture(scope="module")
def coded_browser(make_browser: MakeBrowser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One whose camera carries the barcode."""
    camera = write_camera_file(tmp_path_factory.mktemp("camera") / "coded.mjpeg", (stamped(each) for each in face_frames(3.0)))
    with make_browser(camera) as browser:
        yield browser


def shown(page: Page) -> Image:
    """The page as it is seen, OBS's."""
    image = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def test_no_picture_that_can_be_kept_shows_the_camera(coded_browser: Browser, server: ServerProcess, tmp_path: Path) -> None:
    with coded_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url)
        headcast.page.set_default_timeout(PATIENCE_MS)
        headcast.page.add_init_script(CONNECTIONS)
        headcast.go_live()
        assert search(decoded(bytes(headcast.page.evaluate(PREVIEW)))).sure, "the camera carries it: this test can fail"
        headcast.page.uncheck("#record-sound")
        headcast.page.locator("#record").focus()
        recorded = take(headcast, tmp_path, 1.5)
        with av.open(str(recorded)) as container:
            frames = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
        assert len(frames) > 5
        assert leaks_in(frames) == []
        with headcast.page.expect_download() as download:
            headcast.press("k")
        download.value.save_as(tmp_path / "snapshot.png")
        assert not search(decoded((tmp_path / "snapshot.png").read_bytes())).sure
        with another_tab(headcast) as page:
            page.set_viewport_size({"width": 512, "height": 512})
            page.goto(f"{server.url}/obs/{session_of(headcast)}")
            page.wait_for_selector("body[data-phase=live]")
            eventually(lambda: page.evaluate("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames") > 3, "a picture")
            assert leaks_in([shown(page) for _ in range(3)]) == []
        assert not search(picture(headcast.page)).sure
        assert {urlsplit(url).netloc for url in headcast.requests if not url.startswith(("data:", "blob:"))} == {urlsplit(server.url).netloc}
        assert {address for address in headcast.page.evaluate(REMOTES) if address} <= own_addresses()
        assert [complaint for complaint in headcast.complaints if not brought_by_a_narrow_path(complaint)] == []


def brought_by_a_narrow_path(complaint: str) -> bool:
    """What Chromium says where a busy machine lets the bitrate fall: the mark is lost in the picture, which is not signed then."""
    return "a status of 422" in complaint and "/credentials?avatar=mara" in complaint


def test_a_page_can_send_nothing_to_another_place(coded_browser: Browser, server: ServerProcess) -> None:
    """Whatever code ran in it: the policy that it comes with refuses."""
    with coded_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        assert headcast.page.evaluate(ELSEWHERE) == ["connect-src"] * 3

"""What goes wrong, and what the page then says and does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import DESKTOP, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.fake_camera import paired_frames, write_camera_file
from tests.e2e.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REFUSE = "navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('{message}', '{name}'); }};"
ASK = """
window.answered = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  await new Promise((resolve) => (window.allow = resolve));
  const stream = await open(wanted);
  window.answered.push(stream.getVideoTracks()[0]);
  return stream;
};
"""


def test_face_lost_and_found(make_browser: MakeBrowser, leaving_camera: Path, server: ServerProcess, artefacts: Path) -> None:
    with make_browser(leaving_camera) as browser, browser.new_page(viewport=DESKTOP) as page:
        headcast = Headcast(page, server.url).go_live()
        headcast.wait_data("tracking", "lost")
        page.wait_for_selector("#hint:visible")
        assert headcast.text("#hint-title") == "I can’t see your face"
        assert headcast.text("#status-text") == "Face lost"
        assert headcast.page.get_attribute("body", "data-phase") == "live"
        headcast.press("x")
        page.wait_for_selector("#toast:has-text('see your face')")
        page.wait_for_timeout(700)
        page.wait_for_selector("#toast", state="hidden")
        if page.get_attribute("body", "data-tracking") != "lost":
            headcast.wait_data("tracking", "lost")
            page.wait_for_timeout(700)
        headcast.shoot(artefacts, "desktop-face-lost")
        headcast.wait_data("tracking", "ok")
        page.wait_for_selector("#hint", state="hidden")
        assert headcast.text("#status-text") == "Live"


def test_several_faces(make_browser: MakeBrowser, tmp_path: Path, server: ServerProcess) -> None:
    camera = write_camera_file(tmp_path / "pair.mjpeg", paired_frames(2.0))
    with make_browser(camera) as browser, browser.new_page() as page:
        headcast = Headcast(page, server.url).go_live()
        headcast.wait_data("tracking", "multiple")
        assert headcast.text("#hint-title") == "Several faces in view"
        assert headcast.text("#status-text") == "Live"


def test_comes_back_by_itself_when_the_server_does(browser: Browser, small_server: ServerProcess, artefacts: Path) -> None:
    with browser.new_page(viewport=DESKTOP) as page:
        headcast = Headcast(page, small_server.url).go_live()
        small_server.kill()
        headcast.wait_phase("waiting")
        page.wait_for_selector("#message-detail:has-text('Next try in')")
        eventually(lambda: headcast.text("#status-text") == "Unreachable", "word that the server is away")
        headcast.wait_phase("waiting")
        headcast.shoot(artefacts, "desktop-disconnected")
        small_server.start()
        headcast.wait_phase("live")
        headcast.wait_picture()


def test_a_full_server_is_tried_again(browser: Browser, small_server: ServerProcess, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        first = Headcast(context.new_page(), small_server.url).go_live()
        second = Headcast(context.new_page(), small_server.url).open()
        second.start()
        second.wait_phase("waiting")
        assert second.text("#message-title") == "The server is full"
        assert "Next try in" in second.text("#message-detail")
        second.shoot(artefacts, "desktop-server-full")
        first.press("Escape")
        second.wait_phase("live")


def test_an_avatar_whose_renderer_is_killed_comes_back(browser: Browser, small_server: ServerProcess, artefacts: Path) -> None:
    with browser.new_page(viewport=DESKTOP) as page:
        headcast = Headcast(page, small_server.url).go_live()
        for attempt in range(3):  # the third renderer is made after two seconds only
            (renderer,) = small_server.renderers()
            os.kill(renderer, signal.SIGKILL)
            eventually(lambda: small_server.renderers() not in ([], [renderer]) or attempt == 2, "another renderer")  # noqa: B023
        headcast.wait_phase("restarting")
        assert headcast.text("#status-text") == "Restarting"
        headcast.shoot(artefacts, "desktop-restarting")
        headcast.wait_phase("live")
        headcast.wait_picture()
        assert sum(url.endswith("/offer") for url in headcast.requests) == 1, "the call went on all the time"


def test_permission_denied(make_browser: MakeBrowser, face_camera: Path, server: ServerProcess) -> None:
    with make_browser(face_camera, "--deny-permission-prompts", allow=False) as browser, browser.new_page() as page:
        headcast = Headcast(page, server.url).open()
        headcast.start()
        headcast.wait_phase("error")
        assert headcast.text("#message-title") == "The camera is not allowed"
        assert "Try again" in headcast.text("#message-action")


def test_no_camera(make_browser: MakeBrowser, server: ServerProcess, artefacts: Path) -> None:
    with make_browser(None) as browser, browser.new_page(viewport=DESKTOP) as page:
        headcast = Headcast(page, server.url).open()
        headcast.start()
        headcast.wait_phase("error")
        assert headcast.text("#message-title") == "No camera found"
        headcast.shoot(artefacts, "desktop-error")
        assert server.sessions() == 0


def test_insecure_address(make_browser: MakeBrowser, server: ServerProcess) -> None:
    with make_browser(None, "--host-resolver-rules=MAP headcast.test 127.0.0.1") as browser, browser.new_page() as page:
        headcast = Headcast(page, f"http://headcast.test:{server.port}").open()
        headcast.start()
        headcast.wait_phase("error")
        assert "may not use the camera" in headcast.text("#message-title")
        assert "localhost" in headcast.text("#message-text")


@pytest.mark.parametrize(
    ("name", "message", "title"),
    [
        ("NotReadableError", "Could not start video source", "The camera is busy"),
        ("NotAllowedError", "Permission denied by system", "Your system blocks the camera"),
        ("TypeError", "odd", "The camera did not start"),
    ],
)
def test_camera_trouble(headcast: Headcast, name: str, message: str, title: str) -> None:
    headcast.page.add_init_script(REFUSE.format(name=name, message=message))
    headcast.open().start()
    headcast.wait_phase("error")
    assert headcast.text("#message-title") == title
    assert headcast.complaints == []


def test_no_webrtc(headcast: Headcast) -> None:
    headcast.page.add_init_script("delete window.RTCPeerConnection;")
    headcast.open().start()
    headcast.wait_phase("error")
    assert headcast.text("#message-title") == "This browser has no WebRTC"


def test_camera_unplugged(headcast: Headcast, server: ServerProcess) -> None:
    headcast.go_live()
    headcast.page.evaluate("document.querySelector('#preview').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
    headcast.wait_phase("error")
    assert headcast.text("#message-title") == "The camera went away"
    eventually(lambda: server.sessions() == 0, "the session to end")
    headcast.page.click("#message-action")
    headcast.wait_phase("live")


def test_a_question_about_the_camera_that_is_answered_late_takes_nothing_over(headcast: Headcast) -> None:
    headcast.page.add_init_script(ASK)
    headcast.open().start()
    eventually(lambda: headcast.page.evaluate("Boolean(window.allow)"), "the question")
    headcast.page.click("#sources label:has([value=sliders])")
    headcast.wait_phase("live")
    headcast.wait_data("source", "sliders")
    headcast.page.evaluate("window.allow()")
    eventually(lambda: headcast.page.evaluate("window.answered[0]?.readyState === 'ended'"), "the camera to be let go")
    assert headcast.page.get_attribute("body", "data-camera") is None
    assert headcast.page.get_attribute("body", "data-phase") == "live"
    assert headcast.complaints == []


def test_one_may_try_at_once(headcast: Headcast) -> None:
    headcast.page.route("**/offer", lambda route: route.fulfill(status=503, headers={"Retry-After": "600"}, content_type="application/problem+json", body="{}"))
    headcast.open().start()
    headcast.page.wait_for_selector("#message-detail:has-text('Next try in 5')")
    headcast.page.unroute("**/offer")
    headcast.page.click("#message-action")
    headcast.wait_phase("live")


def test_a_refused_offer_says_why(headcast: Headcast) -> None:
    headcast.page.route(
        "**/offer", lambda route: route.fulfill(status=422, content_type="application/problem+json", body='{"status": 422, "detail": "no common codec"}')
    )
    headcast.open().start()
    headcast.wait_phase("error")
    assert headcast.text("#message-detail") == "no common codec"

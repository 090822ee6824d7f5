"""A phone as the camera, and the page that says how to use the avatar in a call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.e2e.browser import DESKTOP, PHONE, Headcast, eventually
from tests.e2e.server_process import ServerProcess
from tests.e2e.test_looks import HIT_AREA, SCHEMES, SCREENS
from tests.e2e.test_watch import another_tab, session_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def scanned(page: Page) -> str:
    """What a phone reads from the code on the screen."""
    picture = cv2.imdecode(np.frombuffer(page.locator("#phone-code").screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return str(cv2.QRCodeDetector().detectAndDecode(picture)[0])


def test_a_phone_that_scans_the_code_is_the_camera(browser: Browser, server: ServerProcess, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as desk, browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as pocket:
        desktop = Headcast(desk.new_page(), server.url).open()
        desktop.page.click("#phone-open")
        assert "cannot reach “localhost”" in desktop.text("#phone-problem")
        desktop.page.wait_for_timeout(300)
        link = scanned(desktop.page)
        assert link == desktop.text("#phone-link")
        assert link.startswith(f"{server.url}/?session=phone-")
        assert desktop.text("#phone-state") == "Waiting for your phone"
        phone = Headcast(pocket.new_page(), link).open()
        assert phone.page.is_visible("#named-note")
        phone.start()
        phone.wait_phase("live")
        desktop.page.wait_for_selector("#phone[data-live]")
        played = "document.querySelector('#phone-video').getVideoPlaybackQuality().totalVideoFrames"
        eventually(lambda: desktop.page.evaluate(played) > 10, "the avatar to move")
        assert desktop.text("#phone-state") == "Your phone is the camera"
        assert desktop.text("#phone-obs") == f"{server.url}/obs/{link.split('=')[1]}"
        desktop.page.screenshot(path=artefacts / "desktop-phone-live.png")
        phone.shoot(artefacts, "phone-named-live")
        phone.page.goto("about:blank")
        desktop.page.wait_for_selector("#phone:not([data-live])")
        desktop.press("Escape")
        desktop.page.wait_for_selector("#phone", state="hidden")
        assert all("404" in complaint for complaint in desktop.complaints), "only the session that is not there yet"


def test_addresses_are_judged_and_looked_at(browser: Browser, server: ServerProcess, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        headcast.page.click("#phone-open")
        for address, problem, base in (
            ("192.168.1.20:5000", "", "https://192.168.1.20:5000/"),
            ("https://studio.example/headcast", "", "https://studio.example/headcast/"),
            ("http://192.168.1.20:5000/", "https:// pages only", "http://192.168.1.20:5000/"),
            ("http://127.0.0.1:5000", "cannot reach “localhost”", "http://127.0.0.1:5000/"),
            ("no address at all", "That is no address", ""),
        ):
            headcast.page.fill("#phone-address", address)
            assert problem in headcast.text("#phone-problem")
            assert (headcast.text("#phone-problem") == "") == (problem == "")
            assert headcast.text("#phone-link").startswith(base)
            assert headcast.page.is_visible("#phone-code") == bool(base)
        before = headcast.text("#phone-obs")
        headcast.page.fill("#phone-address", "192.168.1.20:5000")
        headcast.page.click("#phone-renew")
        assert headcast.text("#phone-obs") != before
        for screen, size in SCREENS.items():
            headcast.page.set_viewport_size(size)
            for scheme in SCHEMES:
                headcast.page.emulate_media(color_scheme=scheme)
                headcast.page.wait_for_timeout(200)
                headcast.shoot(artefacts, f"{screen}-phone-{scheme}")
            assert headcast.page.evaluate("document.querySelector('#phone').scrollWidth <= document.querySelector('#phone').clientWidth + 1")


def test_who_comes_later_takes_over_and_the_other_may_take_it_back(browser: Browser, server: ServerProcess, artefacts: Path) -> None:
    link = f"{server.url}/?session=shared-camera-1"
    with browser.new_context(viewport=PHONE) as one, browser.new_context(viewport=PHONE) as two:
        first, second = Headcast(one.new_page(), link).go_live(), Headcast(two.new_page(), link).go_live()
        first.wait_phase("error")
        assert "Another camera took over" in first.text("#message-title")
        first.shoot(artefacts, "phone-replaced")
        second.page.wait_for_timeout(1500)
        assert second.page.get_attribute("body", "data-phase") == "live"
        first.page.click("#message-action")
        first.wait_phase("live")
        second.wait_phase("error")
        assert server.sessions() == 1


def test_the_page_about_calls_has_the_links_of_the_session(headcast: Headcast) -> None:
    headcast.go_live()
    with headcast.page.expect_popup() as opened:
        headcast.page.click("#call-link")
    page = opened.value
    name = session_of(headcast)
    link = f"{headcast.url}/obs/{name}"
    eventually(lambda: page.text_content("#obs-plain") == link, "the links to be filled in")
    assert page.text_content("#obs-transparent") == f"{link}?background=transparent"
    for system, python in (("windows", r".venv\Scripts\python"), ("macos", ".venv/bin/python"), ("linux", ".venv/bin/python")):
        page.check(f"[name=system][value={system}]", force=True)
        assert page.inner_text(f"#{system}-watch") == f"{python} -m realtime.virtualcam --session {link}"
        assert page.locator("[data-system]:visible").count() == 1
    assert page.is_hidden("#no-session")
    headcast.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("[data-copy=obs-plain]")
    page.wait_for_selector("[data-copy=obs-plain]:text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.close()


@pytest.mark.parametrize("size", SCREENS.values(), ids=SCREENS.keys())
def test_the_page_about_calls_looks_well(headcast: Headcast, artefacts: Path, size: Any, request: pytest.FixtureRequest) -> None:
    with another_tab(headcast) as page:
        page.set_viewport_size(size)
        page.goto(f"{headcast.url}/call.html")
        assert page.is_visible("#no-session")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            page.screenshot(path=artefacts / f"{request.node.callspec.id}-call-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(HIT_AREA.replace("LEAST", "34")) == []

"""Screenshots of the page, to be looked at, and the little about looks that a machine can judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.e2e.browser import DESKTOP, PHONE, Headcast
from tests.e2e.conftest import MakeBrowser
from tests.e2e.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

SCREENS = {"desktop": DESKTOP, "phone": PHONE}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
HIT_AREA = """
    [...document.querySelectorAll('button, select, .avatar-choice')].filter((each) => each.checkVisibility())
        .filter((each) => Math.min(each.offsetWidth, each.offsetHeight) < LEAST).map((each) => each.id || each.className)
"""


def overflow(headcast: Headcast) -> int:
    """How many pixels stick out to the right."""
    return int(headcast.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_idle_and_live_on_every_screen(browser: Browser, server: ServerProcess, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        headcast.page.wait_for_selector(".avatar-choice")
        for phase in ("idle", "live"):
            if phase == "live":
                headcast.start()
                headcast.wait_phase("live")
                headcast.wait_picture()
                headcast.page.wait_for_timeout(1500)
            for screen, size in SCREENS.items():
                headcast.page.set_viewport_size(size)
                for scheme in SCHEMES:
                    headcast.page.emulate_media(color_scheme=scheme)
                    headcast.page.wait_for_timeout(250)
                    headcast.shoot(artefacts, f"{screen}-{phase}-{scheme}")
                assert overflow(headcast) <= 0
        assert headcast.complaints == []


@pytest.mark.parametrize(
    "size",
    [
        DESKTOP,
        PHONE,
        {"width": 320, "height": 568},
        {"width": 844, "height": 390},
        {"width": 768, "height": 1024},
        {"width": 1366, "height": 650},
        {"width": 1920, "height": 1080},
    ],
)
def test_fits_every_screen(headcast: Headcast, size: ViewportSize) -> None:
    headcast.page.set_viewport_size(size)
    headcast.open()
    assert overflow(headcast) <= 0
    stage, bar = headcast.page.locator("#stage").bounding_box(), headcast.page.locator(".bar").bounding_box()
    assert stage is not None
    assert bar is not None
    assert stage["width"] == pytest.approx(stage["height"], abs=1)
    assert bar["y"] + bar["height"] <= size["height"] + 1, "the controls are in reach without scrolling"
    apart = stage["y"] + stage["height"] <= bar["y"] + 1 or stage["x"] + stage["width"] <= bar["x"] + 1
    assert apart, "the controls do not cover the avatar"
    assert headcast.page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.bar'))") <= 0, "all of them fit"


def test_phone(make_browser: MakeBrowser, leaving_camera: Path, server: ServerProcess, artefacts: Path) -> None:
    with make_browser(leaving_camera) as browser, browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        assert headcast.page.evaluate(HIT_AREA.replace("LEAST", "34")) == []
        headcast.page.tap("#power")
        headcast.wait_phase("live")
        for video in ("#avatar", "#preview"):
            assert headcast.page.evaluate(f"['playsinline', 'muted', 'autoplay'].every((name) => document.querySelector('{video}').hasAttribute(name))")
        headcast.page.tap("#hud-toggle")
        headcast.page.wait_for_timeout(2500)
        headcast.shoot(artefacts, "phone-numbers")
        headcast.page.tap("#hud-toggle")
        headcast.wait_data("tracking", "ok")
        headcast.wait_data("tracking", "lost")
        headcast.page.wait_for_timeout(700)
        headcast.shoot(artefacts, "phone-face-lost")
        headcast.page.evaluate("document.querySelector('#preview').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
        headcast.wait_phase("error")
        headcast.shoot(artefacts, "phone-error")


def test_other_views(headcast: Headcast, artefacts: Path) -> None:
    headcast.go_live()
    headcast.press("i")
    headcast.page.wait_for_timeout(2200)
    headcast.shoot(artefacts, "desktop-numbers")
    headcast.press("i")
    headcast.press("?")
    headcast.page.wait_for_timeout(250)
    headcast.page.screenshot(path=artefacts / "desktop-help.png")
    headcast.press("Escape")
    headcast.press("x")
    headcast.page.wait_for_timeout(250)
    headcast.shoot(artefacts, "desktop-calibrate")
    headcast.press("p")
    headcast.wait_phase("paused")
    headcast.page.wait_for_timeout(250)
    headcast.shoot(artefacts, "desktop-paused")
    headcast.press("p")
    headcast.wait_phase("live")
    headcast.press("v")
    headcast.page.wait_for_timeout(3000)
    headcast.shoot(artefacts, "desktop-clean")

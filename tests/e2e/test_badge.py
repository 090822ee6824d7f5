"""The switch that takes the badge off the picture: for the owner only, for this page only; the invisible mark stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.badge import make_badge
from models.watermark.detect import find
from models.yuv import luma_of
from tests.e2e.browser import Headcast, eventually
from tests.e2e.watching import picture


def says_so(headcast: Headcast) -> bool:
    """Whether there is white on dark where the badge is."""
    badge, margin = make_badge(512)
    height, width = badge.shape[:2]
    seen = picture(headcast.page)[512 - margin - height : 512 - margin, margin : margin + width].max(2)
    ink = badge[..., 0] > 200
    return bool(np.median(seen[ink]) > np.median(seen[~ink]) + 60)


def test_the_owner_takes_the_badge_off_and_a_reload_brings_it_back(headcast: Headcast) -> None:
    headcast.open()
    headcast.page.click("#sources label:has([value=sliders])")
    headcast.start()
    headcast.wait_phase("live")
    headcast.wait_picture()
    eventually(lambda: says_so(headcast), "the badge is there at first")
    headcast.page.uncheck("#badge")
    eventually(lambda: not says_so(headcast), "it is gone")
    assert find([luma_of(picture(headcast.page))]).found, "the invisible mark is not"
    headcast.page.click("#power")
    headcast.start()
    headcast.wait_phase("live")
    headcast.wait_picture()
    eventually(lambda: not says_so(headcast), "the page remembers while it is open")
    headcast.page.check("#badge")
    eventually(lambda: says_so(headcast), "and it comes back")
    headcast.page.uncheck("#badge")
    headcast.open()
    assert headcast.page.is_checked("#badge")
    assert headcast.complaints == []


def test_others_see_no_switch(headcast: Headcast, artefacts: Path) -> None:
    headcast.page.route("**/whoami", lambda route: route.fulfill(json={"name": "anna", "role": "puppeteer", "login": True}))
    with headcast.page.expect_response("**/whoami"):
        headcast.open()
    assert headcast.page.is_hidden("#badge-card")
    headcast.page.unroute("**/whoami")
    headcast.open()
    headcast.page.wait_for_selector("#badge-card")
    headcast.page.locator("#badge-card").scroll_into_view_if_needed()
    headcast.shoot(artefacts, "desktop-badge")

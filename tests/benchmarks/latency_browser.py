"""The same stamps through headless Chromium: drawn on a canvas, sent, echoed, read from the decoded frames and from the frames shown. One clock: the page's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.browser import FLAGS

PAGE = Path(__file__).with_name("latency_page.html")
Sample = tuple[float, float]


async def measure_in_browser(url: str, chromium: str, codec: str, fps: int, seconds: float) -> tuple[list[Sample], list[Sample], dict[str, Any]]:
    """One call of a page of its own.

    Args:
        url: an echo server's address; the page is laid at a path of it, so that it may send its offer there.

    Returns:
        for every frame decoded and for every frame shown: when it was drawn, in seconds, and how many milliseconds later that was; and Chromium's statistics.
    """
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        try:
            page = await browser.new_page(viewport={"width": 640, "height": 640})
            await page.route("**/latency", lambda route: route.fulfill(content_type="text/html", body=PAGE.read_text(encoding="utf-8")))
            await page.goto(f"{url}/latency")
            found = await page.evaluate("([codec, fps, seconds]) => measure(codec, fps, seconds)", [codec, fps, seconds])
        finally:
            await browser.close()
    return [tuple(each) for each in found["decoded"]], [tuple(each) for each in found["shown"]], found["stats"]

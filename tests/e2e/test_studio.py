"""The studio in a real browser: a clip becomes an avatar although the server is killed in the middle; it is played, taken along and deleted. And recording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from models.avatar_file import read_avatar
from tests.clips import talking_head, write_video
from tests.e2e.browser import DESKTOP, PHONE, WAIT_MS, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.server_process import ServerProcess
from tests.studios import SMALL_TRAINING, training_command

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

PATIENCE_MS = 240_000
FIRST_PAINT_BYTES = 200 * 1024
SCREENS: tuple[tuple[str, ViewportSize, Literal["light", "dark"]], ...] = (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark"))
TOO_SMALL = """
    () => [...document.querySelectorAll('button, .button, .way, summary, select, input[type=text]')].filter((each) => each.checkVisibility())
        .filter((each) => Math.min(each.offsetWidth, each.offsetHeight) < 34).map((each) => each.textContent)
"""
"""What a finger would miss."""
DROP = """
    () => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(['not a video'], 'dropped.mov'));
        window.dispatchEvent(new DragEvent('drop', { dataTransfer }));
    }
"""
PICTURES = """
    async () => {
        const { hintOf, WIDTH, HEIGHT } = await import('/studio-hints.js');
        const picture = (inside, { x = 0.5, high = 0.7, wide = 0.35, room = [120, 130, 140], lit = () => 1 } = {}) => {
            const pixels = new Uint8ClampedArray(4 * WIDTH * HEIGHT);
            for (let at = 0; at < WIDTH * HEIGHT; at++) {
                const [u, v] = [(at % WIDTH) / WIDTH - x, Math.floor(at / WIDTH) / HEIGHT - 0.5];
                const head = (u / wide) ** 2 + (v / high) ** 2 < 0.25;
                pixels.set([...(head ? inside.map((value) => value * lit(u)) : room), 255], 4 * at);
            }
            return hintOf(pixels);
        };
        const [fair, dark] = [[224, 172, 140], [120, 80, 60]];
        return {
            good: [picture(fair), picture(dark)],
            dark: [picture([30, 22, 18], { room: [8, 8, 10] })],
            bright: [picture([255, 254, 252], { wide: 0.6, high: 1 })],
            far: [picture(fair, { high: 0.2, wide: 0.2 })],
            near: [picture(fair, { high: 1.6, wide: 1.2 })],
            aside: [picture(fair, { x: 0.75, wide: 0.3 })],
            side: [picture(fair, { lit: (u) => (u < 0 ? 1 : 0.35) })],
            unseen: [picture([60, 140, 60])],
        };
    }
"""
"""A head as an ellipse of skin before a grey room, and what is said of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio_server(chromium: str, folder: Path) -> Iterator[ServerProcess]:
    """Makes small avatars, one at a time."""
    python = training_command(folder, SMALL_TRAINING)
    process = ServerProcess(folder / "log.txt", "--training-python", python, "--max-upload-mb", "30")
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return write_video(folder / "Nora's clip.mp4", talking_head("mara", 54), ticks_ms=[60 * frame for frame in range(54)])


def opened(page: Page, server: ServerProcess) -> Headcast:
    headcast = Headcast(page, server.url)
    page.goto(f"{server.url}/studio.html")
    at_step(page, "video")
    return headcast


def at_step(page: Page, step: str) -> None:
    page.wait_for_selector(f"body[data-step={step}]", timeout=WAIT_MS)


def shoot(headcast: Headcast, artefacts: Path, name: str) -> None:
    """A large screen in light colours and a small one in dark ones; nothing may stick out."""
    page = headcast.page
    for screen, size, scheme in SCREENS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(60)
        page.screenshot(path=artefacts / f"studio-{name}-{screen}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, screen)
        assert page.evaluate(TOO_SMALL) == [], (name, screen)
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")


def fill_in(page: Page, name: str) -> None:
    page.fill("#avatar-name", name)
    page.fill("#subject", "Nora Berg")
    page.check("#agree")


def choose_everything(page: Page) -> None:
    """Other than what the form begins with. Every change takes back what was agreed to before."""
    page.check("#agree")
    for choice, words in (
        ("#who-other", None),
        ("#driver-own", "moved by the person shown and by nobody else"),
        ("#for-export", "3D files for other programs"),
        ("#for-training", "the training of other programs"),
    ):
        page.check(choice)
        if words is not None:
            assert words in page.inner_text("#statement")
            assert not page.is_checked("#agree")
            page.check("#agree")
    page.uncheck("#for-recordings")
    assert "recordings" not in page.inner_text("#statement")
    page.select_option("#until", "12")
    assert re.search(r"until the end of \d{4}-\d\d-\d\d\.", page.inner_text("#statement"))
    page.select_option("#until", "day")
    page.fill("#until-day", "2100-01-31")
    assert "until the end of 2100-01-31." in page.inner_text("#statement")
    assert not page.is_checked("#agree")


def test_from_a_clip_to_an_avatar_and_away(
    make_browser: MakeBrowser, face_camera: Path, studio_server: ServerProcess, clip: Path, folder: Path, artefacts: Path
) -> None:
    with make_browser(face_camera) as browser, browser.new_context(viewport=DESKTOP, accept_downloads=True) as context:
        headcast = opened(context.new_page(), studio_server)
        page = headcast.page
        page.set_default_timeout(PATIENCE_MS)
        shoot(headcast, artefacts, "video")
        page.set_input_files("#file", clip)
        at_step(page, "consent")
        assert "Nora's clip.mp4" in page.inner_text(".findings")
        assert "the face is seen for 3 s" in page.inner_text(".findings").lower()
        page.click("#make")
        at_step(page, "consent")
        fill_in(page, "Nora")
        shoot(headcast, artefacts, "consent")
        page.reload()
        at_step(page, "consent")
        choose_everything(page)
        shoot(headcast, artefacts, "consent-chosen")
        fill_in(page, "Nora")
        page.fill("#granted", "Eva Berg")
        assert not page.is_checked("#agree"), "somebody else has not agreed yet"
        assert page.inner_text(".agreement .agree").strip() == "Eva Berg agrees to this, and told me so."
        page.check("#agree")
        said = page.inner_text("#statement")
        page.press("#agree", "Enter")
        page.wait_for_selector(".job[data-state=running]")
        page.wait_for_selector(".job img:visible")
        shoot(headcast, artefacts, "running")
        assert re.search(r"\d+ %", page.inner_text(".job"))

        studio_server.kill()
        page.wait_for_selector("text=The server does not answer")
        shoot(headcast, artefacts, "lost")
        studio_server.start()
        page.wait_for_selector(".job[data-state=running]")
        page.wait_for_selector(".job[data-state=done]")
        page.wait_for_selector(".avatar-card[data-avatar=Nora]")
        headcast.complaints.clear()  # of the server that was not there
        page.click(".avatar-card[data-avatar=Nora] summary")
        page.wait_for_selector(".figures video")
        eventually(lambda: page.evaluate("document.querySelector('.figures video').videoWidth") > 0, "the side-by-side video")
        assert re.search(r"Head\s+Mouth\s+Eyes", page.inner_text(".figures"))
        shoot(headcast, artefacts, "done")

        page.click(".job >> text=Play it now")
        page.wait_for_selector("body[data-phase=idle]")
        headcast.start()
        headcast.wait_phase("live")
        headcast.wait_data("applied-avatar", "Nora")
        assert "Shows Nora Berg, who agreed" in headcast.text("body")
        headcast.wait_picture()
        headcast.shoot(artefacts, "studio-played")
        before = headcast.frames_shown()
        eventually(lambda: headcast.frames_shown() > before + 10, "ten more frames of Nora")
        headcast.press("Escape")

        page.goto(f"{studio_server.url}/studio.html")
        card = ".avatar-card[data-avatar=Nora]"
        with page.expect_download() as download:
            page.click(f"{card} >> text=Download")
        taken = folder / "taken.avatar"
        download.value.save_as(taken)
        assert download.value.suggested_filename == "Nora.avatar"
        consent = read_avatar(taken).card.consent
        assert (consent.subject, consent.granted_by, consent.own_driver_only, consent.expires) == ("Nora Berg", "Eva Berg", True, "2100-01-31")
        assert consent.purposes == ("live", "export", "training")
        assert consent.statement == said, "the record is what the form showed"
        card_text = page.inner_text(card)
        assert "until 2100-01-31 · made " in card_text
        assert "live, 3D files, training · moved by them only · signed by this installation" in card_text
        page.click(f"{card} >> text=Rename")
        page.fill("#ask input", "Nora the first")
        page.press("#ask input", "Enter")
        page.wait_for_selector(f"{card} h3:text-is('Nora the first')")
        page.click(f"{card} >> text=Delete")
        shoot(headcast, artefacts, "delete")
        page.click("#ask button[type=submit]")
        page.wait_for_selector(card, state="detached")
        assert "Nora" not in {avatar["id"] for avatar in studio_server.get("/avatars")[1]["avatars"]}
        for part in ("uploads", "runs", "avatars"):
            assert list((folder / "studio" / part).iterdir()) == []
        page.set_input_files("#import-file", taken)
        page.wait_for_selector(card)
        page.click(f"{card} >> text=Delete")
        page.click("#ask button[type=submit]")
        page.wait_for_selector(card, state="detached")
        assert headcast.complaints == []


def test_what_cannot_be_used_is_said_and_leaves_nothing(browser: Browser, studio_server: ServerProcess, folder: Path, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        headcast = opened(context.new_page(), studio_server)
        page = headcast.page
        note = folder / "note.mp4"
        note.write_bytes(b"not a video, whatever it is called\n" * 100)
        page.set_input_files("#file", note)
        page.wait_for_selector(".problem:has-text('note.mp4 is not a video that can be read')")
        page.evaluate(DROP)
        page.wait_for_selector(".problem:has-text('dropped.mov is not a video that can be read')")
        large = folder / "large.mp4"
        large.write_bytes(bytes(31 << 20))
        page.set_input_files("#file", large)
        page.wait_for_selector(".problem:has-text('30 MB is the most')")
        page.set_input_files("#import-file", note)
        page.wait_for_selector("#shelf-problem:has-text('expected an avatar file')")
        shoot(headcast, artefacts, "problems")
        empty = write_video(folder / "nobody.mp4", [picture * 0 + 120 for picture in talking_head("mara", 54)], ticks_ms=[60 * frame for frame in range(54)])
        page.set_input_files("#file", empty)
        at_step(page, "refused")
        assert "No face was found" in page.inner_text(".findings")
        shoot(headcast, artefacts, "refused")
        page.click("text=Use another video")
        at_step(page, "video")
        eventually(lambda: list((folder / "studio" / "uploads").iterdir()) == [], "the refused video's end")


def test_recording_is_guided(browser: Browser, studio_server: ServerProcess, folder: Path, artefacts: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        headcast = opened(context.new_page(), studio_server)
        page = headcast.page
        page.click("#record")
        page.wait_for_selector(".recorder[data-hint]")
        page.click("text=Start recording")
        page.wait_for_selector(".recorder[data-state=recording]")
        assert "Look at the camera" in page.inner_text(".guide")
        shoot(headcast, artefacts, "recording")
        page.wait_for_selector(".guide:has-text('Turn your head slowly')")
        page.click("text=Stop here")
        at_step(page, "review")
        eventually(lambda: page.evaluate("document.querySelector('.review').videoWidth") >= 640, "the recording")
        shoot(headcast, artefacts, "review")
        page.click("#maker button.primary")
        page.wait_for_selector("body:is([data-step=consent], [data-step=refused])")
        assert "webcam." in page.inner_text(".findings")
        page.click("text=Use another video")
        at_step(page, "video")
        assert headcast.complaints == []


def test_hints_name_what_the_picture_lacks(browser: Browser, studio_server: ServerProcess) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{studio_server.url}/studio.html")
        for expected, given in page.evaluate(PICTURES).items():
            assert set(given) == {expected}


def test_it_is_light_and_asks_nobody_else(browser: Browser, studio_server: ServerProcess) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        page, sizes = context.new_page(), list[int]()
        page.on("response", lambda response: sizes.append(int(response.headers.get("content-length", 0))) if "thumbnail" not in response.url else None)
        headcast = opened(page, studio_server)
        page.wait_for_selector(".avatar-card")
        assert all(url.startswith(studio_server.url + "/") for url in headcast.requests)
        assert 0 < sum(sizes) < FIRST_PAINT_BYTES


def test_two_tabs_share_what_is_made(browser: Browser, studio_server: ServerProcess, clip: Path) -> None:
    with browser.new_context(viewport=DESKTOP) as context:
        tabs = [opened(context.new_page(), studio_server).page for _ in range(2)]
        tabs[0].set_input_files("#file", clip)
        at_step(tabs[0], "consent")
        tabs[1].reload()
        at_step(tabs[1], "consent")
        for tab in tabs:
            fill_in(tab, "Twice")
        for tab in tabs:
            tab.click("#make")
        for tab in tabs:
            tab.wait_for_selector(".job")
            assert tab.locator(".job").count() == 1
        tabs[0].click(".job >> text=Cancel")
        for tab in tabs:
            tab.wait_for_selector(".job[data-state=cancelled]")
        tabs[1].click(".job >> text=Delete")
        tabs[1].click("#ask button[type=submit]")
        for tab in tabs:
            tab.wait_for_selector(".job", state="detached")

"""Recording the avatar with sound, and pictures of it: what lies in the files that the page saves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.consent.keys import KeyFolder
from models.credentials.identity import identity
from models.credentials.manifest import MP4, PNG, verify
from models.watermark.files import look
from tests.e2e.browser import DESKTOP, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.flashing import FLASH_AND_TONE, EchoProcess, read_recording
from tests.e2e.server_process import ServerProcess
from tests.e2e.watching import decoded, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

FARTHEST_S = 0.12
"""Sound may be heard so much before or after its picture and still pass for in time with it: ITU-R BT.1359 finds -125 to +45 ms detectable, -185 to +90 ms
objectionable; here some of it is the tests' own, whose flash may be a frame late."""
ATTEMPTS, RENDER_MS = 3, 90.0


def take(headcast: Headcast, folder: Path, seconds: float) -> Path:
    """Records for so long by the key R; the file that was saved."""
    headcast.press("r")
    headcast.page.wait_for_selector("body[data-recording]")
    headcast.page.wait_for_timeout(1e3 * seconds)
    with headcast.page.expect_download() as download:
        headcast.press("r")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    headcast.page.wait_for_selector("body:not([data-recording])")
    return path


def by_sliders(headcast: Headcast) -> None:
    """Live, without a camera."""
    headcast.open()
    headcast.page.click("#sources label:has([value=sliders])")
    headcast.start()
    headcast.wait_phase("live")
    headcast.wait_picture()


def test_a_recording_holds_the_avatar_and_the_microphone(headcast: Headcast, tmp_path: Path, artefacts: Path) -> None:
    headcast.page.add_init_script(
        """
        window.asked = [];
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (wanted) => (window.asked.push(Boolean(wanted.audio)), real(wanted));
        """
    )
    headcast.go_live()
    assert headcast.page.evaluate("window.asked") == [False], "the microphone is asked for only when one records"
    headcast.press("r")
    headcast.page.wait_for_selector("body[data-recording]")
    assert headcast.page.evaluate("window.asked") == [False, True]
    eventually(lambda: re.search(r"0:0[2-9] · [\d.]+ (kB|MB)", headcast.text("#recording-text")), "time and size")
    headcast.shoot(artefacts, "desktop-recording")
    with headcast.page.expect_download() as download:
        headcast.page.click("#record")
    assert re.fullmatch(r"headcast-mara-\d{4}-\d\d-\d\d-\d{6}\.(webm|mp4)", download.value.suggested_filename)
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    recorded = read_recording(path)
    assert recorded.size == (512, 512)
    assert len(recorded.video_s) > 5
    assert recorded.loudness.max() > 0, "the fake microphone beeps"
    assert recorded.audio_s[-1] - recorded.audio_s[0] > 1.5
    assert np.abs(recorded.pictures[-1].astype(int) - picture(headcast.page)).mean() < 20, "it shows the avatar"
    assert headcast.complaints == []


def test_without_sound_no_microphone_is_asked_for(make_browser: MakeBrowser, server: ServerProcess, tmp_path: Path) -> None:
    with make_browser(None) as browser, browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        assert headcast.page.is_disabled("#record")
        headcast.page.click("#sources label:has([value=sliders])")
        headcast.start()
        headcast.wait_phase("live")
        headcast.wait_picture()
        headcast.press("r")
        headcast.page.wait_for_selector("#toast:has-text('No microphone found')")
        assert headcast.page.get_attribute("body", "data-recording") is None
        headcast.page.uncheck("#record-sound")
        headcast.page.locator("#record").focus()
        path = take(headcast, tmp_path, 1.5)
        recorded = read_recording(path)
        assert recorded.size == (512, 512)
        assert len(recorded.audio_s) == 0
        assert headcast.complaints == []


def test_a_browser_that_begins_no_sound_lets_one_record_without(headcast: Headcast, tmp_path: Path) -> None:
    headcast.page.add_init_script("AudioContext.prototype.resume = () => new Promise(() => {});")
    by_sliders(headcast)
    headcast.press("r")
    headcast.page.wait_for_selector("#toast:has-text('begins no sound')")
    for box in ("#record-sound", "#record-signed"):
        headcast.page.uncheck(box)
    headcast.page.locator("#record").focus()
    assert len(read_recording(take(headcast, tmp_path, 1.0)).audio_s) == 0


def test_a_recorder_that_refuses_lets_go_of_the_microphone(headcast: Headcast) -> None:
    headcast.page.add_init_script("""
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => (window.microphone = await ask(wanted));
        window.MediaRecorder = class {
            static isTypeSupported() { return true; }
            constructor() { throw new DOMException('no', 'NotSupportedError'); }
        };
    """)
    by_sliders(headcast)
    headcast.press("r")
    headcast.page.wait_for_selector("#toast:has-text('cannot record')")
    assert headcast.page.evaluate("window.microphone.getTracks().map((track) => [track.kind, track.readyState])") == [["audio", "ended"]]


def test_another_size_ends_only_what_cannot_hold_two(headcast: Headcast, tmp_path: Path) -> None:
    resize = "document.getElementById('avatar').dispatchEvent(new Event('resize'))"
    by_sliders(headcast)
    for box in ("#record-sound", "#record-signed"):
        headcast.page.uncheck(box)
    headcast.page.click("#record")
    headcast.page.wait_for_timeout(1500)
    with headcast.page.expect_download() as download:
        headcast.page.evaluate(resize)
    headcast.page.wait_for_selector("#toast:has-text('changed the picture')")
    assert download.value.suggested_filename.endswith(".mp4")
    headcast.page.check("#record-signed")
    headcast.page.click("#record")
    headcast.page.wait_for_timeout(1500)
    headcast.page.evaluate(resize)
    headcast.page.wait_for_timeout(1000)
    with headcast.page.expect_download() as download:
        headcast.page.click("#record")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert read_recording(path).video_s[-1] > 2.0


def test_stopping_the_session_saves_what_was_recorded(headcast: Headcast, tmp_path: Path) -> None:
    headcast.go_live()
    headcast.press("r")
    headcast.page.wait_for_selector("body[data-recording]")
    headcast.page.wait_for_timeout(1500)
    with headcast.page.expect_download() as download:
        headcast.page.click("#power")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert read_recording(path).size == (512, 512)


def test_a_snapshot_is_the_picture_that_is_shown(headcast: Headcast, tmp_path: Path) -> None:
    by_sliders(headcast)
    headcast.page.wait_for_timeout(1000)
    with headcast.page.expect_download() as download:
        headcast.press("k")
    assert download.value.suggested_filename.endswith(".png")
    path = tmp_path / "snapshot.png"
    download.value.save_as(path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    image, shown = decoded(data), picture(headcast.page)
    assert image.shape == (512, 512, 3)
    badge = np.s_[480:505, 15:85]
    assert np.abs(image[badge].astype(int) - shown[badge]).mean() < 3, "the badge is in it"
    assert image[badge].std() > 20
    assert np.abs(image.astype(int) - shown).mean() < 2


def test_sound_and_picture_are_in_time_although_the_picture_takes_long(make_browser: MakeBrowser, tmp_path: Path) -> None:
    """A server that shows the camera itself: flashes and tones that are one in the page are one in the file."""
    server = EchoProcess(tmp_path / "echo.log", RENDER_MS)
    try:
        server.start()
        with make_browser(None) as browser:
            offset_s, delay_s = calm_recording(browser, server, tmp_path)
    finally:
        server.stop()
    print(f"rendering {RENDER_MS:.0f} ms, sound delayed by {1e3 * delay_s:.0f} ms: the tone begins {1e3 * offset_s:.0f} ms after the flash")
    assert abs(offset_s) < max(FARTHEST_S, 0.5 * abs(offset_s - delay_s)), "in time, or on a busy machine by far nearer than without the delay"


def calm_recording(browser: Browser, server: ServerProcess, folder: Path) -> tuple[float, float]:
    """How much later the tone is than the flash, and by how much the sound was delayed: of the first recording that is in time, else of the last one.

    A machine that is busy with something else is late by what nobody measured.
    """
    with browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url)
        headcast.page.add_init_script(FLASH_AND_TONE)
        headcast.open().start()
        headcast.wait_phase("live")
        headcast.wait_picture()
        for _ in range(ATTEMPTS):
            headcast.page.wait_for_timeout(2500)
            offset_s = read_recording(take(headcast, folder, 4.0)).offset_s
            delay_s = float(headcast.page.get_attribute("body", "data-sound-delay") or 0) / 1e3
            if abs(offset_s) < FARTHEST_S:
                break
    return offset_s, delay_s


def test_what_is_saved_says_what_made_it(headcast: Headcast, tmp_path: Path, artefacts: Path) -> None:
    """The recording and the snapshot carry content credentials that hold and are trusted with the server's own authority, and the mark in the pixels."""
    trusted = identity(KeyFolder.of(), datetime.now(UTC)).authority.decode()
    headcast.open()
    headcast.page.uncheck("#record-sound")
    headcast.page.click("#sources label:has([value=sliders])")
    headcast.start()
    headcast.wait_phase("live")
    headcast.wait_picture()
    video = take(headcast, tmp_path, 2.0)
    headcast.page.wait_for_selector("#toast:has-text('with content credentials')")
    headcast.shoot(artefacts, "desktop-recording-signed")
    with headcast.page.expect_download() as download:
        headcast.press("k")
    still = tmp_path / "still.png"
    download.value.save_as(still)
    assert video.suffix == ".mp4"
    for path, media_type in ((video, MP4), (still, PNG)):
        with path.open("rb") as file:
            verdict = verify(file, media_type, trusted)
        assert verdict.state == "Trusted", verdict
        assert verdict.source == "trainedAlgorithmicMedia"
        assert all(each.finding.found for each in look(path)), path
    assert read_recording(video).size == (512, 512)
    assert headcast.complaints == []


def test_without_credentials_nothing_is_sent_and_where_they_fail_it_is_said(headcast: Headcast, tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.method)
        route.fulfill(status=503)

    headcast.page.route("**/credentials?*", refuse)
    headcast.go_live()
    with headcast.page.expect_download() as download:
        headcast.press("k")
    headcast.page.wait_for_selector("#toast:has-text('no content credentials')")
    path = tmp_path / "still.png"
    download.value.save_as(path)
    with path.open("rb") as file:
        assert verify(file, PNG).state == "None"
    assert asked == ["POST"]
    headcast.page.uncheck("#record-signed")
    assert headcast.text("#record-note").endswith("Nothing is sent.")
    with headcast.page.expect_download():
        headcast.press("k")
    headcast.page.wait_for_selector("#toast:has-text('Picture saved'):not(:has-text('credentials'))")
    assert asked == ["POST"]

"""Moving the avatar by hand in the page: without a camera, on top of one, with presets; and from a video file instead of a camera."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from tests.e2e.browser import DESKTOP, PHONE, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.fake_camera import FPS, HEIGHT, WIDTH, face_frames
from tests.e2e.server_process import ServerProcess
from tests.e2e.watching import move, picture, response_ms
from tests.faces import Image
from tests.following import SIGNALS, read_expressions

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MIRROR_OFF = "localStorage.setItem('headcast.settings', JSON.stringify({mirror: false}))"


@pytest.fixture(scope="module")
def blind_browser(make_browser: MakeBrowser) -> Iterator[Browser]:
    """A browser without any camera or microphone."""
    with make_browser(None) as instance:
        yield instance


@pytest.fixture
def puppet(blind_browser: Browser, server: ServerProcess) -> Iterator[Headcast]:
    """The page, moved by the sliders alone, all of them in sight."""
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url)
        headcast.page.add_init_script(MIRROR_OFF)
        yield sliders_alone(headcast.open())


def choose(headcast: Headcast, source: str) -> None:
    headcast.page.click(f"#sources label:has([value={source}])")


def sliders_alone(headcast: Headcast) -> Headcast:
    if not headcast.page.is_checked("#sources [value=sliders]"):
        choose(headcast, "sliders")
    assert headcast.text("#power") == "Start sliders"
    headcast.start()
    headcast.wait_phase("live")
    headcast.wait_picture()
    headcast.page.wait_for_selector("#puppet-controls:enabled")
    headcast.page.evaluate("document.querySelectorAll('#units details').forEach((group) => (group.open = true))")
    return headcast


def signals(headcast: Headcast) -> dict[str, float]:
    """What the landmarker reads off the avatar now."""
    values = read_expressions([picture(headcast.page)], np.zeros(1)).values[0]
    return dict(zip(SIGNALS, values, strict=True))


def test_without_a_camera_the_sliders_move_the_avatar(puppet: Headcast, server: ServerProcess) -> None:
    assert puppet.page.is_disabled("#calibrate")
    assert puppet.page.is_disabled("#pause")
    assert puppet.page.is_hidden("#preview")
    rest = signals(puppet)
    move(puppet.page, "jawOpen", 0.7)
    eventually(lambda: signals(puppet)["mouth"] > rest["mouth"] + 0.15, "the mouth to open")
    assert puppet.text("#puppet-note") == "1 set"
    puppet.page.focus("#unit-headYaw")
    for _ in range(25):
        puppet.press("ArrowRight")
    assert puppet.page.get_attribute("#unit-headYaw", "aria-valuetext") == "14° right"
    eventually(lambda: signals(puppet)["yaw"] - rest["yaw"] > 0.1, "the head to turn to the picture's right")
    puppet.press("m")
    assert puppet.page.get_attribute("#unit-headYaw", "aria-valuetext") == "14° left", "angles go the way the picture goes"
    puppet.press("Delete")
    assert puppet.page.get_attribute("#unit-headYaw", "aria-valuetext") == "0°"
    puppet.page.click("#puppet-reset")
    eventually(lambda: signals(puppet)["mouth"] < rest["mouth"] + 0.05, "the mouth to close")
    assert puppet.text("#puppet-note") == "Nothing set"
    assert puppet.complaints == []


def test_a_slider_answers_soon(puppet: Headcast) -> None:
    times = response_ms(puppet.page, "jawOpen", [0.6, 0.0] * 4, wait_ms=150)
    seen = [each for each in times if each is not None]
    assert len(seen) == len(times)
    print(f"from the slider to the picture: median {np.median(seen):.0f} ms, most {max(seen):.0f} ms")


def test_presets_come_go_and_are_remembered(puppet: Headcast) -> None:
    rest = signals(puppet)
    puppet.page.click("[data-preset=smile]")
    eventually(lambda: signals(puppet)["smile"] > rest["smile"] + 0.2, "a smile")
    puppet.page.click("[data-preset=wink]")
    eventually(lambda: signals(puppet)["left_lid"] - signals(puppet)["right_lid"] > 0.2, "a wink")
    puppet.page.fill("#preset-name", "My wink")
    puppet.press("Enter")
    puppet.page.wait_for_selector("[data-preset='own:My wink']")
    puppet.page.emulate_media(reduced_motion="reduce")
    puppet.page.click("[data-preset=neutral]")
    assert puppet.page.input_value("#unit-eyeBlinkLeft") == "0", "at once for whoever wants no motion"
    eventually(lambda: abs(signals(puppet)["left_lid"] - signals(puppet)["right_lid"]) < 0.15, "both eyes open")
    puppet.page.reload()
    puppet.page.wait_for_selector(".avatar-choice")
    sliders_alone(puppet)
    puppet.page.click("[data-preset='own:My wink']")
    eventually(lambda: signals(puppet)["left_lid"] - signals(puppet)["right_lid"] > 0.2, "the remembered wink")
    puppet.page.click(".chip:has([data-preset='own:My wink']) .forget")
    assert puppet.page.query_selector("[data-preset='own:My wink']") is None
    assert puppet.page.evaluate("localStorage.getItem('headcast.presets')") == "[]"


def test_two_sides_move_together_until_they_are_taken_apart(puppet: Headcast) -> None:
    def sides() -> list[float]:
        return [float(puppet.page.input_value(f"#unit-eyeBlink{side}")) for side in ("Left", "Right")]

    move(puppet.page, "eyeBlinkLeft", 1.0)
    assert sides() == [1.0, 1.0]
    puppet.page.click("#puppet-link")
    move(puppet.page, "eyeBlinkRight", 0.0)
    assert sides() == [1.0, 0.0]
    eventually(lambda: signals(puppet)["left_lid"] - signals(puppet)["right_lid"] > 0.2, "one eye to be shut")


def test_what_was_stored_wrongly_is_left_out(blind_browser: Browser, server: ServerProcess) -> None:
    stored = (
        "[{label: 'fine', values: {jawOpen: 0.5}}, {label: 'far', values: {jawOpen: 9}}, {label: '', values: {}}, {label: 'x'.repeat(99), values: {}}, 7, null]"
    )
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url)
        headcast.page.add_init_script(f"localStorage.setItem('headcast.presets', JSON.stringify({stored}))")
        headcast.open()
        assert headcast.page.eval_on_selector_all("[data-preset^='own:']", "all => all.map(each => each.dataset.preset)") == ["own:fine"]
        assert headcast.complaints == []


def test_on_top_of_the_camera_and_back(headcast: Headcast) -> None:
    headcast.page.add_init_script(MIRROR_OFF)
    headcast.go_live()
    headcast.page.click("#puppet summary")
    headcast.page.wait_for_selector("#puppet-controls:enabled")
    headcast.page.evaluate("document.querySelectorAll('#units details').forEach((group) => (group.open = true))")
    move(headcast.page, "jawOpen", 0.8)
    headcast.page.click(".unit-row:has(#unit-jawOpen) .pin")
    assert headcast.page.get_attribute(".unit-row:has(#unit-jawOpen) .pin", "aria-pressed") == "true"
    eventually(lambda: signals(headcast)["mouth"] > 0.25, "the mouth to be held open, whatever the driver says")
    first = picture(headcast.page)
    eventually(lambda: np.abs(picture(headcast.page).astype(int) - first).mean() > 0.4, "the driver to move the rest")
    choose(headcast, "sliders")
    headcast.wait_phase("live")
    headcast.page.wait_for_selector("body:not([data-camera])")
    choose(headcast, "camera")
    headcast.page.wait_for_selector("body[data-camera]")
    headcast.wait_phase("live")
    headcast.wait_data("tracking", "ok")
    before = headcast.frames_shown()
    eventually(lambda: headcast.frames_shown() > before + 10, "frames driven by the camera again")
    assert headcast.complaints == []


def test_a_lost_connection_comes_back_with_the_pose(puppet: Headcast) -> None:
    move(puppet.page, "jawOpen", 0.7)
    puppet.wait_data("applied-pose", "1")
    puppet.page.evaluate("fetch('sessions/' + sessionStorage.getItem('headcast.session'), { method: 'DELETE' })")
    puppet.page.wait_for_selector("body:not([data-phase=live])")
    puppet.wait_phase("live")
    puppet.wait_picture()
    eventually(lambda: signals(puppet)["mouth"] > 0.2, "the mouth to be open again")


def test_another_avatar_takes_the_pose_over(puppet: Headcast) -> None:
    move(puppet.page, "jawOpen", 0.7)
    eventually(lambda: signals(puppet)["mouth"] > 0.2, "the mouth to open")
    puppet.press("2")
    puppet.page.wait_for_selector("body[data-applied-avatar]")
    eventually(lambda: signals(puppet)["mouth"] > 0.2, "the other avatar to open it too")
    assert float(puppet.page.input_value("#unit-jawOpen")) == pytest.approx(0.7)


def turning_video(path: Path, seconds: float = 3.0) -> tuple[float, float, float]:
    """Writes a film of a face; returns when (seconds) its head is turned most to one side and most to the other, and by how much (radians)."""
    frames: list[Image] = list(islice(face_frames(seconds), round(seconds * FPS)))
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 3_000_000
        stream.codec_context.options = {"deadline": "realtime", "cpu-used": "8"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    every = 8
    yaw = read_expressions(frames[::every], np.arange(0, len(frames), every) / FPS).values[:, SIGNALS.index("yaw")]
    low, high = int(np.nanargmin(yaw)), int(np.nanargmax(yaw))
    return (low * every + 0.5) / FPS, (high * every + 0.5) / FPS, float(yaw[high] - yaw[low])


def test_a_video_file_drives_without_a_camera(blind_browser: Browser, server: ServerProcess, tmp_path: Path) -> None:
    film = tmp_path / "film.webm"
    left_s, right_s, apart = turning_video(film)
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url)
        headcast.page.add_init_script(MIRROR_OFF)
        headcast.open()
        headcast.page.set_input_files("#file", film)
        headcast.page.wait_for_selector("#file-controls:not([hidden])")
        assert headcast.text("#file-name") == "film.webm"
        assert headcast.text("#power") == "Start video"
        headcast.start()
        headcast.wait_phase("live")
        headcast.wait_picture()
        headcast.wait_data("tracking", "ok")
        headcast.page.wait_for_timeout(1500)
        headcast.page.click("#file-play")
        seek = "(at) => { const seek = document.querySelector('#file-seek'); seek.value = String(at); seek.dispatchEvent(new Event('input')); }"
        headcast.page.evaluate(seek, left_s)
        headcast.page.wait_for_timeout(1800)
        left = signals(headcast)["yaw"]
        headcast.page.evaluate(seek, right_s)
        eventually(lambda: signals(headcast)["yaw"] - left > 0.3 * apart, "the avatar turns as the face in the film does")
        assert all(url.startswith((headcast.url + "/", "data:", "blob:")) for url in headcast.requests)
        choose(headcast, "camera")
        headcast.page.wait_for_selector("#toast:has-text('No camera found')")
        assert headcast.page.is_checked("#sources [value=file]"), "what cannot be used does not end what works"
        assert headcast.page.get_attribute("body", "data-phase") == "live"
        assert headcast.complaints == []


def test_a_file_that_is_no_video_is_refused(blind_browser: Browser, server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"not a film" * 100)
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        headcast.page.set_input_files("#file", tmp_path / "notes.mp4")
        headcast.page.wait_for_selector("#toast:has-text('This browser cannot play notes.mp4')")
        assert headcast.page.is_checked("#sources [value=camera]")
        assert headcast.page.is_hidden("#file-controls")


def test_whoever_has_no_camera_is_told_of_the_sliders_and_can_go_on(blind_browser: Browser, server: ServerProcess) -> None:
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        headcast.start()
        headcast.wait_phase("error")
        assert "sliders" in headcast.text("#message-text")
        choose(headcast, "sliders")
        headcast.wait_phase("idle")
        sliders_alone(headcast)


def test_with_the_keyboard_one_comes_past_the_file(blind_browser: Browser, server: ServerProcess) -> None:
    with blind_browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), server.url).open()
        headcast.page.focus("#sources [value=camera]")
        headcast.press("ArrowRight")
        assert headcast.page.is_checked("#sources [value=file]")
        assert headcast.page.is_visible("#file-choose")
        assert headcast.text("#power") == "Start camera", "until a file was chosen"
        headcast.press("ArrowRight")
        assert headcast.page.is_checked("#sources [value=sliders]")
        assert headcast.text("#power") == "Start sliders"
        assert headcast.page.is_hidden("#file-controls")
        assert headcast.complaints == []


def test_looks(puppet: Headcast, artefacts: Path) -> None:
    puppet.page.click("[data-preset=surprised]")
    puppet.page.wait_for_timeout(700)
    for screen, size in (("desktop", DESKTOP), ("phone", PHONE)):
        puppet.page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            puppet.page.emulate_media(color_scheme=scheme)
            puppet.page.evaluate("document.querySelector('#units').scrollIntoView({ block: 'center' })")
            puppet.page.wait_for_timeout(250)
            puppet.shoot(artefacts, f"{screen}-puppet-{scheme}")
        assert puppet.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    puppet.page.locator("#unit-jawOpen").evaluate("(slider) => slider.scrollIntoView({ block: 'center' })")
    stage = puppet.page.locator("#stage").bounding_box()
    assert stage is not None
    assert stage["y"] >= 0, "on a phone the avatar stays in sight while its sliders are moved"

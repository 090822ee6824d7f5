"""The live page: pictures move, every control reaches the server, nothing is left behind."""

from __future__ import annotations

import re

from tests.e2e.browser import Headcast, eventually
from tests.e2e.server_process import ServerProcess

NUMBER = re.compile(r"\d+(\.\d+)?")


def test_goes_live_and_the_avatar_moves(headcast: Headcast) -> None:
    headcast.go_live()
    before = headcast.frames_shown()
    eventually(lambda: headcast.frames_shown() > before + 30, "thirty more frames of the avatar")
    assert headcast.page.evaluate("document.querySelector('#avatar').videoWidth") == 512
    assert headcast.page.title() == "Live – Headcast"
    assert headcast.text("#announcer").startswith("Live")
    headcast.press("Escape")
    headcast.wait_phase("idle")
    assert headcast.page.title() == "Headcast"
    assert headcast.complaints == []


def test_asks_nobody_but_its_own_server(headcast: Headcast) -> None:
    headcast.go_live()
    foreign = [url for url in headcast.requests if not url.startswith((headcast.url + "/", "data:", "blob:"))]
    assert headcast.requests
    assert foreign == []


def test_the_server_hears_of_avatar_background_and_mirror(headcast: Headcast, server: ServerProcess) -> None:
    avatars = [avatar["id"] for avatar in server.get("/avatars")[1]["avatars"]]
    headcast.open()
    session = headcast.session_id()
    headcast.wait_phase("live")
    headcast.wait_data("applied-mirror", "true")
    for number, avatar in reversed(list(enumerate(avatars[:9], start=1))):
        headcast.press(str(number))
        headcast.wait_data("applied-avatar", avatar)
        assert server.get(f"/sessions/{session}/stats")[1]["avatar"] == avatar
    headcast.press("b")
    headcast.wait_data("applied-background", "gradient")
    headcast.page.click("label[title='Green, for keying']")
    headcast.wait_data("applied-background", "green")
    headcast.page.click(f".avatar-choice:nth-child({len(avatars)})")
    headcast.wait_data("applied-avatar", avatars[-1])
    headcast.press("m")
    headcast.wait_data("applied-mirror", "false")
    assert headcast.page.get_attribute("#mirror", "aria-pressed") == "false"


def test_remembers_what_was_chosen(headcast: Headcast, server: ServerProcess) -> None:
    last = server.get("/avatars")[1]["avatars"][-1]
    headcast.open()
    headcast.page.click(f".avatar-choice:has(input[value='{last['id']}'])")
    headcast.press("b")
    headcast.press("h")
    headcast.page.reload()
    headcast.page.wait_for_selector(".avatar-choice")
    assert headcast.page.is_checked(f"input[value='{last['id']}']")
    assert headcast.text("#avatar-name") == last["name"]
    assert headcast.text("#background-name") == "Blurred gradient"
    assert headcast.page.is_hidden("#preview")
    headcast.start()
    headcast.wait_data("applied-background", "gradient")
    headcast.wait_data("applied-avatar", last["id"])


def test_calibrates_after_a_countdown(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.wait_data("tracking", "ok")
    headcast.press("x")
    assert headcast.text("#count-number") == "2"
    headcast.page.wait_for_selector("#count-number:text-is('1')")
    headcast.page.wait_for_selector("#toast:has-text('Calibrated')")
    assert headcast.page.is_hidden("#count")


def test_finds_a_neutral_look_by_itself(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.press("f")
    headcast.page.wait_for_selector("#toast:visible")
    headcast.page.wait_for_timeout(3000)
    headcast.press("f")
    headcast.page.wait_for_selector("#toast:has-text('Found your neutral look')")
    headcast.press("?")
    assert "Find my neutral look" in headcast.text("#help-keys")


def test_expression_strength_reaches_the_server_and_is_remembered(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.wait_data("applied-gains", "brows=1 lids=1 mouth=1 head=1")
    headcast.page.focus("#strength summary")
    headcast.press("Enter")
    headcast.page.focus("#gain-mouth")
    for _ in range(4):
        headcast.press("ArrowRight")
    headcast.wait_data("applied-gains", "brows=1 lids=1 mouth=1.2 head=1")
    headcast.page.locator("#gain-head").fill("0")
    headcast.wait_data("applied-gains", "brows=1 lids=1 mouth=1.2 head=0")
    assert headcast.page.get_attribute("#gain-mouth", "aria-valuetext") == "120 %"
    headcast.press("m")
    headcast.wait_data("applied-mirror", "false")
    headcast.page.reload()
    headcast.page.wait_for_selector(".avatar-choice")
    assert headcast.text("#strength-note") == "Adjusted"
    headcast.start()
    headcast.wait_data("applied-gains", "brows=1 lids=1 mouth=1.2 head=0")
    headcast.page.click("#strength summary")
    headcast.page.click("#strength-reset")
    headcast.wait_data("applied-gains", "brows=1 lids=1 mouth=1 head=1")
    assert headcast.text("#strength-note") == "Natural"
    assert headcast.page.is_disabled("#strength-reset")
    assert headcast.complaints == []


def test_a_strength_that_makes_no_sense_is_forgotten(headcast: Headcast) -> None:
    headcast.page.add_init_script(
        "localStorage.setItem('headcast.settings', JSON.stringify({mirror: false, gains: {brows: 1, lids: '2', mouth: 1e9, head: null}}))"
    )
    headcast.open()
    assert [headcast.page.input_value(f"#gain-{group}") for group in ("brows", "lids", "mouth", "head")] == ["1"] * 4
    assert headcast.page.get_attribute("#mirror", "aria-pressed") == "false"


def test_numbers_are_numbers(headcast: Headcast) -> None:
    headcast.go_live()
    assert headcast.page.is_hidden("#hud")
    headcast.press("i")
    shown = ["fps-in", "fps-out", "fps-shown", "dropped", "stage-track", "stage-render", "latency", "round-trip", "ping", "sent-rate", "received-rate"]
    eventually(lambda: all(NUMBER.match(headcast.stat(name)) for name in shown), "a number everywhere")
    eventually(lambda: float(headcast.stat("fps-out")) > 0, "a frame rate of the avatar")
    eventually(lambda: "512×512" in headcast.stat("received"), "the size of the avatar's picture")
    assert re.match(r"(VP8|H264) \d+×\d+", headcast.stat("sent"))
    headcast.press("i")
    assert headcast.page.is_hidden("#hud")


def test_pauses_and_resumes(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.press("p")
    headcast.wait_phase("paused")
    assert headcast.page.evaluate("document.querySelector('#preview').srcObject.getVideoTracks()[0].enabled") is False
    headcast.page.click("#message-action")
    headcast.wait_phase("live")
    assert headcast.page.evaluate("document.querySelector('#preview').srcObject.getVideoTracks()[0].enabled") is True


def test_help_clean_view_and_escape(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.press("?")
    assert headcast.page.is_visible("#help")
    headcast.press("m")
    assert headcast.page.get_attribute("#mirror", "aria-pressed") == "true", "a dialog keeps the keys to itself"
    headcast.press("Escape")
    assert headcast.page.is_hidden("#help")
    headcast.press("v")
    assert headcast.page.is_hidden(".bar")
    headcast.press("Escape")
    assert headcast.page.is_visible(".bar")
    assert headcast.page.get_attribute("body", "data-phase") == "live", "Escape left the clean view only"
    headcast.press("Escape")
    headcast.wait_phase("idle")


def test_keys_are_left_to_fields(headcast: Headcast) -> None:
    headcast.open()
    headcast.page.focus("#camera")
    headcast.press("m")
    assert headcast.page.get_attribute("#mirror", "aria-pressed") == "true"


def test_stop_frees_the_session(headcast: Headcast, server: ServerProcess) -> None:
    headcast.open()
    session = headcast.session_id()
    headcast.wait_phase("live")
    assert server.get(f"/sessions/{session}/stats")[0] == 200
    headcast.page.click("#power")
    headcast.wait_phase("idle")
    eventually(lambda: server.get(f"/sessions/{session}/stats")[0] == 404, "the server to forget the session")
    assert headcast.page.evaluate("document.querySelector('#preview').srcObject") is None


def test_leaving_the_page_frees_the_session(headcast: Headcast, server: ServerProcess) -> None:
    headcast.open()
    session = headcast.session_id()
    headcast.wait_phase("live")
    headcast.page.goto("about:blank")
    eventually(lambda: server.get(f"/sessions/{session}/stats")[0] == 404, "the server to forget the session", timeout_s=5.0)


def test_the_camera_may_be_changed_while_live(headcast: Headcast) -> None:
    headcast.go_live()
    headcast.page.evaluate("document.querySelector('#camera').dispatchEvent(new Event('change'))")
    before = headcast.frames_shown()
    eventually(lambda: headcast.frames_shown() > before + 30, "the avatar to move on")
    assert headcast.page.get_attribute("body", "data-phase") == "live"
    assert headcast.page.evaluate("document.querySelector('#preview').srcObject.getVideoTracks()[0].readyState") == "live"


def test_a_remembered_camera_that_is_gone_is_no_error(headcast: Headcast) -> None:
    headcast.page.add_init_script("localStorage.setItem('headcast.settings', JSON.stringify({camera: 'f'.repeat(64)}))")
    headcast.go_live()

"""The page in Firefox: what WebRTC, codecs and the console make of it there."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.e2e.fake_camera import FPS, HEIGHT, WIDTH, face_frames
from tests.e2e.firefox import firefox
from tests.e2e.server_process import ServerProcess

NAMES = ("firefox-esr", "firefox")
COUNT = """(() => {
  const video = document.querySelector('video:not([hidden])');
  const count = () => { document.body.dataset.shown = Number(document.body.dataset.shown ?? 0) + 1; video.requestVideoFrameCallback(count); };
  video.requestVideoFrameCallback(count);
})()"""
MANY_SHOWN = "Number(document.body.dataset.shown) > 10"


@pytest.fixture
def executable() -> str:
    for name in NAMES:
        if path := shutil.which(name):
            return path
    if os.environ.get("CI", "").lower() == "true" or os.environ.get("HEADCAST_REQUIRE_FIREFOX") == "1":
        pytest.fail("the test with Firefox is required here and none is on the path")
    pytest.skip("no Firefox on the path")


def written(path: Path) -> Path:
    """A second of a moving face in a format that every Firefox plays."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 2_000_000
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for index, image in enumerate(face_frames(1.0)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_face_drives_another_avatar_is_worn_and_others_watch(executable: str, server: ServerProcess, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    with firefox(executable, profile) as page:
        page.open(server.url)
        page.wait_data("phase", "idle")
        page.click("#power")
        page.wait_data("phase", "live")
        page.wait_data("tracking", "lost")
        page.type("#file", str(written(tmp_path / "face.webm")))
        page.wait_data("source", "file")
        page.wait_data("tracking", "ok")
        page.evaluate(COUNT.replace("video:not([hidden])", "#avatar"))
        page.wait(MANY_SHOWN)
        page.press("2")
        page.wait_data("applied-avatar", "ama")
        name = page.evaluate("sessionStorage.getItem('headcast.session')")

        page.command("WebDriver:SwitchToWindow", {"handle": page.command("WebDriver:NewWindow", {"type": "window"})["handle"]})
        page.open(f"{server.url}/watch.html?session={name}")
        page.wait_data("phase", "live")
        page.evaluate(COUNT)
        page.wait(MANY_SHOWN)
        assert page.complaints(server.url) == []

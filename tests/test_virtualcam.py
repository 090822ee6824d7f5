"""`python -m realtime.virtualcam`, the local way: a video drives an avatar in this process, a fake camera keeps what comes out."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.yuv import planes
from realtime.backgrounds import GREEN
from realtime.errors import NotFound
from realtime.gallery import SHIPPED
from realtime.packets import Lock, Tracking
from realtime.virtualcam import __main__ as entry
from realtime.virtualcam import feed, local
from realtime.virtualcam import webcam as webcam_module
from realtime.virtualcam.device import DEVICE_HELP, VirtualCamera
from realtime.virtualcam.feed import DeviceError, Newest, Source
from realtime.virtualcam.local import LocalSource
from realtime.virtualcam.options import Options, Size
from realtime.virtualcam.picture import QUIET, SHAPE, Picture, card, colour_of
from realtime.virtualcam.webcam import WebcamFrame
from tests.clips import write_video
from tests.faces import moving_portrait
from tests.fakes import BRIGHT, DARK, DRIVEN_LUMA, PLACEHOLDER_LUMA, FakeFactory, read_stamp
from tests.virtual_camera import Machine, fake_backend, running

ROOT = Path(__file__).resolve().parents[1]
SIDE = 192
LOUD = (230, 20, 220)
"""What the fake webcam shows: a colour that no fake avatar has."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with fake_backend() as machine:
        yield machine


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras that went away are looked for more often."""
    for module in (feed, webcam_module):
        monkeypatch.setattr(module, "RETRY_S", 0.3)


@pytest.fixture
def webcam(tmp_path: Path) -> Path:
    """A second of video."""
    picture = np.full((120, 160, 3), LOUD, np.uint8)
    return write_video(tmp_path / "webcam.mp4", [picture] * 25)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> FakeFactory:
    """In the place of the real heavy side."""
    made = FakeFactory(SIDE)

    def make_source(options: Options, newest: Newest, say: object) -> Source:
        return LocalSource(options, made, "ada", newest, say)  # type: ignore[arg-type]

    monkeypatch.setattr(entry, "make_source", make_source)
    return made


def options(webcam: Path | str, **changes: object) -> Options:
    return Options(**{"camera": str(webcam), "size": Size(SIDE, SIDE), **changes})  # type: ignore[arg-type]


def is_driven(picture: Picture) -> bool:
    luma = planes(picture)[0]
    return luma[-1, 0] == DRIVEN_LUMA and read_stamp(luma) is not None


def is_resting(picture: Picture) -> bool:
    return bool((planes(picture)[0] == PLACEHOLDER_LUMA).all())


def is_card(picture: Picture) -> bool:
    return bool((picture == card(SIDE)).all())


def no_webcam_pixel(pictures: list[Picture]) -> bool:
    """All that was ever sent is made of what the fake avatar and the card are made of."""
    known = {DARK, BRIGHT, DRIVEN_LUMA, PLACEHOLDER_LUMA, *range(QUIET[0], SHAPE[0] + 1)}
    return all(set(np.unique(planes(picture)[0])) <= known and (picture[SIDE:] == 128).all() for picture in pictures)


def test_a_webcam_becomes_the_avatar(machine: Machine, factory: FakeFactory, webcam: Path) -> None:
    with running(machine, options(webcam, background="green", mirror=True)) as camera:
        camera.shows(is_driven, "the driven avatar")
    assert camera.codes == [0]
    assert (machine.format, machine.fps, machine.opened, machine.closed) == ("I420", 30, 1, 1)
    assert {picture.shape for picture in machine.pictures} == {(SIDE * 3 // 2, SIDE)}
    assert factory.made[0].calls[:2] == [("background", "green"), ("mirror", True)]
    assert factory.made[0].calls[-1] == "close"
    assert factory.made[0].shapes == {(120, 160, 3)}


def test_without_a_webcam_the_avatar_rests(machine: Machine, factory: FakeFactory) -> None:
    with running(machine, options("no-such-video.mp4")) as camera:
        camera.shows(is_resting, "the avatar at rest")
        camera.until(lambda: "no-such-video.mp4: expected a video" in camera.lines.text, "the reason")
        camera.until(lambda: "no picture from the webcam" in camera.lines.text, "the status")
    assert is_card(machine.pictures[0]) or is_resting(machine.pictures[0])
    assert no_webcam_pixel([*machine.pictures, *camera.newest.given])


def test_the_avatar_rests_when_the_video_ends_and_moves_when_it_begins_again(machine: Machine, factory: FakeFactory, webcam: Path) -> None:
    with running(machine, options(webcam)) as camera:
        camera.shows(is_driven, "the driven avatar")
        camera.until(lambda: "has ended" in camera.lines.text, "the end")
        camera.shows(is_resting, "the avatar at rest")
        camera.until(lambda: "the webcam is back" in camera.lines.text, "the video again")
        camera.shows(is_driven, "the driven avatar again")
    assert no_webcam_pixel([*machine.pictures, *camera.newest.given])


@pytest.mark.parametrize("tracking", [Tracking.OK, Tracking.LOST])
def test_errors_and_lost_faces_show_no_webcam_pixel(machine: Machine, factory: FakeFactory, webcam: Path, tracking: Tracking) -> None:
    factory.behaviours[0].crash = tracking is Tracking.OK
    factory.behaviours[0].tracking = tracking
    with running(machine, options(webcam)) as camera:
        camera.shows(is_resting if factory.behaviours[0].crash else is_driven, "an avatar")
        camera.until(lambda: len(machine.pictures) > 20, "some pictures")
    assert no_webcam_pixel([*machine.pictures, *camera.newest.given])


def test_whoever_is_not_the_owner_is_told_so(machine: Machine, factory: FakeFactory, tmp_path: Path) -> None:
    factory.behaviours[0].lock = Lock.REFUSED
    lasting = write_video(tmp_path / "lasting.mp4", [np.full((120, 160, 3), LOUD, np.uint8)] * 150)
    with running(machine, options(lasting)) as camera:
        camera.until(lambda: "locked to its owner; that is somebody else" in camera.lines.text, "the status")


@dataclass
class Capture:
    """In the place of OpenCV's: gives `frames` pictures and then fails, or hangs until the test ends."""

    frames: int
    hangs: bool = False
    present: bool = True
    opened: list[int] = field(default_factory=list)
    released: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)
    _left: int = 0

    def __call__(self, number: int) -> Capture:
        self.opened.append(number)
        self._left = self.frames
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.present

    def set(self, setting: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, Picture | None]:
        time.sleep(0.01)
        self._left -= 1
        if self._left < 0 and self.hangs:
            self.go_on.wait()
        return (True, np.full((48, 64, 3), LOUD[::-1], np.uint8)) if self._left >= 0 else (False, None)

    def release(self) -> None:
        self.released += 1


def test_a_webcam_that_is_unplugged_is_opened_again(machine: Machine, factory: FakeFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture(frames=20)
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    with running(machine, options("3")) as camera:
        camera.shows(is_driven, "the driven avatar")
        camera.until(lambda: "camera 3 gives no more pictures" in camera.lines.text, "the loss")
        capture.present = False
        camera.until(lambda: len(capture.opened) > 3, "more looks at the camera")
        camera.shows(is_resting, "the avatar at rest")
        capture.present = True
        camera.until(lambda: "the webcam is back" in camera.lines.text, "the webcam")
        camera.shows(is_driven, "the driven avatar")
    assert set(capture.opened) == {3}
    assert capture.released == len(capture.opened)
    assert no_webcam_pixel([*machine.pictures, *camera.newest.given])


def test_a_webcam_that_hangs_lets_the_avatar_rest(machine: Machine, factory: FakeFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture(frames=20, hangs=True)
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    monkeypatch.setattr(local, "SILENCE_S", 0.3)
    try:
        with running(machine, options("0")) as camera:
            camera.shows(is_driven, "the driven avatar")
            camera.until(lambda: "the webcam has gone quiet" in camera.lines.text, "the silence")
            camera.shows(is_resting, "the avatar at rest")
            capture.go_on.set()
    finally:
        capture.go_on.set()


def test_frames_of_a_webcam_are_rgb() -> None:
    frame = WebcamFrame(np.full((2, 2, 3), LOUD[::-1], np.uint8), True, 0.0, 0.0)
    assert frame.to_rgb()[0, 0].tolist() == list(LOUD)


def test_a_wide_camera_shows_the_avatar_in_its_middle(machine: Machine, factory: FakeFactory, webcam: Path) -> None:
    with running(machine, options(webcam, size=Size(320, SIDE), background="#102030")) as camera:
        camera.shows(lambda picture: is_driven(np.ascontiguousarray(picture[:, 64:256])), "the avatar")
    luma, blue, _ = planes(camera.last)
    assert luma.shape == (SIDE, 320)
    assert (luma[:, :64] == colour_of("#102030")[0]).all()
    assert (blue[:, 128:] == colour_of("#102030")[1]).all()


def test_a_camera_that_goes_away_comes_back(machine: Machine, factory: FakeFactory, webcam: Path) -> None:
    with running(machine, options(webcam)) as camera:
        camera.shows(is_driven, "the driven avatar")
        machine.unplug()
        camera.until(lambda: "is gone" in camera.lines.text, "the message")
        machine.present = True
        camera.until(lambda: "is back" in camera.lines.text, "the camera again")
        camera.shows(is_driven, "the driven avatar")
    assert (machine.opened, machine.closed) == (2, 2)


def test_without_a_camera_it_ends_and_says_what_to_install(machine: Machine, factory: FakeFactory, webcam: Path) -> None:
    machine.present = False
    with running(machine, options(webcam)) as camera:
        assert camera.ends() == 2
    assert DEVICE_HELP[platform.system()] in camera.lines.text
    assert factory.made == []


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DeviceError, match=r"pip install -e '\.\[virtualcam\]'"):
        VirtualCamera(Size(SIDE, SIDE), 30, None)


def test_a_camera_of_another_name_is_not_taken(machine: Machine) -> None:
    with pytest.raises(DeviceError, match="OBS Virtual Camera: there is no virtual camera"):
        VirtualCamera(Size(SIDE, SIDE), 30, "OBS Virtual Camera")


@pytest.mark.parametrize("when", ["warm_error", "create_error"])
def test_without_an_avatar_it_ends(machine: Machine, factory: FakeFactory, webcam: Path, when: str) -> None:
    setattr(factory.behaviours[0], when, NotFound("the avatar cannot be used: truncated"))
    with running(machine, options(webcam)) as camera:
        assert camera.ends() == 2
    assert "the avatar cannot be used: truncated" in camera.lines.text
    assert machine.closed == 1


def test_avatars_of_ones_own_and_of_the_studio_are_there(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, name in (("avatars", "anna"), ("studio/avatars", "berta")):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(SHIPPED / "theo.avatar", tmp_path / folder / f"{name}.avatar")
    with running(machine, options("0", avatar="nobody")) as camera:
        assert camera.ends() == 2
    assert "there are anna, berta, mara" in camera.lines.text


def test_ctrl_c_ends_it_cleanly() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from realtime.virtualcam.__main__ import main\n"
        "from tests.virtual_camera import fake_backend\n"
        "def interrupt(machine):\n"
        "    while len(machine.pictures) < 5: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "with fake_backend() as machine:\n"
        "    threading.Thread(target=interrupt, args=[machine]).start()\n"
        "    print(main(['--session', 'nobody-there']), machine.opened, machine.closed)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0 1 1\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_the_real_stages_show_the_avatar_and_not_the_webcam(machine: Machine, tmp_path: Path) -> None:
    webcam = write_video(tmp_path / "face.mp4", moving_portrait(75, 320))
    seen: set[bytes] = set()

    def moves() -> bool:
        if machine.pictures:
            seen.add(camera.last.tobytes())
        return len(seen) > 12

    with running(machine, options(webcam, avatar="mara", background="green")) as camera:
        camera.until(moves, "an avatar that moves", 90.0)
    assert no_alien_corner(machine.pictures)


def no_alien_corner(pictures: list[Picture]) -> bool:
    """The upper corners, which the webcam fills with a wall and a flag, are the card's or the background's plain green, but for the mark in luma."""
    luma, blue, red = colour_of(f"#{bytes(GREEN).hex()}")

    def plain(picture: Picture) -> bool:
        return all(
            np.abs(plane[: len(plane) // 8, side].astype(int) - level).max() <= most
            for plane, level, most in zip(planes(picture), (luma, blue, red), (8, 2, 2), strict=True)
            for side in (slice(0, len(plane) // 8), slice(-len(plane) // 8, None))
        )

    return all(plain(picture) for picture in pictures)

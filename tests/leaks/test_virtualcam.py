"""The webcam's barcode in the local virtual camera, `python -m realtime.virtualcam`: nothing that it is sent shows it, in no state."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.weights import weights_folder
from realtime.packets import RenderedFrame, Tracking, VideoPacket
from realtime.reenactor import LANDMARKER, StagedReenactor
from realtime.virtualcam import webcam as webcam_module
from realtime.virtualcam.options import Options, Size
from tests.clips import write_video
from tests.leaks.camera import Scene, pictures
from tests.leaks.outputs import Sight, leaks_in
from tests.virtual_camera import Machine, Picture, fake_backend, running

SIDE = 256
ENOUGH = 4
"""Pictures with the face, and without."""
SCENES = ((Scene.FACE, 60), (Scene.COVERED, 30))
"""What the webcam shows, and for how many pictures; then it is gone, and begins again."""

pytestmark = pytest.mark.skipif(not (weights_folder() / LANDMARKER).is_file(), reason="the face landmarker is not here; python -m models.weights fetch")


@pytest.fixture
def machine() -> Iterator[Machine]:
    with fake_backend() as machine:
        yield machine


@pytest.fixture
def webcam(tmp_path: Path) -> Path:
    shown = [scene_pictures[index % len(scene_pictures)] for scene, count in SCENES for scene_pictures in [pictures(scene, 320)] for index in range(count)]
    return write_video(tmp_path / "webcam.mp4", shown)


def rgb(picture: Picture) -> np.ndarray:
    return Sight("", 0.0, picture).rgb


def test_no_picture_of_the_local_virtual_camera_shows_the_webcam(machine: Machine, webcam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam_module, "RETRY_S", 0.3)
    stock, breaks, found = StagedReenactor.step, threading.Event(), Counter[Tracking]()

    def step(self: StagedReenactor, packet: VideoPacket) -> RenderedFrame:
        if breaks.is_set():
            raise RuntimeError("a fake crash")
        frame = stock(self, packet)
        found[frame.tracking] += 1
        return frame

    monkeypatch.setattr(StagedReenactor, "step", step)
    with running(machine, Options(camera=str(webcam), size=Size(SIDE, SIDE), avatar="mara")) as camera:
        camera.until(lambda: min(found[Tracking.OK], found[Tracking.LOST]) >= ENOUGH, "a face that is found and lost", 90.0)
        camera.until(lambda: "has ended" in camera.lines.text, "the end of the video", 60.0)
        camera.until(lambda: "the webcam is back" in camera.lines.text, "its beginning", 60.0)
        breaks.set()
        sent = len(machine.pictures)
        camera.until(lambda: len(machine.pictures) > sent + 15, "pictures although the avatar's work fails", 60.0)
        breaks.clear()
    assert len({picture.tobytes() for picture in camera.newest.given}) > ENOUGH, "the avatar moved"
    for given in (camera.newest.given, machine.pictures):
        assert leaks_in([rgb(picture) for picture in given]) == []

"""The thread that recognises people: in order, the newest look only, failing towards shut, and keeping nothing."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from models.baked import BakedAvatar
from models.errors import BadFile
from models.face_embedding import SIZE
from realtime.config import LockPolicy
from realtime.doorkeeper import Doorkeeper
from realtime.owner_lock import LockSettings
from realtime.packets import Lock, RenderedFrame, VideoPacket
from realtime.recognition import THREAD_NAME, Answer, Recogniser, installed_eyes
from realtime.reenactor import StageFactory
from tests.consents import agreed
from tests.faces import moving_portrait
from tests.test_face_embedding import mara

pytestmark = pytest.mark.beside

__all__ = ["mara"]
Image = NDArray[np.uint8]
ANNA, BEN = cast(BakedAvatar, "anna"), cast(BakedAvatar, "ben")
PATIENCE_S = 60.0


class Eyes:
    """Knows the avatar by name; a face's first pixel is its likeness in hundredths. Waits at the gate where it is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.log: list[object] = []
        self.error: Exception | None = None

    def learn(self, avatar: BakedAvatar) -> bool:
        self.log.append(avatar)
        return avatar is not BEN

    def likeness(self, face: Image) -> float:
        self.log.append(int(face[0, 0, 0]))
        assert self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return float(face[0, 0, 0]) / 100.0


def face(value: int) -> Image:
    return np.full((112, 112, 3), value, np.uint8)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def answered(recogniser: Recogniser, count: int) -> list[Answer]:
    answers: list[Answer] = []

    def enough() -> bool:
        answers.extend(recogniser.answers())
        return len(answers) >= count

    until(enough)
    return answers


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
def recogniser(eyes: Eyes) -> Iterator[Recogniser]:
    made = Recogniser(lambda: eyes)
    yield made
    eyes.gate.set()
    made.close()
    until(lambda: not threads())


def test_looks_are_answered_in_order_and_only_the_newest_that_waits(eyes: Eyes, recogniser: Recogniser) -> None:
    recogniser.know(ANNA)
    eyes.gate.clear()
    recogniser.show(face(10), 1.0)
    until(lambda: eyes.log == [ANNA, 10])
    for value in (20, 30, 40):
        recogniser.show(face(value), value / 10.0)
    eyes.gate.set()
    assert answered(recogniser, 2) == [Answer(0.1, 1.0), Answer(0.4, 4.0)]
    assert eyes.log == [ANNA, 10, 40]


def test_a_look_meant_for_another_avatar_is_not_answered(eyes: Eyes, recogniser: Recogniser) -> None:
    recogniser.know(ANNA)
    eyes.gate.clear()
    recogniser.show(face(90), 1.0)
    until(lambda: 90 in eyes.log)
    recogniser.know(cast(BakedAvatar, "cleo"))
    eyes.gate.set()
    recogniser.show(face(50), 2.0)
    assert answered(recogniser, 1) == [Answer(0.5, 2.0)]


def test_what_was_answered_for_another_avatar_is_forgotten(recogniser: Recogniser) -> None:
    recogniser.know(ANNA)
    recogniser.show(face(90), 1.0)
    until(lambda: len(cast(Any, recogniser)._answers) == 1)
    recogniser.know(cast(BakedAvatar, "cleo"))
    assert recogniser.answers() == []


def test_nobody_is_like_an_avatar_without_a_face(recogniser: Recogniser, caplog: pytest.LogCaptureFixture) -> None:
    recogniser.know(BEN)
    until(lambda: recogniser.failed)
    assert "shows no face that could be recognised" in caplog.text
    recogniser.show(face(90), 1.0)
    assert recogniser.answers() == []


def test_what_goes_wrong_is_said_once_and_shuts(eyes: Eyes, recogniser: Recogniser, caplog: pytest.LogCaptureFixture) -> None:
    eyes.error, before = RuntimeError("the network broke"), kept_faces()
    with caplog.at_level(logging.ERROR):
        recogniser.know(ANNA)
        recogniser.show(face(90), 1.0)
        until(lambda: recogniser.failed and not threads())
        recogniser.show(face(91), 2.0)
    assert len(caplog.records) == 1
    assert "nobody can be recognised" in caplog.text
    assert "RuntimeError: the network broke" in caplog.text
    assert recogniser.answers() == []
    eyes.error = None
    assert kept_faces() == before


def test_missing_weights_are_named_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("HEADCAST_WEIGHTS_DIR", str(tmp_path))
    recogniser = Recogniser(installed_eyes)
    until(lambda: recogniser.failed)
    assert "python -m models.weights fetch face_recognition_sface_2021dec.onnx" in caplog.text
    assert "Traceback" not in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_broken_network_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Eyes:
        raise BadFile("odd.onnx: expected the network SFace")

    recogniser = Recogniser(broken)
    until(lambda: recogniser.failed)
    assert "odd.onnx" in caplog.text


def kept_faces() -> int:
    """Upright faces and what networks make of them, wherever the process holds some."""
    gc.collect()
    held = {id(value): value for item in gc.get_objects() for value in gc.get_referents(item) if issubclass(type(value), np.ndarray)}
    return sum(value.shape in ((112, 112, 3), (SIZE,), (1, SIZE), (1, 3, 112, 112)) for value in held.values())


def test_kept_faces_are_found() -> None:
    before = kept_faces()
    keeper = {"face": face(1), "deeper": [np.zeros(SIZE, np.float32)]}
    assert kept_faces() == before + 2
    del keeper


def test_a_locked_avatar_in_the_real_live_loop(mara: BakedAvatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody real before a painted person's avatar: refused. Nothing of them is kept, written or logged."""
    locked = replace(mara, card=replace(mara.card, consent=agreed(own_driver_only=True)))
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    before = kept_faces()
    factory, frames = StageFactory(lambda _: locked, "mara", 256, lock=LockPolicy.CONSENTED), moving_portrait(25)
    reenactor = factory.create("mara")
    rest = reenactor.placeholder()
    assert rest.lock is Lock.WAITING
    reenactor.close()
    reenactor = factory._create("mara", Doorkeeper(LockPolicy.CONSENTED, settings=LockSettings(gap_s=PATIENCE_S)))  # whatever else this machine does
    shown: list[RenderedFrame] = []
    begin = time.monotonic()
    while not shown or (shown[-1].lock is Lock.WAITING and time.monotonic() - begin < PATIENCE_S):
        shown.append(reenactor.step(VideoPacket(frames[len(shown) % 25], time.monotonic(), time.monotonic())))
        time.sleep(0.01)
    assert shown[-1].lock is Lock.REFUSED
    assert all(np.array_equal(frame.i420, rest.i420) for frame in shown)
    reenactor.close()
    until(lambda: not threads())
    del reenactor
    assert kept_faces() == before
    assert list(tmp_path.iterdir()) == []
    assert "likeness" not in caplog.text
    assert not any(isinstance(argument, np.ndarray | float) for record in caplog.records for argument in (record.args or ()))

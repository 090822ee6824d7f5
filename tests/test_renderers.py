"""Renderers in processes of their own: what they are asked they do, and nothing that happens to one of them is left behind or reaches another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from realtime.errors import HeadcastError, NotFound, RendererLost, Unprocessable
from realtime.metrics import SessionMetrics
from realtime.packets import MAX_IMAGE_PIXELS, Calibration, DriveMode, GainGroup, Lock, Motion, PuppetPose, Tracking, UnitSetting, VideoPacket
from realtime.renderers.factory import RendererFactory
from realtime.renderers.frames import SharedFrames
from realtime.renderers.remote import Patience, RemoteReenactor
from realtime.renderers.serving import OUT_OF_MEMORY, RendererError
from realtime.worker import Worker
from tests.desks import Camera, Ear, until
from tests.fakes import UNITS, read_stamp
from tests.kitchens import FAULTS, cold, loading, recipe

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="renderers have processes of their own on Linux only")
SIZE = 96
PATIENCE = Patience(step_s=0.5, load_s=5.0)
DEADLY = {"kill": -signal.SIGKILL, "crash": -signal.SIGSEGV, "abort": -signal.SIGABRT, "exit": 3, "eat": OUT_OF_MEMORY}
STUCK = ("hang", "stop", "half", "huge", "garbage", "nonsense")


@dataclass
class Receiver:
    """Gets motions."""

    heard: list[tuple[object, Motion]] = field(default_factory=list)
    released: list[object] = field(default_factory=list)

    def send(self, owner: object, motion: Motion) -> None:
        self.heard.append((owner, motion))

    def release(self, owner: object) -> None:
        self.released.append(owner)


def path_of(avatar_id: str) -> Path:
    if avatar_id == "nobody":
        raise NotFound("no such avatar")
    return Path("/avatars") / avatar_id


@pytest.fixture(scope="module")
def factory() -> Iterator[RendererFactory]:
    factory = RendererFactory(lambda: recipe(SIZE), SIZE, path_of, patience=PATIENCE)
    factory.warm()
    yield factory
    factory.close()


@pytest.fixture
def reenactor(factory: RendererFactory) -> Iterator[RemoteReenactor]:
    reenactor = made(factory)
    yield reenactor
    reenactor.close()


def made(factory: RendererFactory, avatar_id: str = "ada") -> RemoteReenactor:
    reenactor = factory.create(avatar_id)
    assert isinstance(reenactor, RemoteReenactor)
    return reenactor


def packet(first: int = 7, pts_s: float = 1.5) -> VideoPacket:
    image = np.zeros((30, 40, 3), np.uint8)
    image[0, 0, 0] = first
    return VideoPacket(image, pts_s, 12.25)


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True) if process.status() != psutil.STATUS_ZOMBIE}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_frame_goes_there_and_the_avatar_comes_back(reenactor: RemoteReenactor) -> None:
    assert reenactor.pid not in (None, os.getpid())
    frame = reenactor.step(packet(pts_s=1.5))
    assert read_stamp(frame.i420[:SIZE]) == 1500
    assert frame.i420[0, :2].tolist() == [1, 7]
    assert (frame.pts_s, frame.received_at, frame.tracking) == (1.5, 12.25, Tracking.OK)
    assert set(frame.stage_ms) == {"track", "render", "hand_over"}
    again = reenactor.step(packet(first=9))
    assert (frame.i420[0, 0], again.i420[0, 0]) == (1, 2), "a picture is the session's own, and not written to again"
    at_rest = reenactor.placeholder()
    assert at_rest.tracking is Tracking.LOST
    assert read_stamp(at_rest.i420[:SIZE]) is None


def test_everything_that_a_session_asks_gets_there(reenactor: RemoteReenactor) -> None:
    assert reenactor.units == UNITS["ada"]
    same = reenactor.units
    reenactor.set_avatar("ada")
    assert reenactor.units is same
    reenactor.set_avatar("bo")
    assert (reenactor.avatar_id, reenactor.units) == ("bo", UNITS["bo"])
    reenactor.set_background("green")
    reenactor.set_mirror(True)
    reenactor.set_badge(False)
    reenactor.set_gain(GainGroup.HEAD, 0.5)
    reenactor.set_drive(DriveMode.OWN)
    reenactor.set_pose(PuppetPose((UnitSetting("jawOpen", 0.5, True),)))
    reenactor.calibrate(Calibration.NOW)


def test_what_cannot_be_done_is_told_and_the_renderer_goes_on(reenactor: RemoteReenactor) -> None:
    with pytest.raises(Unprocessable, match="not today"):
        reenactor.set_background("refuse")
    with pytest.raises(HeadcastError, match="come back later"):
        reenactor.set_background("put off")
    with pytest.raises(RendererError, match="a fake bug"):
        reenactor.set_background("fail")
    with pytest.raises(NotFound, match="no such avatar"):
        reenactor.set_avatar("nobody")
    with pytest.raises(NotFound, match="that file is gone"):
        reenactor.set_avatar("gone")
    assert reenactor.avatar_id == "ada"
    assert reenactor.step(packet()).i420[0, 0] == 1


def test_an_avatar_that_cannot_be_worn_at_first_leaves_no_renderer(factory: RendererFactory) -> None:
    before, open_files = children(), descriptors()
    for name in ("gone", "nobody"):
        with pytest.raises(NotFound):
            factory.create(name)
    assert children() == before
    assert descriptors() == open_files


def test_a_frame_of_any_size_is_read_up_to_the_largest() -> None:
    frames = SharedFrames(SIZE)
    frames.image(1, MAX_IMAGE_PIXELS)[:] = 200
    assert not frames.picture.any(), "webcam and avatar never overlap"
    for height, width in ((1, MAX_IMAGE_PIXELS + 1), (0, 5), (-4, -4)):
        with pytest.raises(ValueError, match="expected a frame"):
            frames.image(height, width)
    frames.close()
    frames.close()


def test_the_memory_cannot_be_made_smaller_by_the_other_side() -> None:
    frames = SharedFrames(SIZE)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(frames.fd, 16)
    frames.close()


@pytest.mark.parametrize("fault", [*DEADLY, *STUCK])
def test_whatever_happens_to_a_renderer_is_noticed_and_nothing_is_left(factory: RendererFactory, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    bystander = made(factory)
    before, open_files = children(), descriptors()
    victim = made(factory)
    with pytest.raises(RendererLost):
        victim.set_background(fault)
    with caplog.at_level("INFO"):
        victim.close()
    victim.close()
    ended = DEADLY.get(fault, -signal.SIGKILL)
    assert [record.getMessage() for record in caplog.records] == [f"a renderer has ended ({ended})"]
    with pytest.raises(RendererLost):
        victim.step(packet())
    assert bystander.step(packet()).i420[0, 0] == 1
    assert children() == before
    assert descriptors() == open_files
    bystander.close()


def test_a_dead_zygote_is_replaced_and_takes_its_renderers_with_it() -> None:
    factory = RendererFactory(lambda: recipe(SIZE), SIZE, path_of, patience=PATIENCE)
    factory.warm()
    before = descriptors()
    old = [made(factory), made(factory)]
    pids = [reenactor.pid for reenactor in old]
    assert factory.nursery.pid is not None
    os.kill(factory.nursery.pid, signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids if pid))
    for reenactor in old:
        with pytest.raises(RendererLost):
            reenactor.step(packet())
        reenactor.close()
    anew = made(factory)
    assert anew.step(packet()).i420[0, 0] == 1
    anew.close()
    assert descriptors() == before
    factory.close()
    with pytest.raises(RendererLost):
        factory.create("ada")


def test_what_is_loaded_in_advance_can_fail_in_any_way_and_makes_nobody_wait(tmp_path: Path) -> None:
    before = children()
    factory = RendererFactory(lambda: partial(loading, SIZE, tmp_path), SIZE, path_of)
    factory.warm()
    zygote = factory.nursery.pid
    last = tmp_path / "before hang"
    until(lambda: last.is_file() and len(last.read_text()) == 2)
    for _ in range(3):
        reenactor = made(factory)
        assert reenactor.step(packet()).i420[0, 0] == 1
        reenactor.close()
    assert factory.nursery.pid == zygote
    loaded = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert loaded == {f"before {name}": 2 for name in ("crash", "fail", "refuse", "exit", "eat", "hang")}, "each in a fork, and then for all"
    factory.close()
    until(lambda: children() == before)


def test_closing_ends_all_even_those_that_hang() -> None:
    before = children()
    factory = RendererFactory(lambda: recipe(SIZE), SIZE, path_of)
    factory.warm()
    stuck = made(factory)
    assert stuck.pid is not None
    os.kill(stuck.pid, signal.SIGSTOP)
    factory.close()
    until(lambda: children() == before)
    factory.close()


@pytest.mark.parametrize(("error", "expected"), [(NotFound("no weights; fetch them"), NotFound), (OSError("disk"), RendererError)])
def test_why_it_cannot_be_warm_is_told(error: Exception, expected: type[Exception]) -> None:
    factory = RendererFactory(lambda: partial(cold, error), SIZE, path_of)
    with pytest.raises(expected, match=str(error)):
        factory.warm()
    factory.close()


def test_the_drivers_motion_is_handed_on_and_released() -> None:
    receiver = Receiver()
    factory = RendererFactory(lambda: recipe(SIZE, with_motion=True), SIZE, path_of, receiver)
    factory.warm()
    reenactor = made(factory)
    reenactor.step(packet())
    assert [(owner, motion.weights.tolist()) for owner, motion in receiver.heard] == [(reenactor, [0.25])]
    assert receiver.released == []
    reenactor.set_avatar("cy")
    assert reenactor.step(packet()).lock is Lock.WAITING
    assert (len(receiver.heard), receiver.released) == (1, [reenactor]), "nobody that a locked avatar does not know is heard of"
    reenactor.close()
    assert receiver.released == [reenactor, reenactor]
    factory.close()


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_a_session_goes_on_after_its_renderer_is_lost(factory: RendererFactory, fault: str) -> None:
    worker = Worker(_Kept(factory))
    worker.start()
    ear, bystander, metrics = Ear(), Ear(), SessionMetrics()
    seat, other = worker.seat("ada", ear, metrics), worker.seat("bo", bystander, SessionMetrics())
    seat.offer(Camera())
    until(lambda: bool(ear.frames))
    rested = len(ear.placeholders)
    began = time.monotonic()
    seat.submit(_Fault(fault), lambda error: None)
    until(lambda: len(ear.placeholders) > rested)
    assert time.monotonic() - began < 1.5, "the avatar rests within a second, and some patience with this machine"
    until(lambda: ear.news == ["lost", "back"])
    other.offer(Camera())
    seat.offer(Camera())
    until(lambda: len(ear.frames) == 2 and bool(bystander.frames))
    assert (metrics.restarts, bystander.news) == (1, [])
    worker.close()
    assert not worker.busy


@dataclass(frozen=True)
class _Fault:
    name: str
    setting = None

    def apply(self, reenactor: object) -> None:
        assert isinstance(reenactor, RemoteReenactor)
        reenactor.set_background(self.name)


class _Kept:
    """A factory that is there already, and outlives its worker."""

    def __init__(self, factory: RendererFactory) -> None:
        self.create = factory.create

    def warm(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_renderer_lost_again_and_again_ends_its_session(factory: RendererFactory) -> None:
    worker = Worker(_Kept(factory))
    worker.start()
    ear = Ear()
    seat = worker.seat("ada", ear, SessionMetrics())
    until(lambda: bool(ear.placeholders))
    for _ in range(4):
        seat.submit(_Fault("kill"), lambda error: None)
    until(lambda: bool(ear.failures))
    assert isinstance(ear.failures[0], HeadcastError)
    assert ear.news == ["lost", "back"] * 3
    worker.close()


def test_every_fault_is_tried() -> None:
    assert {*DEADLY, *STUCK, "refuse", "put off", "fail"} == set(FAULTS)

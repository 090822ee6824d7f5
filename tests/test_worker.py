from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.control import Mirror, SetAvatar
from realtime.errors import NotFound
from realtime.metrics import SessionMetrics
from realtime.packets import RenderedFrame
from realtime.reenactor import Reenactor
from realtime.worker import MAX_COMMANDS, THREAD_NAME, Seat, Worker
from tests.fakes import Behaviour, FakeFactory


@dataclass
class Camera:
    """A webcam frame that remembers whether it was converted."""

    pts_s: float = 0.0
    received_at: float = field(default_factory=time.monotonic)
    converted: bool = False
    broken: bool = False

    def to_rgb(self) -> NDArray[np.uint8]:
        self.converted = True
        if self.broken:
            raise ValueError("a broken frame")
        return np.zeros((4, 4, 3), np.uint8)


@dataclass
class Ear:
    """Remembers what it was told, by whom."""

    frames: list[RenderedFrame] = field(default_factory=list)
    placeholders: list[RenderedFrame] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def on_frame(self, frame: RenderedFrame) -> None:
        self.threads.add(threading.current_thread().name)
        self.frames.append(frame)

    def on_placeholder(self, frame: RenderedFrame) -> None:
        self.placeholders.append(frame)

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


@dataclass
class Desk:
    """A worker driven by hand: no thread, a clock that stands still."""

    worker: Worker
    factory: FakeFactory
    now: float = 100.0

    def turn(self) -> Seat | None:
        """Lets whoever is next do one piece of work."""
        if not any(seat.has_work() for seat in self.worker._seats):
            return None
        seat = self.worker._next()
        assert seat is not None
        seat.work(lambda: self.now)
        return seat

    def rest(self) -> int:
        """Works until nothing is left; returns how many pieces there were."""
        return sum(1 for _ in iter(self.turn, None))


@pytest.fixture
def desk() -> Desk:
    factory = FakeFactory(size=96)
    return Desk(Worker(factory), factory)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(FakeFactory(size=96))
    worker.start()
    yield worker
    worker.close()


def test_heavy_work_runs_on_the_one_named_thread(worker: Worker) -> None:
    ear = Ear()
    seat = worker.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    until(lambda: len(ear.frames) == 1)
    assert ear.threads == {THREAD_NAME}


def test_the_newest_frame_wins_and_the_others_are_never_converted(desk: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = desk.worker.seat("ada", ear, metrics)
    desk.rest()
    cameras = [Camera(pts_s=float(index)) for index in range(10)]
    for camera in cameras:
        seat.offer(camera)
    assert desk.rest() == 1
    assert [frame.pts_s for frame in ear.frames] == [9.0]
    assert [camera.converted for camera in cameras] == [False] * 9 + [True]
    assert metrics.dropped_in == 9


def test_a_new_seat_shows_the_avatar_at_rest(desk: Desk) -> None:
    ear = Ear()
    desk.worker.seat("ada", ear, SessionMetrics())
    desk.rest()
    assert len(ear.placeholders) == 1
    assert not ear.frames


def test_seats_take_turns(desk: Desk) -> None:
    seats = [desk.worker.seat("ada", Ear(), SessionMetrics()) for _ in range(3)]
    desk.rest()
    order = []
    for _ in range(4):
        for seat in seats:
            seat.offer(Camera())
        served = desk.turn()
        assert served is not None
        order.append(seats.index(served))
    assert sorted(order[:3]) == [0, 1, 2]
    assert order[3] == order[0]


def test_commands_are_obeyed_in_order_before_the_next_frame(desk: Desk) -> None:
    ear = Ear()
    seat = desk.worker.seat("ada", ear, SessionMetrics())
    desk.rest()
    outcomes: list[Exception | None] = []
    seat.offer(Camera())
    seat.submit(SetAvatar("bo"), outcomes.append)
    seat.submit(SetAvatar("nobody"), outcomes.append)
    desk.turn()
    assert not ear.frames
    desk.rest()
    assert seat.avatar_id == "bo"
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NotFound)
    assert len(ear.frames) == 1


def test_while_live_a_command_does_not_flash_the_avatar_at_rest(desk: Desk) -> None:
    ear = Ear()
    seat = desk.worker.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    desk.rest()
    seat.submit(Mirror(True), lambda error: None)
    desk.rest()
    assert len(ear.placeholders) == 1
    desk.now += 1.0
    seat.submit(Mirror(True), lambda error: None)
    desk.rest()
    assert len(ear.placeholders) == 2


def test_too_many_commands_are_refused(desk: Desk) -> None:
    seat = desk.worker.seat("ada", Ear(), SessionMetrics())
    accepted = [seat.submit(Mirror(True), lambda error: None) for _ in range(MAX_COMMANDS + 5)]
    assert accepted == [True] * MAX_COMMANDS + [False] * 5


def test_a_pause_lets_frames_go_and_shows_the_avatar_at_rest(desk: Desk) -> None:
    ear = Ear()
    seat = desk.worker.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    desk.rest()
    seat.offer(Camera())
    seat.pause(True)
    seat.offer(Camera())
    desk.rest()
    assert len(ear.frames) == 1
    assert len(ear.placeholders) == 2
    seat.pause(False)
    seat.offer(Camera())
    desk.rest()
    assert len(ear.frames) == 2


def test_a_crash_shows_the_avatar_at_rest_counts_and_logs_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = desk.worker.seat("ada", ear, metrics)
    desk.rest()
    desk.factory.behaviours[0].crash = True
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            seat.offer(Camera())
            desk.rest()
    assert metrics.errors == 5
    assert len(caplog.records) == 1
    assert len(ear.placeholders) == 6
    desk.factory.behaviours[0].crash = False
    seat.offer(Camera(broken=True))
    desk.rest()
    assert metrics.errors == 6
    seat.offer(Camera())
    desk.rest()
    assert len(ear.frames) == 1


def test_a_crash_of_the_avatar_at_rest_too_is_survived(desk: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = desk.worker.seat("ada", ear, metrics)
    desk.factory.behaviours[0].crash = desk.factory.behaviours[0].crash_placeholder = True
    seat.offer(Camera())
    desk.rest()
    assert metrics.errors == 3
    assert not ear.frames


def test_one_crashing_seat_does_not_touch_the_other(desk: Desk) -> None:
    desk.factory.behaviours[:] = [Behaviour(crash=True), Behaviour()]
    ears, metrics = [Ear(), Ear()], [SessionMetrics(), SessionMetrics()]
    seats = [desk.worker.seat("ada", ear, each) for ear, each in zip(ears, metrics, strict=True)]
    for _ in range(4):
        for seat in seats:
            seat.offer(Camera())
        desk.rest()
    assert [len(ear.frames) for ear in ears] == [0, 4]
    assert [each.errors for each in metrics] == [4, 0]


def test_a_seat_whose_avatar_cannot_be_made_says_so_once(desk: Desk) -> None:
    desk.factory.behaviours[:] = [Behaviour(create_error=NotFound("gone"))]
    ear = Ear()
    seat = desk.worker.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    assert desk.rest() == 1
    assert [str(error) for error in ear.failures] == ["gone"]


def test_a_left_seat_gets_no_more_work(desk: Desk) -> None:
    ear = Ear()
    seat = desk.worker.seat("ada", ear, SessionMetrics())
    desk.rest()
    seat.offer(Camera())
    desk.worker.leave(seat)
    desk.worker.leave(seat)
    assert desk.rest() == 0
    assert not ear.frames


def test_what_a_left_seat_held_is_freed_by_the_worker(worker: Worker) -> None:
    factory = worker._factory
    assert isinstance(factory, FakeFactory)
    seats = [worker.seat("ada", Ear(), SessionMetrics()) for _ in range(2)]
    until(lambda: len(factory.made) == 2)
    worker.leave(seats[0])
    until(lambda: factory.made[0].calls == ["close"])
    assert factory.made[1].calls == []
    worker.close()
    assert factory.made[1].calls == ["close"]


def test_a_left_seat_holds_no_avatar_any_more(desk: Desk) -> None:
    seat = desk.worker.seat("ada", Ear(), SessionMetrics())
    desk.rest()
    seat.offer(Camera())
    avatar = weakref.ref(desk.factory.made.pop())
    assert avatar() is not None
    seat.close()
    seat.close()
    assert avatar() is None
    assert not seat.has_work()


def test_stages_and_queue_age_are_measured(desk: Desk) -> None:
    metrics = SessionMetrics()
    seat = desk.worker.seat("ada", Ear(), metrics)
    seat.offer(Camera(received_at=desk.now - 0.04))
    desk.rest()
    snapshot = metrics.snapshot(0.0)
    assert set(snapshot.stage_ms) == {"convert", "track", "render"}
    assert snapshot.queue_age_ms.p50 == pytest.approx(40.0, abs=0.1)


def test_the_thread_survives_a_failing_listener(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    class Deaf(Ear):
        def on_frame(self, frame: RenderedFrame) -> None:
            raise OSError("deaf")

    ear = Ear()
    first, second = worker.seat("ada", Deaf(), SessionMetrics()), worker.seat("ada", ear, SessionMetrics())
    first.offer(Camera())
    second.offer(Camera())
    until(lambda: len(ear.frames) == 1)
    assert [record.getMessage() for record in caplog.records] == ["a listener failed"]


def test_warm_and_failure_to_warm() -> None:
    good = Worker(FakeFactory())
    good.start()
    assert good.warmed.wait(5)
    assert good.warm
    assert good.failure is None
    bad = Worker(FakeFactory(behaviours=[Behaviour(warm_error=RuntimeError("no weights"))]))
    bad.start()
    assert bad.warmed.wait(5)
    assert not bad.warm
    assert str(bad.failure) == "no weights"
    for worker in (good, bad):
        worker.close()
        worker.close()


def test_closing_does_not_wait_for_a_stage_that_hangs() -> None:
    release = threading.Event()

    class Stuck(FakeFactory):
        def create(self, avatar_id: str) -> Reenactor:
            release.wait(10)
            return super().create(avatar_id)

    worker = Worker(Stuck())
    worker.start()
    worker.seat("ada", Ear(), SessionMetrics())
    worker.close(timeout_s=0.05)
    assert worker._thread.daemon
    release.set()
    worker.close()
    assert not worker._thread.is_alive()

"""Seats and the threads that serve them."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator

import pytest

from realtime.control import Mirror, SetAvatar
from realtime.errors import NotFound
from realtime.metrics import SessionMetrics
from realtime.packets import RenderedFrame, VideoPacket
from realtime.reenactor import Reenactor
from realtime.seat import MAX_COMMANDS
from realtime.worker import THREAD_NAME, Worker
from tests.desks import Camera, Desk, Ear, until
from tests.fakes import Behaviour, FakeFactory, FakeReenactor


@pytest.fixture
def desk() -> Desk:
    return Desk(FakeFactory(size=96))


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(FakeFactory(size=96))
    worker.start()
    yield worker
    worker.close()


def test_heavy_work_runs_on_a_named_thread_of_the_seat(worker: Worker) -> None:
    ears = [Ear(), Ear()]
    for ear in ears:
        worker.seat("ada", ear, SessionMetrics()).offer(Camera())
    until(lambda: all(ear.frames for ear in ears))
    assert [ear.threads for ear in ears] == [{THREAD_NAME}] * 2


def test_nobody_waits_for_a_seat_that_hangs() -> None:
    release = threading.Event()

    class Hanging(FakeReenactor):
        def step(self, packet: VideoPacket) -> RenderedFrame:
            release.wait(10)
            return super().step(packet)

    class First(FakeFactory):
        def create(self, avatar_id: str) -> Reenactor:
            return Hanging(Behaviour(), avatar_id, self.size) if avatar_id == "ada" else super().create(avatar_id)

    worker = Worker(First())
    worker.start()
    stuck, ear = Ear(), Ear()
    worker.seat("ada", stuck, SessionMetrics()).offer(Camera())
    free = worker.seat("bo", ear, SessionMetrics())
    for _ in range(3):
        before = len(ear.frames)
        free.offer(Camera())
        until(lambda: len(ear.frames) > before)  # noqa: B023
    assert not stuck.frames
    release.set()
    worker.close()


def test_the_newest_frame_wins_and_the_others_are_never_converted(desk: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = desk.seat("ada", ear, metrics)
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
    desk.seat("ada", ear, SessionMetrics())
    desk.rest()
    assert len(ear.placeholders) == 1
    assert not ear.frames


def test_commands_are_obeyed_in_order_before_the_next_frame(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
    desk.rest()
    outcomes: list[Exception | None] = []
    seat.offer(Camera())
    seat.submit(SetAvatar("bo"), outcomes.append)
    seat.submit(SetAvatar("nobody"), outcomes.append)
    seat.work()
    assert not ear.frames
    desk.rest()
    assert seat.avatar_id == "bo"
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NotFound)
    assert len(ear.frames) == 1


def test_while_live_a_command_does_not_flash_the_avatar_at_rest(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
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
    seat = desk.seat("ada", Ear(), SessionMetrics())
    accepted = [seat.submit(Mirror(True), lambda error: None) for _ in range(MAX_COMMANDS + 5)]
    assert accepted == [True] * MAX_COMMANDS + [False] * 5


def test_a_pause_lets_frames_go_and_shows_the_avatar_at_rest(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
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
    seat = desk.seat("ada", ear, metrics)
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
    seat = desk.seat("ada", ear, metrics)
    desk.factory.behaviours[0].crash = desk.factory.behaviours[0].crash_placeholder = True
    seat.offer(Camera())
    desk.rest()
    assert metrics.errors == 3
    assert not ear.frames


def test_one_crashing_seat_does_not_touch_the_other(desk: Desk) -> None:
    desk.factory.behaviours[:] = [Behaviour(crash=True), Behaviour()]
    ears, metrics = [Ear(), Ear()], [SessionMetrics(), SessionMetrics()]
    seats = [desk.seat("ada", ear, each) for ear, each in zip(ears, metrics, strict=True)]
    for _ in range(4):
        for seat in seats:
            seat.offer(Camera())
        desk.rest()
    assert [len(ear.frames) for ear in ears] == [0, 4]
    assert [each.errors for each in metrics] == [4, 0]


def test_a_seat_whose_avatar_cannot_be_made_says_so_once(desk: Desk) -> None:
    desk.factory.behaviours[:] = [Behaviour(create_error=NotFound("gone"))]
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    assert desk.rest() == 1
    assert [str(error) for error in ear.failures] == ["gone"]


def test_a_left_seat_gets_no_more_work(worker: Worker) -> None:
    ear = Ear()
    seat = worker.seat("ada", ear, SessionMetrics())
    until(lambda: len(ear.placeholders) == 1)
    worker.leave(seat)
    worker.leave(seat)
    until(lambda: not worker.busy)
    seat.offer(Camera())
    assert not seat.has_work()
    assert not ear.frames


def test_what_a_left_seat_held_is_freed_by_its_thread(worker: Worker) -> None:
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
    seat = desk.seat("ada", Ear(), SessionMetrics())
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
    seat = desk.seat("ada", Ear(), metrics)
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
    assert worker.busy
    release.set()
    until(lambda: not worker.busy)

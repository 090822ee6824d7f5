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

from realtime.control import Mirror, SetAvatar, SetBackground
from realtime.errors import NotFound, RendererLost
from realtime.metrics import SessionMetrics
from realtime.packets import PuppetPose, RenderedFrame, UnitSetting, VideoPacket
from realtime.reenactor import Reenactor
from realtime.seat import BACK_OFF_S, FORGIVEN_AFTER_S, MAX_COMMANDS, STALL_S, Seat
from realtime.worker import THREAD_NAME, Worker
from tests.fakes import Behaviour, FakeFactory, FakeReenactor


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
    news: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def on_frame(self, frame: RenderedFrame) -> None:
        self.threads.add(threading.current_thread().name)
        self.frames.append(frame)

    def on_placeholder(self, frame: RenderedFrame) -> None:
        self.placeholders.append(frame)

    def on_lost(self) -> None:
        self.news.append("lost")

    def on_back(self) -> None:
        self.news.append("back")

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
    """Seats whose work is done by hand: no thread, a clock that stands still."""

    factory: FakeFactory
    now: float = 100.0
    seats: list[Seat] = field(default_factory=list)

    def seat(self, avatar_id: str, listener: Ear, metrics: SessionMetrics) -> Seat:
        self.seats.append(Seat(self.factory, avatar_id, listener, metrics, lambda: self.now))
        return self.seats[-1]

    def rest(self) -> int:
        """Works until nothing is left; returns how many pieces there were."""
        pieces = 0
        while (seat := next((seat for seat in self.seats if seat.has_work()), None)) is not None:
            seat.work()
            pieces += 1
        return pieces


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


class Mortal(FakeFactory):
    """Its reenactors can be lost."""

    def lose(self) -> None:
        """The newest one answers nothing any more."""

        def gone(*_: object) -> None:
            raise RendererLost("it has ended")

        for name in ("step", "placeholder", "set_background", "set_avatar", "set_pose"):
            setattr(self.made[-1], name, gone)


@pytest.fixture
def mortal() -> Desk:
    return Desk(Mortal(size=96))


def lose(desk: Desk) -> None:
    assert isinstance(desk.factory, Mortal)
    desk.factory.lose()


def test_a_lost_renderer_is_replaced_and_set_as_the_old_one_was(mortal: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = mortal.seat("ada", ear, metrics)
    pose = PuppetPose((UnitSetting("jawOpen", 0.5, False),))
    for action in (SetBackground("green"), SetAvatar("bo"), Mirror(True), SetBackground("gradient")):
        seat.submit(action, lambda error: None)
    seat.pose(pose, 1.0)
    seat.offer(Camera())
    mortal.rest()
    shown = len(ear.placeholders)
    lose(mortal)
    seat.offer(Camera())
    seat.work()
    assert ear.news == ["lost"]
    assert len(ear.placeholders) == shown + 1, "the avatar rests at once, before there is a new renderer"
    assert mortal.factory.made[0].calls[-1] == "close"
    mortal.rest()
    assert ear.news == ["lost", "back"]
    anew = mortal.factory.made[1]
    assert anew.avatar_id == "bo"
    assert anew.calls == [("background", "gradient"), ("mirror", True), ("pose", ("jawOpen", 0.5, False))]
    assert (metrics.restarts, metrics.errors) == (1, 1)
    seat.offer(Camera())
    mortal.rest()
    assert len(ear.frames) == 2


def test_new_renderers_are_made_with_pauses_and_not_for_ever(mortal: Desk) -> None:
    ear = Ear()
    seat = mortal.seat("ada", ear, SessionMetrics())
    for pause_s in BACK_OFF_S:
        mortal.rest()
        lose(mortal)
        seat.offer(Camera())
        mortal.rest()
        assert seat.has_work() is False or pause_s == 0.0
        mortal.now += pause_s
        assert not ear.failures
    mortal.rest()
    assert len(mortal.factory.made) == 1 + len(BACK_OFF_S)
    lose(mortal)
    seat.offer(Camera())
    mortal.rest()
    assert len(ear.failures) == 1
    assert not seat.has_work()
    assert "again and again" in str(ear.failures[0])


def test_a_loss_long_ago_is_forgiven(mortal: Desk) -> None:
    ear = Ear()
    seat = mortal.seat("ada", ear, SessionMetrics())
    for _ in range(2 * len(BACK_OFF_S)):
        mortal.rest()
        lose(mortal)
        seat.offer(Camera())
        mortal.rest()
        mortal.now += FORGIVEN_AFTER_S + 1.0
    mortal.rest()
    assert not ear.failures
    assert ear.news == ["lost", "back"] * 2 * len(BACK_OFF_S)


def test_whoever_asked_a_lost_renderer_for_something_is_told(mortal: Desk) -> None:
    seat = mortal.seat("ada", Ear(), SessionMetrics())
    mortal.rest()
    lose(mortal)
    outcomes: list[Exception | None] = []
    seat.submit(SetBackground("green"), outcomes.append)
    mortal.rest()
    assert [type(outcome) for outcome in outcomes] == [RendererLost]
    assert mortal.factory.made[1].calls == [], "what failed is no setting"


def test_an_avatar_that_takes_too_long_rests_meanwhile(mortal: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = mortal.seat("ada", ear, metrics)
    mortal.rest()

    def slow(packet: VideoPacket) -> RenderedFrame:
        mortal.now += STALL_S / 2
        seat.watch()
        assert len(ear.placeholders) == 1
        mortal.now += STALL_S
        seat.watch()
        seat.watch()
        assert len(ear.placeholders) == 2
        return FakeReenactor.step(made, packet)

    made = mortal.factory.made[0]
    made.step = slow  # type: ignore[method-assign]
    seat.offer(Camera())
    mortal.rest()
    assert (len(ear.frames), metrics.stalls, metrics.errors) == (1, 1, 0)
    seat.watch()
    assert len(ear.placeholders) == 2


def test_nothing_that_was_asked_for_is_forgotten_where_a_pose_finds_the_renderer_lost(mortal: Desk) -> None:
    seat = mortal.seat("ada", Ear(), SessionMetrics())
    mortal.rest()
    lose(mortal)
    outcomes: list[Exception | None] = []
    seat.submit(SetBackground("green"), outcomes.append)
    seat.pose(PuppetPose((UnitSetting("jawOpen", 0.5, False),)), 1.0)
    mortal.rest()
    assert outcomes == [None]
    assert mortal.factory.made[1].calls == [("pose", ("jawOpen", 0.5, False)), ("background", "green")]


def test_a_look_at_what_has_just_ended_does_not_hide_what_has_just_begun(mortal: Desk) -> None:
    ear, metrics = Ear(), SessionMetrics()
    seat = mortal.seat("ada", ear, metrics)
    mortal.rest()
    times: list[float] = []

    def clock() -> float:
        """Between two words of `watch` the seat's thread ends one piece of work and begins another."""
        if times:
            mortal.now = times.pop()
            seat._busy_since_s = mortal.now
        return mortal.now

    seat._clock = clock
    seat._busy_since_s = mortal.now
    times.append(mortal.now + STALL_S + 0.1)
    seat.watch()
    mortal.now += STALL_S + 0.1
    stalls = metrics.stalls
    seat.watch()
    assert metrics.stalls == stalls + 1, "what began meanwhile is watched too"

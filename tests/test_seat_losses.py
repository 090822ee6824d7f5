"""A seat whose renderer is lost, or takes too long."""

from __future__ import annotations

import pytest

from realtime.control import Mirror, SetAvatar, SetBackground
from realtime.errors import RendererLost
from realtime.metrics import SessionMetrics
from realtime.packets import PuppetPose, RenderedFrame, UnitSetting, VideoPacket
from realtime.seat import BACK_OFF_S, FORGIVEN_AFTER_S, STALL_S
from tests.desks import Camera, Desk, Ear
from tests.fakes import FakeFactory, FakeReenactor


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

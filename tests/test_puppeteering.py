"""The way of a pose set by hand: from the control channel through the session and the worker to the picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from realtime.metrics import SessionMetrics
from realtime.pacing import Spacing
from realtime.packets import PuppetPose, UnitSetting
from realtime.reenactor import StagedReenactor
from realtime.session import Session, SessionState
from realtime.tracks import AvatarTrack
from tests.desks import Camera, Desk, Ear
from tests.fakes import Behaviour
from tests.peers import Peer, calling, house, until
from tests.test_reenactor import reenactor, stages
from tests.test_tracks import rendered
from tests.test_worker import desk

__all__ = ["desk", "reenactor", "stages"]
OPEN = PuppetPose((UnitSetting("jawOpen", 0.5, False),))
WIDE = PuppetPose((UnitSetting("jawOpen", 0.9, False),))


class Later:
    """Calls when a test says so."""

    def __init__(self) -> None:
        self.now = 10.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.waiting.append((self.now + seconds, function))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [each for each in self.waiting if each[0] <= self.now + 1e-9]
        self.waiting = [each for each in self.waiting if each not in due]
        for _, function in due:
            function()


def test_spacing_hands_on_the_first_at_once_and_then_the_newest_when_it_is_time() -> None:
    later, passed = Later(), list[int]()
    spacing = Spacing(0.1, passed.append, later, lambda: later.now)
    for number in range(50):
        spacing.offer(number)
    assert passed == [0]
    assert len(later.waiting) == 1
    later.advance(0.1)
    assert passed == [0, 49]
    later.advance(0.05)
    spacing.offer(50)
    assert passed == [0, 49], "too soon"
    later.advance(0.05)
    assert passed == [0, 49, 50]
    later.advance(1.0)
    spacing.offer(51)
    assert passed == [0, 49, 50, 51]
    assert not later.waiting


def test_a_pose_moves_the_avatar_and_each_avatar_has_units_of_its_own(reenactor: StagedReenactor) -> None:
    assert {unit.name for unit in reenactor.units} >= {"jawOpen", "headYaw", "gazePitch"}
    rest = reenactor.placeholder().params
    reenactor.set_pose(OPEN)
    shown = reenactor.placeholder().params
    assert rest is not None
    assert shown is not None
    assert shown.expression - rest.expression == pytest.approx((0.5, 0.0, 0.0))
    worn = reenactor.units
    reenactor.set_avatar("ada")
    assert reenactor.units is worn
    reenactor.set_avatar("bo")
    assert reenactor.units is not worn


def test_a_pose_is_shown_at_once_while_no_frame_comes_and_with_the_next_frame_while_they_do(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
    assert seat.units is None
    desk.rest()
    assert seat.units is not None
    seat.pose(OPEN, 100.0)
    desk.rest()
    assert [frame.received_at for frame in ear.placeholders] == [0.0, 100.0]
    seat.offer(Camera())
    desk.rest()
    seat.pose(WIDE, 100.0)
    desk.rest()
    assert len(ear.placeholders) == 2, "the next frame shows it"
    assert desk.factory.made[0].calls == [("pose", ("jawOpen", 0.5, False)), ("pose", ("jawOpen", 0.9, False))]


def test_of_many_poses_the_newest_is_taken(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
    desk.rest()
    for number in range(1000):
        seat.pose(PuppetPose((UnitSetting("jawOpen", number / 1000, False),)), 100.0)
    assert desk.rest() == 1
    assert desk.factory.made[0].calls == [("pose", ("jawOpen", 0.999, False))]
    assert len(ear.placeholders) == 2


def test_moved_by_hand_alone_frames_are_let_go_and_every_pose_shows(desk: Desk) -> None:
    ear = Ear()
    seat = desk.seat("ada", ear, SessionMetrics())
    seat.offer(Camera())
    desk.rest()
    seat.puppet(True)
    desk.rest()
    assert len(ear.placeholders) == 2, "the driver's last frame does not stay"
    camera = Camera()
    seat.offer(camera)
    seat.pose(OPEN, 100.0)
    desk.rest()
    assert len(ear.placeholders) == 3
    assert not camera.converted
    seat.puppet(False)
    seat.offer(Camera())
    desk.rest()
    assert len(ear.frames) == 2


def test_a_pose_of_one_seat_is_not_the_others(desk: Desk) -> None:
    one, two = (desk.seat("ada", Ear(), SessionMetrics()) for _ in range(2))
    desk.rest()
    one.pose(OPEN, 100.0)
    one.puppet(True)
    two.offer(Camera())
    desk.rest()
    made = {len(each.calls): each for each in desk.factory.made}
    assert sorted(made) == [0, 1], "one of the two was posed"
    assert made[0].shapes, "the other followed its camera"


async def test_a_posed_frame_is_timed_and_goes_on_its_own_clock() -> None:
    metrics, now = SessionMetrics(), [5.0]
    track = AvatarTrack(64, metrics, lambda: now[0])
    await track.recv()
    track.show(rendered(90, received_at=5.01), driven=False)
    now[0] = 5.03
    frame = await track.recv()
    assert frame.pts == pytest.approx(0.03 * 90_000, abs=1)
    assert metrics.latency_ms.percentiles().p50 == pytest.approx(20.0, abs=0.1)
    assert metrics.frames_out.total == 1


async def settled(session: Session, peer: Peer) -> None:
    await until(lambda: session.state in (SessionState.WARMING, SessionState.LIVE) and peer.of("units"))


async def test_without_a_camera_a_puppet_is_live_and_shows_its_poses() -> None:
    async with house() as server, calling() as peer:
        peer.connection.getSenders()[0].replaceTrack(None)
        session = await server.call(peer)
        await settled(session, peer)
        assert session.state is SessionState.WARMING
        peer.say({"type": "puppet", "enabled": True, "id": 1})
        await until(lambda: session.state is SessionState.LIVE)
        peer.say({"type": "pose", "offsets": {"jawOpen": 0.5}, "overrides": {"headYaw": -0.2}, "id": 2})
        await until(lambda: session.metrics.frames_out.total > 0)
        assert server.factory.made[0].calls == [("pose", ("jawOpen", 0.5, False), ("headYaw", -0.2, True))]
        assert [message["id"] for message in peer.of("ack")] == [1, 2]
        assert session.metrics.frames_in.total == 0
        assert 0.0 < session.metrics.latency_ms.percentiles().p50 < 1000.0


async def test_the_page_is_told_the_units_of_each_avatar_once() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await settled(session, peer)
        peer.say({"type": "mirror", "enabled": True, "id": 1})
        peer.say({"type": "set_avatar", "avatar": "bo", "id": 2})
        await until(lambda: len(peer.of("units")) == 2)
        ada, bo = peer.of("units")
        assert (ada["avatar"], bo["avatar"]) == ("ada", "bo")
        assert ada["units"] == [{"name": "jawOpen", "low": 0.0, "high": 1.0}, {"name": "headYaw", "low": -0.5, "high": 0.5}]
        assert bo["units"] == [{"name": "jawOpen", "low": 0.0, "high": 0.7}]


async def test_a_unit_that_the_avatar_does_not_have_is_refused() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await settled(session, peer)
        peer.say({"type": "pose", "offsets": {"jawOpen": 0.1, "wings": 1}, "id": 3})
        await until(lambda: peer.of("error"))
        assert peer.of("error") == [{"v": 1, "type": "error", "message": "expected units of this avatar, it has no wings", "of": "pose", "id": 3}]
        assert server.factory.made[0].calls == []


async def test_a_flood_of_poses_renders_no_faster_than_the_frame_rate_and_ends_at_the_newest() -> None:
    async with house() as server, calling() as peer, calling() as other:
        session, still = await server.call(peer), await server.call(other)
        await settled(session, peer)
        await settled(still, other)
        peer.say({"type": "puppet", "enabled": True})
        for number in range(1000):
            peer.say({"type": "pose", "offsets": {"jawOpen": number / 999}, "id": number})
        await until(lambda: len([message for message in peer.of("ack") if message["of"] == "pose"]) == 1000)
        posed = server.factory.made[0]
        await until(lambda: posed.calls and posed.calls[-1] == ("pose", ("jawOpen", 1.0, False)))
        assert len(posed.calls) < 500, "most were replaced before they were shown"
        assert peer.of("error") == []
        assert server.factory.made[1].calls == []
        assert still.state in (SessionState.WARMING, SessionState.LIVE)


async def test_from_sliders_back_to_the_camera() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.LIVE)
        peer.say({"type": "puppet", "enabled": True, "id": 1})
        await until(lambda: [message["id"] for message in peer.of("ack")] == [1])
        assert session.state is SessionState.LIVE
        peer.say({"type": "pause", "enabled": True})
        peer.say({"type": "pause", "enabled": False, "id": 2})
        await until(lambda: len(peer.of("ack")) == 3)
        assert session.state is SessionState.LIVE
        peer.say({"type": "puppet", "enabled": False})
        await until(lambda: [message["state"] for message in peer.of("state")][-2:] == ["warming", "live"])


def test_a_crash_while_posing_shows_the_avatar_at_rest(desk: Desk) -> None:
    desk.factory.behaviours[:] = [Behaviour(crash_placeholder=True)]
    metrics = SessionMetrics()
    seat = desk.seat("ada", Ear(), metrics)
    desk.rest()
    seat.pose(OPEN, 100.0)
    desk.rest()
    assert metrics.errors == 2
    assert np.isfinite(metrics.latency_ms.percentiles().p50)

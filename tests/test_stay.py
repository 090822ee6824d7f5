"""How long a session may stay, and how much it may say."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from realtime.inflow import MESSAGES, PATIENCE, Inflow, Verdict
from realtime.packets import Tracking
from realtime.session import SessionState
from realtime.stay import WARNED_S, End, Notice, Stay
from tests import fakes
from tests.peers import calling, house, until


def test_a_stay_without_limits_has_no_end() -> None:
    stay = Stay(0, 0, 0.0)
    assert [stay.look(now) for now in (0.0, 1e3, 1e7)] == [None] * 3


def test_who_does_not_move_is_warned_and_then_ended() -> None:
    stay = Stay(300, 0, 10.0)
    assert stay.look(10.0 + 300 - WARNED_S - 1) is None
    assert stay.look(10.0 + 300 - WARNED_S) == Notice(End.IDLE, WARNED_S)
    assert stay.look(10.0 + 300 - 5) is None, "told once"
    stay.stirred(306.0)
    assert stay.look(311.0) is None
    assert stay.look(306.0 + 300 - 30) == Notice(End.IDLE, 30.0), "and once more the next time"
    assert stay.look(606.0) == Notice(End.IDLE, 0.0)


def test_the_longest_stay_ends_whatever_is_done() -> None:
    stay = Stay(0, 40, 0.0)
    stay.stirred(19.0)
    assert stay.look(19.0) is None
    assert stay.look(20.0) == Notice(End.EXPIRED, 20.0), "of a short stay half"
    stay.stirred(39.0)
    assert stay.look(40.0) == Notice(End.EXPIRED, 0.0)


def test_a_steady_slider_is_heard_and_a_flood_is_told_once() -> None:
    inflow = Inflow(0.0)
    assert {inflow.judge(step / 120) for step in range(120 * 60)} == {Verdict.READ}
    flood = [inflow.judge(60.0 + step * 1e-4) for step in range(10_000)]
    assert flood.count(Verdict.READ) <= MESSAGES.burst + MESSAGES.per_s * 1.1
    assert flood.count(Verdict.TELL) == 1
    assert Verdict.LEAVE not in flood
    assert inflow.judge(70.0) is Verdict.READ, "and is heard again"


def test_who_goes_on_has_to_leave_and_who_calms_down_begins_anew() -> None:
    calm, raging = Inflow(0.0), Inflow(0.0)
    assert Verdict.LEAVE not in [calm.judge(0.0) for _ in range(PATIENCE)]
    assert [calm.judge(1.0 + step / 100) for step in range(1000)].count(Verdict.READ) == 1000
    assert Verdict.LEAVE not in [calm.judge(20.0) for _ in range(PATIENCE)]
    assert [raging.judge(step * 1e-4) for step in range(PATIENCE + 5000)][-1] is Verdict.LEAVE


@pytest.mark.parametrize(("limit", "why"), [({"idle_timeout": 1}, "idle"), ({"max_session_seconds": 1}, "expired")])
async def test_a_session_is_told_and_ends(limit: dict[str, int], why: str) -> None:
    factory = fakes.FakeFactory(128, [fakes.Behaviour(tracking=Tracking.LOST)])
    async with house(factory, fakes.config(size=128, **limit)) as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.CLOSED, 10)
        await until(lambda: [message["state"] for message in peer.of("state")][-2:] == [why, "stopped"], 3)
        assert [(message["why"], message["seconds"]) for message in peer.of("ending")] in ([(why, 0)], [])
        assert len(server.sessions) == 0


async def test_a_face_or_a_command_is_movement_and_a_ping_is_none() -> None:
    async with house(config=fakes.config(size=128, idle_timeout=2)) as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.LIVE)
        await asyncio.sleep(3.0)
        assert session.state is SessionState.LIVE
        assert peer.of("ending") == []
        server.factory.behaviours[0].tracking = Tracking.LOST
        for _ in range(7):
            peer.say({"type": "mirror", "enabled": True})
            await asyncio.sleep(0.4)
        assert session.state is SessionState.LIVE
        while len(server.sessions):
            peer.say({"type": "ping", "t": 1})
            await asyncio.sleep(0.1)
        await until(lambda: "idle" in [message["state"] for message in peer.of("state")])


async def test_a_flood_on_the_control_channel_is_answered_once_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handed to the session as its channel does; how fast a channel brings and takes messages is SCTP's affair."""
    async with house() as server, calling() as raging, calling() as other:
        session, calm = await server.call(raging), await server.call(other)
        await until(lambda: session.state is SessionState.LIVE and calm.state is SessionState.LIVE)
        said: list[str] = []
        monkeypatch.setattr(session, "_say", said.append)
        monkeypatch.setattr(session._channel, "say", said.append)
        for number in range(10_000):
            session._channel.hear(json.dumps({"v": 1, "type": "pose", "offsets": {"jawOpen": number / 9999}}))
        kinds = Counter(json.loads(message)["type"] for message in said)
        assert kinds["error"] == 1
        assert kinds["ack"] < MESSAGES.burst + 10 * MESSAGES.per_s
        assert len(server.sessions) == 2
        shown = calm.metrics.frames_out.total
        await until(lambda: calm.metrics.frames_out.total > shown + 5)
        for _ in range(PATIENCE + round(MESSAGES.burst)):
            session._channel.hear("{}")
        assert len(server.sessions) == 1
        other.say({"type": "mirror", "enabled": True, "id": 7})
        await until(lambda: [message["id"] for message in other.of("ack")] == [7])

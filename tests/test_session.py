from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import av
import pytest
from aiortc import VideoStreamTrack

from realtime import session as session_module
from realtime.access import Role
from realtime.config import Encoder
from realtime.errors import NotFound, ServerFull, Unprocessable
from realtime.packets import Lock, Tracking
from realtime.reenactor import Reenactor
from realtime.rtc import negotiation
from realtime.session import Session, SessionState
from tests import fakes
from tests.fakes import Behaviour, FakeFactory
from tests.peers import Peer, calling, house, until


@pytest.fixture(autouse=True)
def no_errors_are_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing dies silently, and nothing complains: no error of ours, no task whose exception nobody took."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR and "the avatar's work failed" not in record.getMessage()] == []


async def live(session: Session, peer: Peer) -> None:
    """Waits until frames flow and the control channel is open at both ends."""
    await until(lambda: session.state is SessionState.LIVE and peer.heard)


def tracking_is(peer: Peer, state: str) -> bool:
    told = peer.of("tracking")
    return bool(told) and told[-1]["state"] == state


async def test_from_new_to_live_to_paused_to_closed() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        assert session.state is SessionState.CONNECTING
        await live(session, peer)
        peer.say({"type": "pause", "enabled": True, "id": 5})
        await until(lambda: session.state is SessionState.PAUSED)
        peer.say({"type": "pause", "enabled": False})
        await until(lambda: session.state is SessionState.LIVE)
        await until(lambda: [message["state"] for message in peer.of("state")][-2:] == ["paused", "live"])
        await session.aclose()
        await session.aclose()
        assert session.stats()["state"] == "closed"
        await until(lambda: peer.of("state")[-1]["state"] == "stopped")
        assert [message["state"] for message in peer.of("state")][-4:] == ["live", "paused", "live", "stopped"]
        assert {"v": 1, "type": "ack", "of": "pause", "id": 5} in peer.heard
        assert len(server.sessions) == 0


async def test_tracking_is_told_at_the_start_and_on_change() -> None:
    behaviour = Behaviour()
    async with house(FakeFactory(128, [behaviour])) as server, calling() as peer:
        await server.call(peer)
        for tracking in (Tracking.OK, Tracking.MULTIPLE, Tracking.LOST):
            behaviour.tracking = tracking
            await until(partial(tracking_is, peer, tracking))
        told = [message["state"] for message in peer.of("tracking")]
        assert told[-3:] == ["ok", "multiple", "lost"]
        assert told[:-3] in ([], ["lost"])


def lock_is(peer: Peer, state: str) -> bool:
    told = peer.of("lock")
    return bool(told) and told[-1]["state"] == state


async def test_a_lock_is_told_on_change() -> None:
    behaviour = Behaviour(lock=Lock.WAITING)
    async with house(FakeFactory(128, [behaviour])) as server, calling() as peer:
        session = await server.call(peer)
        for lock in (Lock.WAITING, Lock.OPEN, Lock.REFUSED, Lock.OFF):
            behaviour.lock = lock
            await until(partial(lock_is, peer, lock))
        assert [message["state"] for message in peer.of("lock")] == ["waiting", "open", "refused", "off"]
        assert session.stats()["lock"] == "off"


@pytest.mark.parametrize("role", [Role.OWNER, Role.PUPPETEER])
async def test_only_the_owner_takes_the_badge_off(role: Role) -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        session.role = role
        await live(session, peer)
        peer.say({"type": "badge", "enabled": False, "id": 1})
        peer.say({"type": "badge", "enabled": "no", "id": 2})
        peer.say({"type": "mirror", "enabled": True, "id": 3})
        await until(lambda: any(message["id"] == 3 for message in peer.of("ack")))
        errors = {message["id"]: message["message"] for message in peer.of("error")}
        calls = list(server.factory.made[0].calls)
    assert errors.pop(2) == "enabled: expected true or false"
    if role is Role.OWNER:
        assert (calls, errors) == ([("badge", False), ("mirror", True)], {})
    else:
        assert (calls, errors) == ([("mirror", True)], {1: "only the owner of this server may take the badge off"})


async def test_commands_are_acknowledged_and_reach_the_reenactor() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        peer.say({"type": "calibrate", "id": 1})
        peer.say({"type": "set_background", "background": "green", "id": 2})
        peer.say({"type": "mirror", "enabled": False, "id": 3})
        peer.say({"type": "set_avatar", "avatar": "bo", "id": 4})
        peer.say({"type": "set_avatar", "avatar": "nobody", "id": 5})
        peer.say({"type": "drive", "mode": "relative", "id": 6})
        peer.say({"type": "ping", "t": 6.5})
        await until(lambda: len(peer.of("ack")) == 5 and peer.of("error") and peer.of("pong"))
        assert [message["id"] for message in peer.of("ack")] == [1, 2, 3, 4, 6]
        assert peer.of("error") == [{"v": 1, "type": "error", "message": "no such avatar", "of": "set_avatar", "id": 5}]
        assert peer.of("pong")[0]["t"] == 6.5
        assert server.factory.made[0].calls == [("calibrate", "now"), ("background", "green"), ("mirror", False), ("drive", "relative")]
        assert session.stats()["avatar"] == "bo"


async def test_calibration_and_gains_reach_the_reenactor_and_say_what_went_wrong() -> None:
    behaviour = Behaviour()
    async with house(FakeFactory(128, [behaviour])) as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        peer.say({"type": "calibrate", "mode": "best", "id": 1})
        peer.say({"type": "gain", "group": "mouth", "value": 1.2, "id": 2})
        peer.say({"type": "gain", "group": "ears", "value": 1, "id": 3})
        await until(lambda: len(peer.of("ack")) == 2 and peer.of("error"))
        behaviour.tracking = Tracking.LOST
        peer.say({"type": "calibrate", "mode": "best", "id": 4})
        await until(lambda: len(peer.of("error")) == 2)
        assert [message["id"] for message in peer.of("ack")] == [1, 2]
        assert peer.of("error") == [
            {"v": 1, "type": "error", "message": "group: expected one of brows, lids, mouth, head", "of": "gain", "id": 3},
            {"v": 1, "type": "error", "message": "no face was seen", "of": "calibrate", "id": 4},
        ]
        assert server.factory.made[0].calls == [("calibrate", "best"), ("gain", "mouth", 1.2)]


async def test_statistics_are_told_every_second_with_the_keys_of_the_route() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: peer.of("stats"))
        expected = set(session.stats()) | {"v", "type"}
        assert set(peer.of("stats")[0]) == expected
        assert {"session_id", "state", "avatar", "tracking", "uptime_s", "fps_in", "fps_out", "dropped", "stage_ms", "queue_age_ms", "latency_ms"} <= expected
        await until(lambda: "encode" in session.stats()["stage_ms"])


async def test_bad_messages_get_an_error_and_the_session_lives_on() -> None:
    from tests.test_control import BAD

    bad = [message for message in BAD if isinstance(message, str | bytes) and message and message != "\ud800"]
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        for message in bad:
            peer.say(message)
        await until(lambda: len(peer.of("error")) == len(bad))
        peer.say({"type": "calibrate", "id": 77})
        await until(lambda: [message["id"] for message in peer.of("ack")] == [77])
        assert session.state is SessionState.LIVE


async def test_a_second_control_channel_and_other_channels_are_closed() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        others = [peer.connection.createDataChannel(label) for label in ("control", "chat")]
        await until(lambda: all(channel.readyState == "closed" for channel in others))
        assert session.state is SessionState.LIVE


async def test_a_peer_that_says_goodbye_frees_its_slot() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        await peer.connection.close()
        await until(lambda: len(server.sessions) == 0)
        await until(lambda: session.state is SessionState.CLOSED)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of silence is enough."""
    monkeypatch.setattr(session_module, "SILENCE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(session_module, "REPORT_EVERY_S", 0.1)


@pytest.mark.usefixtures("impatient")
async def test_a_silent_peer_is_let_go() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        peer.connection.getSenders()[0].replaceTrack(None)
        await until(lambda: len(server.sessions) == 0)
        assert session.state is SessionState.CLOSED


@pytest.mark.usefixtures("impatient")
async def test_a_peer_without_a_camera_that_pings_is_kept() -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await live(session, peer)
        peer.connection.getSenders()[0].replaceTrack(None)
        for number in range(12):
            peer.say({"type": "ping", "t": number})
            await asyncio.sleep(0.1)
        assert len(server.sessions) == 1


async def test_a_peer_that_never_connects_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(session_module, "REPORT_EVERY_S", 0.1)
    async with house() as server, calling() as peer:
        await server.sessions.open(peer.sdp, "ada")
        assert len(server.sessions) == 1
        await until(lambda: len(server.sessions) == 0)


@pytest.mark.parametrize("pause_s", [0.0, 0.02, 0.1])
async def test_closing_in_the_middle_of_connecting(pause_s: float) -> None:
    async with house() as server, calling() as peer:
        session = await server.call(peer)
        await asyncio.sleep(pause_s)
        await asyncio.gather(session.aclose(), session.aclose())
        assert len(server.sessions) == 0


async def test_the_cap_holds_and_a_closed_session_frees_its_slot() -> None:
    async with house(config=fakes.config(size=128, max_sessions=1)) as server, calling() as first, calling() as second:
        session = await server.call(first)
        with pytest.raises(ServerFull):
            await server.sessions.open(second.sdp, "ada")
        await session.aclose()
        await server.call(second)
        assert len(server.sessions) == 1
        with pytest.raises(NotFound):
            server.sessions.get(session.id)


async def test_a_page_that_was_loaded_anew_takes_its_own_place_again() -> None:
    async with house(config=fakes.config(size=128, max_sessions=1)) as server, calling() as before, calling() as reloaded:
        old = await server.call(before)
        await live(old, before)
        new, answer = await server.sessions.open(reloaded.sdp, "ada", replaces=old.id)
        assert old.state is SessionState.CLOSED
        assert server.sessions.get(new.id) is new
        await reloaded.accept(answer)
        await live(new, reloaded)
        assert len(server.sessions) == 1
        await until(lambda: before.of("state")[-1]["state"] == "stopped")
        assert before.of("state")[-2]["state"] == "replaced", "it is not to come back"


async def test_an_offer_that_cannot_be_answered_replaces_nothing() -> None:
    async with house(config=fakes.config(size=128, max_sessions=1)) as server, calling() as peer, calling() as other:
        session = await server.call(peer)
        with pytest.raises(Unprocessable):
            await server.sessions.open("v=0", "ada", replaces=session.id)
        with pytest.raises(ServerFull):
            await server.sessions.open(other.sdp, "ada", replaces="unknown")
        await live(session, peer)


async def test_nothing_keeps_a_session_that_has_ended() -> None:
    async with house() as server:
        sessions = []
        for farewell in (True, False, True):
            async with calling() as peer:
                session = await server.call(peer)
                await live(session, peer)
                if farewell:
                    await session.aclose()
            await until(lambda: len(server.sessions) == 0)
            sessions.append(weakref.ref(session))
        del session, peer
        await asyncio.sleep(0.1)
        gc.collect()
        assert [each() for each in sessions] == [None] * 3


async def test_the_cap_holds_under_a_flood() -> None:
    async with house(config=fakes.config(size=128, max_sessions=3)) as server, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(calling()) for _ in range(10)]
        outcomes = await asyncio.gather(*(server.sessions.open(peer.sdp, "ada") for peer in peers), return_exceptions=True)
        assert sum(isinstance(outcome, ServerFull) for outcome in outcomes) == 7
        assert len(server.sessions) == 3


async def test_an_avatar_that_cannot_be_made_ends_the_session_with_a_word() -> None:
    release = threading.Event()

    class Late(FakeFactory):
        def create(self, avatar_id: str) -> Reenactor:
            release.wait(10)
            raise NotFound("the file is gone")

    async with house(Late(128)) as server, calling() as peer:
        await server.call(peer)
        await until(lambda: peer.of("state"))
        release.set()
        await until(lambda: peer.of("error"))
        assert peer.of("error")[0]["message"] == "the file is gone"
        await until(lambda: len(server.sessions) == 0)


async def test_an_avatar_that_fails_before_the_answer_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = negotiation.answer_offer

    async def slow(*arguments: Any) -> Any:
        await until(lambda: len(server.sessions) == 0)
        return await stock(*arguments)

    monkeypatch.setattr(session_module, "answer_offer", slow)
    async with house(FakeFactory(128, [Behaviour(create_error=NotFound("the file is gone"))])) as server, calling() as peer:
        with pytest.raises(NotFound, match="the file is gone"):
            await server.sessions.open(peer.sdp, "ada")


class ChangingCamera(VideoStreamTrack):
    """Another picture size every few frames, as a turned phone or a switched camera sends."""

    sizes = ((64, 48), (48, 64), (96, 96), (322, 182))

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(*self.sizes[self.count // 6 % len(self.sizes)], "yuv420p")
        self.count += 1
        frame.pts, frame.time_base = pts, time_base
        return frame


async def test_the_camera_may_change_its_size_in_mid_stream() -> None:
    async with house() as server, calling(camera=ChangingCamera()) as peer:
        session = await server.call(peer)
        await until(lambda: server.factory.made and len(server.factory.made[0].shapes) == 4)
        assert session.state is SessionState.LIVE
        assert session.metrics.errors == 0


async def test_an_audio_section_is_answered_as_inactive() -> None:
    async with house() as server, calling(audio=True) as peer:
        session = await server.call(peer)
        await live(session, peer)
        sections = re.split(r"(?=m=)", peer.connection.remoteDescription.sdp)[1:]
        assert [(part.split()[0], "a=inactive" in part) for part in sections] == [("m=video", False), ("m=audio", True), ("m=application", False)]


@pytest.mark.parametrize(("encoder", "first"), [(Encoder.AUTO, "H264"), (Encoder.VP8, "VP8"), (Encoder.X264, "H264")])
async def test_the_encoder_asked_for_decides_what_is_answered(encoder: Encoder, first: str) -> None:
    async with house(config=fakes.config(size=128, encoder=encoder)) as server, calling() as peer:
        session = await server.call(peer)
        video = peer.connection.remoteDescription.sdp.split("m=video")[1]
        assert re.findall(r"a=rtpmap:\d+ (\w+)/", video)[0] == first
        await until(lambda: session.state is SessionState.LIVE)


async def test_the_answer_holds_addresses_of_this_machine_only_and_no_names() -> None:
    async with house() as server, calling() as peer:
        _, answer = await server.sessions.open(peer.sdp, "ada")
        hosts = re.findall(r"a=candidate:\S+ \d udp \d+ (\S+) \d+ typ (\w+)", answer)
        assert ("127.0.0.1", "host") in hosts
        assert {kind for _, kind in hosts} == {"host"}
        assert not any(host.endswith(".local") for host, _ in hosts)


async def test_offers_that_cannot_be_answered_take_no_slot() -> None:
    async with house(config=fakes.config(size=128, encoder=Encoder.X264)) as server, calling() as peer:
        good = peer.sdp
        only_vp8 = re.sub(r"a=(rtpmap|fmtp|rtcp-fb):(99|100|101|102)[^\r]*\r\n", "", good)
        bad = ["nonsense", good.replace("m=video", "m=audio"), only_vp8, good.replace("a=rtcp-mux\r\n", ""), good.replace("a=fingerprint", "a=x")]
        bad += [
            good.replace("a=sendrecv", "a=sendonly"),
            good.replace("a=ice-pwd", "a=x"),
            good.replace("a=setup:actpass\r\n", ""),
            good + good[good.index("m=") :] * 5,
        ]
        bad += [good.replace("profile-level-id=42", "profile-level-id=64"), "", "v=0\r\n", "m=video x", good.replace("a=group:BUNDLE 0", "a=group:BUNDLE 9")]
        for sdp in bad:
            with pytest.raises(Unprocessable):
                await server.sessions.open(sdp, "ada")
        assert len(server.sessions) == 0
        await until(lambda: not server.worker.busy)

"""WHEP (draft-ietf-wish-whep): those who watch."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aioice import Connection
from aioice.ice import CandidatePair
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci

from realtime import viewer as viewer_module
from realtime.fanout import Broadcast
from realtime.rtc import liveness
from realtime.session import SessionState
from realtime.viewer import Viewer, ViewerTrack
from tests import fakes
from tests.peers import calling, until
from tests.relay import Path, relaying
from tests.test_signaling import problem_of
from tests.whip_client import FRAGMENT, NAME, OFFER, Client, Studio, as_obs_makes_it, offering, studio


@pytest.fixture(autouse=True)
def no_errors_are_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@asynccontextmanager
async def on_air(max_viewers: int = 8) -> AsyncIterator[Studio]:
    """A session driven by a camera over WHIP."""
    async with studio(fakes.config(size=192, max_viewers=max_viewers)) as house, offering("sendonly", "H264") as camera:
        assert (await house.publish(camera)).status == 201
        await until(lambda: house.session().state is SessionState.LIVE)
        yield house


def broadcast(house: Studio, codec: str = "VP8") -> Broadcast:
    return house.session().audience._fan_out.broadcast(codec)


async def sees(client: Client, pictures: int = 10) -> None:
    await until(lambda: len(set(client.seen)) >= pictures)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_viewer_sees_the_avatar(codec: str) -> None:
    async with on_air() as house, offering("recvonly", codec, audio=True) as viewer:
        response = await house.watch(viewer)
        assert response.status == 201
        assert response.content_type == "application/sdp"
        assert re.fullmatch(rf"/sessions/{NAME}/viewers/[\w-]{{20,}}", response.headers["Location"])
        answer = await response.text()
        sections = re.split(r"(?=m=)", answer)[1:]
        assert [(part[2:7], "a=sendonly" in part, "a=inactive" in part) for part in sections] == [("audio", False, True), ("video", True, False)]
        assert re.findall(r"a=rtpmap:\d+ (\w+)/", sections[1])[0] == codec
        await sees(viewer)
        assert viewer.seen == sorted(viewer.seen)
        assert house.session().stats()["viewers"] == 1
        assert (await house.http.delete(response.headers["Location"])).status == 200
        await problem_of(await house.http.delete(response.headers["Location"]), 404)
        await until(lambda: viewer.connection.connectionState == "closed")
        assert house.session().stats()["viewers"] == 0
        assert house.session().state is SessionState.LIVE


async def test_an_offer_as_bare_as_obs_makes_it_is_enough() -> None:
    async with on_air() as house, offering("recvonly", "H264", audio=True) as viewer:
        response = await house.http.post(f"/whep/{NAME}", data=as_obs_makes_it(viewer.sdp), headers=OFFER)
        await viewer.accept(await response.text())
        await sees(viewer)


async def test_three_viewers_cost_one_encode_a_picture() -> None:
    async with on_air() as house, AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(offering("recvonly", "VP8")) for _ in range(3)]
        for viewer in viewers:
            assert (await house.watch(viewer)).status == 201
        await asyncio.gather(*(sees(viewer, 5) for viewer in viewers))
        made, encoded = house.session().metrics.frames_in.total, broadcast(house).encoded
        starts = [len(viewer.stamps) for viewer in viewers]
        await until(lambda: broadcast(house).encoded >= encoded + 40)
        made, encoded = house.session().metrics.frames_in.total - made, broadcast(house).encoded - encoded
        assert encoded <= made + 2
        await asyncio.sleep(0.2)
        for viewer, start in zip(viewers, starts, strict=True):
            assert len(viewer.stamps) - start >= 36, "each sees every picture"


async def test_a_page_is_watched_and_does_not_notice() -> None:
    async with studio() as house, calling() as page, offering("recvonly", "H264") as viewer:
        answer = await (await house.http.post("/offer", json={"sdp": page.sdp, "type": "offer"})).json()
        await page.accept(answer["sdp"])
        session = house.session(answer["session_id"])
        await until(lambda: session.state is SessionState.LIVE and page.of("stats"))
        assert (await house.watch(viewer, session.id)).status == 201
        await sees(viewer)
        assert {"encode", "encode_viewers"} <= session.metrics.snapshot(0.0).stage_ms.keys()
        await until(lambda: page.of("stats")[-1]["viewers"] == 1)
        await page.connection.close()
        await until(lambda: viewer.connection.connectionState == "closed", 10)


async def test_viewers_end_with_their_session() -> None:
    async with on_air() as house, offering("recvonly") as viewer:
        location = (await house.watch(viewer)).headers["Location"]
        await sees(viewer, 3)
        audience = house.session().audience
        assert (await house.http.delete(f"/sessions/{NAME}")).status == 200
        await until(lambda: viewer.connection.connectionState == "closed")
        assert len(audience) == 0
        await problem_of(await house.http.delete(location), 404)
        await problem_of(await house.http.post(f"/whep/{NAME}", data=viewer.sdp, headers=OFFER), 404)
        await until(lambda: all(each._task is None for each in audience._fan_out._broadcasts.values()))


async def test_there_are_only_so_many_places_and_one_that_leaves_frees_its_own() -> None:
    async with on_air(max_viewers=1) as house, offering("recvonly") as first, offering("recvonly") as second:
        location = (await house.watch(first)).headers["Location"]
        response = await house.watch(second)
        await problem_of(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        await house.http.delete(location)
        assert (await house.watch(second)).status == 201
        await sees(second, 3)


async def test_a_viewer_that_never_connects_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_module, "CONNECT_TIMEOUT_S", 0.3)
    async with on_air() as house, offering("recvonly") as viewer:
        assert (await house.http.post(f"/whep/{NAME}", data=viewer.sdp, headers=OFFER)).status == 201
        assert len(house.session().audience) == 1
        assert broadcast(house).encoded == 0
        await until(lambda: len(house.session().audience) == 0)


async def test_a_viewer_that_vanishes_is_freed_within_five_seconds_and_the_others_see_on(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    freed: list[float] = []
    stock = Viewer.end

    def end(viewer: Viewer, reason: str) -> None:
        freed.append(loop.time())
        stock(viewer, reason)

    monkeypatch.setattr(Viewer, "end", end)
    async with on_air() as house, relaying() as relay, offering("recvonly", "VP8") as stays, offering("recvonly", "VP8") as vanishes:
        await house.watch(stays)
        response = await house.http.post(f"/whep/{NAME}", data=vanishes.sdp, headers=OFFER)
        await vanishes.accept(await relay.between(await response.text()))
        await asyncio.gather(sees(stays, 3), sees(vanishes, 3))
        relay.up = relay.down = Path(loss=1.0)
        gone_at, seen = loop.time(), len(stays.seen)
        await until(lambda: len(house.session().audience) == 1, 10)
        assert 2.0 < freed[0] - gone_at < 5.0
        assert len(stays.seen) - seen > 60, "thirty a second for three seconds, and the machine may be busy"
        await problem_of(await house.http.delete(response.headers["Location"]), 404)


async def test_a_viewer_whose_packets_are_all_lost_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets every RTP packet go, yet answers checks of consent and asks for keyframes as fast as it can."""
    async with on_air() as house, relaying() as relay, offering("recvonly", "VP8") as fast, offering("recvonly", "VP8") as deaf:
        await house.watch(fast)
        response = await house.http.post(f"/whep/{NAME}", data=deaf.sdp, headers=OFFER)
        await deaf.accept(await relay.between(await response.text()))
        await asyncio.gather(sees(fast, 3), sees(deaf, 3))
        relay.drop_down = lambda datagram: 127 < datagram[0] < 192
        sender = house.viewer(response.headers["Location"])._peer.getSenders()[0]
        made: list[float] = []
        start, blind = len(fast.seen), len(deaf.seen)
        gate = broadcast(house)._gate
        stock = gate.made

        def note(now_s: float) -> None:
            made.append(now_s)
            stock(now_s)

        monkeypatch.setattr(gate, "made", note)
        for _ in range(100):
            sender._send_keyframe()
            await asyncio.sleep(0.02)
        await until(lambda: len(fast.seen) - start >= 45)
        assert len(deaf.seen) - blind <= 2
        assert len(made) >= 2
        assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(made))
        assert len(house.session().audience) == 2


async def test_the_driver_and_fast_viewers_are_untouched_by_one_that_is_never_read_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a viewer's sender hung: its queue fills, is let go, and nobody waits for it."""
    async with studio() as house, calling() as page, offering("recvonly", "VP8") as fast, offering("recvonly", "VP8") as hung:
        answer = await (await house.http.post("/offer", json={"sdp": page.sdp, "type": "offer"})).json()
        await page.accept(answer["sdp"])
        session = house.session(answer["session_id"])
        await until(lambda: session.state is SessionState.LIVE)
        await house.watch(fast, session.id)
        location = (await house.watch(hung, session.id)).headers["Location"]
        await asyncio.gather(sees(fast, 3), sees(hung, 3))
        track = house.viewer(location)._peer.getSenders()[0].track
        assert isinstance(track, ViewerTrack)
        taken = []

        async def never() -> None:
            taken.append(1)
            await asyncio.Event().wait()

        monkeypatch.setattr(track, "recv", never)
        await until(lambda: taken)
        driver, seen = session.metrics.frames_out.total, len(fast.seen)
        await until(lambda: track._queue.lost > 0)
        await asyncio.sleep(1.0)
        assert track._queue.lost < 20, "it is let go once, not again and again"
        assert session.metrics.frames_out.total - driver > 20
        assert len(fast.seen) - seen > 20
        assert session.metrics.dropped_out < 10
        await until(lambda: session.state is SessionState.LIVE)


async def test_an_estimate_of_a_viewer_changes_nobodys_bitrate() -> None:
    async with on_air() as house, offering("recvonly", "VP8") as viewer:
        location = (await house.watch(viewer)).headers["Location"]
        await sees(viewer, 3)
        context = broadcast(house)._context
        sender = house.viewer(location)._peer.getSenders()[0]
        await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(64_000, [sender._ssrc])))
        await sees(viewer, len(set(viewer.seen)) + 10)
        assert broadcast(house)._context is context


async def test_bad_requests() -> None:
    async with on_air() as house, offering("recvonly", "VP8") as viewer, offering("sendonly", "VP8") as camera:
        good = viewer.sdp
        table = [
            (f"/whep/{NAME}", good, "application/json", 415),
            ("/whep/nobody-here", good, "application/sdp", 404),
            (f"/whep/{NAME}", "", "application/sdp", 400),
            (f"/whep/{NAME}", b"\xff\xff", "application/sdp", 400),
            (f"/whep/{NAME}", "a" * 70_000, "application/sdp", 413),
            (f"/whep/{NAME}", "nonsense", "application/sdp", 422),
            (f"/whep/{NAME}", camera.sdp, "application/sdp", 422),
            (f"/whep/{NAME}", good.replace("a=recvonly", "a=inactive"), "application/sdp", 422),
            (f"/whep/{NAME}", good.replace("VP8/90000", "VP9/90000"), "application/sdp", 422),
        ]
        for path, body, kind, status in table:
            await problem_of(await house.http.post(path, data=body, headers={"Content-Type": kind}), status)
        assert len(house.session().audience) == 0
        await problem_of(await house.http.delete(f"/sessions/{NAME}/viewers/nobody"), 404)
        await problem_of(await house.http.delete("/sessions/nobody-here/viewers/nobody"), 404)


async def test_a_viewers_candidates_may_come_later() -> None:
    async with on_air() as house, offering("recvonly", "VP8") as viewer:
        response = await house.watch(viewer)
        body, path = "a=candidate:1 1 udp 2122260223 127.0.0.1 4000 typ host\r\n", response.headers["Location"]
        assert (await house.http.patch(path, data=body, headers={**FRAGMENT, "If-Match": response.headers["ETag"]})).status == 204
        await problem_of(await house.http.patch(path, data=body, headers=FRAGMENT), 428)
        await problem_of(await house.http.patch(path, data=body, headers={**FRAGMENT, "If-Match": '"x"'}), 412)
        await problem_of(await house.http.patch(path, data=body, headers={**FRAGMENT, "If-Match": "*"}), 422)
        await sees(viewer, 3)


async def test_liveness_asks_where_nothing_comes() -> None:
    """A viewer that never reports but answers is there; one that does neither falls silent."""
    async with on_air() as house, offering("recvonly", "VP8") as viewer:
        location = (await house.watch(viewer)).headers["Location"]
        await sees(viewer, 3)
        peer = house.viewer(location)._peer
        now = [0.0]
        alive = liveness.Liveness(peer, lambda: now[0])
        alive._received = await liveness.received(peer)
        now[0] = 100.0
        assert await alive.silent_s() == 0.0
        connection = alive._connection
        assert connection is not None
        connection.remote_password = "wrong" * 5
        alive._received = await liveness.received(peer)
        now[0] = 107.0
        assert await alive.silent_s() == 7.0


async def test_contract_of_asking_for_consent() -> None:
    connection = Connection(ice_controlling=True)
    assert all(hasattr(connection, name) for name in liveness._ASKED_THROUGH)
    assert list(inspect.signature(connection.build_request).parameters) == ["pair", "nominate"]
    assert list(inspect.signature(CandidatePair).parameters)[:2] == ["protocol", "remote_candidate"]
    source = inspect.getsource(Connection.query_consent)
    assert "pair.protocol.request(" in source
    assert "retransmissions=0" in source
    await connection.close()


async def test_another_aioice_is_told_of(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video")
    monkeypatch.setattr(liveness, "_ASKED_THROUGH", ("nothing_of_that_name",))
    with caplog.at_level(logging.WARNING):
        silent = liveness.Liveness(peer, iter([0.0, 5.0]).__next__)
        assert await silent.silent_s() == 5.0
    assert len(caplog.records) == 1
    await peer.close()

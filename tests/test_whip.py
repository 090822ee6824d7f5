"""WHIP (RFC 9725): the camera of OBS and others."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from realtime.config import Encoder, IceServer
from realtime.session import SessionState
from tests import fakes
from tests.peers import calling, until
from tests.test_signaling import problem_of
from tests.whip_client import FRAGMENT, NAME, OFFER, Client, OwnKeyframes, Studio, as_obs_makes_it, offering, studio


@pytest.fixture(autouse=True)
def no_errors_are_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def live(house: Studio, name: str = NAME) -> None:
    await until(lambda: house.session(name).state is SessionState.LIVE)


def directions(sdp: str) -> list[tuple[str, str]]:
    """(kind, direction) of every section."""
    sections = re.split(r"(?=m=)", sdp)[1:]
    return [(part[2:7], re.findall(r"a=(sendrecv|sendonly|recvonly|inactive)\r", part)[0]) for part in sections]


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_an_offer_as_obs_makes_it_drives_an_avatar(codec: str) -> None:
    async with studio() as house, offering("sendonly", codec, audio=True) as obs:
        offer = as_obs_makes_it(obs.sdp)
        assert not re.search("candidate|extmap|rtcp-fb|rtx", offer)
        assert offer.index("a=ice-ufrag") < offer.index("m=")
        response = await house.publish(obs)
        assert response.status == 201
        assert response.content_type == "application/sdp"
        assert response.headers["Location"] == f"/sessions/{NAME}"
        assert re.fullmatch(r'"[\w-]+"', response.headers["ETag"])
        assert "Link" not in response.headers
        answer = await response.text()
        assert directions(answer) == [("audio", "inactive"), ("video", "recvonly")]
        assert "a=candidate" in answer
        assert "a=end-of-candidates" in answer
        await live(house)
        stats = await (await house.http.get(f"/sessions/{NAME}/stats")).json()
        assert stats["avatar"] == "ada"
        assert (await house.http.delete(response.headers["Location"])).status == 200
        await problem_of(await house.http.delete(response.headers["Location"]), 404)
        await until(lambda: obs.connection.connectionState == "closed")


async def test_what_is_sent_back_to_others_does_not_restrict_the_camera() -> None:
    async with studio(fakes.config(size=192, encoder=Encoder.VP8)) as house, offering("sendonly", "H264") as camera:
        assert (await house.publish(camera)).status == 201
        await live(house)


async def test_a_camera_with_keyframes_of_its_own_time_only_is_shown_from_its_next_one() -> None:
    """As OBS: the first keyframe is gone before DTLS is done, and no request brings another."""
    camera = OwnKeyframes(interval=60, lost=5)
    async with studio() as house, offering("sendonly", "H264", audio=True, camera=camera) as obs:
        await house.publish(obs)
        session = house.session()
        await until(lambda: session.metrics.frames_in.total > 0)
        assert camera.keyframes == 1
        await until(lambda: session.metrics.frames_in.total > 30)
        assert session.state is SessionState.LIVE


async def test_without_a_name_the_session_has_one_that_nobody_guesses() -> None:
    async with studio() as house, offering("sendonly", "VP8") as camera:
        location = (await house.publish(camera, "bo", name=None, obs=False)).headers["Location"]
        assert re.fullmatch(r"/sessions/[\w-]{20,}", location)
        await live(house, location.split("/")[-1])


async def test_nothing_is_sent_back_to_the_camera() -> None:
    async with studio() as house, offering("sendonly", "H264") as camera:
        await house.publish(camera)
        await live(house)
        [session] = house.sessions._sessions.values()
        assert [sender.track for sender in session._peer.getSenders()] == [None]
        assert session.metrics.dropped_out == 0


async def test_the_name_is_the_place_a_new_offer_takes_it_over() -> None:
    async with studio(fakes.config(size=192, max_sessions=1)) as house, offering("sendonly", "H264") as crashed, offering("sendonly", "H264") as again:
        await house.publish(crashed)
        await live(house)
        first = house.session()
        assert (await house.publish(again)).status == 201
        assert house.session() is not first
        assert len(house.sessions) == 1
        await live(house)
        await until(lambda: crashed.connection.connectionState == "closed")
        assert first.state is SessionState.CLOSED
        assert house.session().state is SessionState.LIVE


async def test_an_offer_that_cannot_be_answered_leaves_the_old_session_alone() -> None:
    async with studio() as house, offering("sendonly", "H264") as camera, offering("recvonly", "H264") as wrong:
        await house.publish(camera)
        first = house.session()
        await problem_of(await house.publish(wrong), 422)
        assert house.session() is first


async def test_a_full_server_says_when_to_come_back() -> None:
    async with studio(fakes.config(size=192, max_sessions=1)) as house, offering("sendonly") as first, offering("sendonly") as second:
        await house.publish(first)
        response = await house.publish(second, name="somebody-else")
        await problem_of(response, 503)
        assert int(response.headers["Retry-After"]) > 0


async def test_a_camera_that_falls_silent_ends_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.session.SILENCE_TIMEOUT_S", 0.5)
    monkeypatch.setattr("realtime.session.REPORT_EVERY_S", 0.1)
    async with studio() as house, offering("sendonly", "H264") as camera:
        await house.publish(camera)
        await live(house)
        for transceiver in camera.connection.getTransceivers():
            await transceiver.sender.stop()
        await until(lambda: len(house.sessions) == 0)


async def test_a_camera_that_sends_what_cannot_be_decoded_yet_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """OBS may be seconds from its next keyframe when it is connected."""
    monkeypatch.setattr("realtime.session.SILENCE_TIMEOUT_S", 0.5)
    monkeypatch.setattr("realtime.session.REPORT_EVERY_S", 0.1)
    monkeypatch.setattr("realtime.session.Session._on_camera_frame", lambda session, frame: None)
    async with studio() as house, offering("sendonly", "H264") as camera:
        await house.publish(camera)
        session = house.session()
        await until(lambda: session.metrics.frames_in.total > 40)
        assert house.session() is session


async def test_ice_servers_are_named_where_they_are_configured() -> None:
    servers = (IceServer("stun:127.0.0.1:9"), IceServer("turn:127.0.0.1:9", "a", "b"))
    async with studio(fakes.config(size=192, ice_servers=servers)) as house, offering("sendonly") as camera:
        response = await house.publish(camera)
        links = response.headers.getall("Link")
        assert [link.split(";")[0] for link in links] == ["<stun:127.0.0.1:9>", "<turn:127.0.0.1:9>"]
        assert all('rel="ice-server"' in link for link in links)


CANDIDATE = "a=candidate:1 1 udp 2122260223 127.0.0.1 {port} typ host\r\n"


def fragment_of(client: Client) -> str:
    """All its candidates, as a client sends those that it found later."""
    section = re.split(r"(?=m=)", client.sdp)[1]
    lines = re.findall(r"a=(?:ice-ufrag|ice-pwd|mid|candidate).*\r\n", section)
    order = ["a=ice-ufrag", "a=ice-pwd", "a=mid", "a=candidate"]
    lines.sort(key=lambda line: next(index for index, start in enumerate(order) if line.startswith(start)))
    return "".join(lines[:2]) + "m=video 9 UDP/TLS/RTP/SAVPF 0\r\n" + "".join(lines[2:]) + "a=end-of-candidates\r\n"


async def test_candidates_may_come_later() -> None:
    async with studio() as house, offering("sendonly", "VP8") as camera:
        response = await house.publish(camera)
        known = house.session()._peer.getTransceivers()[0].receiver.transport.transport
        headers = {**FRAGMENT, "If-Match": response.headers["ETag"]}
        fragment = fragment_of(camera) + CANDIDATE.format(port=4000)
        response = await house.http.patch(f"/sessions/{NAME}", data=fragment, headers=headers)
        assert response.status == 204
        assert "ETag" not in response.headers
        assert ("127.0.0.1", 4000) in {(each.ip, each.port) for each in known.getRemoteCandidates()}
        await live(house)


BAD_FRAGMENTS = {
    "nonsense": ("hello\r\n", 400),
    "nothing": ("  ", 400),
    "binary": (b"\xff\xfe\x00", 400),
    "a short candidate": ("a=candidate:1 1 udp\r\n", 400),
    "words for numbers": ("a=candidate:1 one udp many 127.0.0.1 port typ host\r\n", 400),
    "a restart": ("a=ice-ufrag:other\r\na=ice-pwd:" + "x" * 24 + "\r\n", 422),
    "too many": ("".join(CANDIDATE.format(port=1024 + number) for number in range(65)), 422),
    "a huge one": ("a=x:" + "y" * 70_000, 413),
}


@pytest.mark.parametrize(("fragment", "status"), BAD_FRAGMENTS.values(), ids=BAD_FRAGMENTS)
async def test_bad_fragments(fragment: str | bytes, status: int) -> None:
    async with studio() as house, offering("sendonly") as camera:
        headers = {**FRAGMENT, "If-Match": (await house.publish(camera)).headers["ETag"]}
        await problem_of(await house.http.patch(f"/sessions/{NAME}", data=fragment, headers=headers), status)
        await live(house)


async def test_candidates_that_cannot_be_used_are_let_go_without_a_word() -> None:
    useless = [
        "1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
        "2 1 udp 1 somebody.local 5000 typ host",
        "3 2 udp 1 127.0.0.1 5000 typ host",
        "4 1 udp 1 127.0.0.1 99999 typ host",
    ]
    async with studio() as house, offering("sendonly") as camera:
        headers = {**FRAGMENT, "If-Match": (await house.publish(camera)).headers["ETag"]}
        ice = house.session()._peer.getTransceivers()[0].receiver.transport.transport
        await live(house)
        before = len(ice.getRemoteCandidates())
        fragment = "".join(f"a=candidate:{each}\r\n" for each in useless) + "a= candidate:5 1 udp 1 somebody.local 5000 typ host\r\na=mid:nobody\r\n"
        assert (await house.http.patch(f"/sessions/{NAME}", data=fragment, headers=headers)).status == 204
        assert len(ice.getRemoteCandidates()) == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"Content-Type": "application/sdp", "If-Match": "{etag}"}, 415),
        (FRAGMENT, 428),
        ({**FRAGMENT, "If-Match": '"another"'}, 412),
        ({**FRAGMENT, "If-Match": "W/{etag}"}, 412),
        ({**FRAGMENT, "If-Match": "*"}, 422),
        ({**FRAGMENT, "If-Match": '"another", {etag}'}, 204),
    ],
)
async def test_conditions_of_a_patch(headers: dict[str, str], status: int) -> None:
    async with studio() as house, offering("sendonly") as camera:
        etag = (await house.publish(camera)).headers["ETag"]
        filled = {name: value.replace("{etag}", etag) for name, value in headers.items()}
        response = await house.http.patch(f"/sessions/{NAME}", data=CANDIDATE.format(port=4000).encode(), headers=filled)
        if status == 204:
            assert response.status == 204
        else:
            await problem_of(response, status)


async def test_bad_requests() -> None:
    async with studio() as house, offering("sendonly", "H264") as camera, offering("recvonly") as viewer, calling() as page:
        good = as_obs_makes_it(camera.sdp)
        table = [
            ("/whip/ada", good, "application/json", 415),
            ("/whip/ada", good, "text/plain", 415),
            ("/whip/nobody", good, "application/sdp", 404),
            ("/whip/ada?session=short", good, "application/sdp", 400),
            ("/whip/ada?session=" + "a" * 65, good, "application/sdp", 400),
            ("/whip/ada?session=../../etc", good, "application/sdp", 400),
            ("/whip/ada?session=", good, "application/sdp", 400),
            ("/whip/ada", "", "application/sdp", 400),
            ("/whip/ada", b"\xff\xff", "application/sdp", 400),
            ("/whip/ada", good, "application/sdp; charset=klingon", 400),
            ("/whip/ada", "a" * 70_000, "application/sdp", 413),
            ("/whip/ada", "nonsense", "application/sdp", 422),
            ("/whip/ada", viewer.sdp, "application/sdp", 422),
            ("/whip/ada", good.replace("a=sendonly", "a=inactive"), "application/sdp", 422),
            ("/whip/ada", good.replace("m=video", "m=audio"), "application/sdp", 422),
            ("/whip/ada", good.replace("H264/90000", "H265/90000"), "application/sdp", 422),
            ("/whip/ada", good.replace("a=fingerprint", "a=x"), "application/sdp", 422),
            ("/whip/ada", good + good[good.index("m=video") :].replace("a=mid:0", "a=mid:5"), "application/sdp", 422),
        ]
        for path, body, kind, status in table:
            detail = await problem_of(await house.http.post(path, data=body, headers={"Content-Type": kind}), status)
            assert "127.0.0.1" not in detail
        assert len(house.sessions) == 0
        assert (await house.http.post("/whip/ada", data=page.sdp, headers=OFFER)).status == 201, "sendrecv is answered as recvonly"


async def test_what_can_be_done_is_told_and_the_rest_refused() -> None:
    async with studio() as house:
        for path in ("/whip/ada", f"/whep/{NAME}"):
            response = await house.http.options(path)
            assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
            for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
                response = await house.http.request(method, path)
                assert response.status == 405
                assert response.headers["Allow"] == "OPTIONS,POST"
        for path in (f"/sessions/{NAME}", f"/sessions/{NAME}/viewers/somebody"):
            response = await house.http.options(path)
            assert (response.status, response.headers["Accept-Patch"]) == (200, "application/trickle-ice-sdpfrag")
            for method in ("GET", "HEAD", "PUT", "POST"):
                response = await house.http.request(method, path)
                assert response.status == 405
                assert response.headers["Allow"] == "DELETE,OPTIONS,PATCH"
            await problem_of(await house.http.patch(path, data="a=x", headers={**FRAGMENT, "If-Match": '"x"'}), 404)

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from realtime.sessions import Sessions
from realtime.signaling import MAX_BODY_BYTES, build_application
from realtime.worker import Worker
from tests import fakes
from tests.peers import calling, until

AiohttpClient = Callable[[web.Application], Awaitable[TestClient[Any, Any]]]


@dataclass
class Http:
    """A client of a server with room for one session."""

    client: TestClient[Any, Any]
    sessions: Sessions
    worker: Worker
    page: Path

    async def offer(self, body: object) -> ClientResponse:
        return await self.client.post("/offer", json=body)


@pytest.fixture
async def http(aiohttp_client: AiohttpClient, tmp_path: Path) -> AsyncIterator[Http]:
    config = fakes.config(size=128, max_sessions=1)
    worker = fakes.started_worker(fakes.FakeFactory(128))
    sessions = Sessions(config, worker)
    page = tmp_path / "web"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>Headcast</title>")
    (page / "app.js").write_text("export {};")
    (page / "parts" / "icon.svg").write_text("<svg/>")
    (page / ".hidden.html").write_text("hidden")
    (page / "notes.txt").write_text("not for the public")
    (tmp_path / "secret.html").write_text("outside")
    yield Http(await aiohttp_client(build_application(sessions, fakes.gallery("ada", "bo"), page)), sessions, worker, page)
    await sessions.aclose()
    worker.close()


async def problem_of(response: ClientResponse, status: int) -> str:
    """Checks that an answer is a problem; returns its detail."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["title"]
    assert 0 < len(body["detail"]) < 300
    return str(body["detail"])


async def test_offer_stats_delete(http: Http) -> None:
    async with calling() as peer:
        response = await http.offer({"sdp": peer.sdp, "type": "offer", "avatar": "bo"})
        assert response.status == 200
        answer = await response.json()
        assert set(answer) == {"sdp", "type", "session_id"}
        assert answer["type"] == "answer"
        assert len(answer["session_id"]) >= 20
        fragment = await http.client.patch(
            f"/sessions/{answer['session_id']}",
            data="a=mid:0\r\na=candidate:1 1 udp 2130706431 192.0.2.7 9 typ host\r\n",
            headers={"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": response.headers["ETag"]},
        )
        assert fragment.status == 204
        await peer.accept(answer["sdp"])
        url = f"/sessions/{answer['session_id']}"
        stats = await (await http.client.get(f"{url}/stats")).json()
        assert (stats["session_id"], stats["avatar"]) == (answer["session_id"], "bo")
        assert set(stats) == {
            *("session_id", "state", "avatar", "tracking", "lock", "viewers", "uptime_s", "uplink", "downlink"),
            *("fps_in", "fps_out", "dropped", "errors", "stage_ms", "queue_age_ms", "latency_ms"),
        }
        await until(lambda: peer.of("stats"))
        response = await http.client.delete(url)
        assert (response.status, await response.read()) == (204, b"")
        for gone in (await http.client.delete(url), await http.client.get(f"{url}/stats")):
            assert "no such session" in await problem_of(gone, 404)


async def test_full_and_free_again(http: Http) -> None:
    async with calling() as first, calling() as second:
        session_id = (await (await http.offer({"sdp": first.sdp, "type": "offer"})).json())["session_id"]
        assert (await http.client.get("/readyz")).status == 503
        refused = await http.offer({"sdp": second.sdp, "type": "offer"})
        assert "1 sessions are taken" in await problem_of(refused, 503)
        assert int(refused.headers["Retry-After"]) > 0
        await http.client.delete(f"/sessions/{session_id}")
        assert (await http.offer({"sdp": second.sdp, "type": "offer"})).status == 200


async def test_a_page_names_its_session_and_takes_the_place_of_the_one_before(http: Http) -> None:
    async with calling() as phone, calling() as again:
        for peer in (phone, again):
            response = await http.offer({"sdp": peer.sdp, "type": "offer", "session": "phone-0123"})
            assert (response.status, (await response.json())["session_id"]) == (200, "phone-0123")
        assert len(http.sessions) == 1
        await problem_of(await http.offer({"sdp": again.sdp, "type": "offer", "session": "another-name"}), 503)


async def test_a_reloaded_page_replaces_its_session(http: Http) -> None:
    async with calling() as first, calling() as second:
        session_id = (await (await http.offer({"sdp": first.sdp, "type": "offer"})).json())["session_id"]
        response = await http.offer({"sdp": second.sdp, "type": "offer", "replaces": session_id})
        assert response.status == 200
        assert (await http.client.get(f"/sessions/{session_id}/stats")).status == 404
        assert (await (await http.client.get("/readyz")).json())["sessions"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ("text", 400),
        ({}, 400),
        ({"sdp": "v=0"}, 400),
        ({"sdp": "v=0", "type": "answer"}, 400),
        ({"sdp": 5, "type": "offer"}, 400),
        ({"sdp": "", "type": "offer"}, 400),
        ({"sdp": ["v=0"], "type": "offer"}, 400),
        ({"sdp": "v=0", "type": "offer", "avatar": 1}, 400),
        ({"sdp": "v=0", "type": "offer", "replaces": 1}, 400),
        ({"sdp": "v=0", "type": "offer", "session": 1}, 400),
        ({"sdp": "v=0", "type": "offer", "session": "short"}, 400),
        ({"sdp": "v=0", "type": "offer", "session": "sessions/../name"}, 400),
        ({"sdp": "v=0", "type": "offer", "avatar": "nobody"}, 404),
        ({"sdp": "v=0", "type": "offer"}, 422),
        ({"sdp": "nonsense", "type": "offer"}, 422),
        ({"sdp": "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "type": "offer"}, 422),
        ({"sdp": "\ud800\0", "type": "offer"}, 400),
    ],
)
async def test_bad_offers(http: Http, body: object, status: int) -> None:
    await problem_of(await http.offer(body), status)
    assert len(http.sessions) == 0


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"NaN" * 2, b"[" * 60_000])
async def test_bodies_that_are_not_json(http: Http, data: bytes) -> None:
    await problem_of(await http.client.post("/offer", data=data, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("charset", ["klingon", "punycode", "idna", "utf-16"])
async def test_another_charset(http: Http, charset: str) -> None:
    """Of these, Python would take seconds to read 64 KB of some."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = await http.client.post("/offer", data=b"xn--" + b"a" * 60_000, headers=headers)
    assert "UTF-8" in str(await problem_of(answer, 400))


@pytest.mark.parametrize("kind", ["text/plain", "application/sdp", "multipart/form-data", "application/x-www-form-urlencoded"])
async def test_other_media_types(http: Http, kind: str) -> None:
    await problem_of(await http.client.post("/offer", data=b"{}", headers={"Content-Type": kind}), 415)


async def test_a_huge_body(http: Http) -> None:
    data = json.dumps({"sdp": "a" * MAX_BODY_BYTES, "type": "offer"}).encode()
    assert str(MAX_BODY_BYTES) in await problem_of(await http.client.post("/offer", data=data, headers={"Content-Type": "application/json"}), 413)


async def test_an_offer_without_video(http: Http) -> None:
    async with calling() as peer:
        assert "video" in await problem_of(await http.offer({"sdp": peer.sdp.replace("m=video", "m=audio"), "type": "offer"}), 422)


async def test_an_offer_with_other_codecs_only(http: Http) -> None:
    async with calling() as peer:
        sdp = peer.sdp.replace("VP8/90000", "VP9/90000").replace("H264/90000", "AV1/90000")
        assert "H264 or VP8" in await problem_of(await http.offer({"sdp": sdp, "type": "offer"}), 422)


async def test_an_error_never_repeats_the_offer(http: Http) -> None:
    detail = await problem_of(await http.offer({"sdp": "v=0\r\nc=IN IP4 198.51.100.77\r\n", "type": "offer"}), 422)
    assert "198.51" not in detail


async def test_avatars_and_thumbnails(http: Http) -> None:
    body = await (await http.client.get("/avatars")).json()
    assert body["default"] == "ada"
    assert [entry["id"] for entry in body["avatars"]] == ["ada", "bo"]
    entry = body["avatars"][0]
    assert {"id", "name", "description", "licence", "consent", "thumbnail"} <= set(entry)
    assert entry["consent"]["synthetic"] is True
    response = await http.client.get(entry["thumbnail"])
    assert (response.status, response.content_type, await response.read()) == (200, "image/png", fakes.PNG)
    again = await http.client.get(entry["thumbnail"], headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert (await http.client.get(entry["thumbnail"], headers={"If-None-Match": '"other"'})).status == 200
    await problem_of(await http.client.get("/avatars/nobody/thumbnail"), 404)


async def test_the_page_is_cached_but_asked_for_each_time(http: Http) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/app.js", "text/javascript"),
        ("/static/app.js", "text/javascript"),
        ("/parts/icon.svg", "image/svg+xml"),
    ):
        response = await http.client.get(path)
        assert (response.status, response.content_type) == (200, kind), path
        assert response.headers["Cache-Control"] == "no-cache"
        assert (await http.client.get(path, headers={"If-None-Match": response.headers["ETag"]})).status == 304


async def test_the_page_may_only_reach_its_own_server(http: Http) -> None:
    headers = (await http.client.get("/")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "camera=(self)" in headers["Permissions-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.html",
        "/notes.txt",
        "/parts",
        "/..%2fsecret.html",
        "/static/..%2f..%2fsecret.html",
        "/%2e%2e/secret.html",
        "/index.html%00",
        "/.hidden.html",
        "/" + "a" * 300 + ".html",
        "/static/",
    ],
)
async def test_nothing_else_is_served(http: Http, path: str) -> None:
    from yarl import URL

    await problem_of(await http.client.get(URL(path, encoded=True)), 404)


async def test_a_link_out_of_the_folder_is_not_followed(http: Http) -> None:
    (http.page / "out.html").symlink_to(http.page.parent / "secret.html")
    await problem_of(await http.client.get("/out.html"), 404)


async def test_a_wrong_method(http: Http) -> None:
    response = await http.client.put("/offer", json={})
    await problem_of(response, 405)
    assert "POST" in response.headers["Allow"]


async def test_without_a_page_the_rest_works(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    worker = Worker(fakes.FakeFactory())
    client = await aiohttp_client(build_application(Sessions(fakes.config(), worker), fakes.gallery(), tmp_path / "none"))
    await problem_of(await client.get("/"), 404)
    assert (await client.get("/healthz")).status == 200


async def test_a_bug_is_a_500_without_its_traceback(http: Http, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(self: Sessions) -> int:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Sessions, "__len__", broken)
    assert "secret" not in await problem_of(await http.client.get("/readyz"), 500)
    assert [record.getMessage() for record in caplog.records] == ["a request failed"]


async def test_the_page_for_obs_is_the_same_for_every_session(http: Http) -> None:
    (http.page / "obs.html").write_text("<!doctype html><title>OBS</title>")
    response = await http.client.get("/obs/whatever-name?background=transparent")
    assert (response.status, response.content_type) == (200, "text/html")
    assert "OBS" in await response.text()


async def test_a_link_as_a_qr_code(http: Http) -> None:
    response = await http.client.get("/qr.svg", params={"text": "https://192.168.1.2:5000/?session=phone-0123"})
    assert (response.status, response.content_type, response.headers["Cache-Control"]) == (200, "image/svg+xml", "no-store")
    assert (await response.text()).startswith("<svg")
    await problem_of(await http.client.get("/qr.svg"), 400)

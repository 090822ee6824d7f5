"""The server's health, readiness and numbers: judged from counters, told over HTTP."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from realtime import watch
from realtime.exposition import CONTENT_TYPE, Exposition, Numbers
from realtime.health import LAG_DEGRADED_S, LAG_WINDOW_S, RECENT_S, Health, History, Vitals
from realtime.health_http import REASONS
from realtime.metrics import BOUNDS_MS, SessionMetrics, Totals
from realtime.sessions import Sessions
from realtime.signaling import build_application
from realtime.worker import Worker
from tests import fakes
from tests.peers import calling, until
from tests.studios import studio_client

AiohttpClient = Callable[[web.Application], Awaitable[TestClient[Any, Any]]]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def judged(*looks: Vitals, every_s: float = 1.0) -> tuple[Health, tuple[str, ...]]:
    """What the last of several looks, so long one after the other, comes to."""
    history = History()
    for number, vitals in enumerate(looks):
        history.look(vitals, number * every_s)
    verdict = history.judge(looks[-1], (len(looks) - 1) * every_s)
    return verdict.health, verdict.reasons


@pytest.mark.parametrize(
    ("vitals", "health", "status"),
    [
        (Vitals(), Health.OK, 200),
        (Vitals(warm=False), Health.LOADING, 200),
        (Vitals(warm=False, failed=True), Health.ERROR, 503),
        (Vitals(alive=False), Health.ERROR, 503),
        (Vitals(studio=("the studio's disk is full",)), Health.DEGRADED, 200),
    ],
)
def test_what_a_single_look_says(vitals: Vitals, health: Health, status: int) -> None:
    verdict = History().judge(vitals, 0.0)
    assert (verdict.health, verdict.status) == (health, status)
    assert bool(verdict.reasons) == (health is not Health.OK)


@pytest.mark.parametrize("field", ["restarts", "stalls", "avatar_errors", "encoder_errors", "request_errors"])
def test_what_failed_is_a_reason_for_a_minute(field: str) -> None:
    before, after = (replace(Vitals(), **cast(dict[str, Any], {field: count})) for count in (5, 7))
    assert judged(before, before) == (Health.OK, ())
    health, (reason,) = judged(before, after)
    assert health is Health.DEGRADED
    assert reason.endswith("in the last minute: 2")
    assert judged(before, *([after] * 60))[0] is Health.DEGRADED
    assert judged(before, *([after] * 61))[0] is Health.OK


def test_a_history_keeps_a_minute_only() -> None:
    history = History()
    for number in range(10_000):
        history.look(Vitals(), number * 1.0)
        history.lag(0.0, number * 1.0)
    assert len(history._looks) <= RECENT_S + 1
    assert len(history._lags) <= LAG_WINDOW_S + 1


def test_a_loop_that_was_held_up_is_a_reason_for_ten_seconds() -> None:
    history = History()
    history.lag(0.9 * LAG_DEGRADED_S, 0.0)
    assert history.judge(Vitals(), 0.0).health is Health.OK
    history.lag(LAG_DEGRADED_S, 1.0)
    assert history.judge(Vitals(), 2.0).reasons == ("the event loop was held up for 0.2 s",)
    assert history.judge(Vitals(), 1.1 + LAG_WINDOW_S).health is Health.OK


def parsed(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_the_numbers_in_prometheus_format() -> None:
    session = SessionMetrics()
    for milliseconds in (0.2, 4.0, 4.5, 2000.0):
        session.stage("track", milliseconds)
    session.frames_in.tick(0.0)
    session.shown(1.0, 1.02)
    session.dropped_in, session.restarts, session.errors = 3, 2, 1
    totals = Totals()
    totals.add(session)
    numbers = Numbers(totals, Health.DEGRADED, {"live": 1}, 4, 2, 5, {"full": 7}, 0.125, {"queued": 2}, 1000)
    samples = parsed(Exposition().text(numbers))
    assert of(samples, "headcast_health", state="degraded") == 1
    assert of(samples, "headcast_health", state="ok") == 0
    assert of(samples, "headcast_sessions", state="live") == 1
    assert of(samples, "headcast_max_sessions") == 4
    assert of(samples, "headcast_viewers") == 2
    assert of(samples, "headcast_frames_in_total") == 1
    assert of(samples, "headcast_frames_out_total") == 1
    assert of(samples, "headcast_frames_dropped_total", reason="replaced_in") == 3
    assert of(samples, "headcast_errors_total", kind="avatar") == 1
    assert of(samples, "headcast_errors_total", kind="request") == 5
    assert of(samples, "headcast_renderer_restarts_total") == 2
    assert of(samples, "headcast_offers_refused_total", reason="full") == 7
    assert of(samples, "headcast_event_loop_lag_seconds") == 0.125
    assert of(samples, "headcast_studio_jobs", state="queued") == 2
    assert of(samples, "headcast_stage_seconds_bucket", stage="track", le="0.0005") == 1
    assert of(samples, "headcast_stage_seconds_bucket", stage="track", le="0.005") == 3
    assert of(samples, "headcast_stage_seconds_bucket", stage="track", le="1.0") == 3
    assert of(samples, "headcast_stage_seconds_count", stage="track") == 4
    assert of(samples, "headcast_stage_seconds_sum", stage="track") == pytest.approx(2.0087)
    assert of(samples, "headcast_latency_seconds_count") == 1
    assert len([name for name, _ in samples if name == "headcast_queue_age_seconds_bucket"]) == len(BOUNDS_MS) + 1
    assert any(name == "process_open_fds" for name, _ in samples)


@dataclass
class Http:
    client: TestClient[Any, Any]
    sessions: Sessions
    worker: Worker
    factory: fakes.FakeFactory

    async def health(self, status: int = 200) -> tuple[str, list[str]]:
        response = await self.client.get("/healthz")
        assert (response.status, response.headers["Cache-Control"]) == (status, "no-store")
        body = await response.json()
        assert set(body) == {"status", "reasons"}
        return body["status"], body["reasons"]

    async def ready(self, status: int) -> dict[str, Any]:
        response = await self.client.get("/readyz")
        assert (response.status, response.headers["Cache-Control"]) == (status, "no-store")
        return dict(await response.json())

    async def samples(self) -> Samples:
        response = await self.client.get("/metrics")
        assert (response.status, response.headers["Content-Type"]) == (200, CONTENT_TYPE)
        return parsed(await response.read())


@pytest.fixture
async def http(aiohttp_client: AiohttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    """A server with room for one session; nothing of its numbers is kept between two questions."""
    monkeypatch.setattr(watch, "TEXT_LASTS_S", 0.0)
    factory = fakes.FakeFactory(128)
    worker = fakes.started_worker(factory)
    sessions = Sessions(fakes.config(size=128, max_sessions=1), worker)
    yield Http(await aiohttp_client(build_application(sessions, fakes.gallery("ada", "bo"), tmp_path)), sessions, worker, factory)
    await sessions.aclose()
    worker.close()


async def test_health_and_readiness(http: Http) -> None:
    await until(lambda: http.worker.warm)
    assert await http.health() == ("ok", [])
    assert await http.ready(200) == {"ready": True, "warm": True, "stopping": False, "sessions": 0, "max_sessions": 1}
    http.worker.warm = False
    assert (await http.health())[0] == "loading"
    assert (await http.ready(503))["ready"] is False
    http.worker.failure = RuntimeError("the weights are missing from /secret/place")
    assert await http.health(503) == ("error", ["the renderer could not be started"])


async def test_a_full_and_a_stopping_server_are_healthy_but_not_ready(http: Http) -> None:
    await until(lambda: http.worker.warm)
    async with calling() as peer:
        _, answer = await http.sessions.open(peer.sdp, "ada")
        await peer.accept(answer)
        assert (await http.ready(503))["sessions"] == 1
        assert (await http.health())[0] == "ok"
    await http.sessions.aclose()
    assert await http.ready(503) == {"ready": False, "warm": True, "stopping": True, "sessions": 0, "max_sessions": 1}


async def test_an_engine_that_ended_is_an_error(http: Http) -> None:
    await until(lambda: http.worker.warm)
    http.worker.close()
    assert await http.health(503) == ("error", ["the renderer has ended"])


async def test_a_session_is_counted_and_never_named(http: Http) -> None:
    await until(lambda: http.worker.warm)
    async with calling() as peer:
        session, answer = await http.sessions.open(peer.sdp, "bo", name="my-own-name-0123")
        await peer.accept(answer)
        await until(lambda: session.metrics.frames_out.total > 3)
        async with calling() as other:
            assert (await http.client.post("/offer", json={"sdp": other.sdp, "type": "offer"})).status == 503
        assert (await http.client.post("/offer", json=[])).status == 400
        assert (await http.client.post("/whep/nobody-0123", data="")).status >= 400
        samples = await http.samples()
        text = (await (await http.client.get("/metrics")).text()) + str(await http.health())
    assert of(samples, "headcast_sessions", state="live") == 1
    assert of(samples, "headcast_frames_out_total") > 3
    assert of(samples, "headcast_stage_seconds_count", stage="render") > 3
    assert of(samples, "headcast_offers_refused_total", reason="full") == 1
    assert of(samples, "headcast_offers_refused_total", reason="malformed") == 1
    for hidden in ("my-own-name", session.tag, "nobody", "ada", 'bo"', "127.0.0.1", "candidate"):
        assert hidden not in text, hidden
    await http.sessions.aclose()
    ended = await http.samples()
    assert of(ended, "headcast_sessions_opened_total") == 1
    assert of(ended, "headcast_frames_out_total") >= of(samples, "headcast_frames_out_total")


async def test_labels_do_not_grow_with_what_clients_send(http: Http) -> None:
    before = {key for key in await http.samples() if key[0].startswith("headcast_offers")}
    for path in ("/offer", "/whip/a", "/whip/b", "/whep/c", "/whep/../x", "/offer/d"):
        await http.client.post(path, data=path, headers={"X-Forwarded-For": path})
    after = {key for key in await http.samples() if key[0].startswith("headcast_offers")}
    reasons = {dict(labels).get("reason", "") for _, labels in after - before}
    assert reasons <= {*REASONS.values(), "other"}


async def test_errors_degrade(http: Http) -> None:
    await until(lambda: http.worker.warm)
    await asyncio.sleep(1.2)
    http.factory.behaviours[0].crash = True
    async with calling() as peer:
        session, answer = await http.sessions.open(peer.sdp, "ada")
        await peer.accept(answer)
        await until(lambda: session.metrics.errors > 1)
        session.metrics.encoder_failed()
        state, reasons = await http.health()
    assert state == "degraded"
    assert any(re.fullmatch(r"pieces of an avatar's work failed in the last minute: \d+", reason) for reason in reasons)
    assert "frames could not be encoded in the last minute: 1" in reasons


async def test_a_bug_is_a_reason(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    await until(lambda: http.worker.warm)
    await asyncio.sleep(1.2)
    monkeypatch.setattr(Sessions, "ice_servers", lambda self: 1 / 0)
    assert (await http.client.get("/ice-servers")).status == 500
    assert await http.health() == ("degraded", ["requests failed in the last minute: 1"])


async def test_a_held_up_event_loop_is_noticed(http: Http) -> None:
    await until(lambda: http.worker.warm)
    await asyncio.sleep(0.1)
    time.sleep(LAG_DEGRADED_S + 0.3)
    await asyncio.sleep(0.1)
    state, reasons = await http.health()
    assert state == "degraded"
    assert "the event loop was held up" in reasons[0]


async def test_asking_often_costs_the_server_nothing(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TEXT_LASTS_S", 60.0)
    first = await (await http.client.get("/metrics")).read()
    await http.client.post("/offer", json=[])
    assert await (await http.client.get("/metrics")).read() == first


async def test_the_studio_s_database_and_disk_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STUDIO_EVERY_S", 0.05)
    monkeypatch.setattr("realtime.studio.store.BUSY_MS", 50)

    async def reasons(studio: Any) -> list[str]:
        return list((await (await studio.http.get("/healthz")).json())["reasons"])

    async def until_reasons(studio: Any, expected: list[str]) -> None:
        async with asyncio.timeout(10.0):
            while await reasons(studio) != expected:
                await asyncio.sleep(0.02)

    async with studio_client(tmp_path) as studio:
        await studio.made()
        await until_reasons(studio, [])
        monkeypatch.setattr(watch, "TEXT_LASTS_S", 0.0)
        await asyncio.sleep(0.3)
        text = await (await studio.http.get("/metrics")).read()
        assert of(parsed(text), "headcast_studio_jobs", state="done") == 1
        assert b"Anna" not in text
        other = sqlite3.connect(studio.folder / "studio.sqlite", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        await until_reasons(studio, ["the studio's disk or database does not answer"])
        other.execute("ROLLBACK")
        other.close()
        await until_reasons(studio, [])
        monkeypatch.setattr("realtime.studio.studio.RESERVE_BYTES", 1 << 62)
        await until_reasons(studio, ["the studio's disk is full"])

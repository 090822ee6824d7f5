"""The whole way over WebRTC, with the client in another process and a fake heavy side that stamps the time of the frame behind each picture."""

from __future__ import annotations

import asyncio
import itertools
import logging
import statistics
from typing import Any

import numpy as np
import pytest

from realtime import session as session_module
from tests import fakes
from tests.fakes import Behaviour, FakeFactory
from tests.loopback_client import SYNTHETIC_COLOUR
from tests.peers import until
from tests.serving import client, serving
from tests.test_control import BAD

FPS = 30


def ages_s(report: dict[str, Any]) -> list[float]:
    """How old the frame behind each picture was when the picture came back."""
    sent = dict(report["sent"])
    first = report["sent"][0][0]
    stamped = [(at, stamp) for at, _, stamp, _ in report["received"] if stamp is not None]
    return [at - sent[first + round(stamp * FPS / 1000)] for at, stamp in stamped if first + round(stamp * FPS / 1000) in sent]


def states(report: dict[str, Any]) -> list[str]:
    return [message["state"] for message in report["messages"] if message["type"] == "state"]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_frames_come_back_in_order_and_none_is_a_webcam_frame(codec: str) -> None:
    async with serving() as server:
        report = await client(server.url, "--seconds", "4", "--codec", codec)
        assert (report["status"], report["deleted"]) == (200, 204)
        stamps = [stamp for _, _, stamp, _ in report["received"] if stamp is not None]
        assert len(stamps) > 2 * FPS
        assert stamps == sorted(stamps)
        pts = [pts_s for _, pts_s, _, _ in report["received"]]
        assert all(later > earlier for earlier, later in itertools.pairwise(pts))
        assert_no_leak(report)
        assert states(report)[-1] in ("live", "stopped")
        assert report["stats"]["state"] == "live"
        assert {"convert", "track", "render", "encode"} <= set(report["stats"]["stage_ms"])
        assert server.factory.made[0].threads == {"headcast-worker"}
        assert len(server.sessions) == 0


def assert_no_leak(report: dict[str, Any]) -> None:
    """The webcam is magenta, whatever the avatar side shows is grey: no picture, from the very first, may have a tint."""
    assert SYNTHETIC_COLOUR == (255, 0, 255)
    colours = np.array([mean_rgb for _, _, _, mean_rgb in report["received"]])
    assert len(colours) > 0
    assert np.ptp(colours, axis=1).max() < 12


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(crash=True),
        Behaviour(crash=True, crash_placeholder=True),
        Behaviour(delay_s=1.5),
        Behaviour(crash_placeholder=True),
    ],
    ids=["crash", "crash at rest too", "very slow", "crash at rest"],
)
async def test_no_webcam_pixel_leaks_when_the_heavy_side_fails(behaviour: Behaviour, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakeFactory(256, [behaviour])) as server:
        report = await client(server.url, "--seconds", "3")
        assert_no_leak(report)
        assert len(report["received"]) >= 8
        assert report["deleted"] == 204
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) <= 2


async def test_a_slow_heavy_side_drops_frames_and_their_age_stays_flat() -> None:
    async with serving(FakeFactory(256, [Behaviour(delay_s=0.05)])) as server:
        report = await client(server.url, "--seconds", "8")
        ages = ages_s(report)
        assert len(ages) > 60
        third = len(ages) // 3
        assert statistics.median(ages[-third:]) < 1.5 * statistics.median(ages[:third]) + 0.02
        stats = report["stats"]
        assert stats["dropped"] > 40
        assert stats["fps_out"] < stats["fps_in"]


async def test_pausing_shows_the_avatar_at_rest() -> None:
    async with serving() as server:
        report = await client(server.url, "--seconds", "3", "--message", '{"v":1,"type":"pause","enabled":true,"id":1}')
        assert "paused" in states(report)
        assert report["stats"]["state"] == "paused"
        last = [stamp for _, _, stamp, _ in report["received"]][-5:]
        assert last == [None] * 5
        assert len(report["received"]) >= 8


async def test_bad_messages_get_an_error_over_the_wire_too() -> None:
    texts = [message for message in BAD if isinstance(message, str) and message and message.isprintable() and len(message) < 5000][:36]
    arguments = [part for text in (*texts, "hex:00ff80", '{"v":1,"type":"calibrate","id":99}') for part in ("--message", text)]
    async with serving() as server:
        report = await client(server.url, "--seconds", "4", *arguments)
        errors = [message for message in report["messages"] if message["type"] == "error"]
        assert len(errors) == len(texts) + 1
        assert [message["id"] for message in report["messages"] if message["type"] == "ack"] == [99]
        assert report["stats"]["state"] == "live"


async def test_one_crashing_session_does_not_touch_the_other(caplog: pytest.LogCaptureFixture) -> None:
    factory = FakeFactory(256, [Behaviour(crash=True), Behaviour()])
    async with serving(factory) as server:
        crashing = asyncio.create_task(client(server.url, "--seconds", "5"))
        await until(lambda: len(server.sessions) == 1)
        healthy = await client(server.url, "--seconds", "3")
        assert len([1 for _, _, stamp, _ in healthy["received"] if stamp is not None]) > FPS
        assert healthy["stats"]["errors"] == 0
        report = await crashing
        assert all(stamp is None for _, _, stamp, _ in report["received"])
        assert report["stats"]["errors"] > 10
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_a_client_that_vanishes_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SILENCE_TIMEOUT_S", 1.0)
    async with serving(config=fakes.config(max_sessions=1)) as server:
        await client(server.url, "--seconds", "2", "--vanish")
        await until(lambda: len(server.sessions) == 0)
        assert (await client(server.url, "--seconds", "1"))["status"] == 200


async def test_a_full_server_says_so() -> None:
    async with serving(config=fakes.config(max_sessions=1)) as server:
        staying = asyncio.create_task(client(server.url, "--seconds", "4"))
        await until(lambda: len(server.sessions) == 1)
        assert (await client(server.url, "--seconds", "1"))["status"] == 503
        await staying


async def test_heavy_work_never_blocks_the_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    """Each step takes 0.4 s; asyncio's debug mode reports whatever holds the loop for more than half of that."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.2
    try:
        with caplog.at_level(logging.WARNING, "asyncio"):
            async with serving(FakeFactory(256, [Behaviour(delay_s=0.4)])) as server:
                report = await client(server.url, "--seconds", "4")
    finally:
        loop.set_debug(False)
    assert len(ages_s(report)) >= 4
    assert [record.getMessage() for record in caplog.records if " took " in record.getMessage()] == []

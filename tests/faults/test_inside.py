"""What breaks inside the server's own process: an encoder, the wall clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from realtime.rtc.encoder import AvatarEncoder
from tests import fakes
from tests.faults.house import GAP_S, caller, longest_gap
from tests.peers import until
from tests.serving import Served, serving

pytestmark = pytest.mark.faults

DAY_S = 86_400.0


@asynccontextmanager
async def with_bystander(sessions: int = 2) -> AsyncIterator[Served]:
    """A server in this process, and a session of another process whose frames keep coming while the block runs."""
    async with serving(config=fakes.config(max_sessions=sessions)) as served:
        bystander = await caller(served.url)
        try:
            await until(lambda: served.sessions.census().states["live"] == 1)
            begin = time.monotonic()
            yield served
            end = time.monotonic()
            assert longest_gap(await bystander.leave(), begin, end) < GAP_S
            await until(lambda: len(served.sessions) == 0)
        finally:
            await bystander.kill()


async def test_an_encoder_that_fails_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stock, failing = AvatarEncoder._context_for, list[AvatarEncoder]()

    def fails(self: AvatarEncoder, width: int, height: int, now_s: float) -> VideoCodecContext:
        if self in failing:
            raise av.FFmpegError(1, "a fake failure")
        return stock(self, width, height, now_s)

    monkeypatch.setattr(AvatarEncoder, "_context_for", fails)
    async with with_bystander() as served:
        client = await caller(served.url)
        try:
            await until(lambda: served.sessions.census().states["live"] == 2)
            session = tuple(served.sessions._sessions.values())[-1]
            assert session._downlink is not None
            failing.append(session._downlink._encoder)
            await until(lambda: session.metrics.encoder_errors > 3)
            mended = time.monotonic()
            failing.clear()
            await asyncio.sleep(1.5)
            assert session.state == "live"
            report = await client.leave()
            assert [at for at, _, stamp, _ in report["received"] if stamp is not None and at > mended + 0.1]
            assert served.sessions.census().totals.errors["encoder"] > 3
        finally:
            await client.kill()


@pytest.mark.parametrize("jump_s", [DAY_S, -2 * DAY_S], ids=["forward", "backward"])
async def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    stock = time.time
    async with with_bystander() as served:
        (session,) = served.sessions._sessions.values()
        with monkeypatch.context() as jump:
            jump.setattr(time, "time", lambda: stock() + jump_s)
            jump.setattr(time, "time_ns", lambda: int((stock() + jump_s) * 1e9))
            sent = session.metrics.frames_out.total
            await asyncio.sleep(5.0)
            assert session.state == "live"
            assert session.metrics.frames_out.total > sent + 25
            assert session.stats()["uptime_s"] < 60  # type: ignore[operator]
            late = await caller(served.url)
            try:
                await until(lambda: served.sessions.census().states["live"] == 2)
                await late.leave()
            finally:
                await late.kill()

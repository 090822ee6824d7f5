"""A renderer that dies, crashes, hangs or takes all memory is its own session's trouble, and passes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.faults.house import Client, House, house

pytestmark = pytest.mark.faults

PLACEHOLDER_S = 1.0
RESTARTS = "headcast_renderer_restarts_total"
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
"""Ended by the system, as where memory runs out; crashed; neither running nor ended."""


async def victim(at: House) -> tuple[Client, psutil.Process]:
    """Another session, and the process that renders it."""
    before, live = set(at.renderers()), await at.sessions()
    client = await at.call()
    await at.until_live(live + 1)
    (renderer,) = set(at.renderers()) - before
    return client, renderer


async def until_restarted(at: House, count: int) -> None:
    """So many renderers were replaced, ever."""

    async def restarted() -> bool:
        return (await at.metrics())[RESTARTS] >= count

    await at.until(restarted)


def states(report: dict[str, Any]) -> list[str]:
    """What the page was told of its session."""
    return [message["state"] for message in report["messages"] if message["type"] == "state"]


def rested_after_s(report: dict[str, Any], fault: float) -> float:
    """From a fault to the first picture of the avatar at rest."""
    return float(min(at for at, _, stamp, _ in report["received"] if stamp is None and at > fault) - fault)


async def test_a_renderer_that_is_killed_crashes_or_stops_is_replaced() -> None:
    async with house() as at:
        client, renderer = await victim(at)
        others, faults = set(at.renderers()) - {renderer}, []
        for count, number in enumerate(SIGNALS, 1):
            faults.append(time.monotonic())
            os.kill(renderer.pid, number)
            await until_restarted(at, count)
            await at.until_live(2)
            assert not renderer.is_running()
            (renderer,) = set(at.renderers()) - others
        health = await at.health()
        assert (health["code"], health["status"]) == (200, "degraded")
        assert "renderers restarted in the last minute: 3" in health["reasons"]
        report = await client.leave()
        assert [rested_after_s(report, fault) < PLACEHOLDER_S for fault in faults] == [True] * len(SIGNALS)
        assert states(report) == ["warming", "live", *(["restarting", "warming", "live"] * len(SIGNALS)), "stopped"]


async def test_a_renderer_that_hangs_or_takes_all_memory_is_replaced_and_one_that_crashes_for_ever_ends_its_session() -> None:
    async with house() as at:
        client, renderer = await victim(at)
        for count, mode in enumerate(("best", "now"), 1):
            await client.say({"v": 1, "type": "calibrate", "mode": mode, "id": count})
            await until_restarted(at, count)
            await at.until_live(2)
        assert not renderer.is_running()
        await client.say({"v": 1, "type": "set_background", "background": "#dead00", "id": 9})

        async def gone() -> bool:
            return (await at.holdings()).sessions == 1

        await at.until(gone)
        report = await client.leave()
        assert states(report) == ["warming", "live", *(["restarting", "warming", "live"] * 2), "restarting", "warming", "stopped"]
        assert [message["message"] for message in report["messages"] if message["type"] == "error"] == [
            "what renders the avatar broke down again and again; see the server's log"
        ]


async def test_a_zygote_that_is_killed_is_replaced_and_every_session_goes_on() -> None:
    async with house(gap_s=5.0) as at:
        client, _ = await victim(at)
        (zygote,) = at.process.children()
        zygote.kill()
        await until_restarted(at, 2)
        await at.until_live(2)
        assert len(at.renderers()) == 2
        assert states(await client.leave())[-4:] == ["restarting", "warming", "live", "stopped"]


async def test_a_server_that_is_killed_leaves_no_process_behind() -> None:
    async with house(ends=True) as at:
        await victim(at)
        at.process.kill()
        await asyncio.wait_for(at.server.process.communicate(), 5.0)

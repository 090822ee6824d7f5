"""What one peer may send over its data channels: a contract with aiortc, and what a flood is slowed to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from realtime.rates import Allowance
from realtime.rtc import policing
from realtime.rtc.policing import BYTES, police_data
from tests.peers import calling, house, until


async def test_the_bend_fits_this_aiortc_and_lets_through_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, now, taken = RTCPeerConnection(RTCConfiguration(iceServers=[])), [0.0], []
    peer.createDataChannel("control")
    assert peer.sctp is not None

    async def stock(data: bytes) -> None:
        taken.append(len(data))

    monkeypatch.setattr(peer.sctp, "_handle_data", stock)
    assert police_data(peer, lambda: now[0]) is True
    for _ in range(1000):
        await peer.sctp._handle_data(bytes(1000))
    assert 1000 * len(taken) <= BYTES.burst
    before = len(taken)
    now[0] += 1.0
    for _ in range(1000):
        await peer.sctp._handle_data(bytes(1000))
    assert len(taken) - before in (BYTES.per_s // 1000, BYTES.per_s // 1000 + 1)
    await peer.close()


async def test_another_aiortc_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    assert police_data(peer, time.monotonic) is False, "there are no data channels"
    assert not caplog.records
    peer.createDataChannel("control")
    monkeypatch.setattr(peer.sctp, "_handle_data", lambda data, more: None)
    assert police_data(peer, time.monotonic) is False
    assert "another way" in caplog.text
    await peer.close()


async def test_a_flood_is_slowed_and_comes_through_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policing, "BYTES", Allowance(burst=20_000, per_s=40_000))
    async with house() as server, calling() as peer:
        await server.call(peer)
        await until(lambda: peer.channel.readyState == "open")
        began = asyncio.get_running_loop().time()
        for number in range(400):
            peer.say({"type": "mirror", "enabled": True, "id": number, "padding": "x" * 100})
        answered: list[dict[str, Any]] = []
        await until(lambda: answered.extend(peer.of("ack")[len(answered) :]) or len(answered) + len(peer.of("error")) == 400, 30)  # type: ignore[func-returns-value]
        assert asyncio.get_running_loop().time() - began > 0.7, "64 kB at 40 kB a second after 20 kB"
        numbers = [message["id"] for message in answered]
        assert numbers == sorted(numbers)

"""Sessions through a real TURN server: where nothing else gets through, this does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import av
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from realtime.config import IceServer, ServerConfig
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.ice_servers import LIFETIME_S, own_configuration
from tests import fakes
from tests.coturn import coturn
from tests.loopback_client import planes_of
from tests.peers import Peer, calling, house, until

SECRET = "north"
PATIENCE_S = 20.0
TRANSPORTS = ("udp", "tcp")


@dataclass(frozen=True)
class Turn:
    """The TURN server that runs while this module's tests do."""

    port: int

    def config(self, transport: str, secret: str = SECRET) -> ServerConfig:
        """Of a Headcast server whose owner named it."""
        url = f"turn:127.0.0.1:{self.port}?transport={transport}"
        return fakes.config(size=128, ice_servers=(IceServer(url),), turn_secret=secret)


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    with coturn(tmp_path_factory.mktemp("coturn"), SECRET) as port:
        yield Turn(port)


def relay_only(config: ServerConfig, age_s: float = 0.0) -> RTCConfiguration:
    """Of a peer that reaches nobody but the TURN server, of which it was told `age_s` ago."""
    return replace(own_configuration(config, time.time() - age_s), iceTransportPolicy=RTCIceTransportPolicy.RELAY)


def candidate_types(sdp: str) -> set[str]:
    return {line.split()[7] for line in sdp.splitlines() if line.startswith("a=candidate:")}


async def driven_frames(peer: Peer, count: int) -> list[int]:
    """The stamps of the first frames of the avatar that follow the camera."""
    track, stamps = peer.connection.getTransceivers()[0].receiver.track, list[int]()
    async with asyncio.timeout(PATIENCE_S):
        while len(stamps) < count:
            frame = await track.recv()
            assert isinstance(frame, av.VideoFrame)
            number = fakes.read_stamp(planes_of(frame)[: frame.height])
            stamps += [] if number is None else [number]
    return stamps


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_has_only_a_relay_gets_its_avatar(turn: Turn, transport: str) -> None:
    async with house(config=fakes.config(size=128)) as built, calling(configuration=relay_only(turn.config(transport))) as peer:
        assert candidate_types(peer.sdp) == {"relay"}
        await built.call(peer)
        stamps = await driven_frames(peer, 10)
        assert stamps == sorted(stamps)
        await until(lambda: peer.of("stats"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_has_only_a_relay_is_reached(turn: Turn, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.session.own_configuration", lambda config, now_s: relay_only(config))
    config = replace(turn.config(transport), host="192.0.2.7")  # where loopback is not offered
    async with house(config=config) as built, calling() as peer:
        _, answer = await built.sessions.open(peer.sdp, "ada")
        assert candidate_types(answer) == {"relay"}
        await peer.accept(answer)
        assert len(await driven_frames(peer, 10)) == 10


async def test_the_relay_is_offered_beside_the_rest(turn: Turn) -> None:
    async with house(config=turn.config("udp")) as built, calling() as peer:
        _, answer = await built.sessions.open(peer.sdp, "ada")
        assert candidate_types(answer) == {"host", "relay"}


async def test_a_wrong_secret_is_told_and_costs_only_the_relay(turn: Turn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with house(config=turn.config("udp", secret="south")) as built, calling() as peer:
            await built.call(peer)
            assert len(await driven_frames(peer, 3)) == 3
    told = [record.getMessage() for record in caplog.records if record.name.startswith("realtime")]
    assert ["--turn-secret" in message for message in told] == [True]
    assert "south" not in told[0]


async def test_a_relay_that_comes_after_the_end_is_given_back(turn: Turn) -> None:
    peer = RTCPeerConnection(own_configuration(turn.config("udp"), time.time()))
    peer.createDataChannel("control")
    assert offer_addresses(peer, Addressing(loopback=True))
    assert peer.sctp is not None
    connection = peer.sctp.transport.transport._connection
    gathering = asyncio.create_task(connection.get_component_candidates(component=1, addresses=[]))
    async with asyncio.timeout(PATIENCE_S):
        while not connection._protocols:
            await asyncio.sleep(0)
    await connection.close()
    assert {each.type for each in await gathering} == {"host", "relay"}
    assert connection._protocols == []
    await peer.close()


async def test_credentials_that_have_expired_are_refused(turn: Turn) -> None:
    async with calling(configuration=relay_only(turn.config("udp"), age_s=2 * LIFETIME_S)) as peer:
        assert candidate_types(peer.sdp) == set()

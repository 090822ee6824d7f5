"""Encoders that fail or yield garbage in the middle of a session, the driver's and the viewers': nothing of the camera takes the place of what they lose."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from realtime.fanout import MakeContext
from realtime.rtc.encoder import AvatarEncoder
from realtime.viewer import Audience
from tests import fakes
from tests.leaks.outputs import Output, Sight, Stage
from tests.leaks.parties import Driver, driving, watching
from tests.peers import until
from tests.serving import Served, serving

ENOUGH = 6
"""Pictures of a state, for each who watches."""
PATIENCE_S = 30.0
SLICE = b"\0\0\0\1\x41"
"""How a NAL unit of H.264 begins that holds a part of a picture: the garbage gets as far as the decoder."""


class Trouble(StrEnum):
    NONE = "none"
    RAISES = "raises"
    GARBAGE = "garbage"


@dataclass
class Encoders:
    """How all of a server's behave."""

    trouble: Trouble = Trouble.NONE
    spoilt: int = 0
    """Pictures that became garbage."""
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))


class Spoilt:
    """A context with such encoders."""

    def __init__(self, context: VideoCodecContext, encoders: Encoders) -> None:
        self._context = context
        self._encoders = encoders
        self.width, self.height = context.width, context.height

    def encode(self, frame: av.VideoFrame) -> list[object]:
        if self._encoders.trouble is Trouble.RAISES:
            raise ValueError("a fake failure")
        packets = self._context.encode(frame)
        if self._encoders.trouble is Trouble.NONE:
            return list(packets)
        self._encoders.spoilt += 1
        return [av.Packet(SLICE + self._encoders.noise.bytes(600))]


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> Encoders:
    made = Encoders()
    driver_s, viewers = AvatarEncoder._context_for, Audience._maker

    def context_for(self: AvatarEncoder, width: int, height: int, now_s: float) -> Spoilt:
        return Spoilt(driver_s(self, width, height, now_s), made)

    def maker(self: Audience, codec_name: str, failed: bool) -> MakeContext:
        make = viewers(self, codec_name, failed)
        return lambda width, height, bitrate: Spoilt(make(width, height, bitrate), made)  # type: ignore[return-value]

    monkeypatch.setattr(AvatarEncoder, "_context_for", context_for)
    monkeypatch.setattr(Audience, "_maker", maker)
    return made


async def test_no_output_shows_the_camera_when_encoders_fail(encoders: Encoders) -> None:
    async with (
        serving(config=fakes.config(size=192, max_sessions=2)) as served,
        driving(served.url, "H264", Stage()) as driver,
        watching(driver, "VP8") as one,
        watching(driver, "H264") as two,
    ):
        outputs = [driver.output, one, two]
        await driver.live()
        await shown(driver, outputs, "driven")
        encoders.trouble, driver.output.stage.name = Trouble.GARBAGE, "garbage"
        await until(lambda: encoders.spoilt > 20, PATIENCE_S)
        encoders.trouble, driver.output.stage.name = Trouble.RAISES, "raises"
        await failures(served, 4)
        encoders.trouble = Trouble.NONE
        await shown(driver, outputs, "after that")
        assert (await driver.stats())["state"] == "live"
        assert len(served.sessions.get(driver.session).audience) == 2, "nobody had to come again"
        async with driver.http.get(f"{served.url}/metrics") as response:
            told = await response.text()
        assert 'headcast_errors_total{kind="viewer_encoder"}' in told
        await driver.end()
    assert [leak for output in outputs for leak in output.leaks()] == []


async def failures(served: Served, count: int) -> None:
    """Until so many pictures of the driver's stream, and of the viewers', could not be encoded."""

    def counted() -> bool:
        errors = served.sessions.census().totals.errors
        return min(errors["encoder"], errors["viewer_encoder"]) >= count

    await until(counted, PATIENCE_S)


async def shown(driver: Driver, outputs: list[Output], stage: str) -> None:
    """Until everybody has seen the driven avatar in a new state."""
    driver.output.stage.name = stage
    await until(lambda: all(sum(map(is_driven, output.of(stage))) >= ENOUGH for output in outputs), PATIENCE_S)


def is_driven(sight: Sight) -> bool:
    return fakes.read_stamp(sight.planes[: len(sight.planes) * 2 // 3]) is not None

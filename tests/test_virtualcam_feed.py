"""The way from the newest shot to the virtual camera, on a clock that only moves when somebody waits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from models.yuv import planes
from realtime.virtualcam.feed import RETRY_S, Cadence, Device, DeviceError, Feed, Newest, Shot, SourceFailed
from realtime.virtualcam.picture import QUIET, SHAPE, Canvas, Picture, card, colour_of

SIDE = 16


def shot(luma: int, received_at: float | None = None) -> Shot:
    picture = np.full((SIDE * 3 // 2, SIDE), 128, np.uint8)
    picture[:SIDE] = luma
    return Shot(picture, received_at)


@dataclass
class World:
    """The clock, a camera, and a source that puts a shot every `interval_s`."""

    interval_s: float
    now: float = 100.0
    end: float = 110.0
    sent: list[tuple[float, int]] = field(default_factory=list)
    """When, and its luma."""
    gone: bool = False
    closed: int = 0
    told: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    put: int = 0
    failure: str = ""

    def open(self) -> Device:
        if self.gone:
            raise DeviceError("not there")
        return self

    @property
    def name(self) -> str:
        return "fake"

    def send(self, i420: Picture) -> None:
        if self.gone:
            raise DeviceError("gone")
        self.sent.append((self.now, int(i420[0, 0])))

    def close(self) -> None:
        self.closed += 1

    @property
    def fps(self) -> float:
        return 1.0 / self.interval_s

    def review(self, now_s: float) -> str:
        if self.failure:
            raise SourceFailed(self.failure)
        return "well"


class Waits(Newest):
    """Waiting moves the clock, to the next shot or to the end of the wait."""

    def __init__(self, world: World) -> None:
        super().__init__(shot(1))
        self._world = world

    def wait(self, timeout_s: float, for_fresh: bool) -> None:
        world = self._world
        assert timeout_s > 0.0
        target = world.now + timeout_s
        while (due := 100.0 + (world.put + 1) * world.interval_s) <= target:
            world.now, world.put = due, world.put + 1
            self.put(shot(2 + world.put % 200, due - 0.02))
            if for_fresh:
                break
        else:
            world.now = target
        if world.now >= world.end:
            self.stop()


def feed(world: World, fps: float = 30.0, canvas: Canvas | None = None) -> Feed:
    return Feed(Waits(world), world, world.open(), world.open, canvas or Canvas(SIDE, SIDE), fps, world.told.append, world.said.append, lambda: world.now)


@pytest.mark.parametrize("source_fps", [7.0, 15.0, 24.0, 30.0, 59.0, 0.001])
def test_the_camera_gets_its_rate_whatever_comes_in(source_fps: float) -> None:
    world = World(1.0 / source_fps)
    feed(world).run()
    assert len(world.sent) == pytest.approx(300, abs=2)
    gaps = np.diff([at for at, _ in world.sent])
    assert gaps.max() <= 1.76 / 30
    assert gaps.min() >= 0.24 / 30


def test_every_frame_of_a_source_of_the_same_rate_goes_once_and_at_once() -> None:
    world = World(1.0 / 30.0)
    feed(world).run()
    lumas = [luma for _, luma in world.sent]
    assert lumas == [1, *(2 + number % 200 for number in range(1, len(lumas)))]
    assert [at for at, _ in world.sent[1:]] == pytest.approx([100.0 + number / 30.0 for number in range(1, len(lumas))])


def test_a_pause_is_not_caught_up() -> None:
    cadence = Cadence(10.0)
    cadence.sent(0.0)
    cadence.sent(5.0)
    assert cadence.wait_s(5.0, fresh=False) > 0.0
    assert cadence.wait_s(5.2, fresh=True) == 0.0


def test_the_status_says_rates_and_latency() -> None:
    world = World(1.0 / 15.0)
    feed(world).run()
    assert world.told[-1] == "15 fps in · 30 fps out · 20 ms a frame · well"
    assert len(world.told) == pytest.approx(10, abs=1)


def test_a_camera_that_goes_away_is_waited_for() -> None:
    world = World(1.0 / 30.0)
    loop = feed(world)
    world.end = 102.0
    world.gone = True
    loop.run()
    assert world.closed == 1
    assert world.sent == []
    assert world.said == [f"gone; looking for it every {RETRY_S:g} s"]


def test_a_camera_that_comes_back_is_used_again() -> None:
    world = World(1.0 / 30.0)

    def open_again() -> Device:
        if world.now < 104.5:
            raise DeviceError("not yet")
        world.gone = False
        return world

    loop = Feed(Waits(world), world, world.open(), open_again, Canvas(SIDE, SIDE), 30.0, world.told.append, world.said.append, lambda: world.now)
    world.gone = True
    loop.run()
    assert world.said[-1] == "the camera fake is back"
    assert world.sent[0][0] == pytest.approx(106.0, abs=0.1)
    assert len(world.sent) == pytest.approx(120, abs=2)


def test_a_source_that_failed_ends_it_and_closes_the_camera() -> None:
    world = World(1.0 / 30.0, failure="no landmarker")
    with pytest.raises(SourceFailed, match="no landmarker"):
        feed(world).run()
    assert world.closed == 1


def test_a_stopped_slot_waits_for_nobody() -> None:
    newest = Newest(shot(1))
    newest.take()
    newest.stop()
    newest.wait(60.0, for_fresh=True)
    assert newest.stopped


def test_the_canvas_holds_the_picture_in_its_middle() -> None:
    canvas = Canvas(40, 20, (10, 20, 30))
    laid = canvas.lay(shot(200).i420)
    luma, blue, red = planes(laid)
    assert (luma.shape, blue.shape) == ((20, 40), (10, 20))
    assert (luma[:, 10:30] == 200).all()
    assert (luma[:, :10] == 10).all()
    assert (luma[:, 30:] == 10).all()
    assert (blue[:, 5:15] == 128).all()
    assert (blue[:, :5] == 20).all()
    assert (red[:, 15:] == 30).all()


@pytest.mark.parametrize(("colour", "expected"), [("#000000", (16, 128, 128)), ("#ffffff", (235, 128, 128)), ("#00b140", (111, 105, 58))])
def test_colours(colour: str, expected: tuple[int, int, int]) -> None:
    assert colour_of(colour) == pytest.approx(expected, abs=1)


def test_the_card_shows_nobody() -> None:
    luma, blue, red = planes(card(64))
    assert luma[27, 32] == luma[60, 32] == SHAPE[0]
    assert luma[0, 0] == QUIET[0]
    assert (blue == 128).all()
    assert (red == 128).all()

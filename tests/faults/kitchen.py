"""A heavy side that breaks when a session asks for it, by a background or a calibration, since these are what a page can ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from realtime.packets import Calibration, RenderedFrame, VideoPacket
from realtime.reenactor import Reenactor
from tests.fakes import Behaviour, FakeFactory, FakeReenactor
from tests.kitchens import FAULTS, FaultyKitchen

FRAME_S = 0.005
"""How long the fake heavy side takes for a frame."""
BREAKAGES: dict[object, Callable[[], None]] = {"#dead00": FAULTS["crash"], Calibration.NOW: FAULTS["eat"], Calibration.BEST: FAULTS["hang"]}
"""A background is set again in the renderer that comes next, which so breaks too; a calibration is done once."""


class Breakable(FakeReenactor):
    """Breaks at the frame after it was told to."""

    breakage: Callable[[], None] | None = None

    def set_background(self, name: str) -> None:
        self.breakage = BREAKAGES.get(name)

    def calibrate(self, mode: Calibration) -> None:
        self.breakage = BREAKAGES.get(mode)

    def step(self, packet: VideoPacket) -> RenderedFrame:
        if self.breakage is not None:
            self.breakage()
        return super().step(packet)


class BreakableFactory(FakeFactory):
    def create(self, avatar_id: str) -> Reenactor:
        return Breakable(Behaviour(delay_s=FRAME_S, names=("ada", "bo")), avatar_id, self.size)


def kitchen(size: int) -> FaultyKitchen:
    """A recipe, with `functools.partial`."""
    logging.basicConfig(level=logging.CRITICAL)
    return FaultyKitchen(BreakableFactory(size=size), with_motion=False)

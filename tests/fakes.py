"""A hand-written heavy side for tests: stamps the driving frame's time into a picture of its own, never shows an input pixel, can be slow and can crash.

The stamp is a row of 2 x 24 cells in the upper half: 24 bits of the presentation time in milliseconds, and below them their complement, so that neither a black
nor a damaged picture reads as a number.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import AvatarCard, Consent
from models.consent.opening import Provenance
from realtime.config import ServerConfig
from realtime.errors import NotFound, Unprocessable
from realtime.gallery import Entry, Gallery
from realtime.packets import Calibration, DriveMode, GainGroup, Lock, PuppetPose, RenderedFrame, Tracking, Unit, VideoPacket
from realtime.reenactor import Reenactor
from realtime.worker import Worker

BITS = 24
DARK, BRIGHT = 40, 210
PLACEHOLDER_LUMA, DRIVEN_LUMA = 90, 130
UNITS = {"ada": (Unit("jawOpen", 0.0, 1.0), Unit("headYaw", -0.5, 0.5)), "bo": (Unit("jawOpen", 0.0, 0.7),)}
PNG = b"\x89PNG\r\n\x1a\nfake"


def stamp(luma: NDArray[np.uint8], number: int) -> None:
    """Writes a number of 24 bits into a (height, width) plane."""
    height, width = luma.shape
    cell, row = width // BITS, height // 8
    for bit in range(BITS):
        on = bool(number >> bit & 1)
        luma[row : 2 * row, bit * cell : (bit + 1) * cell] = BRIGHT if on else DARK
        luma[2 * row : 3 * row, bit * cell : (bit + 1) * cell] = DARK if on else BRIGHT


def read_stamp(luma: NDArray[np.uint8]) -> int | None:
    """The number in a (height, width) plane; None where there is none."""
    height, width = luma.shape
    cell, row = width // BITS, height // 8
    number = 0
    for bit in range(BITS):
        columns = slice(bit * cell + cell // 4, (bit + 1) * cell - cell // 4)
        upper = float(luma[row + row // 4 : 2 * row - row // 4, columns].mean())
        lower = float(luma[2 * row + row // 4 : 3 * row - row // 4, columns].mean())
        if abs(upper - lower) < (BRIGHT - DARK) / 2:
            return None
        number |= int(upper > lower) << bit
    return number


def card(name: str) -> AvatarCard:
    return AvatarCard(name, "made for tests", "CC0-1.0", "tests", Consent(synthetic=True), PNG)


def gallery(*names: str) -> Gallery[str]:
    """A gallery of avatars that are only names."""
    entries = [Entry(name, Path(name), card(name), f"tag-{name}", Provenance(name, "", "tests", "")) for name in names or ("ada", "bo")]
    return Gallery(entries, None, lambda path: path.name)


@dataclass
class Behaviour:
    """How a fake heavy side behaves; tests change it while it runs."""

    delay_s: float = 0.0
    crash: bool = False
    crash_placeholder: bool = False
    create_error: Exception | None = None
    warm_error: Exception | None = None
    tracking: Tracking = Tracking.OK
    lock: Lock = Lock.OFF
    names: tuple[str, ...] = ("ada", "bo")


class FakeReenactor:
    """Stamps `pts_s`; the picture is grey otherwise."""

    def __init__(self, behaviour: Behaviour, avatar_id: str, size: int) -> None:
        self.behaviour = behaviour
        self.avatar_id = avatar_id
        self.size = size
        self.calls: list[object] = []
        self.threads: set[str] = set()
        self.shapes: set[tuple[int, ...]] = set()

    @property
    def units(self) -> tuple[Unit, ...]:
        return UNITS.get(self.avatar_id, ())

    def step(self, packet: VideoPacket) -> RenderedFrame:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.behaviour.delay_s)
        if self.behaviour.crash:
            raise RuntimeError("a fake crash")
        self.shapes.add(packet.image.shape)
        assert packet.image.dtype == np.uint8
        assert packet.image.ndim == 3
        picture = self._picture(DRIVEN_LUMA)
        stamp(picture[: self.size], round(packet.pts_s * 1000))
        return RenderedFrame(picture, packet.pts_s, packet.received_at, self.behaviour.tracking, {"track": 1.0, "render": 2.0}, lock=self.behaviour.lock)

    def placeholder(self) -> RenderedFrame:
        if self.behaviour.crash_placeholder:
            raise RuntimeError("a fake crash at rest")
        return RenderedFrame(self._picture(PLACEHOLDER_LUMA), 0.0, 0.0, Tracking.LOST)

    def calibrate(self, mode: Calibration) -> None:
        if mode is Calibration.BEST and self.behaviour.tracking is Tracking.LOST:
            raise Unprocessable("no face was seen")
        self.calls.append(("calibrate", mode))

    def set_pose(self, pose: PuppetPose) -> None:
        self.calls.append(("pose", *((setting.name, setting.value, setting.hold) for setting in pose.settings)))

    def set_gain(self, group: GainGroup, value: float) -> None:
        self.calls.append(("gain", group, value))

    def set_avatar(self, avatar_id: str) -> None:
        if avatar_id not in self.behaviour.names:
            raise NotFound("no such avatar")
        self.avatar_id = avatar_id

    def set_background(self, name: str) -> None:
        self.calls.append(("background", name))

    def set_mirror(self, enabled: bool) -> None:
        self.calls.append(("mirror", enabled))

    def set_badge(self, enabled: bool) -> None:
        self.calls.append(("badge", enabled))

    def set_drive(self, mode: DriveMode) -> None:
        self.calls.append(("drive", mode))

    def close(self) -> None:
        self.calls.append("close")

    def _picture(self, luma: int) -> NDArray[np.uint8]:
        picture = np.full((self.size * 3 // 2, self.size), 128, np.uint8)
        picture[: self.size] = luma
        return picture


@dataclass
class FakeFactory:
    """Makes fake reenactors, in the order of `behaviours` and then with the last of them again; remembers all it made."""

    size: int = 256
    behaviours: list[Behaviour] = field(default_factory=lambda: [Behaviour()])
    made: list[FakeReenactor] = field(default_factory=list)

    def warm(self) -> None:
        if self.behaviours[0].warm_error is not None:
            raise self.behaviours[0].warm_error

    def create(self, avatar_id: str) -> Reenactor:
        behaviour = self.behaviours[min(len(self.made), len(self.behaviours) - 1)]
        if behaviour.create_error is not None:
            raise behaviour.create_error
        self.made.append(FakeReenactor(behaviour, avatar_id, self.size))
        return self.made[-1]

    def close(self) -> None:
        pass


def config(**changes: object) -> ServerConfig:
    """The defaults with a small picture, and what a test changes."""
    return replace(ServerConfig(size=256), **changes)  # type: ignore[arg-type]


def started_worker(factory: FakeFactory) -> Worker:
    worker = Worker(factory)
    worker.start()
    return worker

"""What came out of a server, by the state it was in, and whether anything of the camera is in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack
from numpy.typing import NDArray

from tests.faces import Image
from tests.frames import frames_of
from tests.leaks.barcode import Found, search

ALIKE = 0.75
"""Levels. A picture whose 256 parts all differ by less from one that was searched needs no search."""
CHANGED = 20.0
"""Levels. One of them by more: it is searched thoroughly, whenever the last search was."""
AT_LEAST_EVERY = 6
"""Of the pictures in between, so many are searched thoroughly once, the others for a code as large as they are."""
FILLING = 0.8
"""Width of such a one, in widths of the picture, at least."""


@dataclass
class Stage:
    """What the server is put through at the moment."""

    name: str = "start"


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture that came, when, and in which state."""

    stage: str
    at: float
    planes: NDArray[np.uint8]
    """(height * 3 / 2, width) I420."""

    @property
    def rgb(self) -> Image:
        return np.asarray(av.VideoFrame.from_ndarray(self.planes, format="yuv420p").to_ndarray(format="rgb24"), np.uint8)


@dataclass
class Output:
    """All pictures of one stream, from the very first."""

    name: str
    stage: Stage
    sights: list[Sight] = field(default_factory=list)

    async def take(self, track: MediaStreamTrack) -> None:
        async for frame in frames_of(track):
            self.sights.append(Sight(self.stage.name, time.monotonic(), np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)))

    def of(self, stage: str) -> list[Sight]:
        return [sight for sight in self.sights if sight.stage == stage]

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(sight.stage for sight in self.sights))

    def leaks(self) -> list[str]:
        """What was found, in words; empty: nothing."""
        return [f"{self.name}, {stage}: {found}" for stage in self.stages for found in leaks_in([sight.rgb for sight in self.of(stage)])]


def leaks_in(images: Sequence[Image]) -> list[Found]:
    """Searches pictures of one stream, and their mean, in which what is dim but stays stands out."""
    if not images:
        return []
    found, last, since = [], None, 0
    for image in images:
        small = np.asarray(cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA), np.float32)
        change = np.inf if last is None else float(np.abs(small - last).max())
        since += 1
        if change < ALIKE:
            continue
        if change < CHANGED and since < AT_LEAST_EVERY:
            found.append(search(image, parts=False, smallest=FILLING))
            continue
        found.append(search(image))
        last, since = small, 0
    mean = np.asarray(np.mean(np.stack(images[:: max(1, len(images) // 30)]), 0), np.uint8)
    return [each for each in (*found, search(mean)) if each.sure]


def pulse(sights: Sequence[Sight], hertz: float) -> float:
    """How much of a change at that frequency there is all over the picture: the amplitude of half of its 64 parts is more, in levels, in the channel of most.

    A lock-in: no delay matters, and what the codec does is at other frequencies. Where the avatar's outline moves, some parts change at all of them.
    """
    times = np.array([sight.at for sight in sights])
    parts = np.stack([cv2.resize(sight.rgb, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64).ravel() for sight in sights])
    phase = 2.0 * np.pi * hertz * times
    basis = np.stack([np.cos(phase), np.sin(phase), np.ones_like(times), times - times.mean()], 1)
    weights = np.linalg.lstsq(basis, parts, rcond=None)[0]
    return float(np.median(np.hypot(weights[0], weights[1]).reshape(64, 3), axis=0).max())

"""What the dataset stage takes pictures from: a video file, or a folder that holds them already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.video import Frame


class PictureSource(Protocol):
    """N pictures of one size in the order of time; training.video.Video is one."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def pts_s(self) -> NDArray[np.float64]:
        """(N,) seconds since the first."""
        ...

    @property
    def seconds(self) -> float: ...

    @property
    def frame_s(self) -> float: ...

    def read(self, wanted: NDArray[np.int64], scale: float, threads: int) -> Iterator[Frame]:
        """The wanted pictures, rising indices, at that scale of their size; what cannot be read is left out."""
        ...


def evenly(source: PictureSource, at_most: int) -> NDArray[np.int64]:
    """Indices of at most that many pictures, evenly spread in time: all, every second, every third…; by time where the rate varies."""
    pts_s = source.pts_s
    count = len(pts_s)
    if count <= at_most:
        return np.arange(count)
    regular = np.arange(0, count, -(-count // at_most))
    steps = np.diff(pts_s[regular])
    if len(steps) < 2 or steps.max() < 1.5 * steps.min():
        return regular
    return np.unique(np.searchsorted(pts_s, np.linspace(0.0, pts_s[-1], at_most)))

"""The mark: a faint periodic pattern in luma, the same in every frame, a little stronger where the picture is busy.

Spread spectrum (Cox et al., Secure spread spectrum watermarking for multimedia, 1997): a sum of plane waves whose phases are drawn from a public constant.
It repeats, so that a crop or a shift is found by correlation (Kalker et al., A video watermarking system for broadcast monitoring, 1999), and it stands still,
so that what a codec skips keeps it and a window of frames adds it up. It is public: it says what a picture is to whoever looks, and hides nothing from anybody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel

Picture = NDArray[np.uint8]

KEY = b"Headcast synthetic picture, mark 1"
PERIOD_PX = 96
"""Of the pattern, in a picture of up to REFERENCE_PX; in proportion in larger ones."""
REFERENCE_PX = 512
BAND = 5.0, 18.0
"""Lowest and highest frequency, in cycles a period: waves of 19 to 5 pixels."""
STRENGTHS = 0.7, 1.0, 1.5, 2.2
"""Root mean square in grey levels of luma, from flat parts of a picture to busy ones."""
BUSY = 45, 110, 180
BLACK, WHITE = np.int16(16), np.int16(235)
EDGE = np.int16(8)
"""Grey levels: a single edge makes no cell busy."""
"""Sums of the differences between neighbours in a cell from which the next strength is used."""
CELL_PX = 16
"""Width of a cell; it is two rows high, as the bands of the renderer are cut between any two."""
DARK = 40
"""Mean luma below which flat cells are marked at the next weaker strength, or at none."""


@dataclass(frozen=True, slots=True)
class Waves:
    """The plane waves of the pattern, one of each pair of opposite ones."""

    across: NDArray[np.int64]
    """(K,) cycles a period along x."""
    down: NDArray[np.int64]
    """(K,) along y; never negative."""
    phase: NDArray[np.float64]
    """(K,) radians, at the pattern's corner."""


def waves() -> Waves:
    """The pattern's waves, in an order that never changes."""
    reach = int(BAND[1])
    places = [(m, n) for n in range(reach + 1) for m in range(-reach, reach + 1) if BAND[0] <= np.hypot(m, n) <= BAND[1] and (n > 0 or m > 0)]
    drawn = [int.from_bytes(hashlib.sha256(KEY + f" {m} {n}".encode()).digest()[:4], "big") for m, n in places]
    across, down = np.array(places, np.int64).T
    return Waves(across, down, 2.0 * np.pi * np.array(drawn) / 2.0**32)


def tile(period: int) -> NDArray[np.float64]:
    """(period, period): one period of the pattern, of mean square 1."""
    drawn = waves()
    spectrum = np.zeros((period, period), np.complex128)
    spectrum[drawn.down % period, drawn.across % period] = np.exp(1j * drawn.phase)
    pattern = np.fft.ifft2(spectrum).real
    return np.asarray(pattern / pattern.std())


class Marker:
    """Marks pictures of one width.

    Args:
        width: in pixels.
        size: of the picture that the pattern is made for, where that is not as wide: the avatar's beside another picture.
    """

    def __init__(self, width: int, size: int | None = None) -> None:
        period = round(PERIOD_PX * max(1.0, (size or width) / REFERENCE_PX))
        whole = np.tile(tile(period), (1, -(-width // period)))[:, :width]
        levels = np.array((0.0, *STRENGTHS))
        self._levels = np.rint(levels[:, None, None] * whole).astype(np.int8)

    def mark_luma(self, luma: Picture, low: int, high: int) -> None:
        """Adds the mark to rows low…high - 1 (both even) of a (H, width) picture, 16…235, in place. Other rows do not matter; a last odd one is left."""
        _add(self._levels, low, min(high, len(luma) // 2 * 2), luma)

    def mark(self, picture: Picture) -> Picture:
        """Adds the mark to a (H, width, 3) RGB picture in place, each channel alike, and returns it."""
        from models.yuv import luma_of

        luma = luma_of(picture)
        before = luma.astype(np.int16)
        self.mark_luma(luma, 0, len(luma))
        added = np.rint((luma - before) * (255.0 / 219.0)).astype(np.int16)
        picture[...] = np.clip(picture + added[..., None], 0, 255)
        return picture


@kernel
def _add(levels: NDArray[np.int8], low: int, high: int, luma: Picture) -> None:
    """`levels` (L, P, W): the pattern at each strength, none first."""
    width, period = luma.shape[1], levels.shape[1]
    differences = np.empty(width, np.uint8)
    for y in range(low, high, 2):
        upper, lower = luma[y], luma[y + 1]
        for x in range(width - 1):
            here, under = np.int16(upper[x]), np.int16(lower[x])
            aside = min(abs(np.int16(upper[x + 1]) - here), EDGE) + min(abs(np.int16(lower[x + 1]) - under), EDGE)
            differences[x] = np.uint8(aside + min(abs(under - here), EDGE))
        for left in range(0, width, CELL_PX):
            right = min(left + CELL_PX, width)
            busy, light = np.int32(0), np.int32(0)
            for each in differences[left : right - 1]:
                busy += np.int32(each)
            for each in upper[left:right]:
                light += np.int32(each)
            level = 1 + (busy >= BUSY[0]) + (busy >= BUSY[1]) + (busy >= BUSY[2]) - (light < DARK * (right - left))
            for row in range(2):
                line, add = luma[y + row, left:right], levels[level, (y + row) % period, left:right]
                for x in range(right - left):
                    line[x] = np.uint8(min(max(np.int16(line[x]) + np.int16(add[x]), BLACK), WHITE))

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

KEY = b"Headcast synthetic picture, mark 1"
PERIOD_PX = 96
"""Of the pattern, in a picture of up to REFERENCE_PX; in proportion in larger ones."""
REFERENCE_PX = 512
BAND = 5.0, 18.0
"""Lowest and highest frequency, in cycles a period: waves of 19 to 5 pixels."""


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

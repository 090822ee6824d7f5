"""Finds the mark again, in any picture or window of video frames, scaled, cropped or mirrored.

What is sure about it is what it does not find. Of each wave of the pattern only the phase is looked at, against the phase that was drawn for it; the score z
is the sum of the cosines between them, over its standard deviation. For a picture made without the mark, whatever it shows, these differences are uniform
and independent over the draw of the pattern; so P(score >= z) <= exp(-z^2 / 2) (Chernoff's bound: the moment generating function of the cosine of a uniform
angle, the Bessel function I0(s), is at most exp(s^2 / 4)), and for the best of N places, scales and mirrorings at most N times that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.watermark.pattern import PERIOD_PX, REFERENCE_PX, Waves, waves

Luma = NDArray[np.uint8]

LARGEST_PX = 1024
"""Larger pictures are made smaller first."""
SCALES = 0.36, 2.3
"""Of the pattern as it was made, in the picture that is looked at."""
SCALE_STEP = 1.004
PLACES = 72
"""Steps of a period along each axis at which the pattern is tried."""
SPECTRUM = 2048
AT_ONCE = 16
"""Scales: few enough for the processor's cache."""
THRESHOLD = 7.5
CLIP = 4.0
"""Grey levels: more is the picture's own edge."""
SMOOTH = 0.0045
"""Of the picture's smaller side: what is smoother is the picture's own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found."""

    score: float
    """In standard deviations of what an unmarked picture has at one place."""
    scale: float
    """Of the pattern: 1 in a picture as it left the renderer."""
    mirrored: bool

    @property
    def found(self) -> bool:
        """Whether there is a mark."""
        return self.score >= THRESHOLD


class Window:
    """Adds up the frames of a window, all of one size."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float32] | None = None
        self.frames = 0
        self.size: tuple[int, int] | None = None
        """Width and height in pixels of every frame."""

    def add(self, luma: Luma) -> None:
        """Another (H, W) frame.

        Raises:
            ValueError: it has another size than the ones before.
        """
        if self.size not in (None, (luma.shape[1], luma.shape[0])):
            raise ValueError(f"expected a frame of {self.size} pixels, got {luma.shape[1]} x {luma.shape[0]}")
        self.size = luma.shape[1], luma.shape[0]
        rest = _residual(_reduced(luma))
        if self._sum is None:
            self._sum = rest
        else:
            self._sum += rest
        self.frames += 1

    def find(self, as_made: bool = False) -> Finding:
        """The best place, scale and mirroring; others than those it is made with are tried only where it is not found there.

        Args:
            as_made: only as pictures leave the server, or as its encoder shrinks them for a narrow network; far quicker.

        Raises:
            ValueError: no frame was added.
        """
        if self._sum is None:
            raise ValueError("expected a frame at least")
        mean = self._sum / np.float32(self.frames)
        side = min(mean.shape)
        spectrum = _spectrum(mean)
        near = np.unique(np.outer((1.0, side / REFERENCE_PX), SCALE_STEP ** np.arange(-2.0, 2.5)))
        finding = _best(spectrum, mean.shape, near, (False,))
        return finding if finding.found or as_made else _best(spectrum, mean.shape, _scales(), (False, True))


def find(frames: Iterable[Luma]) -> Finding:
    """The mark in (H, W) uint8 luma frames of one size, taken together."""
    window = Window()
    for luma in frames:
        window.add(luma)
    return window.find()


def false_alarm_bound() -> float:
    """Upper bound of the share of unmarked windows, whatever they show, with a score of THRESHOLD, over the draw of the pattern."""
    return float(min(1.0, (2 * len(_scales()) + 10) * PLACES**2 * np.exp(-(THRESHOLD**2) / 2)))


def _reduced(luma: Luma) -> Luma:
    import cv2

    shrink = LARGEST_PX / max(luma.shape)
    if shrink >= 1.0:
        return luma
    size = max(round(luma.shape[1] * shrink), 1), max(round(luma.shape[0] * shrink), 1)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def _residual(luma: Luma) -> NDArray[np.float32]:
    """What is finer than the picture's own shapes, without its edges."""
    import cv2

    values = luma.astype(np.float32)
    rest = values - cv2.GaussianBlur(values, (0, 0), SMOOTH * min(luma.shape))
    return np.asarray(np.clip(rest, -CLIP, CLIP))


def _spectrum(mean: NDArray[np.float32]) -> NDArray[np.complex64]:
    """(SPECTRUM / 2 + 1, SPECTRUM): by column, then row."""
    rows = np.fft.rfft(mean, SPECTRUM, axis=1)
    return np.asarray(np.fft.fft(np.ascontiguousarray(rows.T), SPECTRUM, axis=1), np.complex64)


def _scales() -> NDArray[np.float64]:
    low, high = np.log(SCALES) / np.log(SCALE_STEP)
    return np.asarray(SCALE_STEP ** np.arange(np.floor(low), np.ceil(high) + 1))


def _best(spectrum: NDArray[np.complex64], shape: tuple[int, ...], scales: NDArray[np.float64], mirrorings: tuple[bool, ...]) -> Finding:
    drawn, best = waves(), Finding(0.0, 1.0, False)
    for mirrored in mirrorings:
        for begin in range(0, len(scales), AT_ONCE):
            some = scales[begin : begin + AT_ONCE]
            scores = _scores(spectrum, shape, drawn, PERIOD_PX * some, mirrored)
            at = int(scores.argmax())
            if scores[at] > best.score:
                best = Finding(float(scores[at]), float(some[at]), mirrored)
    return best


def _scores(spectrum: NDArray[np.complex64], shape: tuple[int, ...], drawn: Waves, periods: NDArray[np.float64], mirrored: bool) -> NDArray[np.float32]:
    """(S,): the best of all places for a pattern of each of these periods in pixels.

    Frequencies are the nearest that the spectrum has; phases are counted from the picture's centre, where that matters least.
    """
    across = -drawn.across if mirrored else drawn.across
    column = np.rint(across * (SPECTRUM / periods[:, None])).astype(np.int32)
    row = np.rint(drawn.down * (SPECTRUM / periods[:, None])).astype(np.int32)
    seen = column**2 + row**2 < (SPECTRUM // 2) ** 2
    opposite = column < 0
    values = np.where(seen, spectrum[np.minimum(np.abs(column), SPECTRUM // 2), np.where(opposite, -row, row) % SPECTRUM], 0)
    values = np.where(opposite, values.conj(), values)
    centre = (np.pi / SPECTRUM) * (row * shape[0] + column * shape[1])
    turned = values / np.maximum(np.abs(values), np.float32(1e-20)) * np.exp(1j * (centre - drawn.phase)).astype(np.complex64)
    sums = np.zeros((len(periods), PLACES, PLACES // 2 + 1), np.complex64)
    sums[:, across % PLACES, drawn.down] = np.where(drawn.down > 0, turned, 2 * turned)  # irfft counts the others twice, and shows their real part
    surface = np.fft.irfft2(sums, (PLACES, PLACES))
    highest = surface.max((1, 2)) * (PLACES**2 / 2)
    return np.asarray(highest / np.sqrt(np.maximum(seen.sum(1), 1) / 2.0), np.float32)

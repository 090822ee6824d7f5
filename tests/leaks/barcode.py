"""A barcode that is stamped over a camera's whole picture, and the search for it in any other picture.

The code is a grid of 16 x 12 cells in the eight corners of the RGB cube: three independent bits a cell, 576 in all. Around the face the cells are opaque; over
the face they are a tint, so that it is still followed. The search correlates with the grid (all of it, the face's part, its four quarters), mirrored too, in
every size from a quarter of the picture's edge on, cells being square or as high as a squeezed 4:3 picture makes them. What is searched is first freed of
everything larger than a few cells, so that a smooth picture beneath hardly counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.faces import Image

Floats = NDArray[np.float32]

COLUMNS, ROWS = 16, 12
SEED = 20_260_923
TINT = 0.35
"""How much of the code there is over the face."""
FACE_AXES = (0.27, 0.40)
"""Half axes of the ellipse that is only tinted, in shares of width and height."""
CELL_PX = 2
"""Size of a cell in what is searched: the picture is shrunk to it."""
SMALLEST_SHARE = 0.25
"""Of the picture's width, which the smallest code that is searched for takes."""
STEP = 1.15
"""From one size to the next; at half of it, a cell at the edge is off by less than half a cell."""
ASPECTS = (1.0, 4.0 / 3.0)
"""Heights of cells, in widths of them: a picture as it was, and one squeezed from 4:3 to a square."""
WHOLE = (slice(0, ROWS), slice(0, COLUMNS))
PARTS = (
    (slice(0, 6), slice(0, 8)),
    (slice(0, 6), slice(8, 16)),
    (slice(6, 12), slice(0, 8)),
    (slice(6, 12), slice(8, 16)),
    (slice(2, 10), slice(5, 11)),
)
"""Quarters, and the face in the middle; 144 bits each."""
SURE_WHOLE, SURE_PART = 0.28, 0.47
"""Correlations from which on it is the code; tests/leaks/test_barcode.py measures what other pictures reach."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the code looks to be most."""

    correlation: float
    part: int
    """0: all of it; else 1 + the index in PARTS."""
    share: float
    """Width of the whole code, in widths of the picture."""
    mirrored: bool

    @property
    def sure(self) -> bool:
        return self.correlation > (SURE_PART if self.part else SURE_WHOLE)

    @property
    def margin(self) -> float:
        """Correlation in units of what is needed: from 1 on it is the code."""
        return self.correlation / (SURE_PART if self.part else SURE_WHOLE)


@cache
def cells() -> NDArray[np.uint8]:
    """(ROWS, COLUMNS, 3) of 0 and 255, as many of either in each channel."""
    rng = np.random.default_rng(SEED)
    half = np.repeat(np.array([0, 255], np.uint8), ROWS * COLUMNS // 2)
    return np.stack([rng.permutation(half).reshape(ROWS, COLUMNS) for _ in range(3)], -1)


def code(width: int, height: int) -> Image:
    """The code alone, as large as a picture."""
    return np.asarray(cv2.resize(cells(), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


@cache
def _weight(width: int, height: int) -> Floats:
    """(height, width, 1): 1 where the code is opaque, TINT over the face."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = ((x / width - 0.5) / FACE_AXES[0]) ** 2 + ((y / height - 0.5) / FACE_AXES[1]) ** 2
    return (TINT + (1.0 - TINT) * np.clip((away - 1.0) / 0.3, 0.0, 1.0))[..., None].astype(np.float32)


def stamped(image: Image) -> Image:
    """A camera's picture with the code over it. Args: (height, width, 3) RGB."""
    height, width = image.shape[:2]
    weight = _weight(width, height)
    return np.asarray(image + (code(width, height) - image.astype(np.float32)) * weight, np.uint8)


def search(image: Image, parts: bool = True, smallest: float = SMALLEST_SHARE) -> Found:
    """Where in a picture the code is most likely to be.

    Args:
        image: (height, width, 3) RGB.
        parts: whether quarters and the middle are looked for too; three times the work.
        smallest: width of the smallest code that is looked for, in widths of the picture; the small ones are most of the work.
    """
    best = Found(0.0, 0, 1.0, False)
    for share, aspect in _sizes(smallest):
        searched = _shrunk(image, share, aspect)
        for part in range(1 + len(PARTS) if parts else 1):
            for mirrored in (False, True):
                template = _template(part, mirrored)
                if searched.shape[0] < template.shape[0] or searched.shape[1] < template.shape[1]:
                    continue
                found = Found(_correlation(searched, template), part, share, mirrored)
                best = max(best, found, key=lambda each: each.margin)
    return best


def _sizes(smallest: float) -> Iterator[tuple[float, float]]:
    """(share, aspect) of every size that is searched for, up to half as large again as the picture, whose quarters still fit."""
    for aspect in ASPECTS:
        share = smallest
        while share < 1.5:
            yield share, aspect
            share *= STEP
        yield 1.0, aspect


def _shrunk(image: Image, share: float, aspect: float) -> Floats:
    """The picture in cells of CELL_PX, freed of what is larger than a few cells."""
    height, width = image.shape[:2]
    cell = share * width / COLUMNS
    size = (max(1, round(width * CELL_PX / cell)), max(1, round(height * CELL_PX / (cell * aspect))))
    shrinks = size[0] < width
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return _freed(small.astype(np.float32))


def _freed(image: Floats) -> Floats:
    near = cv2.GaussianBlur(image, (0, 0), 0.4 * CELL_PX)
    far = cv2.GaussianBlur(image, (0, 0), 1.2 * CELL_PX, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(near - far, np.float32)


@cache
def _template(part: int, mirrored: bool) -> Floats:
    grid = cells().astype(np.float32).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    freed = _freed(grid)
    rows, columns = WHOLE if part == 0 else PARTS[part - 1]
    cut = freed[rows.start * CELL_PX : rows.stop * CELL_PX, columns.start * CELL_PX : columns.stop * CELL_PX]
    return np.ascontiguousarray(cut[:, ::-1] if mirrored else cut)


def _correlation(searched: Floats, template: Floats) -> float:
    """The greatest normalised correlation over all places; 0 where the picture is empty."""
    scores = cv2.matchTemplate(searched, template, cv2.TM_CCORR_NORMED)
    return float(np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0).max())

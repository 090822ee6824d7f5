"""How much of every pixel is the person: a coarse answer from a network, made to follow the picture's edges and, where the camera stands still, checked
against the empty room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.litert import Network
from training.video import Image

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Places = tuple[NDArray[np.intp], ...]
"""Rows and columns of N pixels."""

NETWORK_PX = 256
PERSON, SURE = 0.5, 0.9
GUIDE_RADIUS, GUIDE_EPSILON = 4, 2e-4
"""Of the guided filter: pixels of the network's picture, and squared grey values of 0…1."""
INNER_PX, OUTER_PX = 9, 14
"""How far inside and outside the coarse outline a pixel of the crop may still be part person, part background."""
NEAR_PX = 31
"""Width of the neighbourhood that says what the person looks like beside an edge."""
CLEAR, VERY_CLEAR = 24.0, 72.0
"""Distance of person and background, RGB values 0…255, from which the empty room begins to say something, and from which it alone decides."""
BESIDE, VERY_BESIDE = 10.0, 30.0
"""Distance of a pixel from any mix of the two, from which the mix begins to say little, and from which it says nothing."""
SHADE, NOISE = 0.10, 8.0
"""Share of the way from background to person that a cast shadow may take, and distance on it that the camera's noise may."""
HOLE = 0.004
"""A hole in the person smaller than this share of the picture is the network's mistake."""


class Segmenter:
    """MediaPipe's selfie segmentation network (Apache-2.0), run by ourselves. One per thread."""

    def __init__(self, weights: Path) -> None:
        """`weights`: models.weights.weight_path("selfie_segmentation.tflite"). Raises BadFile: it is not that network."""
        shape = (1, NETWORK_PX, NETWORK_PX)
        self.size = NETWORK_PX
        self._network = Network(weights.name, weights.read_bytes(), 1, (*shape, 3), ((*shape, 1),))

    def coarse(self, image: Image) -> Float:
        """(S, S, 3) uint8 RGB → (256, 256), 0…1: how likely a pixel is the person."""
        small = cv2.resize(image, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_AREA)
        (person,) = self._network.run(lambda tensor: np.multiply(small, np.float32(1 / 255), out=tensor[0]))
        return person[0, :, :, 0]


@dataclass(frozen=True, slots=True)
class Plate:
    """The empty room behind the person, as one crop sees it."""

    colours: Image
    """(S, S, 3)."""
    trust: Float
    """(S, S), 0…1: seen without the person, and standing still."""


def person_only(coarse: Float, face: Float) -> Float:
    """Keeps the largest part that touches the face, softly cut out of the rest.

    Args:
        coarse: (256, 256), 0…1.
        face: (478, 2) landmarks, 0…1 over the picture.
    """
    mask = (coarse > PERSON).astype(np.uint8)
    _, labels, areas, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    at = np.clip((face * NETWORK_PX).astype(np.int32), 0, NETWORK_PX - 1)
    touched = labels[at[:, 1], at[:, 0]]
    touched = touched[touched > 0]
    if not len(touched):
        return np.zeros_like(coarse)
    parts = np.unique(touched)
    person = (labels == parts[np.argmax(areas[parts, cv2.CC_STAT_AREA])]).astype(np.uint8)
    near = cv2.dilate(person, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    kept = np.asarray(coarse * cv2.GaussianBlur(near.astype(np.float32), (0, 0), 1.0), np.float32)
    kept[_small_holes(person)] = 1.0
    return kept


def _small_holes(person: Bytes) -> NDArray[np.bool_]:
    """(H, W): parts of the background that the person surrounds, too small to be the room."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(1 - person, connectivity=4)
    height, width = person.shape
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    small = (boxes[:, cv2.CC_STAT_AREA] < HOLE * person.size) & (left > 0) & (top > 0) & (right < width) & (bottom < height)
    small[0] = False
    return np.asarray(small[labels])


def guided(image: Image, coarse: Float, where: Places) -> Float:
    """(S, S, 3) uint8 RGB and (256, 256) → (N,), 0…1: the matte at N pixels as a locally linear function of the colours.

    He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, eq. 19 to 21, with the coefficients found at the network's size and enlarged as in He, Sun, "Fast
    Guided Filter", 2015.
    """
    small = cv2.resize(image, coarse.shape, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    mean = cv2.blur(small, _square(GUIDE_RADIUS))
    mean_p = cv2.blur(coarse, _square(GUIDE_RADIUS))
    covariance_p = cv2.blur(small * coarse[..., None], _square(GUIDE_RADIUS)) - mean * mean_p[..., None]
    products = small[..., _FIRST] * small[..., _SECOND]
    moments = np.concatenate([cv2.blur(half, _square(GUIDE_RADIUS)) for half in np.split(products, 2, -1)], -1) - mean[..., _FIRST] * mean[..., _SECOND]
    a = _solve_symmetric(moments, covariance_p)
    b = mean_p - np.einsum("hwc,hwc->hw", a, mean)
    smooth = cv2.blur(np.concatenate([a, b[..., None]], -1), _square(GUIDE_RADIUS))
    large = cv2.resize(smooth, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    at = large[where]
    return np.asarray(np.clip(at[:, 3] + np.einsum("nc,nc->n", at[:, :3], image[where]) / np.float32(255.0), 0.0, 1.0), np.float32)


_FIRST, _SECOND = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]


def _square(radius: int) -> tuple[int, int]:
    return (2 * radius + 1, 2 * radius + 1)


def _solve_symmetric(moments: Float, right: Float) -> Float:
    """Per pixel (moments + GUIDE_EPSILON I)⁻¹ right, by cofactors. `moments` (..., 6) in the order of _FIRST and _SECOND, `right` (..., 3)."""
    rr, gg, bb = (moments[..., k] + GUIDE_EPSILON for k in range(3))
    rg, rb, gb = (moments[..., k] for k in range(3, 6))
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    x, y, z = right[..., 0], right[..., 1], right[..., 2]
    solved = np.stack([c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z], -1)
    return np.asarray(solved / (rr * c00 + rg * c01 + rb * c02)[..., None], np.float32)


def refined(image: Image, coarse: Float, plate: Plate | None) -> Bytes:
    """The final matte of a crop.

    Args:
        image: (S, S, 3) uint8 RGB.
        coarse: (256, 256), 0…1, of the person only.
        plate: the empty room, if the camera stands still.

    Returns:
        (S, S), 255 all person.
    """
    size = image.shape[1], image.shape[0]
    large = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)
    person = (large > PERSON).astype(np.uint8)
    depth, distance = (cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_3) for mask in (person, 1 - person))
    inside = depth > INNER_PX
    band = np.nonzero(~inside & (distance < OUTER_PX))
    share = guided(image, coarse, band)
    if plate is not None:
        share = _against_the_room(image, share, plate, large, band) * _fading(np.asarray(distance[band], np.float32))
    matte = np.where(inside, np.uint8(255), np.uint8(0))
    matte[band] = np.rint(np.clip((share - 0.05) / 0.9, 0.0, 1.0) * 255.0).astype(np.uint8)
    return matte


def _fading(distance: Float) -> Float:
    """1 at the coarse outline and 0 at the end of the band outside it, with no edge there."""
    return np.float32(1.0) - (distance / np.float32(OUTER_PX)) ** 4


def _against_the_room(image: Image, guess: Float, plate: Plate, large: Float, band: Places) -> Float:
    """Where the room is known and unlike the person, a pixel is as much person as it lies on the way from the room's colour to the person's.

    `band`: rows and columns of the N pixels in question; `guess` (N,) what is thought of them otherwise.
    """
    sure = (large > SURE).astype(np.uint8)
    weight = cv2.blur(sure * np.float32(1.0), (NEAR_PX, NEAR_PX))[band]
    person = cv2.blur((image * sure[..., None]).astype(np.float32), (NEAR_PX, NEAR_PX))[band] / np.maximum(weight, 1e-4)[:, None]
    room = plate.colours[band].astype(np.float32)
    here = image[band] - room
    way = person - room
    squared = np.einsum("nc,nc->n", way, way)
    share = np.einsum("nc,nc->n", here, way) / np.maximum(squared, 1.0)
    off = here - np.clip(share, 0.0, 1.0)[:, None] * way
    beside = np.sqrt(np.einsum("nc,nc->n", off, off))
    least = np.maximum(SHADE, NOISE / np.sqrt(np.maximum(squared, 1.0)))
    share = np.clip((share - least) / (1.0 - SHADE - np.minimum(least, 0.5)), 0.0, 1.0)
    trust = np.clip((np.sqrt(squared) - CLEAR) / (VERY_CLEAR - CLEAR), 0.0, 1.0) * plate.trust[band] * (weight > 1e-3)
    trust *= np.clip((VERY_BESIDE - beside) / (VERY_BESIDE - BESIDE), 0.0, 1.0)
    return np.asarray(trust * share + (1.0 - trust) * guess, np.float32)

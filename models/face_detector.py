"""Finds faces in a whole picture: BlazeFace, short range.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; anchors, decoding and thresholds as in MediaPipe's face detector
graph (Apache-2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face_roi import MARGIN, Cropper, Roi, usable, whole_picture
from models.litert import Network

Float = NDArray[np.float32]

INPUT_PX = 128
ANCHORS = 896
MIN_SCORE = 0.5
MAX_OVERLAP = 0.5
RIGHT_EYE, LEFT_EYE = 0, 1


@dataclass(frozen=True, slots=True)
class FaceBox:
    """One detected face: centre, width and height in pixels of the square-like box from brows to chin; `keypoints` (6, 2) pixels: right eye, left eye, nose,
    mouth, right ear, left ear; `score` 0…1."""

    x: float
    y: float
    width: float
    height: float
    keypoints: Float
    score: float

    @property
    def area(self) -> float:
        return self.width * self.height

    def roi(self) -> Roi:
        """Where to look for this face's landmarks."""
        across = self.keypoints[LEFT_EYE] - self.keypoints[RIGHT_EYE]
        return Roi(self.x, self.y, MARGIN * self.width, MARGIN * self.height, math.atan2(float(across[1]), float(across[0])))


class FaceDetector:
    """Owns its buffers: one per thread."""

    def __init__(self, model: bytes) -> None:
        self._network = Network("face_detector.tflite", model, 1, (1, INPUT_PX, INPUT_PX, 3), ((1, ANCHORS, 16), (1, ANCHORS, 1)))
        self._cropper = Cropper(INPUT_PX, cv2.BORDER_CONSTANT)
        self._anchors = anchor_centres()

    def detect(self, image: NDArray[np.uint8], roi: Roi | None = None) -> list[FaceBox]:
        """All faces of a (height, width, 3) uint8 RGB picture, the largest first; none where the array is no picture.

        `roi` is the square to look at, the whole picture by default. Turned by a right angle, it finds faces that lie on their side; smaller than the
        picture, it finds faces that are far away (in the whole picture they must be about a tenth of its longer side).
        """
        if not usable(image):
            return []
        roi = roi or whole_picture(image.shape[1], image.shape[0])
        crop = self._cropper.crop(image, roi)
        regressors, logits = self._network.run(lambda tensor: np.subtract(np.multiply(crop, np.float32(1 / 127.5), out=tensor[0]), 1.0, out=tensor[0]))
        faces = decode(regressors[0], logits[0, :, 0], self._anchors)
        return sorted((_in_image(face, roi) for face in suppress(faces)), key=lambda box: -box.area)


def anchor_centres() -> Float:
    """(896, 2), 0…1: two anchors in each cell of a 16 x 16 grid, then six in each cell of an 8 x 8 grid, row by row."""
    grids = []
    for cells, repeats in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
        grids.append(np.repeat(centres, repeats, 0))
    return np.concatenate(grids).astype(np.float32)


def decode(regressors: Float, logits: Float, anchors: Float) -> Float:
    """(896, 16), (896,), (896, 2) → the likely ones as rows (score, left, top, right, bottom, 6 x (x, y)), 0…1 over the crop, best first."""
    likely = np.flatnonzero(logits >= math.log(MIN_SCORE / (1.0 - MIN_SCORE)))
    likely = likely[np.argsort(-logits[likely], kind="stable")]
    values = regressors[likely].reshape(-1, 8, 2) / INPUT_PX
    values[:, 0] += anchors[likely]
    values[:, 2:] += anchors[likely, None]
    centre, half = values[:, 0], 0.5 * values[:, 1]
    scores = 1.0 / (1.0 + np.exp(-logits[likely, None]))
    return np.concatenate([scores, centre - half, centre + half, values[:, 2:].reshape(-1, 12)], 1)


def suppress(faces: Float) -> list[Float]:
    """Weighted non-maximum suppression of the rows of `decode`: rows that overlap the best become their score-weighted mean, and so on with the rest."""
    kept = []
    while len(faces):
        same = overlap(faces[0], faces) > MAX_OVERLAP
        same[0] = True
        merged = np.average(faces[same], 0, weights=faces[same, 0])
        merged[0] = faces[0, 0]
        kept.append(merged)
        faces = faces[~same]
    return kept


def overlap(face: Float, faces: Float) -> Float:
    """Intersection over union of the box of one row with those of (N, 17) rows: (N,)."""
    low, high = np.maximum(face[1:3], faces[:, 1:3]), np.minimum(face[3:5], faces[:, 3:5])
    shared = np.prod(np.clip(high - low, 0.0, None), 1)
    together = np.prod(face[3:5] - face[1:3]) + np.prod(faces[:, 3:5] - faces[:, 1:3], 1) - shared
    return np.where(together > 0.0, shared / np.maximum(together, 1e-12), 0.0).astype(np.float32)


def _in_image(face: Float, roi: Roi) -> FaceBox:
    to_image = roi.to_image()
    points = np.concatenate([0.5 * (face[1:3] + face[3:5])[None], face[5:].reshape(6, 2)])
    points = (points @ to_image[:, :2].T + to_image[:, 2]).astype(np.float32)
    width, height = (face[3:5] - face[1:3]) * (roi.width, roi.height)
    return FaceBox(float(points[0, 0]), float(points[0, 1]), float(width), float(height), points[1:], float(face[0]))

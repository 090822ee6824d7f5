"""The first pass over a video, at reduced size: where the face is in every frame, and what tells a usable clip from a useless one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face_detector import FaceBox
from models.face_roi import MARGIN, Roi, plausible, roi_around_landmarks
from models.landmarker import PRESENCE_THRESHOLD, FaceLandmarker, LandmarkResult
from training.ahead import read_ahead
from training.progress import Progress
from training.source import PictureSource
from training.video import Image

Float = NDArray[np.float32]

LOOK_PX = 960
"""Longer side of the picture that faces are looked for in."""
THUMB_PX = 32
MIN_SECOND_FACE = 0.4
"""A second face counts from this share of the first one's width on; what is smaller is a poster or somebody far behind."""
OTHERS_EVERY = 12
"""Others are looked for in every so many frames at most."""
NO_LANDMARKS, NO_COEFFICIENTS = np.full((478, 3), np.nan, np.float32), np.full(52, np.nan, np.float32)


@dataclass(frozen=True, slots=True)
class Survey:
    """T taken frames. Lengths and landmarks in pixels of the upright video at its full size; NaN where there is no face or none was looked for."""

    index: NDArray[np.int64]
    """(T,) which frame of the video."""
    pts_s: NDArray[np.float64]
    looked: NDArray[np.bool_]
    """(T,) a face was looked for."""
    landmarks: Float
    """(T, 478, 3)."""
    coefficients: Float
    """(T, 52)."""
    others: Float
    """(T,) 1 where there is a second face of comparable size, 0 where there is none, NaN where none was looked for."""
    brightness: Float
    """(T,) grey value that a twentieth of the face exceeds, or of the picture where there is no face; 0…1."""
    clipped: Float
    """(T,) share of the face that is burnt out."""
    sharpness: Float
    """(T,) standard deviation of the face's Laplacian at a fixed size of the face, grey values 0…255."""
    thumbs: NDArray[np.uint8]
    """(T, 2, THUMB_PX, THUMB_PX) grey: the whole picture, and the square around the face (zeros without one)."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """(T,) there is a face."""
        return ~np.isnan(self.landmarks[:, 0, 0])

    @property
    def boxes(self) -> Float:
        """(T, 4) left, top, right, bottom of the landmarks."""
        return np.concatenate([self.landmarks[:, :, :2].min(1), self.landmarks[:, :, :2].max(1)], 1)


@dataclass(frozen=True, slots=True)
class _Sight:
    """One frame of a Survey."""

    index: int
    pts_s: float
    looked: bool
    landmarks: Float
    coefficients: Float
    others: float
    brightness: float
    clipped: float
    sharpness: float
    thumbs: NDArray[np.uint8]


def survey(source: PictureSource, taken: NDArray[np.int64], weights: Path, progress: Progress, threads: int, look_every: int = 1) -> Survey:
    """Args:
    taken: indices of the source's pictures, rising.
    weights: of the face landmarker.
    look_every: a face is looked for in every so many of them.
    """
    scale = min(1.0, LOOK_PX / max(source.width, source.height))
    follower = FaceFollower(FaceLandmarker(weights, 1))
    sights: list[_Sight] = []
    progress.start("looking for the face", len(taken))
    for number, frame in enumerate(read_ahead(source.read(taken, scale, threads), 2 * (threads > 1))):
        look = number % look_every == 0
        result = follower.find(frame.image) if look else None
        look_around = result is not None and number % (look_every * max(1, OTHERS_EVERY // look_every)) == 0
        others = float(follower.others(frame.image)) if look_around else math.nan
        sights.append(_sight(frame.index, frame.pts_s, frame.image, look, result, others, scale))
        progress.advance()
    return _as_columns(sights)


class FaceFollower:
    """Finds a face again from frame to frame; looks everywhere, and closely, where it is lost."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker
        self._roi: Roi | None = None

    def find(self, image: Image) -> LandmarkResult | None:
        """The face in the next picture, all pictures of one size."""
        if self._roi is not None:
            result = self._landmarker.settled_landmarks(image, self._roi)
            if self._accept(image, result, self._roi):
                return result
        for place in _places(image):
            for box in self._landmarker.detect(image, place)[:2]:
                result = self._landmarker.settled_landmarks(image, box.roi())
                if self._accept(image, result, box.roi()):
                    return result
        self._roi = None
        return None

    def others(self, image: Image) -> bool:
        """Whether there is a second face of comparable size beside the one found last."""
        followed = self._roi
        if followed is None:
            return False
        boxes = [box for box in self._landmarker.detect(image) if not _same(box, followed) and box.width > MIN_SECOND_FACE * followed.width / MARGIN]
        return any(self._landmarker.settled_landmarks(image, box.roi()).presence >= PRESENCE_THRESHOLD for box in boxes)

    def _accept(self, image: Image, result: LandmarkResult, looked_at: Roi) -> bool:
        roi = roi_around_landmarks(result.landmarks)
        fits = result.presence >= PRESENCE_THRESHOLD and plausible(roi, image.shape[1], image.shape[0]) and 0.5 < roi.width / looked_at.width < 2.0
        self._roi = roi if fits else None
        return fits


def _places(image: Image) -> list[Roi]:
    """Where to look: the whole picture, squares of its shorter side, and smaller squares for a face too small to be seen in these."""
    height, width = image.shape[:2]
    longer, shorter = float(max(width, height)), float(min(width, height))
    places = [Roi(0.5 * width, 0.5 * height, longer, longer)]
    for side in (shorter, 0.5 * shorter):
        columns, rows = (math.ceil(extent / side * 1.25 - 0.25) for extent in (width, height))
        xs, ys = (np.linspace(0.5 * side, extent - 0.5 * side, max(count, 1)) for extent, count in ((width, columns), (height, rows)))
        places += [Roi(float(x), float(y), side, side) for y in ys for x in xs]
    return places


def _same(box: FaceBox, followed: Roi) -> bool:
    return math.hypot(box.x - followed.x, box.y - followed.y) < 0.5 * max(followed.width / MARGIN, box.width)


def _as_columns(sights: list[_Sight]) -> Survey:
    return Survey(
        index=np.array([sight.index for sight in sights], np.int64),
        pts_s=np.array([sight.pts_s for sight in sights], np.float64),
        looked=np.array([sight.looked for sight in sights], np.bool_),
        landmarks=np.array([sight.landmarks for sight in sights], np.float32).reshape(-1, *NO_LANDMARKS.shape),
        coefficients=np.array([sight.coefficients for sight in sights], np.float32).reshape(-1, *NO_COEFFICIENTS.shape),
        others=np.array([sight.others for sight in sights], np.float32),
        brightness=np.array([sight.brightness for sight in sights], np.float32),
        clipped=np.array([sight.clipped for sight in sights], np.float32),
        sharpness=np.array([sight.sharpness for sight in sights], np.float32),
        thumbs=np.array([sight.thumbs for sight in sights], np.uint8).reshape(-1, 2, THUMB_PX, THUMB_PX),
    )


def _sight(index: int, pts_s: float, image: Image, look: bool, result: LandmarkResult | None, others: float, scale: float) -> _Sight:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    whole = _thumb(grey)
    if result is None:
        thumbs = np.stack([whole, np.zeros_like(whole)])
        return _Sight(index, pts_s, look, NO_LANDMARKS, NO_COEFFICIENTS, others, _light(whole), 0.0, math.nan, thumbs)
    face = face_square(grey, result.landmarks)
    burnt = float((face >= 250).mean())
    landmarks = result.landmarks / np.float32(scale)
    thumbs = np.stack([whole, _thumb(face)])
    return _Sight(index, pts_s, look, landmarks, result.coefficients, others, _light(face), burnt, sharpness(face), thumbs)


def _light(grey: NDArray[np.uint8]) -> float:
    return float(np.quantile(grey, 0.95) / 255.0)


def _thumb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA), np.uint8)


def face_square(grey: NDArray[np.uint8], landmarks: Float, side: int = 128) -> NDArray[np.uint8]:
    """The box of the landmarks, (side, side)."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    to_image = np.array([[(high[0] - low[0]) / side, 0.0, low[0]], [0.0, (high[1] - low[1]) / side, low[1]]])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(grey, to_image, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def sharpness(face: NDArray[np.uint8]) -> float:
    """Standard deviation of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000)."""
    return float(np.std(cv2.Laplacian(face, cv2.CV_32F, ksize=3)))

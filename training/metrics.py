"""How far one picture is from another: L1, PSNR, SSIM, FLIP; and landmarks and their jitter. Pictures are (H, W, 3) uint8, RGB."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel
from models.landmarker import FaceLandmarker

Picture = NDArray[np.uint8]
Float = NDArray[np.float32]
Kind = TypeVar("Kind", bound=np.generic)
SSIM_SIGMA_PX, SSIM_TAPS = 1.5, 11
SSIM_C1, SSIM_C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
MIDDLE = np.float32(128.0)
MAX_PSNR_DB = 100.0
"""What equal pictures are given, so that means stay finite."""
LEFT_IRIS, RIGHT_IRIS = 473, 468
NO_FLIP = "FLIP was left out: flip-evaluator is not installed (pip install flip-evaluator)"


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels [top, bottom) x [left, right)."""

    left: int
    top: int
    right: int
    bottom: int

    @staticmethod
    def around(left: float, top: float, right: float, bottom: float, size: int) -> Box | None:
        """Rounded down and cut to a picture of `size`; None where too little is left to judge."""
        x0, y0, x1, y1 = (min(max(int(value), 0), size) for value in (left, top, right, bottom))
        return Box(x0, y0, x1, y1) if x1 - x0 >= SSIM_TAPS and y1 - y0 >= SSIM_TAPS else None

    def of(self, picture: NDArray[Kind]) -> NDArray[Kind]:
        """That part of a picture or map, a view."""
        return picture[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class Score:
    """Of one picture, or the mean over pictures."""

    psnr: float
    """dB, peak 255; at most 100."""
    ssim: float
    l1: float
    """Mean absolute difference, 0…1."""

    @staticmethod
    def of(real: Picture, made: Picture, box: Box) -> Score:
        """How near `made` is to `real` inside the box."""
        one, two = box.of(real), box.of(made)
        return Score(psnr(one, two), ssim(one, two), l1(one, two))


def l1(one: Picture, two: Picture) -> float:
    """Mean absolute difference, 0…1."""
    return float(cv2.norm(one, two, cv2.NORM_L1)) / (255.0 * one.size)


def psnr(one: Picture, two: Picture) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels."""
    error = float(cv2.norm(one, two, cv2.NORM_L2SQR)) / one.size
    return MAX_PSNR_DB if error == 0.0 else min(float(10.0 * np.log10(255.0**2 / error)), MAX_PSNR_DB)


def ssim(one: Picture, two: Picture) -> float:
    """Structural similarity: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004; mean of the channels.

    Gaussian window of sigma 1.5 cut at 11 taps, population covariance, K1 = 0.01, K2 = 0.03, the border of 5 pixels left out: the value of scikit-image's
    structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2), some fifty times faster.
    """
    moments = [np.empty(one.shape, np.float32) for _ in range(4)]
    _products(one, two, *moments)
    pad = SSIM_TAPS // 2
    x, y, squares, cross = (_window(moment) for moment in moments)
    return float(_mean_likeness(x, y, squares, cross, pad))


def _window(values: Float) -> Float:
    return np.asarray(cv2.GaussianBlur(values, (SSIM_TAPS, SSIM_TAPS), SSIM_SIGMA_PX, borderType=cv2.BORDER_REFLECT), np.float32)


@kernel
def _products(one: Picture, two: Picture, x: Float, y: Float, squares: Float, cross: Float) -> None:
    """Both pictures about mid-grey, the sum of their squares, and their product: (H, W, 3) each. Mid-grey keeps float32 exact enough for the variances."""
    for i in range(one.shape[0]):
        for j in range(one.shape[1]):
            for c in range(3):
                first, second = np.float32(one[i, j, c]) - MIDDLE, np.float32(two[i, j, c]) - MIDDLE
                x[i, j, c], y[i, j, c] = first, second
                squares[i, j, c], cross[i, j, c] = first * first + second * second, first * second


@kernel
def _mean_likeness(x: Float, y: Float, squares: Float, cross: Float, pad: int) -> float:
    """Mean of the SSIM index, `pad` pixels from the border on, from the windowed means of what `_products` gives."""
    height, width = x.shape[0], x.shape[1]
    total = 0.0
    for i in range(pad, height - pad):
        for j in range(pad, width - pad):
            for c in range(3):
                a, b = x[i, j, c], y[i, j, c]
                covariance = cross[i, j, c] - a * b
                variances = squares[i, j, c] - a * a - b * b
                a, b = a + MIDDLE, b + MIDDLE
                total += (2.0 * a * b + SSIM_C1) * (2.0 * covariance + SSIM_C2) / ((a * a + b * b + SSIM_C1) * (variances + SSIM_C2))
    return total / (3 * (height - 2 * pad) * (width - 2 * pad))


class FlipMap(Protocol):
    def __call__(self, real: Picture, made: Picture) -> Float:
        """(H, W) 0…1, larger is worse."""


def flip_map() -> FlipMap | None:
    """LDR-FLIP (Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", 2020) at 67 pixels per degree; None where it is not installed."""
    try:
        flip_evaluator = import_module("flip_evaluator")
    except ImportError:
        return None

    def measure(real: Picture, made: Picture) -> Float:
        scaled = (np.ascontiguousarray(picture, np.float32) / np.float32(255.0) for picture in (real, made))
        errors = flip_evaluator.evaluate(*scaled, "LDR", applyMagma=False)[0]
        return np.asarray(errors, np.float32).reshape(real.shape[:2])

    return measure


def eye_distance_px(landmarks: Float) -> float:
    """Between the iris centres of (478, 3) landmarks."""
    return float(np.linalg.norm(landmarks[LEFT_IRIS, :2] - landmarks[RIGHT_IRIS, :2]))


@dataclass(frozen=True, slots=True)
class LandmarkFigures:
    """Landmarks on the real pictures against those on the rendered ones, over T frames. The percentages are of the distance between the eyes."""

    distance_px: float
    distance_percent: float
    real_jitter_percent: float
    """Mean length of the landmarks' second difference in time."""
    rendered_jitter_percent: float
    lost: int
    """Rendered frames in which no face was found."""


def landmark_figures(real: list[Float], rendered: list[Float | None]) -> LandmarkFigures | None:
    """Of (478, 3) landmarks frame by frame, evenly spaced in time; None: no face in the rendered frame. None where nothing can be compared."""
    seen = [points is not None for points in rendered]
    if not any(seen):
        return None
    pairs = [(there[:, :2], here[:, :2]) for there, here in zip(real, rendered, strict=True) if here is not None]
    scale = float(np.mean([eye_distance_px(there) for there in real]))
    distance = float(np.mean([np.linalg.norm(there - here, axis=1).mean() for there, here in pairs]))
    runs = [slice(k, k + 3) for k in range(len(real) - 2) if all(seen[k : k + 3])]

    def jitter(track: list[Float]) -> float:
        return float(np.mean([second_difference(track[run]) for run in runs])) * 100.0 / scale if runs else 0.0

    there, here = list(real), [points if points is not None else real[0] for points in rendered]
    return LandmarkFigures(distance, 100.0 * distance / scale, jitter(there), jitter(here), seen.count(False))


def second_difference(three: list[Float]) -> float:
    """Mean length, in pixels, over the landmarks of three frames in a row."""
    before, now, after = (points[:, :2] for points in three)
    return float(np.linalg.norm(before - 2.0 * now + after, axis=1).mean())


class LandmarkEye:
    """The landmarker on a real frame and on pictures rendered for it, each looked at in the same place."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker

    def look(self, picture: Picture, near: Float) -> Float | None:
        """(478, 3) in pixels, of the face near the landmarks `near`; None: there is none."""
        from models.face_roi import roi_around_landmarks
        from models.landmarker import PRESENCE_THRESHOLD

        result = self._landmarker.landmarks(picture, roi_around_landmarks(near))
        return result.landmarks.copy() if result.presence >= PRESENCE_THRESHOLD else None

"""MediaPipe's face landmarker, run by ourselves: 478 landmarks and 52 expression coefficients of a face in a picture.

The networks: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019, and Grishchenko et al., "Blendshapes GHUM",
2023. What goes in and what comes out is as in MediaPipe's face landmarker graph (Apache-2.0), with which tests compare it. Nothing is sent anywhere.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.face_detector import FaceBox, FaceDetector
from models.face_roi import Cropper, Roi, alike, plausible, roi_around_landmarks, usable
from models.head import LANDMARK_COUNT
from models.litert import Network

Float = NDArray[np.float32]

INPUT_PX = 256
PRESENCE_THRESHOLD = 0.5
SETTLE_LOOKS = 3

COEFFICIENT_NAMES = (
    "_neutral",
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight"),
    *("eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft"),
    *("mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight"),
    *("mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("noseSneerLeft", "noseSneerRight"),
)
"""The 52 coefficients in the network's order: ARKit's names without `tongueOut`, and `_neutral`, which says nothing, first."""

COEFFICIENT_LANDMARKS = np.array(
    [
        *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95),
        *(103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176),
        *(178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311),
        *(312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388),
        *(389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477),
    ],
    np.int32,
)
"""(146,): the landmarks that the coefficients are computed from (kLandmarksSubsetIdxs of MediaPipe's face blendshapes graph)."""


@dataclass(frozen=True, slots=True)
class LandmarkResult:
    """What the networks see in one region.

    `landmarks` (478, 3): x, y in image space, z in pixels of the same scale, smaller is nearer; `presence` 0…1: how likely there is a face;
    `coefficients` (52,), 0…1, in the order of COEFFICIENT_NAMES. Without presence the other two mean nothing.
    """

    landmarks: Float
    presence: float
    coefficients: Float


class FaceLandmarker:
    """The three networks of a face_landmarker.task file. Owns its buffers: one per thread, none shared between sessions."""

    def __init__(self, weights: Path, threads: int = 2) -> None:
        """Args:
            weights: the file, `models.weights.weight_path("face_landmarker.task")`.
            threads: for the landmark network, on the CPU; the other two are so small that a second thread only waits.

        Raises:
            BadFile: it is not such a file.
        """
        detector, landmarks, coefficients = _members(weights, "face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite")
        self._detector = FaceDetector(detector)
        self._landmark_network = Network(
            "face_landmarks_detector.tflite", landmarks, threads, (1, INPUT_PX, INPUT_PX, 3), ((1, 1, 1, 3 * LANDMARK_COUNT), (1, 1, 1, 1))
        )
        self._coefficient_network = Network("face_blendshapes.tflite", coefficients, 1, (1, len(COEFFICIENT_LANDMARKS), 2), ((len(COEFFICIENT_NAMES),),))
        self._cropper = Cropper(INPUT_PX, cv2.BORDER_REPLICATE)

    def detect(self, image: NDArray[np.uint8], roi: Roi | None = None) -> list[FaceBox]:
        """All faces of a (height, width, 3) uint8 RGB picture, or of a square of it, the largest first (models.face_detector.FaceDetector.detect)."""
        return self._detector.detect(image, roi)

    def landmarks(self, image: NDArray[np.uint8], roi: Roi) -> LandmarkResult:
        """The face in a region of a (height, width, 3) uint8 RGB picture."""
        crop = self._cropper.crop(image, roi)
        points, logit = self._landmark_network.run(lambda tensor: np.multiply(crop, np.float32(1 / 255), out=tensor[0]))
        landmarks = to_image_space(points.reshape(LANDMARK_COUNT, 3), roi)
        return LandmarkResult(landmarks, _sigmoid(logit.item()), self.coefficients(landmarks))

    def settled_landmarks(self, image: NDArray[np.uint8], roi: Roi) -> LandmarkResult:
        """As `landmarks`, but looks again where the landmarks themselves say that the face is, until that stops moving.

        For a region from the detector: its boxes of small faces are so poor that one look may be wrong, surely so or with a presence near 0, while the second
        look is nearly right. Where the second look sees no face either, there is none.
        """
        result = self.landmarks(image, roi)
        for look in range(1, SETTLE_LOOKS):
            better = roi_around_landmarks(result.landmarks)
            no_face = look > 1 and result.presence < PRESENCE_THRESHOLD
            if no_face or not plausible(better, image.shape[1], image.shape[0]) or alike(roi, better):
                break
            roi, result = better, self.landmarks(image, better)
        return result

    def coefficients(self, landmarks: Float) -> Float:
        """(478, 3) landmarks in image space → (52,) coefficients."""
        (coefficients,) = self._coefficient_network.run(lambda tensor: np.take(landmarks[:, :2], COEFFICIENT_LANDMARKS, 0, out=tensor[0], mode="clip"))
        return coefficients

    def detect_and_landmark(self, image: NDArray[np.uint8]) -> LandmarkResult | None:
        """The largest face of a still picture that both the detector and the landmark network believe in, or None."""
        if not usable(image):
            return None
        for box in self.detect(image):
            result = self.settled_landmarks(image, box.roi())
            if result.presence >= PRESENCE_THRESHOLD:
                return result
        return None


def to_image_space(points: Float, roi: Roi) -> Float:
    """(478, 3) in pixels of the 256 x 256 crop → image space; depth grows with the region's width."""
    to_image = (roi.to_image() / (INPUT_PX, INPUT_PX, 1.0)).astype(np.float32)
    landmarks = np.empty_like(points)
    landmarks[:, :2] = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
    landmarks[:, 2] = points[:, 2] * np.float32(roi.width / INPUT_PX)
    return landmarks


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(logit, -80.0), 80.0)))


def _members(task: Path, *names: str) -> list[bytes]:
    try:
        with zipfile.ZipFile(task) as archive:
            return [archive.read(name) for name in names]
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BadFile(f"{task}: expected a face_landmarker.task file, a zip with {', '.join(names)}: {error}") from error

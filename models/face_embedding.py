"""Who a face is: 128 numbers of one look at it, near each other for looks at one person.

The network is SFace (Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP 30, 2021), as OpenCV's model zoo gives
it out (Apache-2.0). It takes a face that was turned upright and scaled by five points; a test compares what comes out with OpenCV's own FaceRecognizerSF.

Nothing here keeps a face: what goes in and what comes out belong to the caller.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.onnx_session import open_network

Image = NDArray[np.uint8]
Float = NDArray[np.float32]

WEIGHT = "face_recognition_sface_2021dec.onnx"
"""Its name in assets/manifest.toml."""
SIDE_PX = 112
SIZE = 128
MAX_BYTES = 64 * 1024 * 1024
INPUT, OUTPUT = "data", "fc1"
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = (33, 133), (362, 263), 1, (61, 291)
"""Of the 478 landmarks: corners of the eyes, tip of the nose, corners of the mouth. Right and left are the person's."""
PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""(5, 2) pixels: where the network expects eyes, nose and corners of the mouth (OpenCV, face_recognize.cpp)."""


class FaceEmbedder:
    """The network, on one core; called from one thread. It holds no lock of the interpreter while it computes."""

    def __init__(self, path: Path) -> None:
        """Args: `path` of the file, `models.weights.weight_path(WEIGHT)`.

        Raises:
            BadFile: it is no such file.
        """
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BadFile(f"{path.name}: a network for faces has at most {MAX_BYTES >> 20} MB")
            self._session = open_network(path)
        except BadFile:
            raise
        except Exception as error:  # onnxruntime's own, of many kinds, and OSError
            raise BadFile(f"{path.name}: expected the network SFace in an ONNX file ({' '.join(str(error).split())[:200]})") from error
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        outputs = {item.name: item.shape for item in self._session.get_outputs()}
        if inputs != {INPUT: [1, 3, SIDE_PX, SIDE_PX]} or outputs != {OUTPUT: [1, SIZE]}:
            raise BadFile(f"{path.name}: expected the network SFace, this one takes {inputs} and gives {outputs}")

    def __call__(self, face: Image) -> Float:
        """(SIZE,) of length one: the product of two is the cosine of the angle between them, 1 for the same look.

        Args: `face` (SIDE_PX, SIDE_PX, 3) RGB, from `aligned_face`.
        """
        picture = np.ascontiguousarray(face.transpose(2, 0, 1)[None], np.float32)
        embedding: Float = self._session.run([OUTPUT], {INPUT: picture})[0][0]
        return np.asarray(embedding / max(float(np.linalg.norm(embedding)), 1e-12), np.float32)


def aligned_face(image: Image, landmarks: Float) -> Image:
    """(SIDE_PX, SIDE_PX, 3): the face upright, of the size and at the place that the network was taught on.

    Args: (height, width, 3) RGB, and (478, 3) landmarks in its pixels.
    """
    return np.asarray(cv2.warpAffine(image, similarity(five_points(landmarks), PLACES), (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR), np.uint8)


def five_points(landmarks: Float) -> NDArray[np.float64]:
    """(5, 2) eyes, nose and corners of the mouth, those at the picture's left first, of (478, 3) landmarks."""
    points = landmarks[:, :2].astype(np.float64)
    return np.stack([points[list(RIGHT_EYE)].mean(0), points[list(LEFT_EYE)].mean(0), points[NOSE], points[MOUTH[0]], points[MOUTH[1]]])


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): the turn, scale and shift that carries points (N, 2) best onto others.

    Least squares (Umeyama, PAMI 13, 1991), in closed form over the complex plane, where a turn and a scale are one factor.
    """
    middle, goal = source.mean(0), target.mean(0)
    one, two = ((points - centre) @ np.array([1.0, 1.0j]) for points, centre in ((source, middle), (target, goal)))
    factor = np.vdot(one, two) / max(np.vdot(one, one).real, 1e-12)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, goal - turn @ middle])

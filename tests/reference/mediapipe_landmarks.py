"""Runs the mediapipe package on pictures and writes what it sees.

It runs in an environment of its own: mediapipe 0.10.21, which reports no usage to its vendor, needs numpy 1, and of what it asks for only this is needed here:

    python -m venv .venv-mediapipe
    .venv-mediapipe/bin/python -m pip install "numpy<2" "opencv-python-headless<4.12" absl-py attrs flatbuffers matplotlib "protobuf>=4.25.3,<5"
    .venv-mediapipe/bin/python -m pip install --no-deps mediapipe==0.10.21
    .venv-mediapipe/bin/python mediapipe_landmarks.py face_landmarker.task pictures.npz answers.npz

`pictures.npz` holds arrays 0000, 0001, … of (height, width, 3) uint8 RGB. `answers.npz` gets `landmarks` (N, 478, 3) in pixels, depth in the same scale,
NaN where no face was found; `coefficients` (N, 52), and their `names`.
"""

from __future__ import annotations

import sys

import mediapipe
import numpy as np
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision


def main(task: str, pictures: str, answers: str) -> None:
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=task),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=1,
        output_face_blendshapes=True,
    )
    landmarks, coefficients, names = [], [], [""] * 52
    with vision.FaceLandmarker.create_from_options(options) as landmarker, np.load(pictures) as images:
        for key in sorted(images.files):
            image = np.ascontiguousarray(images[key])
            height, width = image.shape[:2]
            result = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
            if result.face_landmarks:
                landmarks.append(np.array([(point.x * width, point.y * height, point.z * width) for point in result.face_landmarks[0]]))
                coefficients.append(np.array([category.score for category in result.face_blendshapes[0]]))
                names = [category.category_name for category in result.face_blendshapes[0]]
            else:
                landmarks.append(np.full((478, 3), np.nan))
                coefficients.append(np.full(52, np.nan))
    np.savez(answers, landmarks=np.array(landmarks, np.float32), coefficients=np.array(coefficients, np.float32), names=np.array(names))


if __name__ == "__main__":
    main(*sys.argv[1:])

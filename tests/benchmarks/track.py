"""How long tracking takes: one real clip through the tracker, decoding excluded. Prints JSON.

python -m tests.benchmarks.track [--clip talking_man_512] [--threads 2] [--frames 500]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from models.face_roi import Cropper, roi_around_landmarks
from models.landmarker import INPUT_PX, FaceLandmarker
from models.weights import weight_path
from realtime.packets import Tracking, VideoPacket
from realtime.tracking import FaceTracker
from tests.benchmarks.report import emit, machine
from tests.faces import DATA, Image, clip_frames, moving_portrait

WARM_UP = 20
FRAME_S = 0.04


class Stopwatch:
    """Collects how long stages take."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds.setdefault(name, []).append(time.perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Stage → median, p95 and maximum in milliseconds, without the first WARM_UP times."""
        summary = {}
        for stage, seconds in self._seconds.items():
            milliseconds = 1e3 * np.array(seconds[WARM_UP:])
            summary[stage] = {
                "median_ms": round(float(np.median(milliseconds)), 3),
                "p95_ms": round(float(np.percentile(milliseconds, 95)), 3),
                "max_ms": round(float(milliseconds.max()), 3),
            }
        return summary


def measure(frames: list[Image], threads: int) -> tuple[dict[str, dict[str, float]], int]:
    """The stages' times, and on how many frames the face was followed."""
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"), threads)
    tracker = FaceTracker(landmarker)
    cropper = Cropper(INPUT_PX, cv2.BORDER_REPLICATE)
    watch = Stopwatch()
    followed = 0
    for index, frame in enumerate(frames):
        packet = VideoPacket(frame, index * FRAME_S, index * FRAME_S)
        with watch.stage("track"):
            observation = tracker.track(packet)
        followed += observation.tracking is not Tracking.LOST
    for frame in frames[: WARM_UP + 200]:
        result = landmarker.detect_and_landmark(frame)
        if result is None:
            continue
        roi = roi_around_landmarks(result.landmarks)
        with watch.stage("detect"):
            landmarker.detect(frame)
        with watch.stage("crop"):
            cropper.crop(frame, roi)
        with watch.stage("crop_and_networks"):
            landmarker.landmarks(frame, roi)
        with watch.stage("coefficient_network"):
            landmarker.coefficients(result.landmarks)
    return watch.summary(), followed


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the tracker on a clip and prints JSON.")
    parser.add_argument("--clip", default="talking_man_512", help="a clip of ../shared/data; the moving portrait where it is absent")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=500)
    options = parser.parse_args()
    present = (DATA / f"{options.clip}.mp4").exists()
    frames = clip_frames(options.clip, limit=options.frames) if present else moving_portrait(options.frames)
    stages, followed = measure(frames, options.threads)
    report = {
        "benchmark": "track",
        "clip": options.clip if present else "moving portrait",
        "width": frames[0].shape[1],
        "height": frames[0].shape[0],
        "frames": len(frames),
        "followed": followed,
        "threads": options.threads,
        "stages": stages,
        "machine": machine(),
    }
    emit(report)


if __name__ == "__main__":
    main()

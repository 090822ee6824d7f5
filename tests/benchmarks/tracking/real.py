"""What can be measured on real footage, where no truth is known: against the tracker's own landmarks. And how long the stages take.

Definitions, over the frames after the first second:
    reprojection   distance of the solved landmarks to the tracked ones over the distance between the eyes, seen from the front
    gap errors     of the solved mesh's opening in the picture against the tracked landmarks', each less its median over the clip, over the face's height;
                   `slope` is how far the mesh opens for each part that the landmarks do, `correlation` how alike the two run
    lag            how much later the retargeted signal comes with its filters than without, by the shift at which the two agree best
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.weights import installed
from realtime.gallery import FIRST, SHIPPED
from realtime.one_euro import OneEuroFilter, OneEuroSettings
from realtime.packets import FaceObservation, VideoPacket
from realtime.reenactor import HEAD, LANDMARKER, load_avatar, regressor_of, rig_of
from realtime.regression import ParameterSolver
from realtime.retarget import TAIL, Retargeter, RetargetSettings
from realtime.smoothing import Smoothing
from realtime.tracking import FaceTracker
from tests.benchmarks.tracking.meshes import FACE_HEIGHT, LEFT_GAP, LIP_GAP, RIGHT_GAP, gap_marks, gaps
from tests.benchmarks.tracking.steady import FRAME_S, raw_settings, shift_between
from tests.faces import DATA, Image, clip_frames

Double = NDArray[np.float64]

CLIPS = {"talking_man_512": 25.0, "expressive_woman_512": 23.976, "talking_woman_1080x1920": 25.0}
"""Frames a second."""
START_S = 1.0
LAG_OF = {"blink": "eyeBlinkLeft", "jaw": "jawOpen"}


@dataclass
class Followed:
    """A clip through tracker and solver; milliseconds by stage."""

    observations: list[FaceObservation]
    solved: list[HeadParams | None]
    errors: list[Double]
    """(L,) of each frame with a face, in inter-ocular distances."""
    focal_px: list[float]
    stage_ms: dict[str, list[float]]


def present(limit: int | None = None) -> dict[str, tuple[list[Image], float]]:
    """Frames and frames a second of the clips that are here."""
    return {name: (clip_frames(name, limit=limit), fps) for name, fps in CLIPS.items() if (DATA / f"{name}.mp4").exists()}


def follow(head: HeadModel, frames: list[Image], fps: float) -> Followed:
    tracker, solver = FaceTracker(FaceLandmarker(installed(LANDMARKER), 1)), ParameterSolver(head, regressor=regressor_of(HEAD))
    done = Followed([], [], [], [], {"track": [], "solve": []})
    for index, frame in enumerate(frames):
        packet = VideoPacket(frame, index / fps, index / fps)
        start = time.perf_counter()
        seen = tracker.track(packet)
        tracked = time.perf_counter()
        params = solver.solve(seen)
        done.stage_ms["track"].append(1e3 * (tracked - start))
        done.stage_ms["solve"].append(1e3 * (time.perf_counter() - tracked))
        done.observations.append(seen)
        done.solved.append(params)
        done.focal_px.append(solver.focal_px)
        done.errors.append(np.zeros(0) if params is None or index < START_S * fps else np.linalg.norm(solver.residuals(), axis=1))
    return done


def measure(followed: dict[str, tuple[Followed, float]]) -> dict[str, Any]:
    """The report of the clips that are here."""
    head = load_head(HEAD)
    report: dict[str, Any] = {}
    stage_ms: dict[str, list[float]] = {}
    for name, (clip, fps) in followed.items():
        shown, stages = retargeted(head, clip, fps, RetargetSettings())
        raw, _ = retargeted(head, clip, fps, raw_settings())
        for stage, taken in {**clip.stage_ms, **stages, "filter": filter_ms(clip, fps)}.items():
            stage_ms.setdefault(stage, []).extend(taken[round(fps) :])
        errors = 100.0 * np.concatenate(clip.errors)
        report[name] = {
            "frames": len(clip.solved),
            "frames_without_a_face": sum(params is None for params in clip.solved),
            "reprojection_percent": {"mean": round(float(errors.mean()), 2), "p95": round(float(np.percentile(errors, 95)), 2)},
            **gap_agreement(head, clip, fps),
            "lag_frames": lags(shown, raw, fps),
        }
    if stage_ms:
        report["stage_ms"] = {
            stage: {"median": round(float(np.median(ms)), 2), "p95": round(float(np.percentile(ms, 95)), 2)} for stage, ms in stage_ms.items()
        }
    return report


def retargeted(head: HeadModel, clip: Followed, fps: float, settings: RetargetSettings) -> tuple[list[HeadParams], dict[str, list[float]]]:
    """On the default avatar; what is shown, and how long it took."""
    avatar = load_avatar(SHIPPED / f"{FIRST}.avatar")
    retargeter = Retargeter(head.expression_names, rig_of(avatar), settings, ParameterSolver(head).neck_offset)
    shown, taken = [], []
    for index, params in enumerate(clip.solved):
        start = time.perf_counter()
        shown.append(retargeter.retarget(params, index / fps))
        taken.append(1e3 * (time.perf_counter() - start))
    return shown, {"retarget": taken}


def filter_ms(clip: Followed, fps: float) -> list[float]:
    """What of retargeting the filter takes: as good a one, on a vector of a like size."""
    smoothing = Smoothing()
    parts = [(smoothing.mouth, 39), (smoothing.blinks, 13), *((getattr(smoothing, name), size) for name, size in TAIL.items())]
    smooth = OneEuroFilter(OneEuroSettings.joined(parts))
    rest = np.zeros(sum(TAIL.values()))
    taken = []
    for index, params in enumerate(clip.solved):
        start = time.perf_counter()
        if params is not None:
            smooth(np.concatenate([params.expression.astype(np.float64)[:52], rest]), index / fps)
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def gap_agreement(head: HeadModel, clip: Followed, fps: float) -> dict[str, dict[str, float]]:
    """Of the lips, and of both lids."""
    marks, seen, made = gap_marks(head), [], []
    for observation, params, focal in zip(clip.observations, clip.solved, clip.focal_px, strict=True):
        if params is None or observation.landmarks is None or observation.pts_s < START_S:
            continue
        points = observation.landmarks.astype(np.float64)
        height = np.linalg.norm(points[FACE_HEIGHT[0]] - points[FACE_HEIGHT[1]])
        camera = marks.posed(params)
        projected = focal * camera[:, :2] / -camera[:, 2:]
        seen.append(gaps(points[[*LIP_GAP, *LEFT_GAP, *RIGHT_GAP], :2]) / height)
        made.append(gaps(projected) / height)
    return {
        f"{name}_gap": _agreement(np.array(seen)[:, columns].ravel(), np.array(made)[:, columns].ravel()) for name, columns in (("lip", [0]), ("lid", [1, 2]))
    }


def _agreement(seen: Double, made: Double) -> dict[str, float]:
    seen, made = seen - np.median(seen), made - np.median(made)
    error = 100.0 * np.abs(made - seen)
    return {
        "mean_percent": round(float(error.mean()), 2),
        "p95_percent": round(float(np.percentile(error, 95)), 2),
        "correlation": round(float(np.corrcoef(seen, made)[0, 1]), 3),
        "slope": round(float((seen @ made) / (seen @ seen)), 3),
    }


def lags(shown: list[HeadParams], raw: list[HeadParams], fps: float) -> dict[str, float]:
    """In frames of a thirtieth of a second: blinks, jaw, yaw."""
    names = load_head(HEAD).expression_names
    at = round(START_S * fps)

    def series(frames: list[HeadParams], signal: str) -> Double:
        if signal == "yaw":
            return np.array([params.neck[1] for params in frames[at:]], np.float64)
        return np.array([params.expression[names.index(LAG_OF[signal])] for params in frames[at:]], np.float64)

    return {name: round(shift_between(series(raw, name), series(shown, name)) / fps / FRAME_S, 2) for name in (*LAG_OF, "yaw")}

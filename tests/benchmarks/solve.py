"""How long solving and retargeting take: one real clip, tracked beforehand. Prints JSON.

python -m tests.benchmarks.solve [--clip talking_man_512] [--frames 500]

`solve_learning` are the frames in which the driver's identity is still worked on, `solve` those in which it rests; `solve_judging` those in which
it is found out whether the avatar's own person drives. Where they do: `solve_known`, `refine` (two stages of 600 vertices, and the check of what came
out) and `retarget_own`. The registration's matrices are zero: their time does not depend on what is in them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.driver import DriverProfile, Registration, RegistrationStage
from models.head import LANDMARK_COUNT, load_head
from models.landmarker import FaceLandmarker
from models.registration import Registrar
from models.weights import weight_path
from realtime.gallery import FIRST, SHIPPED
from realtime.packets import DriveMode, FaceObservation, VideoPacket
from realtime.reenactor import load_avatar, regressor_of, rig_of
from realtime.regression import ParameterSolver
from realtime.retarget import AvatarRig, Retargeter
from realtime.subject import SubjectSolver
from realtime.tracking import FaceTracker
from tests.benchmarks.report import emit, machine
from tests.benchmarks.track import FRAME_S, Stopwatch
from tests.faces import DATA, Image, clip_frames, moving_portrait

POINTS = 600
JUDGED = 50
"""Frames: two seconds."""
OPEN_HEAD = Path(__file__).resolve().parents[2] / "assets" / "open_head.safetensors"


@dataclass(frozen=True)
class Outcome:
    """`stages` in milliseconds, `error_px` mean landmark error of the frames, `learning` in how many the identity was worked on."""

    stages: dict[str, dict[str, float]]
    error_px: float
    learning: int


def observe(frames: list[Image]) -> list[FaceObservation]:
    tracker = FaceTracker(FaceLandmarker(weight_path("face_landmarker.task")))
    return [tracker.track(VideoPacket(frame, index * FRAME_S, index * FRAME_S)) for index, frame in enumerate(frames)]


def measure(observations: list[FaceObservation]) -> Outcome:
    head = load_head(OPEN_HEAD)
    solver, count = ParameterSolver(head, regressor=regressor_of(OPEN_HEAD)), len(head.expression_names)
    limits = np.array([0.6, 0.9, 0.6]), np.array([0.4, 0.5, 0.4]), np.array([0.7, 0.5])
    rig = AvatarRig(head.expression_names, np.zeros(count), np.ones(count), *limits, np.array([0.0, 0.0, -0.6]))
    retargeter = Retargeter(head.expression_names, rig, neck_offset=solver.neck_offset)
    watch, errors, learning = Stopwatch(), [], 0
    for observation in observations:
        stage = "solve" if solver.settled else "solve_learning"
        learning += stage == "solve_learning"
        with watch.stage(stage):
            params = solver.solve(observation)
        with watch.stage("retarget"):
            retargeter.retarget(params, observation.pts_s)
        errors.append(solver.error_px)
    return Outcome(watch.summary(), round(float(np.nanmean(errors)), 3), learning)


def measure_own(observations: list[FaceObservation], frames: list[Image]) -> Outcome:
    """The driver as an avatar's own person, by what a solver learns of them in the same clip."""
    head, avatar = load_head(OPEN_HEAD), load_avatar(SHIPPED / f"{FIRST}.avatar")
    teacher = ParameterSolver(head)
    for observation in observations:
        params = teacher.solve(observation)
    assert params is not None
    profile = DriverProfile(head.name, params.identity, np.zeros((LANDMARK_COUNT, 3), np.float32), teacher.focal_px / max(frames[0].shape))
    unknowns, vertices = 10 + len(avatar.expression_names), np.linspace(0, len(avatar.base) - 1, POINTS).astype(np.int32)
    stage = RegistrationStage(np.zeros(3 * POINTS, np.float32), np.zeros((unknowns, 3 * POINTS), np.float32), np.zeros(unknowns, np.float32))
    registrar = Registrar(Registration(vertices, (stage, stage)), avatar)
    watch, errors, judging = Stopwatch(), [], SubjectSolver(head)
    judging.wear(profile)
    for observation in observations[:JUDGED]:
        with watch.stage("solve_judging"):
            judging.solve(observation)
    solver = SubjectSolver(head, DriveMode.OWN)
    solver.wear(profile)
    retargeter = Retargeter(head.expression_names, rig_of(avatar), neck_offset=solver.neck_offset)
    for observation, image in zip(observations, frames, strict=True):
        with watch.stage("solve_known"):
            params = solver.solve(observation)
        if params is None:
            continue
        with watch.stage("refine"):
            refined = registrar.refine(image, params, solver.focal_px, (0.5 * image.shape[1], 0.5 * image.shape[0]))
            solver.misfit(refined)
        with watch.stage("retarget_own"):
            retargeter.retarget(refined, observation.pts_s, own=True)
        errors.append(solver.misfit())
    return Outcome(watch.summary(), round(float(np.mean(errors)), 4), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the solver and the retargeter on a clip and prints JSON.")
    parser.add_argument("--clip", default="talking_man_512", help="a clip of ../shared/data; the moving portrait where it is absent")
    parser.add_argument("--frames", type=int, default=500)
    options = parser.parse_args()
    present = (DATA / f"{options.clip}.mp4").exists()
    frames = clip_frames(options.clip, limit=options.frames) if present else moving_portrait(options.frames)
    observations = observe(frames)
    outcome, own = measure(observations), measure_own(observations, frames)
    report = {
        "benchmark": "solve",
        "clip": options.clip if present else "moving portrait",
        "frames": len(frames),
        "learning_frames": outcome.learning,
        "mean_error_px": outcome.error_px,
        "stages": outcome.stages | own.stages,
        "machine": machine(),
    }
    emit(report)


if __name__ == "__main__":
    main()

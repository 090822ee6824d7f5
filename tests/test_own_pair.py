"""A person drives the avatar of herself: her every parameter is known, and what comes out of the live stages is compared with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.driver import Registration, RegistrationStage
from models.head import HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.registration import Registrar, features
from models.rotations import to_axis_angle, to_matrix
from models.weights import weight_path
from realtime.driving import Driven
from realtime.packets import DriveMode
from realtime.reenactor import HEAD, LANDMARKER, StageFactory
from realtime.regression import ParameterSolver
from realtime.tracking import FaceTracker
from tests.own_pair import SIZE, OwnPair, own_pair

Double = NDArray[np.float64]
FRAMES, KNOWN = 140, 84
CENTRE = (0.5 * SIZE, 0.5 * SIZE)
JITTER = (0.02, 0.002, 0.006, 0.08)
"""Standard deviations of what starts are shaken by: radians, metres across and along the line of sight, expression and gaze."""


@pytest.fixture(scope="module")
def pair() -> OwnPair:
    return own_pair(FRAMES, KNOWN)


@pytest.fixture(scope="module")
def registered(pair: OwnPair) -> OwnPair:
    """The same, with a registration taught on the first frames: two stages, each a ridge regression from colours to what is wrong."""
    profile = pair.avatar.driver
    assert profile is not None
    solver, tracker = ParameterSolver(load_head(HEAD), None, profile), FaceTracker(FaceLandmarker(weight_path(LANDMARKER)))
    solved = [solver.solve(tracker.track(pair.packet(frame))) for frame in range(KNOWN)]
    rng = np.random.default_rng(1)
    starts = [(frame, params) for frame, params in enumerate(solved) if params is not None]
    starts += [(frame, shaken(params, rng)) for frame, params in starts for _ in range(2)]
    face = np.flatnonzero((pair.avatar.base[:, 2] > 0.0) & (np.abs(pair.avatar.base[:, 1]) < 0.1))
    vertices = np.sort(rng.choice(face, 300, replace=False)).astype(np.int32)
    stages: list[RegistrationStage] = []
    for _ in range(2):
        registrar = Registrar(Registration(vertices, ()), pair.avatar)
        colours = np.stack([features(pair.frames[frame], registrar.points(params, solver.focal_px, CENTRE)) for frame, params in starts])
        wrong = np.stack([difference(params, pair.truth[frame]) for frame, params in starts])
        stages.append(ridge(colours, wrong))
        registrar = Registrar(Registration(vertices, (stages[-1],)), pair.avatar)
        starts = [(frame, registrar.refine(pair.frames[frame], params, solver.focal_px, CENTRE)) for frame, params in starts]
    return replace(pair, avatar=replace(pair.avatar, driver=replace(profile, registration=Registration(vertices, tuple(stages)))))


def ridge(colours: NDArray[np.float32], wrong: Double) -> RegistrationStage:
    mean, bias = colours.mean(0), wrong.mean(0)
    centred = (colours - mean).astype(np.float64)
    gram = centred @ centred.T
    duals = np.linalg.solve(gram + 0.3 * gram.trace() / len(gram) * np.eye(len(gram)), wrong - bias)
    return RegistrationStage(mean, (duals.T @ centred).astype(np.float32), bias.astype(np.float32))


def shaken(params: HeadParams, rng: np.random.Generator) -> HeadParams:
    noise = rng.normal(0.0, 1.0, 10 + len(params.expression)).astype(np.float32)
    radians, across, along, shapes = (np.float32(size) for size in JITTER)
    return replace(
        params,
        neck=params.neck + radians * noise[:3],
        translation=params.translation + np.array([across, across, along], np.float32) * noise[3:6],
        expression=np.clip(params.expression + shapes * noise[6:-4], 0.0, 1.0),
        gaze=params.gaze + shapes * noise[-4:].reshape(2, 2),
    )


def difference(one: HeadParams, two: HeadParams) -> Double:
    """(10 + E,): what leads from one to two, as in a registration."""
    turn = to_axis_angle(to_matrix(two.neck) @ to_matrix(one.neck).T)
    return np.concatenate([turn, two.translation - one.translation, two.expression - one.expression, (two.gaze - one.gaze).reshape(-1)])


def drive(pair: OwnPair, mode: DriveMode) -> list[Driven]:
    driving = StageFactory(lambda _: pair.avatar, "mara", SIZE, mode).driving("mara")
    return [driving.step(pair.packet(frame)) for frame in range(FRAMES)]


def errors(pair: OwnPair, driven: list[Driven]) -> tuple[float, float, float]:
    """Over the frames that nothing was learned from: of the neck in degrees, of the translation in millimetres (means), of the expression (RMS)."""
    apart = np.stack([difference(driven[frame].pose, pair.truth[frame]) for frame in range(KNOWN, FRAMES)])
    turn, place = (np.linalg.norm(apart[:, part], axis=1).mean() for part in (slice(0, 3), slice(3, 6)))
    return float(np.degrees(turn)), float(1e3 * place), float(np.sqrt((apart[:, 6:-4] ** 2).mean()))


def test_an_own_person_is_found_out_and_reproduced(pair: OwnPair, registered: OwnPair) -> None:
    """By landmarks alone as far as these go (they are off by two to three degrees on this rendered face); with registration to a degree and some millimetres;
    relative to a rest pose, not at all."""
    relative = errors(pair, drive(pair, DriveMode.RELATIVE))
    own = drive(pair, DriveMode.AUTO)
    assert own[-1].own
    refined = drive(registered, DriveMode.OWN)
    assert all("refine" in frame.stage_ms for frame in refined)
    by_landmarks, by_picture = errors(pair, own), errors(registered, refined)
    print(f"neck degrees, translation mm, expression: relative {relative}, own {by_landmarks}, with registration {by_picture}")
    assert relative[0] > 6.0
    assert relative[1] > 7.0
    assert by_landmarks[0] < 3.0
    assert by_landmarks[1] < 8.0
    assert by_picture[0] < 1.5
    assert by_picture[1] < 5.0
    assert by_picture[2] < relative[2]

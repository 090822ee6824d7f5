"""Who drives: the avatar's own person is known again, and nobody else is taken for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.driver import DriverProfile
from models.head import HeadModel, HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.rotations import to_axis_angle, to_matrix
from models.weights import weight_path
from realtime.packets import DriveMode, FaceObservation, Tracking, VideoPacket
from realtime.reenactor import HEAD, LANDMARKER
from realtime.regression import ParameterSolver, SolverSettings
from realtime.subject import SubjectSolver
from realtime.tracking import FaceTracker
from tests.faces import clip_frames
from tests.synthetic_face import observe, synthetic_head
from tests.test_regression import motion

FRAME_S = 1.0 / 30.0
PLAIN = SolverSettings(rotation_precision=0.0)
MAN, WOMAN = "talking_man_512", "expressive_woman_512"
PERSON, ANOTHER = (np.random.default_rng(seed).normal(0.0, 1.2, 12).astype(np.float32) for seed in (8, 21))


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return synthetic_head()


def known(head: HeadModel, focal: float = 1.1) -> DriverProfile:
    """PERSON, whose landmarks also lie a millimetre off."""
    offsets = np.random.default_rng(5).normal(0.0, 0.001, (478, 3)).astype(np.float32)
    return DriverProfile(head.name, PERSON, offsets, focal)


def seen(head: HeadModel, frame: int, identity: NDArray[np.float32], at_s: float | None = None) -> FaceObservation:
    """A person, whose landmarks are their own, before a camera of focal length 1.1."""
    params = replace(motion(head, frame), identity=identity)
    plain = observe(head, params, frame * FRAME_S if at_s is None else at_s, 1.1 * 640.0)
    if identity is not PERSON:
        return plain
    offsets, shaped = known(head).offsets, head.landmarks(head.vertices(params))
    moved = shaped + offsets @ to_matrix(params.rotation).T.astype(np.float32)
    assert plain.landmarks is not None
    shift = [1.1 * 640.0 * (point[:, :2] * (1.0, -1.0) / -point[:, 2:]) for point in (shaped, moved)]
    plain.landmarks[:, :2] += np.nan_to_num(shift[1] - shift[0]).astype(np.float32)
    return plain


def test_a_known_driver_is_solved_from_the_first_frame(head: HeadModel) -> None:
    """In the avatar's convention: the neck carries the turn, and the head's own forward pass shows the person where they are."""
    solver = ParameterSolver(head, PLAIN, known(head))
    assert solver.settled
    found: HeadParams | None = None
    for frame in range(12):
        truth = replace(motion(head, frame), identity=PERSON)
        found = solver.solve(seen(head, frame, PERSON))
        assert found is not None
        assert not found.rotation.any()
        assert np.degrees(np.linalg.norm(to_axis_angle(to_matrix(found.neck) @ to_matrix(truth.rotation).T))) < 0.3
        face = head.region_vertices("skin")[:600]
        assert np.abs(head.vertices(found)[face] - head.vertices(truth)[face]).max() < 0.004
        assert solver.residuals(found) == pytest.approx(solver.residuals(), abs=1e-4)
        assert np.median(np.linalg.norm(solver.residuals(), axis=1)) < 0.01
    assert found is not None
    assert found.identity == pytest.approx(PERSON)
    assert solver.focal_px == pytest.approx(704.0)
    worse = replace(found, neck=found.neck + np.float32(0.1))
    assert np.abs(solver.residuals(worse)).max() > 0.03


def test_a_profile_of_another_head_is_refused(head: HeadModel) -> None:
    for profile in (replace(known(head), head="another"), replace(known(head), identity=np.zeros(13, np.float32))):
        with pytest.raises(ValueError, match="identity shapes"):
            ParameterSolver(head, PLAIN, profile)
        solver = SubjectSolver(head)
        solver.wear(profile)
        solver.set_mode(DriveMode.OWN)
        assert solver.solve(seen(head, 0, PERSON)) is not None
        assert not solver.own


def watch(solver: SubjectSolver, head: HeadModel, identity: NDArray[np.float32], frames: int, start_s: float = 0.0) -> list[bool]:
    ways = []
    for frame in range(frames):
        assert solver.solve(seen(head, frame, identity, start_s + frame * FRAME_S)) is not None
        ways.append(solver.own)
    return ways


def test_the_own_person_is_known_again_and_another_is_not(head: HeadModel) -> None:
    for identity, own in ((PERSON, True), (ANOTHER, False)):
        solver = SubjectSolver(head)
        solver.wear(known(head))
        ways = watch(solver, head, identity, 75)
        assert not any(ways[:29])
        assert ways[-1] is own


def test_after_a_while_without_a_face_it_is_judged_anew(head: HeadModel) -> None:
    """Somebody else sits down; and the person comes back."""
    solver = SubjectSolver(head)
    solver.wear(known(head))
    assert watch(solver, head, PERSON, 75)[-1]
    assert solver.solve(FaceObservation(Tracking.LOST, 640, 480, 2.6)) is None
    assert not watch(solver, head, ANOTHER, 75, 4.0)[-1]
    assert watch(solver, head, PERSON, 75, 8.0)[-1]


def test_a_mode_overrules(head: HeadModel) -> None:
    solver = SubjectSolver(head, DriveMode.OWN)
    assert not watch(solver, head, PERSON, 2)[-1]
    solver.wear(known(head))
    assert all(watch(solver, head, ANOTHER, 40, 1.0))
    solver.set_mode(DriveMode.RELATIVE)
    assert not any(watch(solver, head, PERSON, 75, 3.0))
    solver.set_mode(DriveMode.AUTO)
    assert watch(solver, head, PERSON, 75, 6.0)[-1]
    solver.wear(None)
    assert not any(watch(solver, head, PERSON, 75, 9.0))


def test_without_a_known_person_nothing_changes(head: HeadModel) -> None:
    """Bit for bit what the plain solver finds."""
    plain, solver = ParameterSolver(head), SubjectSolver(head)
    for frame in range(40):
        observation = seen(head, frame, ANOTHER)
        one, two = plain.solve(observation), solver.solve(observation)
        assert isinstance(one, HeadParams)
        assert isinstance(two, HeadParams)
        assert np.array_equal(one.expression, two.expression)
        assert np.array_equal(one.translation, two.translation)


@pytest.fixture(scope="module")
def people() -> dict[str, list[FaceObservation]]:
    """Two real clips, tracked: every third frame of the first fourteen seconds."""
    tracked = {}
    for name in (MAN, WOMAN):
        tracker = FaceTracker(FaceLandmarker(weight_path(LANDMARKER)))
        frames = clip_frames(name, step=3, limit=120)
        tracked[name] = [tracker.track(VideoPacket(image, index / 8.0, index / 8.0)) for index, image in enumerate(frames)]
    return tracked


@pytest.mark.parametrize(("own", "driver"), [(MAN, MAN), (MAN, WOMAN), (WOMAN, MAN)])
def test_real_people_are_told_apart(people: dict[str, list[FaceObservation]], own: str, driver: str) -> None:
    """Known from the first half, judged on the second."""
    head = load_head(HEAD)
    teacher = ParameterSolver(head, SolverSettings(identity_slices=6))
    for observation in people[own][:60]:
        teacher.solve(observation)
    solver = SubjectSolver(head)
    solver.wear(profile_from(teacher, head))
    for observation in people[driver][60:]:
        solver.solve(observation)
    assert solver.own is (own == driver)


def profile_from(teacher: ParameterSolver, head: HeadModel) -> DriverProfile:
    """What a solver has learned."""
    offsets = np.zeros((478, 3), np.float32)
    offsets[teacher._model.indices] = teacher._subject.offsets
    return DriverProfile(head.name, teacher._subject.identity.astype(np.float32), offsets, teacher._subject.focal)

"""The driving signal as a whole: what it must not depend on, and that no picture and no landmarks make the avatar jump, leave its range or show NaN."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker
from models.rotations import to_axis_angle, to_matrix
from models.solving.landmark_model import landmark_model
from models.weights import weight_path
from realtime.confidence import SURE, Confidence, ConfidenceMeter
from realtime.gallery import FIRST, SHIPPED
from realtime.packets import FaceObservation, Tracking, VideoPacket
from realtime.reenactor import HEAD, LANDMARKER, load_avatar, rig_of
from realtime.regression import ParameterSolver, SolverSettings
from realtime.retarget import AvatarRig, Retargeter
from realtime.subject import SubjectSolver
from realtime.tracking import FaceTracker
from tests.benchmarks.tracking.clips import SCENES, rendered_clip
from tests.benchmarks.tracking.meshes import Marks
from tests.faces import Image, face_clip
from tests.synthetic_face import observe

Double = NDArray[np.float64]
FRAME_S = 1.0 / 30.0
AVERAGE = SolverSettings(identity_slices=0)
"""Nothing is learned: what a frame says depends on it and the one before."""
SHOWN_PX = 512
CALM = 40
"""Frames before anything happens: the rest pose is known by then."""
LARGEST_JUMP_PX = 30.0
"""Of the landmarks' mean; a quick nod of the talking man is 17, a frame upside down that passes 165."""
ODD = (
    "nan",
    "one_nan",
    "infinite",
    "far_outside",
    "huge",
    "a_point",
    "scattered",
    "no_coefficients",
    "all_coefficients",
    "lost",
    "flipped",
    "mirrored",
    "another",
)
BRIEF = ("upside_down", "twice_as_large", "doubled", "half_as_large")
"""A head does not come to be so from one frame to the next; where it stays so, it is believed."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(HEAD)


@pytest.fixture(scope="module")
def rig() -> AvatarRig:
    return rig_of(load_avatar(SHIPPED / f"{FIRST}.avatar"))


@pytest.fixture(scope="module")
def frames() -> list[Image]:
    return face_clip(CALM + 40)


@pytest.fixture(scope="module")
def seen(frames: list[Image]) -> list[FaceObservation]:
    tracker = FaceTracker(FaceLandmarker(weight_path(LANDMARKER), 1))
    return [tracker.track(VideoPacket(frame, index * FRAME_S, index * FRAME_S)) for index, frame in enumerate(frames)]


def solved(head: HeadModel, observations: list[FaceObservation], settings: SolverSettings = AVERAGE) -> list[HeadParams]:
    solver = ParameterSolver(head, settings)
    found = [solver.solve(observation) for observation in observations]
    return [params for params in found if params is not None]


def apart_deg(one: HeadParams, two: HeadParams) -> float:
    return float(np.degrees(np.linalg.norm(to_axis_angle(to_matrix(one.rotation) @ to_matrix(two.rotation).T))))


def scaled(observation: FaceObservation, factor: int) -> FaceObservation:
    assert observation.landmarks is not None
    return replace(observation, width=factor * observation.width, height=factor * observation.height, landmarks=np.float32(factor) * observation.landmarks)


def swapped(name: str) -> str:
    return name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")


def mirrored(head: HeadModel, observation: FaceObservation) -> FaceObservation:
    """The same face in a mirror: each landmark is seen where the one across the face was."""
    assert observation.landmarks is not None
    assert observation.coefficients is not None
    places = np.nan_to_num(head.landmarks(head.template), nan=9.0)
    across = np.linalg.norm(places[:, None] * (-1.0, 1.0, 1.0) - places[None], axis=2).argmin(1)
    landmarks = observation.landmarks[across]
    landmarks[:, 0] = observation.width - landmarks[:, 0]
    other = [COEFFICIENT_NAMES.index(swapped(name)) for name in COEFFICIENT_NAMES]
    return replace(observation, landmarks=landmarks, coefficients=observation.coefficients[other])


def test_the_size_of_the_picture_does_not_matter(head: HeadModel, seen: list[FaceObservation]) -> None:
    small, large = solved(head, seen[:30]), solved(head, [scaled(each, 3) for each in seen[:30]])
    for one, two in zip(small, large, strict=True):
        assert apart_deg(one, two) < 0.01
        assert np.abs(one.expression - two.expression).max() < 1e-3
        assert np.abs(one.translation - two.translation).max() < 1e-4


def test_a_mirrored_face_moves_the_mirrored_way(head: HeadModel, seen: list[FaceObservation]) -> None:
    """As far as the head's landmark embedding is even itself."""
    plain, other = solved(head, seen[:30]), solved(head, [mirrored(head, each) for each in seen[:30]])
    names = head.expression_names
    across = [names.index(swapped(name)) for name in names]
    for one, two in zip(plain, other, strict=True):
        reflected = replace(two, rotation=two.rotation * np.array([1.0, -1.0, -1.0], np.float32))
        assert apart_deg(one, reflected) < 1.0
        assert np.abs(one.expression - two.expression[across]).mean() < 0.03
        assert np.degrees(np.abs(one.gaze[:, 0] + two.gaze[::-1, 0]).max()) < 5.0


def test_the_place_in_the_picture_does_not_matter(head: HeadModel) -> None:
    """The same face elsewhere before the camera: the same expression and turn."""
    rng = np.random.default_rng(3)
    expression = np.clip(rng.normal(0.1, 0.15, len(head.expression_names)), 0.0, 0.6).astype(np.float32)
    pose = replace(HeadParams.neutral(len(expression)), expression=expression, rotation=np.array([0.1, 0.3, -0.1], np.float32))
    found = []
    for place in ((0.0, 0.0, -0.6), (0.12, 0.05, -0.6), (-0.12, -0.05, -0.75), (0.02, 0.02, -0.45)):
        truth = replace(pose, translation=np.array(place, np.float32))
        found.append(solved(head, [observe(head, truth, frame * FRAME_S) for frame in range(6)], replace(AVERAGE, rotation_precision=0.0))[-1])
        assert np.abs(found[-1].translation - truth.translation).max() < 0.01
    for other in found[1:]:
        assert apart_deg(found[0], other) < 0.5
        assert np.abs(found[0].expression - other.expression).max() < 0.1


def test_the_order_of_frames_does_not_matter_once_the_driver_is_known(head: HeadModel, seen: list[FaceObservation]) -> None:
    """Nothing is learned, and the steps suffice to forget where the last frame was."""
    settings = replace(AVERAGE, iterations=8)
    order = np.random.default_rng(4).permutation(30)
    shuffled = [replace(seen[index], pts_s=at * FRAME_S) for at, index in enumerate(order)]
    plain, other = solved(head, seen[:30], settings), solved(head, shuffled, settings)
    for at, index in enumerate(order):
        assert apart_deg(plain[index], other[at]) < 0.1
        assert np.abs(plain[index].expression - other[at].expression).max() < 0.05


def ways(observation: FaceObservation) -> dict[str, FaceObservation]:
    """Landmarks as no face has them."""
    assert observation.landmarks is not None
    points, rng = observation.landmarks, np.random.default_rng(7)
    one_nan = points.copy()
    one_nan[200, 0] = np.nan
    middle, stretch = points.mean(0), np.array([1.3, 1.15, 1.2])
    width, height = float(observation.width), float(observation.height)

    def moved(scale: tuple[float, float, float], shift: tuple[float, float]) -> FaceObservation:
        return replace(observation, landmarks=(points * scale + (*shift, 0.0)).astype(np.float32))

    return {
        "flipped": moved((1.0, -1.0, 1.0), (0.0, height)),
        "mirrored": moved((-1.0, 1.0, 1.0), (width, 0.0)),
        "upside_down": moved((-1.0, -1.0, 1.0), (width, height)),
        "another": replace(observation, landmarks=((points - middle) * stretch + middle + (60.0, -20.0, 0.0)).astype(np.float32)),
        "twice_as_large": moved((2.0, 2.0, 2.0), (-float(middle[0]), -float(middle[1]))),
        "doubled": moved((2.0, 2.0, 1.0), (0.0, 0.0)),
        "half_as_large": moved((0.5, 0.5, 0.5), (0.0, 0.0)),
        "nan": replace(observation, landmarks=np.full_like(points, np.nan)),
        "one_nan": replace(observation, landmarks=one_nan),
        "infinite": replace(observation, landmarks=np.full_like(points, np.inf)),
        "far_outside": replace(observation, landmarks=points + np.float32(1e5)),
        "huge": replace(observation, landmarks=points * np.float32(1e20)),
        "a_point": replace(observation, landmarks=np.zeros_like(points)),
        "scattered": replace(observation, landmarks=rng.normal(256.0, 120.0, points.shape).astype(np.float32)),
        "no_coefficients": replace(observation, coefficients=np.full(len(COEFFICIENT_NAMES), np.nan, np.float32)),
        "all_coefficients": replace(observation, coefficients=np.full(len(COEFFICIENT_NAMES), 1e9, np.float32)),
        "lost": FaceObservation(Tracking.LOST, observation.width, observation.height, observation.pts_s),
    }


class Puppet:
    """Solver and retargeter on the default avatar, and where its landmarks are shown."""

    def __init__(self, head: HeadModel, rig: AvatarRig) -> None:
        self._solver = SubjectSolver(head)
        self._retargeter = Retargeter(head.expression_names, rig, neck_offset=self._solver.neck_offset)
        self._rig = rig
        self._marks = Marks.of(head, landmark_model(head, 0).indices)
        self._camera = load_avatar(SHIPPED / f"{FIRST}.avatar").camera

    @property
    def turn(self) -> Double:
        """(3, 3) of the driver, as it is shown."""
        return to_matrix(self._retargeter.motion().turn)

    def show(self, observation: FaceObservation, confidence: Confidence = SURE) -> Double:
        """(L, 2) pixels; what is shown is inside the avatar's range."""
        shown = self._retargeter.retarget(self._solver.solve(observation), observation.pts_s, False, confidence)
        parts = (shown.expression, shown.rotation, shown.neck, shown.jaw, shown.gaze, shown.translation)
        assert all(np.isfinite(part).all() for part in parts)
        assert (shown.expression >= self._rig.expression_min).all()
        assert (shown.expression <= self._rig.expression_max).all()
        assert (np.abs(shown.neck) <= self._rig.neck_limit + 1e-6).all()
        camera = self._marks.posed(shown)
        return np.asarray(self._camera.focal * SHOWN_PX * camera[:, :2] / -camera[:, 2:])


@pytest.fixture(scope="module")
def calm(head: HeadModel, rig: AvatarRig, seen: list[FaceObservation]) -> Puppet:
    """One that has seen what comes before anything happens; to be copied."""
    puppet = Puppet(head, rig)
    for observation in seen[:CALM]:
        puppet.show(observation)
    return puppet


def jumps(puppet: Puppet, observations: list[FaceObservation]) -> Double:
    """(N - 1,) mean way of the avatar's landmarks from frame to frame, in pixels of 512."""
    shown = np.array([puppet.show(observation) for observation in observations])
    return np.asarray(np.linalg.norm(np.diff(shown, axis=0), axis=2).mean(1))


@pytest.mark.parametrize(("way", "length"), [*((way, length) for way in ODD for length in (1, 20)), *((way, length) for way in BRIEF for length in (1, 3))])
def test_odd_landmarks_do_not_make_the_avatar_jump(calm: Puppet, seen: list[FaceObservation], way: str, length: int) -> None:
    given = [ways(each)[way] if at < length else each for at, each in enumerate(seen[CALM:])]
    assert jumps(deepcopy(calm), [seen[CALM - 1], *given]).max() < LARGEST_JUMP_PX


def test_frozen_landmarks_freeze_the_avatar(calm: Puppet, seen: list[FaceObservation]) -> None:
    given = [replace(seen[CALM], pts_s=(CALM + index) * FRAME_S) for index in range(90)]
    assert jumps(deepcopy(calm), given)[-30:].max() < 0.1


def spoiled(image: Image, way: str) -> Image:
    """A frame as a webcam might see it."""
    height, width = image.shape[:2]
    if way == "dark":
        noise = np.random.default_rng(0).normal(0.0, 3.0, image.shape)
        return np.clip(0.06 * image + noise, 0.0, 255.0).astype(np.uint8)
    if way == "blurred":
        return np.asarray(cv2.blur(image, (width // 12, 3)), np.uint8)
    if way == "coarse":
        return np.asarray(cv2.resize(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA), (width, height)), np.uint8)
    covered = image.copy()
    if way == "hand":
        cv2.ellipse(covered, (width // 2, round(0.62 * height)), (width // 6, height // 9), 20.0, 0.0, 360.0, (196, 150, 128), -1)
    elif way == "half":
        covered[:, : width // 2] = (90, 80, 70)
    else:
        covered[:] = 0
    return covered


@dataclass(frozen=True)
class Spell:
    """A clip of which twenty frames from CALM on are spoiled."""

    observations: list[FaceObservation]
    confidences: list[Confidence]


@pytest.fixture(scope="module")
def spells(frames: list[Image]) -> dict[str, Spell]:
    made = {}
    for way in ("clean", "dark", "blurred", "coarse", "hand", "half", "black"):
        tracker, meter = FaceTracker(FaceLandmarker(weight_path(LANDMARKER), 1)), ConfidenceMeter()
        observations, confidences = [], []
        for index, frame in enumerate(frames):
            image = spoiled(frame, way) if way != "clean" and CALM <= index < CALM + 20 else frame
            seen = tracker.track(VideoPacket(image, index * FRAME_S, index * FRAME_S))
            observations.append(seen)
            confidences.append(meter.look(image, seen.landmarks, seen.confidence, seen.pts_s))
        made[way] = Spell(observations, confidences)
    return made


@pytest.mark.parametrize("way", ["dark", "blurred", "coarse", "hand", "half", "black"])
def test_bad_pictures_do_not_make_the_avatar_jump(calm: Puppet, spells: dict[str, Spell], way: str) -> None:
    puppet, spell = deepcopy(calm), spells[way]
    shown = np.array([puppet.show(seen, sure) for seen, sure in zip(spell.observations[CALM - 1 :], spell.confidences[CALM - 1 :], strict=True)])
    assert np.linalg.norm(np.diff(shown, axis=0), axis=2).mean(1).max() < LARGEST_JUMP_PX
    assert all(each.tracking is not Tracking.LOST for each in spell.observations[-20:])


def test_bad_pictures_are_doubted_and_good_ones_are_not(spells: dict[str, Spell]) -> None:
    """A dark picture is only said to break off: its landmarks are good."""
    for each in (*spells["clean"].confidences, *(one for spell in spells.values() for one in spell.confidences[:CALM])):
        assert min(each.pose, each.unbroken) > 0.9
    within = {way: spell.confidences[CALM : CALM + 20] for way, spell in spells.items()}
    for way in ("dark", "blurred", "coarse", "hand", "half"):
        assert within[way][0].unbroken < 0.1
        assert spells[way].confidences[CALM + 20].unbroken < 0.1
        assert within[way][-1].unbroken == 1.0
    for way in ("blurred", "coarse"):
        assert max(each.clear for each in within[way]) < 0.1
    for way in ("hand", "half"):
        assert np.mean([each.mouth for each in within[way]]) < 0.3
    for spell in spells.values():
        assert min(min(each.pose, each.unbroken) for each in spell.confidences[-10:]) > 0.9


def wrongly_turned(calm: Puppet, spells: dict[str, Spell], way: str, doubting: bool) -> float:
    """Degrees by which the spoiled frames' turn is off that of the same frames as they are; mean."""
    turns = []
    for spell in (spells["clean"], spells[way]):
        puppet = deepcopy(calm)
        found = []
        for seen, sure in zip(spell.observations[CALM:], spell.confidences[CALM:], strict=True):
            puppet.show(seen, sure if doubting else SURE)
            found.append(puppet.turn)
        turns.append(found[:20])
    return float(np.mean([np.degrees(np.linalg.norm(to_axis_angle(one @ two.T))) for one, two in zip(*turns, strict=True)]))


@pytest.mark.parametrize(("way", "share"), [("blurred", 0.7), ("coarse", 0.85)])
def test_doubt_brings_the_head_nearer_to_where_it_is(calm: Puppet, spells: dict[str, Spell], way: str, share: float) -> None:
    assert wrongly_turned(calm, spells, way, True) < share * wrongly_turned(calm, spells, way, False)


def test_a_profile_and_back(head: HeadModel, rig: AvatarRig) -> None:
    """To the side until nothing of the face is left to be seen, and back, within two seconds and a half."""
    clip = rendered_clip(head, SCENES[0], 0.0)
    yaw = np.radians(95.0) * np.sin(np.linspace(0.0, np.pi, 75)) ** 2
    turned = [replace(clip.resting, neck=np.array([0.0, angle, 0.0], np.float32), translation=clip.truth[0].translation) for angle in yaw]
    tracker = FaceTracker(FaceLandmarker(weight_path(LANDMARKER), 1))
    packets = replace(clip, truth=clip.truth[:30] + turned + clip.truth[:20]).packets()
    observations = [tracker.track(packet) for packet in packets]
    assert any(each.tracking is Tracking.LOST for each in observations)
    assert jumps(Puppet(head, rig), observations).max() < LARGEST_JUMP_PX
    assert observations[-1].tracking is not Tracking.LOST

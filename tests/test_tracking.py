"""realtime/tracking.py: its states with a fake landmarker and a virtual clock, and what it does with real faces."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.face_detector import FaceBox
from models.face_roi import Roi, roi_around_landmarks
from models.landmarker import FaceLandmarker, LandmarkResult
from models.weights import weight_path
from realtime.packets import FaceObservation, Tracking, VideoPacket
from realtime.tracking import FaceTracker
from tests.faces import Image, clip_frames, face_clip, moving_portrait
from tests.test_landmarker import difference

ROOT = Path(__file__).resolve().parents[1]
FRAME_S = 0.04


@dataclass
class Face:
    """A square face in the fake world; `seen` is whether the detector finds it, `real` whether it has landmarks."""

    x: float
    y: float
    side: float
    seen: bool = True
    real: bool = True


@dataclass
class FakeLandmarker:
    """Sees the faces that a test puts into it."""

    faces: list[Face] = field(default_factory=list)
    detections: list[Roi | None] = field(default_factory=list)
    looks: int = 0

    def detect(self, image: Image, roi: Roi | None = None) -> list[FaceBox]:
        self.detections.append(roi)
        seen = sorted((face for face in self.faces if face.seen), key=lambda face: -face.side)
        return [] if roi else [FaceBox(face.x, face.y, face.side, face.side, np.array([[0, 0], [1, 0]] + [[0, 0]] * 4, np.float32), 0.9) for face in seen]

    def landmarks(self, image: Image, roi: Roi) -> LandmarkResult:
        self.looks += 1
        near = [face for face in self.faces if face.real and math.hypot(face.x - roi.x, face.y - roi.y) < 0.5 * roi.width]
        points = np.zeros((478, 3), np.float32)
        if near:
            face = near[0]
            points[:, :2] = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 2)) * face.side + (face.x, face.y)
            points[[33, 263], 1] = face.y
            points[[33, 263], 0] = face.x - 0.3 * face.side, face.x + 0.3 * face.side
        return LandmarkResult(points, 1.0 if near else 0.01, np.zeros(52, np.float32))

    def settled_landmarks(self, image: Image, roi: Roi) -> LandmarkResult:
        return self.landmarks(image, roi)


class Stream:
    """Feeds a tracker frame by frame on a clock of its own."""

    def __init__(self, landmarker: FakeLandmarker | FaceLandmarker, width: int = 640, height: int = 480) -> None:
        self.tracker = FaceTracker(landmarker)
        self.now_s = 100.0
        self.image = np.zeros((height, width, 3), np.uint8)

    def step(self, image: Image | None = None) -> FaceObservation:
        self.now_s += FRAME_S
        return self.tracker.track(VideoPacket(self.image if image is None else image, self.now_s - 100.0, self.now_s))


def nose(observation: FaceObservation) -> tuple[float, float]:
    assert observation.landmarks is not None
    return float(observation.landmarks[:, 0].mean()), float(observation.landmarks[:, 1].mean())


# --- states -----------------------------------------------------------------------------------------------------------------------------------------------


def test_the_detector_rests_while_a_face_is_followed() -> None:
    fake = FakeLandmarker([Face(300, 200, 120)])
    stream = Stream(fake)
    for _ in range(100):
        observation = stream.step()
        assert observation.tracking is Tracking.OK
        assert (observation.width, observation.height) == (640, 480)
    assert observation.confidence == 1.0
    assert observation.pts_s == pytest.approx(stream.now_s - 100.0)
    assert len(fake.detections) == 4  # at first, then about once a second
    assert fake.looks == 100


def test_the_largest_is_chosen_and_kept_until_it_is_lost() -> None:
    first, second = Face(150, 200, 120), Face(450, 200, 100)
    fake = FakeLandmarker([first, second])
    stream = Stream(fake)
    assert stream.step().tracking is Tracking.MULTIPLE
    second.side = 180
    for _ in range(60):
        assert nose(stream.step())[0] == pytest.approx(150, abs=10)
    fake.faces.remove(first)
    observation = stream.step()
    assert nose(observation)[0] == pytest.approx(450, abs=10)
    assert observation.tracking is Tracking.OK


def test_a_face_is_lost_and_found_at_once() -> None:
    face = Face(300, 200, 120)
    fake = FakeLandmarker([face])
    stream = Stream(fake)
    stream.step()
    fake.faces.clear()
    for _ in range(10):
        observation = stream.step()
        assert observation.tracking is Tracking.LOST
        assert observation.landmarks is None
        assert observation.coefficients is None
        assert observation.confidence == 0.0
    fake.faces.append(face)
    assert stream.step().tracking is Tracking.OK


def test_a_face_that_jumps_is_found_in_the_same_frame() -> None:
    fake = FakeLandmarker([Face(100, 100, 80)])
    stream = Stream(fake)
    stream.step()
    fake.faces[0].x = 500
    assert nose(stream.step())[0] == pytest.approx(500, abs=10)


def test_a_careful_tracker_looks_again_where_the_region_was_off() -> None:
    """Not at a face that rests."""
    face = Face(300, 200, 120)
    fake = FakeLandmarker([face])
    stream = Stream(fake)
    stream.step()
    stream.tracker.careful = True
    for moved_px, looks in ((0.0, 1), (1.0, 1), (6.0, 2), (0.0, 1)):
        face.x += moved_px
        before = fake.looks
        assert stream.step().tracking is Tracking.OK
        assert fake.looks - before == looks
    fake.faces.clear()
    assert stream.step().tracking is Tracking.LOST


def test_others_are_noticed_within_a_second_and_forgotten_as_fast() -> None:
    fake = FakeLandmarker([Face(150, 200, 120)])
    stream = Stream(fake)
    stream.step()
    fake.faces.append(Face(450, 200, 100))
    states = [stream.step().tracking for _ in range(27)]
    assert states[0] is Tracking.OK
    assert states[-1] is Tracking.MULTIPLE
    fake.faces.pop()
    assert [stream.step().tracking for _ in range(27)][-1] is Tracking.OK


def test_what_only_the_detector_takes_for_a_face_is_no_face() -> None:
    fake = FakeLandmarker([Face(450, 200, 200, real=False), Face(150, 200, 120)])
    stream = Stream(fake)
    for _ in range(60):
        observation = stream.step()
        assert observation.tracking is Tracking.OK
        assert nose(observation)[0] == pytest.approx(150, abs=10)


def test_a_frame_without_a_face_costs_little() -> None:
    fake = FakeLandmarker([Face(60 * index, 200, 50, real=False) for index in range(10)])
    stream = Stream(fake)
    assert stream.step().tracking is Tracking.LOST
    assert (len(fake.detections), fake.looks) == (1, 2)
    fake.faces.clear()
    assert stream.step().tracking is Tracking.LOST
    assert (len(fake.detections), fake.looks) == (3, 2)


def test_unusual_looks_take_turns() -> None:
    for size in ((640, 480), (480, 640), (500, 500)):
        fake = FakeLandmarker()
        stream = Stream(fake, *size)
        for _ in range(6):
            stream.step()
        looks = [roi for roi in fake.detections if roi is not None]
        assert len(fake.detections) == 12
        assert len(looks) == len(set(looks)) + 1 == 6  # a head on the same side comes up twice
        assert {round(math.degrees(roi.rotation_rad)) for roi in looks} == {-90, 0, 90}
        for roi in looks:
            if roi.rotation_rad == 0.0:
                assert 0.0 <= roi.x - roi.width / 2 < roi.x + roi.width / 2 <= size[0]
                assert 0.0 <= roi.y - roi.height / 2 < roi.y + roi.height / 2 <= size[1]


@pytest.mark.parametrize("change", [{"side": 300}, {"side": 40}, {"x": 650.0}])
def test_a_region_that_drifts_is_given_up(change: dict[str, float]) -> None:
    fake = FakeLandmarker([Face(600, 200, 120)])
    stream = Stream(fake)
    stream.step()
    for name, value in change.items():
        setattr(fake.faces[0], name, value)
    fake.faces[0].seen = False
    assert stream.step().tracking is Tracking.LOST
    assert stream.step().tracking is Tracking.LOST


def test_a_clock_that_jumps_back_does_no_harm() -> None:
    fake = FakeLandmarker([Face(300, 200, 120)])
    stream = Stream(fake)
    stream.step()
    stream.now_s = -50.0
    for _ in range(60):
        assert stream.step().tracking is Tracking.OK
    assert 3 <= len(fake.detections) <= 5


def test_a_change_of_size_is_a_new_start() -> None:
    fake = FakeLandmarker([Face(300, 200, 120)])
    stream = Stream(fake)
    stream.step()
    fake.faces[0].seen = False
    assert stream.step().tracking is Tracking.OK
    assert stream.step(np.zeros((600, 640, 3), np.uint8)).tracking is Tracking.LOST


# --- real faces -------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(weight_path("face_landmarker.task"))


@pytest.mark.parametrize("source", ["portrait", "talking_man_512", "expressive_woman_512"])
def test_a_whole_clip_stays_near_single_images(landmarker: FaceLandmarker, source: str) -> None:
    """Single images with the detector in front, as mediapipe does it; the networks themselves answer about 2 % differently in a region from landmarks."""
    frames = moving_portrait(100) if source == "portrait" else clip_frames(source)
    stream = Stream(landmarker)
    moved, coefficients = [], []
    for index, frame in enumerate(frames):
        observation = stream.step(frame)
        assert observation.tracking is Tracking.OK
        assert observation.landmarks is not None
        assert observation.coefficients is not None
        assert observation.confidence > 0.9
        if index % 5 == 0:
            single = landmarker.landmarks(frame, landmarker.detect(frame)[0].roi())
            moved.append(difference(observation.landmarks, single.landmarks))
            coefficients.append(np.abs(observation.coefficients - single.coefficients).mean())
    assert np.mean(moved) < 0.025
    assert np.max(moved) < 0.06
    assert np.mean(coefficients) < 0.05


def test_careful_landmarks_are_nearly_settled(landmarker: FaceLandmarker) -> None:
    """What a frame shows by itself, whatever came before it."""
    apart = {}
    frames = face_clip(60)
    for careful in (False, True):
        stream = Stream(landmarker)
        stream.tracker.careful = careful
        distances = []
        for frame in frames:
            seen = stream.step(frame).landmarks
            assert seen is not None
            look = seen
            for _ in range(2):
                look = landmarker.landmarks(frame, roi_around_landmarks(look)).landmarks
            distances.append(np.linalg.norm((seen - look)[:, :2], axis=1).mean())
        apart[careful] = float(np.mean(distances[5:]))
    assert apart[True] < 0.75 * apart[False]


def test_a_small_face_is_seen_right(landmarker: FaceLandmarker) -> None:
    """Where one look at the detector's box gives eyes a fifth as far apart as they are, in some frames."""
    stream = Stream(landmarker)
    for frame in clip_frames("talking_woman_1080x1920", step=5):
        observation = stream.step(frame)
        assert observation.tracking is Tracking.OK
        assert observation.landmarks is not None
        assert 60.0 < np.linalg.norm(observation.landmarks[468, :2] - observation.landmarks[473, :2]) < 110.0


def test_two_real_faces(landmarker: FaceLandmarker) -> None:
    other = moving_portrait(40)
    frames = [np.concatenate([cv2.resize(left, (384, 384)), right[64:448]], 1) for left, right in zip(face_clip(40), other, strict=True)]
    stream = Stream(landmarker)
    for index, frame in enumerate(frames):
        wide = np.asarray(frame, np.uint8)
        observation = stream.step(wide)
        assert observation.tracking is Tracking.MULTIPLE
        assert nose(observation)[0] > 384, index
    wide[:, 384:] = 0
    assert nose(stream.step(wide))[0] < 384


def test_black_frames_lose_the_face_and_the_next_good_one_finds_it(landmarker: FaceLandmarker) -> None:
    frames = face_clip(6)
    stream = Stream(landmarker)
    states = [stream.step(frame).tracking for frame in (*frames[:3], np.zeros_like(frames[0]), np.zeros_like(frames[0]), *frames[3:])]
    assert states == [Tracking.OK] * 3 + [Tracking.LOST] * 2 + [Tracking.OK] * 3


def test_a_covered_face_is_lost(landmarker: FaceLandmarker) -> None:
    frames = face_clip(4)
    stream = Stream(landmarker)
    landmarks = stream.step(frames[0]).landmarks
    assert landmarks is not None
    low, high = landmarks[:, :2].min(0).astype(int), landmarks[:, :2].max(0).astype(int)
    covered = frames[1].copy()
    covered[low[1] - 40 : high[1] + 20, low[0] - 20 : high[0] + 20] = (90, 70, 60)
    assert stream.step(covered).tracking is Tracking.LOST
    assert stream.step(frames[2]).tracking is Tracking.OK


@pytest.mark.parametrize("size", [(64, 64), (101, 77), (333, 251), (640, 480), (480, 641), (1920, 1080), (271, 1023)])
def test_any_size(landmarker: FaceLandmarker, size: tuple[int, int]) -> None:
    """The face fills the shorter side, the rest is grey."""
    short = min(size)
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    face = cv2.resize(moving_portrait(1)[0], (short, short), interpolation=cv2.INTER_AREA)
    x, y = (size[0] - short) // 2, (size[1] - short) // 2
    frame[y : y + short, x : x + short] = face
    observation = Stream(landmarker).step(frame)
    assert observation.tracking is Tracking.OK
    assert nose(observation) == pytest.approx((size[0] / 2, size[1] / 2), abs=0.1 * short)


def test_size_and_orientation_may_change_in_mid_stream(landmarker: FaceLandmarker) -> None:
    frames = face_clip(9)
    stream = Stream(landmarker)
    for index, frame in enumerate(frames):
        if index in (3, 4, 5):
            frame = np.asarray(cv2.resize(frame, (270, 270), interpolation=cv2.INTER_AREA), np.uint8)
        if index in (6, 7, 8):
            frame = np.concatenate([np.zeros((200, 512, 3), np.uint8), frame])
        observation = stream.step(frame)
        assert observation.tracking is Tracking.OK
        assert (observation.width, observation.height) == (frame.shape[1], frame.shape[0])
        single = landmarker.detect_and_landmark(frame)
        assert single is not None
        assert observation.landmarks is not None
        assert difference(observation.landmarks, single.landmarks) < 0.05


@pytest.mark.parametrize("quarters", [1, -1])
def test_a_picture_that_lies_on_its_side(landmarker: FaceLandmarker, quarters: int) -> None:
    stream = Stream(landmarker)
    frames = face_clip(15)
    stream.step(frames[0])
    for frame in frames:
        observation = stream.step(np.ascontiguousarray(np.rot90(frame, quarters)))
    assert observation.tracking is Tracking.OK
    assert observation.landmarks is not None
    across = observation.landmarks[263] - observation.landmarks[33]
    assert math.degrees(math.atan2(across[1], across[0])) == pytest.approx(-90.0 * quarters, abs=15.0)


ODD = [
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((0, 7, 3), np.uint8),
    np.zeros((7, 0, 3), np.uint8),
    np.zeros((1, 1, 3), np.uint8),
    np.full((2, 3, 3), 255, np.uint8),
    np.zeros((1, 900, 3), np.uint8),
    np.zeros((40, 40), np.uint8),
    np.zeros((40, 40, 1), np.uint8),
    np.zeros((40, 40, 4), np.uint8),
    np.zeros((40, 40, 3), np.float32),
    np.zeros((2, 40_000, 3), np.uint8),
    np.zeros((5,), np.uint8),
    np.zeros((), np.uint8),
]


@pytest.mark.parametrize("image", ODD, ids=lambda image: f"{image.shape} {image.dtype}")
def test_odd_pictures_are_lost_faces(landmarker: FaceLandmarker, image: Image) -> None:
    stream = Stream(landmarker)
    good = moving_portrait(1)[0]
    assert stream.step(good).tracking is Tracking.OK
    for _ in range(8):
        assert stream.step(image).tracking is Tracking.LOST
    assert stream.step(good).tracking is Tracking.OK


def test_odd_memory_layouts(landmarker: FaceLandmarker) -> None:
    portrait = moving_portrait(1)[0]
    plain = Stream(landmarker).step(portrait).landmarks
    fixed = portrait.copy()
    fixed.setflags(write=False)
    for view in (fixed, np.asfortranarray(portrait), np.ascontiguousarray(portrait[:, ::-1])[:, ::-1], np.repeat(portrait, 2, 1)[:, ::2]):
        landmarks = Stream(landmarker).step(view).landmarks
        assert landmarks is not None
        np.testing.assert_array_equal(landmarks, plain)


WATCHED = """
import json, sys
opened = []
sys.addaudithook(lambda event, details: opened.append(event) if event.startswith(("socket.", "urllib.")) else None)
import numpy as np
import psutil
from models.landmarker import FaceLandmarker
from models.weights import weight_path
from realtime.packets import VideoPacket
from realtime.tracking import FaceTracker
tracker = FaceTracker(FaceLandmarker(weight_path("face_landmarker.task")))
image = np.load(sys.argv[1])
seen = [tracker.track(VideoPacket(image, index / 25, index / 25)).tracking for index in range(30)]
connections = [str(connection.status) for connection in psutil.Process().net_connections()]
print(json.dumps({"seen": sorted(set(seen)), "opened": opened, "connections": connections}))
"""


def test_no_socket_is_ever_opened(tmp_path: Path) -> None:
    weight_path("face_landmarker.task")
    np.save(tmp_path / "face.npy", moving_portrait(1)[0])
    done = subprocess.run([sys.executable, "-c", WATCHED, str(tmp_path / "face.npy")], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"seen": ["ok"], "opened": [], "connections": []}

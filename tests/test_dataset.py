"""training/dataset.py and what it is made of: framing, matting, the empty room, and the dataset of a synthetic clip of known truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.landmarker import FaceLandmarker
from models.weights import weight_path
from tests.clips import Image, talking_head, write_video
from tests.faces import clip_path
from training import dataset
from training.backdrop import gather_room
from training.clip import CLIP_PX, Clip, load_clip
from training.errors import TrainingError
from training.framing import Framing, frame_head
from training.matting import Plate, Segmenter, guided, person_only, refined
from training.pose_coverage import head_angles, pose_coverage
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options

FRAMES, LOST = 80, range(30, 34)


def boxes(count: int, x: NDArray[np.float64], side: float = 200.0) -> NDArray[np.float32]:
    """Faces at (x, 400), as high as `side`."""
    return np.stack([x - 0.4 * side, np.full(count, 400 - 0.5 * side), x + 0.4 * side, np.full(count, 400 + 0.5 * side)], 1).astype(np.float32)


def test_a_quiet_head_gets_one_crop_that_stands_still() -> None:
    times = np.arange(100) / 25.0
    framing = frame_head(1080, 1920, boxes(100, 500 + 40 * np.sin(np.pi * times)), times)
    assert (framing.origin == framing.origin[0]).all()
    assert framing.scale == pytest.approx(CLIP_PX * 0.45 / 200.0)
    centre = (framing.origin[0] + [CLIP_PX / 2, CLIP_PX * 0.495]) / framing.scale
    np.testing.assert_allclose(centre, [500, 400], atol=15)


def test_a_walking_head_is_followed_smoothly() -> None:
    times = np.arange(200) / 25.0
    x = 400 + 60 * times + np.random.default_rng(0).normal(0, 3, 200)
    framing = frame_head(1080, 1920, boxes(200, x), times)
    steps = np.diff(framing.origin[:, 0])
    assert steps.min() >= 0
    assert steps.max() <= 5, "the jitter of the boxes is not in the path"
    face = x * framing.scale - framing.origin[:, 0]
    assert np.abs(face - CLIP_PX / 2)[20:-20].max() < 0.1 * CLIP_PX


def test_the_crop_stays_in_the_picture_where_there_is_room() -> None:
    times = np.arange(50) / 25.0
    for x, width in ((60.0, 1080), (1030.0, 1080)):
        framing = frame_head(width, 1920, boxes(50, np.full(50, x)), times)
        assert 0 <= framing.origin[0, 0] <= framing.extent[0] - CLIP_PX
        assert not framing.outside(0).any()


def test_a_close_face_takes_the_whole_picture_and_more() -> None:
    framing = frame_head(512, 512, boxes(50, np.full(50, 256.0), 380.0), np.arange(50) / 25.0)
    assert (framing.scale, framing.origin[0].tolist()) == (1.0, [0, 0])
    closer = frame_head(512, 512, boxes(50, np.full(50, 256.0), 500.0), np.arange(50) / 25.0)
    assert closer.outside(0).any()


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_cut_shows_what_the_framing_says(scale: float) -> None:
    """A ramp of known slope: every pixel of the crop must show the value at its own place."""
    x, y = np.meshgrid(np.arange(600) + 0.5, np.arange(700) + 0.5)
    picture = np.stack([x / 3, y / 3, 0 * x], -1)
    origin = np.array([[-20, 35]], np.int32)
    framing = Framing(scale, origin, (round(600 * scale), round(700 * scale)))
    seen = picture if scale >= 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    crop = framing.cut(np.asarray(np.rint(seen), np.uint8), 0)
    columns, rows = (np.clip(np.arange(CLIP_PX) + origin[0, axis] + 0.5, 0.5, None) / scale for axis in (0, 1))
    inside = ~framing.outside(0)
    assert inside[:, :20].sum() == 0
    expected = np.stack(np.broadcast_arrays(columns[None] / 3, rows[:, None] / 3), -1)
    far = inside & (columns < 598)[None] & (rows < 698)[:, None] & (columns > 2)[None]
    error = (crop[..., :2] - expected)[far]
    assert np.abs(error).max() < 1.0
    assert np.abs(error.mean(0)).max() < 0.04, "a tenth of a pixel"
    np.testing.assert_array_equal(crop[:, 0], crop[:, 10])
    np.testing.assert_allclose(framing.to_crop(np.array([[10.0, 100.0, 4.0]], np.float32), 0), [[10 * scale + 20, 100 * scale - 35, 4 * scale]])


def test_the_guided_filter_is_the_one_of_the_paper() -> None:
    """Against a linear least-squares fit in every window, solved one by one."""
    random = np.random.default_rng(3)
    image = cv2.GaussianBlur(random.integers(0, 255, (256, 256, 3), dtype=np.uint8), (0, 0), 2)
    coarse = np.asarray(cv2.GaussianBlur((random.random((256, 256)) > 0.5).astype(np.float32), (0, 0), 3), np.float32)
    colours, radius, epsilon = image.astype(np.float64) / 255.0, 4, 2e-4
    places = np.array([[60, 70], [128, 128], [200, 31]])
    expected = []
    for row, column in places:
        lines = []
        for y in range(row - radius, row + radius + 1):
            for x in range(column - radius, column + radius + 1):
                window = (slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1))
                seen, wanted = colours[window].reshape(-1, 3), coarse[window].reshape(-1).astype(np.float64)
                a = np.linalg.solve(np.cov(seen.T, bias=True) + epsilon * np.eye(3), (seen - seen.mean(0)).T @ (wanted - wanted.mean()) / len(wanted))
                lines.append([*a, wanted.mean() - a @ seen.mean(0)])
        mean = np.mean(lines, 0)
        expected.append(np.clip(mean[:3] @ colours[row, column] + mean[3], 0, 1))
    found = guided(np.asarray(image, np.uint8), coarse, (places[:, 0], places[:, 1]))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_only_the_part_with_the_face_is_the_person() -> None:
    coarse = np.zeros((256, 256), np.float32)
    coarse[60:256, 80:180] = 0.95
    coarse[100:140, 210:240] = 0.9
    coarse[180:186, 120:126] = 0.2
    coarse[250:256, 140:150] = 0.2
    face = np.random.default_rng(0).uniform([0.35, 0.3], [0.65, 0.6], (478, 2)).astype(np.float32)
    person = person_only(coarse, face)
    assert person[150, 120] > 0.9
    assert person[100:140, 210:240].max() < 0.01
    assert person[183, 123] == 1.0, "a hole is filled"
    assert person[253, 145] < 0.5, "a bay is none"
    assert person_only(coarse, np.full((478, 2), 0.05, np.float32)).max() == 0.0


@dataclass(frozen=True)
class Scene:
    """A person-shaped blob of known matte before a room with a pattern."""

    picture: Image
    room: Image
    matte: NDArray[np.float64]
    coarse: NDArray[np.float32]


def scene(shift: int = 0) -> Scene:
    """Dark, with fine strands on the upper edge that the coarse matte cannot know of."""
    y, x = np.mgrid[0:CLIP_PX, 0:CLIP_PX]
    room = np.dstack([150 + 40 * ((x // 32 + y // 32) % 2), 160 + 0 * x, 140 + 30 * (y // 64 % 2)]).astype(np.uint8)
    blob = (((x - 256 - shift) / 120.0) ** 2 + ((y - 330) / 220.0) ** 2 < 1.0).astype(np.float64)
    strands = ((x - shift) % 12 < 3) * (np.abs(x - 256 - shift) < 60) * (y > 100) * (y < 130)
    matte = np.asarray(cv2.GaussianBlur(np.maximum(blob, strands), (0, 0), 0.8), np.float64)
    picture = matte[..., None] * np.array([50, 35, 30]) + (1 - matte[..., None]) * room
    small = cv2.resize(cv2.GaussianBlur(blob, (0, 0), 6.0), (256, 256), interpolation=cv2.INTER_AREA)
    return Scene(np.rint(picture).astype(np.uint8), room, matte, np.asarray(small, np.float32))


def test_the_matte_follows_edges_and_the_empty_room_makes_it_sharp() -> None:
    truth = scene()
    error = {}
    for name, plate in (("edges", None), ("room", Plate(truth.room, np.ones((CLIP_PX, CLIP_PX), np.float32)))):
        error[name] = float(np.abs(refined(truth.picture, truth.coarse, plate) / 255.0 - truth.matte).mean())
    coarse = cv2.resize(truth.coarse, (CLIP_PX, CLIP_PX), interpolation=cv2.INTER_LINEAR)
    error["coarse"] = float(np.abs(coarse - truth.matte).mean())
    assert error["edges"] < 0.6 * error["coarse"]
    assert error["room"] < 0.3 * error["edges"]


def test_clothes_of_the_room_s_colour_get_no_holes() -> None:
    truth = scene()
    disguised = truth.picture.copy()
    disguised[300:360, 230:290] = truth.room[300:360, 230:290]
    matte = refined(disguised, truth.coarse, Plate(truth.room, np.ones((CLIP_PX, CLIP_PX), np.float32)))
    assert matte[300:360, 230:290].min() == 255


def rooms(wobble: int) -> tuple[list[Image], list[NDArray[np.uint8]]]:
    scenes = [scene(shift) for shift in range(-100, 101, 20)]
    pictures = [np.roll(one.picture, wobble * (number % 3), 1) for number, one in enumerate(scenes)]
    return pictures, [np.asarray(cv2.resize(one.coarse, (CLIP_PX, CLIP_PX)) * 255, np.uint8) for one in scenes]


def test_the_empty_room_is_what_stays_when_the_person_moves() -> None:
    pictures, persons = rooms(wobble=0)
    noise = np.random.default_rng(0)
    pictures = [np.clip(picture + noise.normal(0, 2, picture.shape), 0, 255).astype(np.uint8) for picture in pictures]
    nowhere = [np.zeros((CLIP_PX, CLIP_PX), np.bool_)] * len(pictures)
    room = gather_room(pictures, persons, np.zeros((len(pictures), 2), np.int32), nowhere)
    assert room is not None
    seen = room.seen_from(np.zeros(2, np.int32), CLIP_PX)
    known = seen.trust > 0.9
    assert 0.5 < known.mean() < 0.9
    assert not known[330, 256], "nobody ever saw what is behind the middle of the person"
    error = (seen.colours.astype(int) - scene().room)[known]
    assert np.abs(error).mean() < 1.0
    assert np.abs(error.mean(0)).max() < 0.7
    moving = gather_room(*rooms(wobble=7), np.zeros((len(pictures), 2), np.int32), nowhere)
    assert moving is None


def test_what_the_picture_does_not_reach_is_no_room() -> None:
    pictures, persons = rooms(wobble=0)
    beyond = np.zeros((CLIP_PX, CLIP_PX), np.bool_)
    beyond[:, :40] = True
    room = gather_room(pictures, persons, np.zeros((len(pictures), 2), np.int32), [beyond] * len(pictures))
    assert room is not None
    assert room.plate.trust[:, :40].max() == 0.0
    assert room.plate.trust[:, 40:80].mean() > 0.5


def test_a_moving_crop_sees_the_same_room() -> None:
    pictures, persons = rooms(wobble=0)
    origins = np.array([[5 * number, 3 * number] for number in range(len(pictures))], np.int32)
    shifted = [np.roll(picture, (-int(y), -int(x)), (0, 1)) for picture, (x, y) in zip(pictures, origins, strict=True)]
    people = [np.roll(person, (-int(y), -int(x)), (0, 1)) for person, (x, y) in zip(persons, origins, strict=True)]
    beyond = [np.zeros((CLIP_PX, CLIP_PX), np.bool_) for _ in pictures]
    for mask, (x, y) in zip(beyond, origins.tolist(), strict=True):
        mask[CLIP_PX - y :], mask[:, CLIP_PX - x :] = True, True
    room = gather_room(shifted, people, origins, beyond)
    assert room is not None
    seen = room.seen_from(origins[4], CLIP_PX)
    x, y = origins[4]
    expected = scene().room[y:, x:]
    known = seen.trust[: CLIP_PX - y, : CLIP_PX - x] > 0.9
    assert known.mean() > 0.4
    assert np.abs(seen.colours[: CLIP_PX - y, : CLIP_PX - x].astype(int) - expected)[known].max() <= 1


def turned(yaw: float, pitch: float, roll: float) -> NDArray[np.float32]:
    """Landmarks of a flat face, turned; degrees, signs as in models/CONVENTIONS.md."""
    points = np.zeros((478, 3))
    points[33], points[263], points[168], points[152] = (-50, 20, 0), (50, 20, 0), (0, 20, 0), (0, -80, 0)
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    camera = points @ (about_y @ about_x @ about_z).T
    return (camera * [1, -1, -1]).astype(np.float32)


@pytest.mark.parametrize("angles", [(20, 0, 0), (0, -15, 0), (0, 0, 10), (25, 10, -5)])
def test_head_angles_have_the_signs_of_the_conventions(angles: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(head_angles(turned(*angles)[None])[0], angles, atol=1.2)


def test_pose_coverage_counts_every_frame() -> None:
    coverage = pose_coverage(np.stack([turned(yaw, 0, 0) for yaw in range(-80, 81, 2)]))
    assert np.sum(coverage.histogram) == 81
    assert coverage.yaw_range[0] < -70
    assert coverage.yaw_range[1] > 70
    assert coverage.pitch_range == pytest.approx((0, 0), abs=0.1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The dataset of Mara, 4 frames of whom show an empty room, on a wider canvas."""
    folder = tmp_path_factory.mktemp("dataset")
    frames = []
    for number, face in enumerate(talking_head("mara", 100)[:FRAMES]):
        picture = np.full((360, 480, 3), 118, np.uint8)
        if number not in LOST:
            picture[40:, 80:400] = face
        frames.append(picture)
    return make(folder / "mara", write_video(folder / "clip.mp4", frames))


def make(path: Path, clip: Path) -> RunDir:
    run = RunDir(path)
    with run.locked(), run.work("dataset", "test"):
        dataset.run(run, Options(clip), Progress())
    return run


def test_the_dataset_holds_what_it_says(made: RunDir) -> None:
    clip = load_clip(made.folder("dataset"))
    count = FRAMES - len(LOST)
    assert clip.frames.shape == (count, CLIP_PX, CLIP_PX, 3)
    assert clip.mattes.shape == (count, CLIP_PX, CLIP_PX)
    assert (clip.landmarks.shape, clip.coefficients.shape, clip.origin.shape) == ((count, 478, 3), (count, 52), (count, 2))
    assert clip.frames.dtype == clip.mattes.dtype == np.uint8
    np.testing.assert_allclose(clip.pts_s, [number / 25 for number in range(FRAMES) if number not in LOST], atol=1e-3)
    assert clip.held_out.tolist() == [False] * 61 + [True] * 15
    assert np.median(clip.sharpness) == pytest.approx(1.0)
    assert clip.steady
    values = made.record("dataset")["values"]
    assert (values["frames"], values["left_out"], values["held_out_frames"]) == (count, {"no face": len(LOST)}, 15)
    assert json.loads((made.folder("dataset") / "dataset.json").read_text(encoding="utf-8")) == values
    assert cv2.imread(str(made.folder("dataset") / "overview.png")) is not None


def test_landmarks_lie_where_the_landmarker_sees_them(made: RunDir) -> None:
    clip = load_clip(made.folder("dataset"))
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"), 1)
    for frame in (0, 20, 75):
        alone = landmarker.detect_and_landmark(np.asarray(clip.frames[frame]))
        assert alone is not None
        assert np.linalg.norm((alone.landmarks - clip.landmarks[frame])[:, :2], axis=1).mean() < 1.5
    face = clip.landmarks[:, :, :2]
    assert np.median(face[:, :, 1].max(1) - face[:, :, 1].min(1)) == pytest.approx(0.45 * CLIP_PX, rel=0.03)


def test_mattes_hold_the_person_and_nothing_else(made: RunDir) -> None:
    clip: Clip = load_clip(made.folder("dataset"))
    for frame in (0, 40, 75):
        matte = clip.mattes[frame]
        inner = clip.landmarks[frame, :, :2].astype(int)
        assert matte[inner[:, 1], inner[:, 0]].mean() > 250
        assert matte[:40, :40].max() == matte[:40, -40:].max() == 0
        assert cv2.connectedComponents((matte > 127).astype(np.uint8))[0] == 2, "one part, and the rest"


def test_a_useless_clip_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "still.mp4", [talking_head("mara")[0]] * 80)
    with pytest.raises(TrainingError, match=r"cannot become an avatar\.\nrefused: the head hardly turns"):
        make(tmp_path / "run", clip)
    assert not list((tmp_path / "run").glob("dataset*"))


def test_an_odd_segmentation_network_is_refused(tmp_path: Path) -> None:
    from models.errors import BadFile

    path = tmp_path / "network.tflite"
    path.write_bytes(b"no network")
    with pytest.raises(BadFile, match=r"network\.tflite"):
        Segmenter(path)


def test_the_man_comes_out_clean_of_his_shelf(tmp_path: Path) -> None:
    """Every twelfth frame of the real clip: the clock right of his neck is in the coarse matte of some frames, and must not be in the final one."""
    import av

    with av.open(str(clip_path("talking_man_512"))) as container:
        frames = [frame.to_ndarray(format="rgb24") for number, frame in enumerate(container.decode(video=0)) if number % 12 == 0]
    run = make(tmp_path / "man", write_video(tmp_path / "man.mp4", [np.asarray(frame, np.uint8) for frame in frames], ticks_ms=range(0, 80 * len(frames), 80)))
    clip = load_clip(run.folder("dataset"))
    assert len(clip.pts_s) == len(frames)
    assert clip.mattes[:, 300:380, 400:].max() < 40
    assert clip.mattes[:, 480:, 240:280].min() == 255
    assert run.record("dataset")["values"]["still_camera"]

"""The network that says who a face is: against OpenCV's own use of it, and on people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.baked import BakedAvatar, bake
from models.errors import BadFile
from models.face_embedding import PLACES, SIZE, WEIGHT, FaceEmbedder, aligned_face, five_points, similarity
from models.landmarker import FaceLandmarker
from models.weights import weight_path
from realtime.owner_lock import LockSettings
from realtime.recognition import PortraitEyes, portraits
from tests.faces import clip_frames, moving_portrait

Image = NDArray[np.uint8]
AVATARS = Path(__file__).resolve().parents[1] / "assets" / "avatars"
SETTINGS = LockSettings()


@pytest.fixture(scope="module")
def embed() -> FaceEmbedder:
    return FaceEmbedder(weight_path(WEIGHT))


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(weight_path("face_landmarker.task"), 1)


@pytest.fixture(scope="module")
def mara() -> BakedAvatar:
    return bake(read_avatar(AVATARS / "mara.avatar"))


def faces(landmarker: FaceLandmarker, pictures: list[Image]) -> list[Image]:
    seen = [(picture, landmarker.detect_and_landmark(picture)) for picture in pictures]
    return [aligned_face(picture, found.landmarks) for picture, found in seen if found is not None]


def test_a_face_is_cut_out_and_read_as_opencv_does_it(embed: FaceEmbedder, landmarker: FaceLandmarker) -> None:
    reference = cv2.FaceRecognizerSF.create(str(weight_path(WEIGHT)), "")
    for picture in moving_portrait(3):
        found = landmarker.detect_and_landmark(picture)
        assert found is not None
        points = five_points(found.landmarks)
        fit = similarity(points, PLACES)
        assert np.linalg.norm(points @ fit[:, :2].T + fit[:, 2] - PLACES, axis=1).max() < 10.0, "eyes, nose and mouth are where the network expects them"
        row = np.concatenate([np.zeros(4), points.reshape(-1), [1.0]]).astype(np.float32)
        bgr = np.ascontiguousarray(picture[..., ::-1])
        expected = reference.alignCrop(bgr, row)[..., ::-1]
        ours = aligned_face(picture, found.landmarks)
        assert np.abs(ours.astype(int) - expected).mean() < 0.5
        feature = reference.feature(np.ascontiguousarray(ours[..., ::-1]))[0]
        one = embed(ours)
        assert one.shape == (SIZE,)
        assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
        assert float(one @ feature) / float(np.linalg.norm(feature)) > 0.9999


def test_a_person_is_like_themselves_however_they_are_filmed(embed: FaceEmbedder, landmarker: FaceLandmarker) -> None:
    portrait = moving_portrait(1)[0]
    known = embed(faces(landmarker, [portrait])[0])
    small = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    dark = (portrait * 0.2).astype(np.uint8)
    yellow = (portrait * (1.0, 0.85, 0.5)).astype(np.uint8)
    shots = faces(landmarker, [*moving_portrait(50)[10::10], np.asarray(small, np.uint8), dark, yellow])
    assert len(shots) == 7
    assert min(float(embed(shot) @ known) for shot in shots) > SETTINGS.open_at


def test_an_avatars_own_pictures_tell_its_person_from_others(landmarker: FaceLandmarker, mara: BakedAvatar) -> None:
    """Painted people are much alike to the network; a real person is like none of them."""
    eyes = PortraitEyes(weight_path(WEIGHT), weight_path("face_landmarker.task"))
    assert eyes.learn(mara)
    own = [eyes.likeness(face) for face in portraits(mara, landmarker)]
    stranger = [eyes.likeness(face) for face in faces(landmarker, moving_portrait(20)[::5])]
    theo = [eyes.likeness(face) for face in portraits(bake(read_avatar(AVATARS / "theo.avatar")), landmarker)]
    assert min(own) > 0.9
    assert max(stranger) < SETTINGS.keep_at
    assert max(theo) < min(own) - 0.1


def test_real_people_are_told_apart(embed: FaceEmbedder, landmarker: FaceLandmarker) -> None:
    """Three of them, in ../shared/data."""
    people = {name: faces(landmarker, clip_frames(name, step=60)) for name in ("talking_man_512", "talking_woman_1080x1920", "expressive_woman_512")}
    looks = {name: np.stack([embed(face) for face in shots]) for name, shots in people.items()}
    for name, seen in looks.items():
        mean = seen.mean(0) / np.linalg.norm(seen.mean(0))
        assert (seen @ mean).min() > SETTINGS.open_at, name
        assert max(float((others @ mean).max()) for other, others in looks.items() if other != name) < SETTINGS.keep_at, name


def test_a_file_that_is_no_such_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(b"no network at all")
    with pytest.raises(BadFile, match=r"odd\.onnx: expected the network SFace"):
        FaceEmbedder(tmp_path / "odd.onnx")
    with pytest.raises(BadFile, match="SFace"):
        FaceEmbedder(AVATARS.parent / "open_head.regressor.onnx")
    with pytest.raises(BadFile):
        FaceEmbedder(tmp_path / "absent.onnx")

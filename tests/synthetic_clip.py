"""A clip of known truth, made without a camera: a default avatar turns at the neck, blinks, speaks and smiles before a still, patterned wall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.landmarker import FaceLandmarker
from models.weights import weight_path
from tests.trained_run import matte_of
from training.clip import Clip, save_observations
from training.fitted import Fitted
from training.rendering import HeadRenderer

AVATARS = Path(__file__).resolve().parents[1] / "assets" / "avatars"
FPS = 25.0
YAW_DEG, PITCH_DEG, ROLL_DEG = 15.0, 5.0, 3.0
HELD_OUT = 0.2
ZOOM = 1.35
TURNS = 2.3
"""Of the head, to both sides, in a clip."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A clip, and the parameters that it was rendered from."""

    clip: Clip
    fitted: Fitted


def wall(size: int) -> NDArray[np.uint8]:
    """(size, size, 3): soft stripes and blotches, so that a wrong outline shows."""
    y, x = np.mgrid[:size, :size] * (2.0 * np.pi / size)
    stripes = [150 + 30 * np.sin(6 * x + 2 * y), 140 + 25 * np.cos(5 * y - x), 120 + 30 * np.sin(4 * x) * np.cos(3 * y)]
    return np.rint(np.stack(stripes, -1)).astype(np.uint8)


def motion(names: tuple[str, ...], focal: float, place: tuple[float, float, float], count: int) -> Fitted:
    """Slow enough to be followed from frame to frame; the held-out frames at the end show little that the others never do."""
    phase = 2.0 * np.pi * TURNS * np.arange(count) / count
    neck = np.radians(np.stack([PITCH_DEG * np.sin(1.6 * phase), YAW_DEG * np.sin(phase), ROLL_DEG * np.sin(1.3 * phase)], 1))
    expression = np.zeros((count, len(names)), np.float32)
    expression[:, names.index("jawOpen")] = 0.25 - 0.25 * np.cos(2.1 * phase)
    expression[:, [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]] = (0.35 + 0.35 * np.sin(1.3 * phase))[:, None]
    expression[:, names.index("mouthPucker")] = np.clip(0.5 * np.sin(2.1 * phase), 0.0, 1.0)
    expression[:, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = np.clip(4.0 * np.cos(2.3 * phase) - 3.0, 0.0, 1.0)[:, None]
    expression[:, names.index("browInnerUp")] = np.clip(0.6 * np.sin(1.1 * phase), 0.0, 1.0)
    gaze = np.zeros((count, 2, 2), np.float32)
    gaze[:, :, 0] = (0.15 * np.sin(1.9 * phase))[:, None]
    still = np.zeros((count, 3), np.float32)
    sway = 0.004 * np.stack([np.sin(0.7 * phase), np.sin(1.1 * phase), np.sin(0.9 * phase)], 1)
    translation = (np.array(place) + sway).astype(np.float32)
    return Fitted(focal, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), expression, neck.astype(np.float32), still, gaze, translation)


def close_up(file: AvatarFile, without: tuple[str, ...]) -> AvatarFile:
    """Framed as the dataset stage frames a face, and without some regions."""
    left_out = [index for index, region in enumerate(file.regions) if region.name in without]
    mesh, camera = file.mesh, file.camera
    kept = ~np.isin(mesh.face_region, left_out)
    cut = replace(mesh, faces=mesh.faces[kept], uv_faces=mesh.uv_faces[kept], face_region=mesh.face_region[kept], face_layer=mesh.face_layer[kept])
    return replace(file, mesh=cut, camera=replace(camera, focal=ZOOM * camera.focal))


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As soft as a camera's."""
    height, width = (side // 2 for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def synthetic_clip(name: str = "theo", count: int = 60, size: int = 512, without: tuple[str, ...] = ()) -> Truth:
    """Rendered without a badge, looked at by the real landmarker."""
    file = close_up(read_avatar(AVATARS / f"{name}.avatar"), without)
    fitted = motion(file.expression_names, file.camera.focal, file.camera.translation, count)
    renderer, behind = HeadRenderer(file, 2 * size), wall(2 * size)
    frames = np.stack([halved(renderer.render(fitted.params(k), behind)) for k in range(count)])
    mattes = np.stack([halved(matte_of(renderer, fitted.params(k))) for k in range(count)])
    renderer.close()
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"), 1)
    found = [landmarker.detect_and_landmark(frame) for frame in frames]
    faces = [face for face in found if face is not None]
    assert len(faces) == count
    clip = Clip(
        frames=frames,
        mattes=mattes,
        pts_s=np.arange(count) / FPS,
        landmarks=np.stack([face.landmarks for face in faces]),
        coefficients=np.stack([face.coefficients for face in faces]),
        sharpness=np.ones(count, np.float32),
        origin=np.zeros((count, 2), np.int32),
        held_out=np.arange(count) >= round((1.0 - HELD_OUT) * count),
    )
    return Truth(clip, fitted)


def save_clip(folder: Path, clip: Clip) -> None:
    """As the dataset stage leaves it."""
    np.save(folder / "frames.npy", clip.frames)
    np.save(folder / "mattes.npy", clip.mattes)
    save_observations(folder, clip)

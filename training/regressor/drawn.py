"""Samples by drawing: an avatar at random parameters, photographed badly, seen by the very landmarker of the live loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.face_roi import MARGIN, Roi, roi_around_landmarks
from models.head import ROOT, HeadModel, HeadParams
from models.landmarker import PRESENCE_THRESHOLD, FaceLandmarker, LandmarkResult
from models.rotations import to_matrix
from training.regressor.faces import FOCAL, random_frame
from training.regressor.samples import Samples
from training.rendering import HeadRenderer, own_backdrop

Picture = NDArray[np.uint8]

SIDE_PX = 448
LOOKS = 3
SETTLED = 0.04
"""The region may be off by this share of its side, as that of a moving face is: it comes from the frame before."""
BACKDROPS = 4


@dataclass(frozen=True, slots=True)
class Camera:
    """How bad a picture may be."""

    gain: tuple[float, float] = (0.55, 1.35)
    tint: float = 0.08
    gamma: tuple[float, float] = (0.75, 1.35)
    blur_px: float = 1.6
    noise: float = 6.0
    """Grey levels."""
    jpeg: tuple[int, int] = (35, 90)
    compressed: float = 0.3
    """Share of the pictures that were."""


def draw(head: HeadModel, file: AvatarFile, resting: HeadParams, count: int, person: int, landmarker: FaceLandmarker) -> Samples:
    """About `count` samples of one avatar, the same for the same `person`; frames in which no face is seen are left out.

    Args: `resting` identity and expression of the avatar's face with all weights zero.
    """
    rng = np.random.default_rng(person)
    focal = float(rng.uniform(*FOCAL))
    renderer = HeadRenderer(replace(file, camera=replace(file.camera, focal=focal, principal=(0.0, 0.0))), SIDE_PX)
    backdrops = [own_backdrop(file, SIDE_PX), *(_wall(rng) for _ in range(BACKDROPS - 1))]
    landmarks, root = head.landmarks(head.template), head.joints(head.template)[ROOT]
    landmarks = landmarks[np.isfinite(landmarks).all(1)]
    shots, seen = [], []
    for _ in range(count):
        shot = random_frame(head, resting, focal, rng)
        drawn = replace(shot, expression=shot.expression - resting.expression)
        picture = photographed(renderer.render(drawn, backdrops[int(rng.integers(BACKDROPS))]), rng, Camera())
        result = _look(picture, _first_region(landmarks, root, shot, focal), landmarker, rng)
        if result is not None:
            shots.append(shot)
            seen.append(result)
    renderer.close()
    return _samples(shots, seen, focal, person)


def photographed(picture: Picture, rng: np.random.Generator, camera: Camera) -> Picture:
    """(H, W, 3) as a webcam may deliver it."""
    levels = np.linspace(0.0, 1.0, 256) ** rng.uniform(*camera.gamma) * 255.0
    gains = rng.uniform(*camera.gain) * (1.0 + rng.uniform(-camera.tint, camera.tint, 3))
    table = np.clip(levels[:, None] * gains, 0, 255).astype(np.uint8)
    out = np.stack([table[:, channel][picture[..., channel]] for channel in range(3)], -1)
    blur = rng.uniform(0.0, camera.blur_px)
    if blur > 0.4:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), blur), np.uint8)
    noise = rng.normal(0.0, rng.uniform(0.0, camera.noise), out.shape).astype(np.int16)
    out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < camera.compressed:
        _, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*camera.jpeg))])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return out


def _wall(rng: np.random.Generator) -> Picture:
    """Blobs of colour."""
    coarse = rng.integers(20, 235, (int(rng.integers(1, 7)), int(rng.integers(1, 7)), 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR), np.uint8)


def _first_region(landmarks: NDArray[np.float32], root: NDArray[np.float32], shot: HeadParams, focal: float) -> Roi:
    """Where the face of an average person should be; `landmarks` (L, 3) and the `root` joint (3,) of the head at rest."""
    rotation = to_matrix(shot.rotation) @ to_matrix(shot.neck)
    at = rotation @ (landmarks.mean(0) - root) + root + shot.translation
    scale = focal * SIDE_PX / -float(at[2])
    side = MARGIN * float(np.ptp(landmarks[:, 1])) * scale
    roll = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    return Roi(0.5 * SIDE_PX + scale * float(at[0]), 0.5 * SIDE_PX - scale * float(at[1]), side, side, -roll)


def _look(picture: Picture, region: Roi, landmarker: FaceLandmarker, rng: np.random.Generator) -> LandmarkResult | None:
    """Until the region is nearly the one that the landmarks ask for; None where no face is seen."""
    for _ in range(LOOKS):
        result = landmarker.landmarks(picture, region)
        if result.presence < PRESENCE_THRESHOLD:
            return None
        better = roi_around_landmarks(result.landmarks)
        off = np.hypot(better.x - region.x, better.y - region.y) / better.width + abs(better.width / region.width - 1.0)
        if off < SETTLED and abs(better.rotation_rad - region.rotation_rad) < 2.0 * SETTLED:
            return result
        late = 0.3 * SETTLED * better.width * rng.normal(0.0, 1.0, 2)
        region = replace(better, x=better.x + float(late[0]), y=better.y + float(late[1]))
    return None


def _samples(shots: list[HeadParams], seen: list[LandmarkResult], focal: float, person: int) -> Samples:
    landmarks = np.stack([result.landmarks for result in seen]) / np.float32(SIDE_PX)
    landmarks[:, :, :2] -= 0.5
    return Samples(
        landmarks=landmarks.astype(np.float32),
        coefficients=np.stack([result.coefficients for result in seen]),
        focal=np.full(len(shots), focal, np.float32),
        rotation=np.stack([to_matrix(shot.rotation) @ to_matrix(shot.neck) for shot in shots]).astype(np.float32),
        expression=np.stack([shot.expression for shot in shots]),
        gaze=np.stack([shot.gaze for shot in shots]),
        jaw=np.stack([shot.jaw for shot in shots]),
        identity=np.stack([shot.identity for shot in shots]),
        person=np.full(len(shots), person, np.int32),
    )

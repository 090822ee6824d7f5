"""A made-up head with a landmark embedding, and pictures of it: exact truth for the solver's tests. Half an ellipsoid with two eyeballs and smooth bumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.head import LANDMARK_COUNT, HeadModel, HeadParams
from models.landmarker import COEFFICIENT_NAMES
from models.solving.landmark_model import LID_GAPS, LIP_GAPS
from realtime.packets import FaceObservation, Tracking

Float = NDArray[np.float32]
EYES = np.array([[0.03, 0.0, 0.0], [-0.03, 0.0, 0.0]])
GRID = 26
ARKIT = (*COEFFICIENT_NAMES[1:], "tongueOut")
COMPONENTS = tuple(f"expression{index:03d}" for index in range(20))


def face_grid() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(V, 3) metres and (F, 3), counter-clockwise from outside: the front of a head, its nose and chin standing out."""
    across, up = np.meshgrid(np.linspace(-1.0, 1.0, GRID), np.linspace(-1.0, 1.0, GRID))
    x, y = 0.07 * across * np.sqrt(1.0 - 0.3 * up**2), 0.09 * up - 0.02
    z = 0.03 - 0.07 * (across**2 + 0.5 * up**2) + 0.025 * np.exp(-((x / 0.012) ** 2) - ((y + 0.03) / 0.02) ** 2)
    index = np.arange(GRID * GRID).reshape(GRID, GRID)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x, y, z], -1).reshape(-1, 3), faces


def bumps(points: NDArray[np.float64], count: int, size_m: float, width_m: float, rng: np.random.Generator) -> Float:
    """(count, V, 3): smooth local moves of `size_m`, each somewhere else on the face."""
    centres = points[rng.choice(len(points), count, replace=False)]
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    falloff = np.exp(-(((points[None] - centres[:, None]) / width_m) ** 2).sum(-1))
    moves: Float = (size_m * falloff[..., None] * directions[:, None]).astype(np.float32)
    return moves


def synthetic_head(jaw_joint: bool = False, seed: int = 0) -> HeadModel:
    """ARKit's 52 shapes and a still jaw, or with `jaw_joint`, as in FLAME, 20 components, a jaw and its correctives."""
    rng = np.random.default_rng(seed)
    skin, faces = face_grid()
    front = 0.011 * np.array([[np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)] for b in (0.0, 0.3, 0.6) for a in np.arange(6) * np.pi / 3])
    offsets = np.concatenate([front, -front])
    count, per_eye = len(skin), len(offsets)
    eye_faces = np.array([[k, k + 1, k + 6] for k in range(11)])
    points = np.concatenate([skin, EYES[0] + offsets, EYES[1] + offsets])
    names = COMPONENTS if jaw_joint else ARKIT
    weights = np.zeros((len(points), 5), np.float32)
    jaw = np.clip((-0.04 - skin[:, 1]) / 0.02, 0.0, 1.0) * 0.9
    weights[:count, 1], weights[:count, 2] = 1.0 - jaw, jaw
    weights[count : count + per_eye, 3] = 1.0
    weights[count + per_eye :, 4] = 1.0
    regressor = np.zeros((5, len(points)), np.float32)
    for joint, vertices in enumerate(((0, 5), (40, 60), (100, 110), range(count, count + per_eye), range(count + per_eye, len(points)))):
        regressor[joint, list(vertices)] = 1.0 / len(list(vertices))
    expression = np.zeros((len(names), len(points), 3), np.float32)
    expression[:, :count] = bumps(skin, len(names), 0.008, 0.018, rng)
    if not jaw_joint:
        expression[names.index("tongueOut")] = 0.0
    identity = np.zeros((12, len(points), 3), np.float32)
    identity[:, :count] = bumps(skin, 12, 0.004, 0.05, rng)
    correctives = np.zeros((36, len(points), 3), np.float32)
    correctives[9:18, :count] = bumps(skin, 9, 0.003, 0.03, rng)
    all_faces = np.concatenate([faces, eye_faces + count, eye_faces + count + per_eye]).astype(np.int32)
    landmark_faces = rng.choice(len(faces), LANDMARK_COUNT).astype(np.int32)
    landmark_faces[468:473] = len(faces) + len(eye_faces) + np.arange(5)
    landmark_faces[473:] = len(faces) + np.arange(5)
    for one, other in LIP_GAPS + LID_GAPS:
        landmark_faces[other] = landmark_faces[one]
    landmark_faces[7] = -1
    barycentrics = rng.dirichlet((2.0, 2.0, 2.0), LANDMARK_COUNT).astype(np.float32)
    spread = np.full(LANDMARK_COUNT, 0.02, np.float32)
    spread[[7, 8]] = 9.0
    return HeadModel(
        name="synthetic",
        licence="CC0-1.0",
        template=points.astype(np.float32),
        identity=identity,
        expression=expression,
        expression_names=names,
        pose_correctives=correctives if jaw_joint else correctives[:0],
        joint_regressor=regressor,
        skinning_weights=weights,
        faces=all_faces,
        uv=np.zeros((1, 2), np.float32),
        uv_faces=np.zeros_like(all_faces),
        face_region=np.zeros(len(all_faces), np.uint8),
        region_names=("skin",),
        landmark_faces=landmark_faces,
        landmark_barycentrics=barycentrics,
        landmark_spread=spread,
    )


def picture_of(head: HeadModel, params: HeadParams, focal_px: float, width: int, height: int) -> Float:
    """(478, 3): where a camera sees the head's landmarks, in pixels; z is how much farther than their mean they are, in the same scale."""
    camera = head.landmarks(head.vertices(params)).astype(np.float64)
    depth, away = -camera[:, 2], np.linalg.norm(camera, axis=1)
    z = focal_px * (away / np.nanmean(away) - 1.0)
    seen = np.stack([0.5 * width + focal_px * camera[:, 0] / depth, 0.5 * height - focal_px * camera[:, 1] / depth, z], 1)
    pixels: Float = np.nan_to_num(seen).astype(np.float32)
    return pixels


def observe(
    head: HeadModel,
    params: HeadParams,
    pts_s: float,
    focal_px: float = 640.0,
    size: tuple[int, int] = (640, 480),
    noise_px: float = 0.0,
    rng: np.random.Generator | None = None,
) -> FaceObservation:
    """What a perfect tracker (but for `noise_px`) makes of the head: exact landmarks, and coefficients equal to the weights."""
    landmarks = picture_of(head, params, focal_px, *size)
    if noise_px:
        landmarks += (rng or np.random.default_rng(1)).normal(0.0, noise_px, landmarks.shape).astype(np.float32)
    coefficients = np.zeros(len(COEFFICIENT_NAMES), np.float32)
    for name, weight in zip(head.expression_names, params.expression, strict=True):
        if name in COEFFICIENT_NAMES:
            coefficients[COEFFICIENT_NAMES.index(name)] = weight
    return FaceObservation(Tracking.OK, *size, pts_s, landmarks, coefficients, 0.9)

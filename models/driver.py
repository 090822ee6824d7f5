"""What an avatar file knows of its own person as a driver, so that the live loop need not learn them, and can drive their avatar as they are.

An optional section of the avatar file, with a version of its own: whoever does not know it plays the avatar all the same, driven as by anybody.
Header: driver {version, head, focal}. Arrays (V vertices and E shapes of the avatar, P vertices, F = 3 P, U = 10 + E; k = 0, 1, …):
    driver_identity (I,) f32 · driver_offsets (478, 3) f32
    registration_vertices? (P,) i32 rising, and for each stage k: registration_mean_k (F,) f16, registration_matrix_k (U, F) f16,
    registration_scale_k (U,) f32 that multiplies the rows of the matrix (their entries are too small for float16), registration_bias_k (U,) f32
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import avatar_header
from models.errors import BadFile
from models.head import LANDMARK_COUNT
from models.tensor_file import TensorFile

Float = NDArray[np.float32]
VERSION = 1
MAX_IDENTITY = 1000
MAX_WEIGHT = 20.0
"""Of an identity shape, in standard deviations."""
MAX_OFFSET_M = 0.05
FOCAL_LIMITS = (0.2, 20.0)
POINTS = (16, 4000)
MAX_STAGES = 4
POSE_UNKNOWNS = 10
"""rotation 3, translation 3, then the E expression shapes, then gaze 4."""


@dataclass(frozen=True, slots=True)
class RegistrationStage:
    """One step of supervised descent: `delta = matrix @ (features - mean) + bias`. float32."""

    mean: Float
    """(F,)."""
    matrix: Float
    """(U, F): U is rotation of the head 3 (axis-angle, from the left), translation 3 (metres), expression E, gaze 4."""
    bias: Float
    """(U,)."""


@dataclass(frozen=True, slots=True)
class Registration:
    """From the colours that a picture shows at an avatar's vertices to better parameters (models/registration.py)."""

    vertices: NDArray[np.int32]
    """(P,) of the avatar's mesh, rising."""
    stages: tuple[RegistrationStage, ...]
    """One to four."""


@dataclass(frozen=True, slots=True)
class DriverProfile:
    """An avatar's own person as a driver."""

    head: str
    """Name of the head model that they were solved with (HeadModel.name); with another one the rest says nothing."""
    identity: Float
    """(I,) weights of its identity shapes."""
    offsets: Float
    """(478, 3) metres, head space: where the person's landmarks lie off the head's; zero for landmarks that are not used."""
    focal: float
    """Of the camera that filmed them, in picture sides."""
    registration: Registration | None = None


def pack(profile: DriverProfile) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays, and the header's object `driver`."""
    arrays: dict[str, NDArray[Any]] = {"driver_identity": profile.identity.astype(np.float32), "driver_offsets": profile.offsets.astype(np.float32)}
    registration = profile.registration
    if registration is not None:
        arrays["registration_vertices"] = registration.vertices
        for k, stage in enumerate(registration.stages):
            scale = np.maximum(np.abs(stage.matrix).max(1, initial=0.0), np.float32(1e-12)).astype(np.float32)
            arrays |= {
                f"registration_mean_{k}": stage.mean.astype(np.float16),
                f"registration_matrix_{k}": (stage.matrix / scale[:, None]).astype(np.float16),
                f"registration_scale_{k}": scale,
                f"registration_bias_{k}": stage.bias.astype(np.float32),
            }
    return arrays, {"version": VERSION, "head": profile.head, "focal": profile.focal}


def read(file: TensorFile, vertex_count: int, shape_count: int) -> DriverProfile | None:
    """The section of an avatar of `vertex_count` vertices and `shape_count` expression shapes; None where there is none, or only one of a later version.

    Raises:
        BadFile: it is damaged, or fits no avatar of this size.
    """
    header = file.header.get("driver")
    if header is None:
        return None
    if not isinstance(header, dict):
        raise BadFile(f"{file.source}: the header's 'driver' should be an object, it is {type(header).__name__}")
    if avatar_header.whole(header, "version", 1, 1_000_000, file.source) > VERSION:
        return None
    identity = file.take("driver_identity", (None,), "float32")
    if len(identity) > MAX_IDENTITY or np.abs(identity).max(initial=0.0) > MAX_WEIGHT:
        raise BadFile(f"{file.source}: 'driver_identity' should hold at most {MAX_IDENTITY} weights within {MAX_WEIGHT:g}")
    offsets = file.take("driver_offsets", (LANDMARK_COUNT, 3), "float32")
    if np.abs(offsets).max() > MAX_OFFSET_M:
        raise BadFile(f"{file.source}: 'driver_offsets' should lie within {MAX_OFFSET_M} m, they reach {np.abs(offsets).max():.3f}")
    return DriverProfile(
        head=avatar_header.text(header, "head", file.source),
        identity=identity,
        offsets=offsets,
        focal=avatar_header.number(header, "focal", *FOCAL_LIMITS, file.source),
        registration=_registration(file, vertex_count, POSE_UNKNOWNS + shape_count) if "registration_vertices" in file.arrays else None,
    )


def _registration(file: TensorFile, vertex_count: int, unknowns: int) -> Registration:
    vertices = file.take_indices("registration_vertices", (None,), vertex_count)
    if not POINTS[0] <= len(vertices) <= POINTS[1] or (np.diff(vertices) <= 0).any():
        raise BadFile(f"{file.source}: 'registration_vertices' should be {POINTS[0]} to {POINTS[1]} rising numbers, there are {len(vertices)}")
    count = sum(1 for name in file.arrays if name.startswith("registration_matrix_"))
    if not 1 <= count <= MAX_STAGES:
        raise BadFile(f"{file.source}: a registration has 1 to {MAX_STAGES} stages, here it has {count}")
    return Registration(vertices, tuple(_stage(file, k, 3 * len(vertices), unknowns) for k in range(count)))


def _stage(file: TensorFile, k: int, features: int, unknowns: int) -> RegistrationStage:
    scale = file.take(f"registration_scale_{k}", (unknowns,), "float32")
    matrix = file.take(f"registration_matrix_{k}", (unknowns, features), "float16").astype(np.float32)
    mean = file.take(f"registration_mean_{k}", (features,), "float16").astype(np.float32)
    bias = file.take(f"registration_bias_{k}", (unknowns,), "float32")
    if max(np.abs(scale).max(), np.abs(bias).max()) > MAX_WEIGHT or np.abs(matrix).max() > 1.01:
        raise BadFile(f"{file.source}: stage {k} of the registration should hold small numbers")
    return RegistrationStage(mean, scale[:, None] * matrix, bias)

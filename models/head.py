"""The head model in the FLAME layout, and its parameters; the forward pass in plain numpy.

Layout and skinning: Li et al., "Learning a model of facial shape and expression from 4D scans" (FLAME), SIGGRAPH Asia 2017, section 3.
Conventions: models/CONVENTIONS.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.rotations import from_gaze, to_matrix
from models.tensor_file import read_tensor_file, write_tensor_file

KIND = "head"
VERSION = 1
ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
JOINT_PARENTS = (-1, 0, 1, 1, 1)
LANDMARK_COUNT = 478

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeadParams:
    """Everything that poses a head. Arrays are float32.

    `identity` (I,) and `expression` (E,) weigh the head's bases (shorter than the basis: the rest is zero); `rotation`, `neck`, `jaw` (3,) are axis-angle in
    radians, about their joints; `gaze` (2, 2) is yaw, pitch in radians of the left and the right eye; `translation` (3,) in metres puts head space into
    camera space.
    """

    identity: Float
    expression: Float
    rotation: Float
    neck: Float
    jaw: Float
    gaze: Float
    translation: Float

    @staticmethod
    def neutral(expression_count: int, identity_count: int = 0, depth_m: float = 0.6) -> HeadParams:
        """A relaxed face that looks straight at a camera `depth_m` away."""
        zero = np.zeros(3, np.float32)
        return HeadParams(
            np.zeros(identity_count, np.float32),
            np.zeros(expression_count, np.float32),
            zero,
            zero,
            zero,
            np.zeros((2, 2), np.float32),
            np.array([0.0, 0.0, -depth_m], np.float32),
        )


@dataclass(frozen=True)
class HeadModel:
    """A head in the FLAME layout: V vertices, F triangles, T texture coordinates, I identity and E expression shapes, 5 joints."""

    name: str
    licence: str
    template: Float
    """(V, 3) metres, head space."""
    identity: Float
    """(I, V, 3) metres for one standard deviation each."""
    expression: Float
    """(E, V, 3) metres for a weight of one."""
    expression_names: tuple[str, ...]
    pose_correctives: Float
    """(36, V, 3), for the entries of R - I of joints 1 to 4, row by row; or (0, V, 3)."""
    joint_regressor: Float
    """(5, V): joints = regressor @ (template + identity)."""
    skinning_weights: Float
    """(V, 5), rows sum to one."""
    faces: NDArray[np.int32]
    """(F, 3)."""
    uv: Float
    """(T, 2), texture space."""
    uv_faces: NDArray[np.int32]
    """(F, 3) into `uv`."""
    face_region: NDArray[np.uint8]
    """(F,) into `region_names`."""
    region_names: tuple[str, ...]
    landmark_faces: NDArray[np.int32]
    """(478,) the triangle that holds each landmark of models.landmarker; -1: none."""
    landmark_barycentrics: Float
    """(478, 3)."""
    landmark_spread: Float
    """(478,) how far the landmarker scatters about that point, in inter-ocular distances; large where there is no point."""

    @cached_property
    def eye_distance_m(self) -> float:
        """Between the centres of the template's eyes, in metres."""
        joints = self.joints(self.template)
        return float(np.linalg.norm(joints[LEFT_EYE] - joints[RIGHT_EYE]))

    def expression_index(self, name: str) -> int:
        """Raises ValueError where the head has no such shape."""
        if name not in self.expression_names:
            raise ValueError(f"the head '{self.name}' should have a shape '{name}'; it has none of that name")
        return self.expression_names.index(name)

    def region_faces(self, *names: str) -> NDArray[np.int32]:
        """Indices of the triangles of the named regions."""
        wanted = [self.region_names.index(name) for name in names]
        return np.flatnonzero(np.isin(self.face_region, wanted)).astype(np.int32)

    def region_vertices(self, *names: str) -> NDArray[np.int32]:
        """Indices of the vertices that the named regions use."""
        return np.unique(self.faces[self.region_faces(*names)]).astype(np.int32)

    def shaped(self, identity: Float, expression: Float) -> Float:
        """(V, 3) head space, before any joint moves."""
        vertices = self.template + np.tensordot(identity, self.identity[: len(identity)], 1)
        return (vertices + np.tensordot(expression, self.expression[: len(expression)], 1)).astype(np.float32)

    def joints(self, vertices: Float) -> Float:
        """(5, 3) of an unposed, expressionless (V, 3)."""
        return (self.joint_regressor @ vertices).astype(np.float32)

    def vertices(self, params: HeadParams) -> Float:
        """(V, 3) camera space, metres. The slow, obvious forward pass that the fast ones are tested against."""
        shaped = self.shaped(params.identity, params.expression)
        joints = self.joints(self.shaped(params.identity, np.zeros(0, np.float32)))
        rotations = joint_rotations(params)
        if len(self.pose_correctives):
            features = (rotations[1:] - np.eye(3)).reshape(-1)
            shaped = shaped + np.tensordot(features, self.pose_correctives, 1)
        return skin(shaped, joints, rotations, self.skinning_weights) + params.translation

    def landmarks(self, vertices: Float) -> Float:
        """(478, 3): the landmark points on a (V, 3) mesh; NaN where the head has none."""
        points = np.einsum("lk,lkc->lc", self.landmark_barycentrics, vertices[self.faces[self.landmark_faces]])
        points[self.landmark_faces < 0] = np.nan
        placed: Float = points.astype(np.float32)
        return placed


def joint_rotations(params: HeadParams) -> NDArray[np.float64]:
    """(5, 3, 3) local rotations of root, neck, jaw, left eye, right eye."""
    eyes = [from_gaze(float(yaw), float(pitch)) for yaw, pitch in params.gaze]
    return np.stack([to_matrix(params.rotation), to_matrix(params.neck), to_matrix(params.jaw), *eyes])


def joint_transforms(joints: Float, rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(5, 3, 4): what carries an unposed point with each joint. `joints` (5, 3) at rest, `rotations` (5, 3, 3) local."""
    world_rotation = np.empty((5, 3, 3))
    world_position = np.empty((5, 3))
    transforms = np.empty((5, 3, 4))
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent < 0:
            world_rotation[joint], world_position[joint] = rotations[joint], joints[joint]
        else:
            world_rotation[joint] = world_rotation[parent] @ rotations[joint]
            world_position[joint] = world_rotation[parent] @ (joints[joint] - joints[parent]) + world_position[parent]
        transforms[joint, :, :3] = world_rotation[joint]
        transforms[joint, :, 3] = world_position[joint] - world_rotation[joint] @ joints[joint]
    return transforms


def skin(vertices: Float, joints: Float, rotations: NDArray[np.float64], weights: Float) -> Float:
    """Linear blend skinning: (V, 3) at rest, (5, 3), (5, 3, 3), (V, 5) → (V, 3)."""
    blended = np.tensordot(weights, joint_transforms(joints, rotations), 1)
    posed: Float = (np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]).astype(np.float32)
    return posed


def save_head(path: Path, head: HeadModel) -> None:
    """Bases are stored as float16 (rounding below 0.01 mm at head size), the rest as it is."""
    arrays: dict[str, NDArray[Any]] = {
        "template": head.template,
        "identity": head.identity.astype(np.float16),
        "expression": head.expression.astype(np.float16),
        "pose_correctives": head.pose_correctives.astype(np.float16),
        "joint_regressor": head.joint_regressor,
        "skinning_weights": head.skinning_weights,
        "faces": head.faces,
        "uv": head.uv,
        "uv_faces": head.uv_faces,
        "face_region": head.face_region,
        "landmark_faces": head.landmark_faces,
        "landmark_barycentrics": head.landmark_barycentrics,
        "landmark_spread": head.landmark_spread,
    }
    header = {
        "kind": KIND,
        "version": VERSION,
        "name": head.name,
        "licence": head.licence,
        "expression_names": list(head.expression_names),
        "region_names": list(head.region_names),
    }
    write_tensor_file(path, arrays, header)


def load_head(path: Path) -> HeadModel:
    """Reads a head file.

    Raises:
        BadFile: with what was expected and what came.
    """
    file = read_tensor_file(path, KIND, VERSION)
    half = ("float16", "float32")
    template = file.take("template", (None, 3), "float32")
    count = len(template)
    names = file.names("expression_names")
    regions = file.names("region_names")
    faces = file.take_indices("faces", (None, 3), count)
    uv = file.take("uv", (None, 2), "float32")
    face_region = file.take("face_region", (len(faces),), "uint8")
    if face_region.size and face_region.max() >= len(regions):
        raise BadFile(f"{file.source}: face_region points past the {len(regions)} region names")
    correctives = file.take("pose_correctives", (None, count, 3), half)
    if len(correctives) not in (0, 36):
        raise BadFile(f"{file.source}: pose_correctives should hold 0 or 36 shapes, it holds {len(correctives)}")
    weights = file.take("skinning_weights", (count, 5), "float32")
    if np.abs(weights.sum(1) - 1.0).max() > 1e-3:
        raise BadFile(f"{file.source}: the rows of skinning_weights should sum to one")
    return HeadModel(
        name=str(file.header.get("name", path.stem)),
        licence=str(file.header.get("licence", "unknown")),
        template=template,
        identity=file.take("identity", (None, count, 3), half).astype(np.float32),
        expression=file.take("expression", (len(names), count, 3), half).astype(np.float32),
        expression_names=names,
        pose_correctives=correctives.astype(np.float32),
        joint_regressor=file.take("joint_regressor", (5, count), "float32"),
        skinning_weights=weights,
        faces=faces,
        uv=uv,
        uv_faces=file.take_indices("uv_faces", (len(faces), 3), len(uv)),
        face_region=face_region,
        region_names=regions,
        landmark_faces=file.take_indices("landmark_faces", (LANDMARK_COUNT,), len(faces), lowest=-1),
        landmark_barycentrics=file.take("landmark_barycentrics", (LANDMARK_COUNT, 3), "float32"),
        landmark_spread=file.take("landmark_spread", (LANDMARK_COUNT,), "float32"),
    )

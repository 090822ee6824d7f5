"""An avatar in its fast form: made once from its file, shared by sessions, never changed; and its pose, a kernel over ranges of vertices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import MAX_TEXTURE_PX, AvatarFile
from models.avatar_parts import AvatarCard, PortraitCamera, SparseBasis, TrainedRange, WeightFunction
from models.head import HeadParams, joint_rotations, joint_transforms
from models.image_blob import decode_image
from models.kernels import kernel
from models.lighting import material_table, portrait_lights
from models.mesh import VertexFaces, components, vertex_labels
from models.texture import Texture
from models.texture_basis import BakedTextureBasis

Float = NDArray[np.float32]
Int = NDArray[np.int32]
MAX_WEIGHT = 4.0
MAX_ANGLE = float(np.pi)
MAX_DISTANCE_M = 20.0


@dataclass(frozen=True, slots=True)
class Pose:
    """What moves the vertices of one frame."""

    shapes: Float
    """(expression shapes + pose correctives,) weights."""
    dynamic: Float
    """(D,) weights of the dynamic offsets."""
    texture: Float
    """(G, K) weights of the texture basis; (0, 0) without one."""
    transforms: Float
    """(5, 3, 4) into camera space."""


@dataclass(frozen=True)
class BakedAvatar:
    """V vertices, F triangles, the first `surface_count` of layer 0, the others overlay."""

    card: AvatarCard
    expression_names: tuple[str, ...]
    camera: PortraitCamera
    ranges: TrainedRange
    base: Float
    """(V, 3) metres, head space, neutral."""
    shapes: SparseBasis
    """The expression's shapes, then the pose correctives; vertices of a shape in rising order."""
    dynamic_offsets: Float
    """(D, V, 3)."""
    skinning_weights: Float
    joints: Float
    faces: Int
    surface_count: int
    corner_uv: Float
    """(F, 6): u, v of the three corners."""
    face_region: NDArray[np.uint8]
    component: Int
    """(F,) number of the connected part."""
    around: VertexFaces
    vertex_region: NDArray[np.uint8]
    glossy: NDArray[np.uint8]
    """(F,) 1 where the region is glossy and lit."""
    lights: Float
    materials: Float
    """models.lighting."""
    texture: Texture
    texture_basis: BakedTextureBasis | None
    weights: WeightFunction | None
    plate: NDArray[np.uint8] | None
    """(H, W, 4)."""
    background: NDArray[np.uint8] | None
    """(H, W, 3)."""

    def neutral(self) -> HeadParams:
        """The portrait's pose."""
        return replace(HeadParams.neutral(len(self.expression_names)), translation=np.array(self.camera.translation, np.float32))

    def clean(self, params: HeadParams) -> HeadParams:
        """Parameters that cannot hurt: neutral where any is not finite, E expression weights, everything within wide limits."""
        parts = (params.expression, params.rotation, params.neck, params.jaw, params.gaze, params.translation)
        if not all(np.isfinite(part).all() for part in parts):
            return self.neutral()
        expression = np.zeros(len(self.expression_names), np.float32)
        given = np.clip(params.expression[: len(expression)], -MAX_WEIGHT, MAX_WEIGHT)
        expression[: len(given)] = given
        angles = {name: np.clip(getattr(params, name), -MAX_ANGLE, MAX_ANGLE) for name in ("rotation", "neck", "jaw", "gaze")}
        return replace(params, expression=expression, translation=np.clip(params.translation, -MAX_DISTANCE_M, MAX_DISTANCE_M), **angles)

    def pose_of(self, params: HeadParams) -> Pose:
        """What moves the vertices and blends the texture; `params` must be clean."""
        rotations = joint_rotations(params)
        transforms = joint_transforms(self.joints, rotations)
        transforms[:, :, 3] += params.translation
        shapes = np.zeros(len(self.shapes), np.float32)
        count = len(params.expression)
        shapes[:count] = params.expression
        if len(shapes) > count:
            shapes[count:] = (rotations[1:] - np.eye(3)).ravel()
        blended = self.weights(params) if self.weights is not None else np.zeros(0, np.float32)
        dynamic = len(self.dynamic_offsets)
        texture = blended[: len(blended) - dynamic]
        groups = 0 if self.texture_basis is None else self.texture_basis.group_count
        by_group = texture.reshape(groups, -1) if groups else np.zeros((0, 0), np.float32)
        return Pose(shapes, blended[len(blended) - dynamic :], by_group, transforms.astype(np.float32))

    def pose(self, params: HeadParams) -> Float:
        """(V, 3) camera space, metres."""
        vertices = np.empty_like(self.base)
        self.pose_range(self.pose_of(self.clean(params)), 0, len(vertices), vertices)
        return vertices

    def pose_range(self, pose: Pose, first: int, last: int, vertices: Float) -> None:
        """Fills `vertices` (V, 3) from `first` to `last` - 1."""
        basis = self.shapes
        pose_vertices(
            self.base,
            basis.start,
            basis.vertex,
            basis.delta,
            pose.shapes,
            self.dynamic_offsets,
            pose.dynamic,
            self.skinning_weights,
            pose.transforms,
            first,
            last,
            vertices,
        )


def bake(file: AvatarFile) -> BakedAvatar:
    """Prepares everything that does not change from frame to frame.

    Raises:
        BadFile: a picture in the file is damaged.
    """
    mesh = file.mesh
    order = np.argsort(mesh.face_layer, kind="stable")
    faces = np.ascontiguousarray(mesh.faces[order])
    count = len(mesh.vertices)
    region = np.ascontiguousarray(mesh.face_region[order])
    bases = [file.expression] if file.pose_correctives is None else [file.expression, file.pose_correctives]
    name = file.card.name
    return BakedAvatar(
        card=file.card,
        expression_names=file.expression_names,
        camera=file.camera,
        ranges=file.ranges,
        base=_own(mesh.vertices),
        shapes=_joined(bases),
        dynamic_offsets=np.zeros((0, count, 3), np.float32) if file.dynamic_offsets is None else _own(file.dynamic_offsets),
        skinning_weights=_own(mesh.skinning_weights),
        joints=mesh.joints,
        faces=faces,
        surface_count=int((mesh.face_layer == 0).sum()),
        corner_uv=np.ascontiguousarray(mesh.uv[mesh.uv_faces[order]].reshape(-1, 6)),
        face_region=region,
        component=components(faces, count),
        around=VertexFaces.of(faces, count),
        vertex_region=vertex_labels(faces, region, count, len(file.regions)),
        glossy=np.array([each.material.glossy and each.material.lit for each in file.regions], np.uint8)[region],
        lights=portrait_lights(),
        materials=material_table(file.regions),
        texture=Texture.of(decode_image(file.texture, f"{name}: texture", 4, MAX_TEXTURE_PX)),
        texture_basis=None if file.texture_basis is None else BakedTextureBasis.of(file.texture_basis),
        weights=file.weights,
        plate=None if file.plate is None else decode_image(file.plate, f"{name}: plate", 4, MAX_TEXTURE_PX),
        background=None if file.background is None else decode_image(file.background, f"{name}: background", 3, MAX_TEXTURE_PX),
    )


def _own(array: Float) -> Float:
    """A writable copy: the compiled kernels would be compiled again for a read-only one."""
    return np.array(array, np.float32, order="C")


def _joined(bases: list[SparseBasis]) -> SparseBasis:
    """One basis after the other, the vertices of each shape in rising order."""
    counts = np.concatenate([np.diff(basis.start) for basis in bases])
    vertex = np.concatenate([basis.vertex for basis in bases])
    order = np.lexsort((vertex, np.repeat(np.arange(len(counts)), counts)))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return SparseBasis(start, vertex[order], np.concatenate([basis.delta for basis in bases])[order])


@kernel
def first_at_least(values: Int, first: int, last: int, least: int) -> int:
    """Index of the first of the rising values[first:last] that is not below `least`."""
    while first < last:
        middle = (first + last) // 2
        if values[middle] < least:
            first = middle + 1
        else:
            last = middle
    return first


@kernel
def pose_vertices(
    base: Float,
    start: Int,
    vertex: Int,
    delta: Float,
    shape_weights: Float,
    dynamic: Float,
    dynamic_weights: Float,
    skinning: Float,
    transforms: Float,
    first: int,
    last: int,
    out: Float,
) -> None:
    """Offsets, then linear blend skinning, of vertices first…last - 1 into `out` (V, 3)."""
    out[first:last] = base[first:last]
    for k in range(len(shape_weights)):
        weight = shape_weights[k]
        if abs(weight) < 1e-5:
            continue
        low = first_at_least(vertex, start[k], start[k + 1], first)
        for n in range(low, first_at_least(vertex, low, start[k + 1], last)):
            for c in range(3):
                out[vertex[n], c] += weight * delta[n, c]
    for k in range(len(dynamic_weights)):
        for v in range(first, last):
            for c in range(3):
                out[v, c] += dynamic_weights[k] * dynamic[k, v, c]
    for v in range(first, last):
        x, y, z = out[v, 0], out[v, 1], out[v, 2]
        px = py = pz = np.float32(0.0)
        for j in range(5):
            weight = skinning[v, j]
            if weight > 0.0:
                px += weight * (transforms[j, 0, 0] * x + transforms[j, 0, 1] * y + transforms[j, 0, 2] * z + transforms[j, 0, 3])
                py += weight * (transforms[j, 1, 0] * x + transforms[j, 1, 1] * y + transforms[j, 1, 2] * z + transforms[j, 1, 3])
                pz += weight * (transforms[j, 2, 0] * x + transforms[j, 2, 1] * y + transforms[j, 2, 2] * z + transforms[j, 2, 3])
        out[v, 0], out[v, 1], out[v, 2] = px, py, pz


@kernel
def project(vertices: Float, focal: float, centre_x: float, centre_y: float, first: int, last: int, points: Float) -> None:
    """Camera space → x_px, y_px, depth; a point behind the near plane keeps its depth and lies at the centre."""
    for v in range(first, last):
        depth = -vertices[v, 2]
        points[v, 0], points[v, 1], points[v, 2] = centre_x, centre_y, depth
        if depth > 1e-3:
            points[v, 0] += focal * vertices[v, 0] / depth
            points[v, 1] -= focal * vertices[v, 1] / depth

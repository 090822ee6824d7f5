"""An avatar in its fast form: made once from its file, shared by sessions, never changed; and its pose, a kernel over ranges of vertices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import MAX_TEXTURE_PX, AvatarFile
from models.avatar_parts import POSE_FEATURES, AvatarCard, PortraitCamera, Region, SparseBasis, TrainedRange, WeightFunction
from models.driver import DriverProfile
from models.head import HeadParams
from models.image_blob import decode_image
from models.kernels import Scalar, kernel
from models.lighting import material_table, portrait_lights
from models.mesh import VertexFaces, components, open_sides, vertex_labels
from models.rest_pose import rest_pose
from models.texture import Texture
from models.texture_basis import BakedTextureBasis
from models.texture_look_up import GLOSSY_FLAG, UNLIT_FLAG

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Real = NDArray[np.float64]
MAX_WEIGHT = 4.0
MAX_ANGLE = float(np.pi)
MAX_DISTANCE_M = 20.0
STATE_TRANSLATION, STATE_EXPRESSION = 13, 16
"""Where translation and expression start in the state vector: rotation 3, neck 3, jaw 3, gaze 4, translation 3, expression E."""
NO_WEIGHTS = np.zeros(0, np.float32)


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
    """V vertices, F triangles: the first `surface_count` of layer 0, those from `under_from` on of layer 2, between them the overlay."""

    card: AvatarCard
    expression_names: tuple[str, ...]
    camera: PortraitCamera
    ranges: TrainedRange
    base: Float
    """(V, 3) metres, head space, neutral."""
    limits: Float
    """(2, 16 + E): lowest and highest rotation, neck, jaw, gaze, translation, expression that are not cut off."""
    shapes: SparseBasis
    """The expression's shapes, then the pose correctives; vertices of a shape in rising order."""
    dynamic_offsets: Float
    """(D, V, 3)."""
    skinning_weights: Float
    joints: Float
    faces: Int
    surface_count: int
    under_from: int
    corner_uv: Float
    """(F, 6): u, v of the three corners."""
    face_region: NDArray[np.uint8]
    component: Int
    """(F,) number of the connected part."""
    open_sides: NDArray[np.uint8]
    """(F,) models.mesh.open_sides, of the overlay's triangles among themselves; zero for the surface's."""
    around: VertexFaces
    vertex_region: NDArray[np.uint8]
    face_flags: NDArray[np.uint8]
    """(F,) GLOSSY_FLAG where the region is glossy and lit, UNLIT_FLAG where no corner is lit."""
    lights: Float
    materials: Float
    """models.lighting."""
    texture: Texture
    texture_basis: BakedTextureBasis | None
    plain_under: bool
    """The texture basis adds nothing to layer 2."""
    weights: WeightFunction | None
    plate: NDArray[np.uint8] | None
    """(H, W, 4)."""
    background: NDArray[np.uint8] | None
    """(H, W, 3)."""
    driver: DriverProfile | None
    """Its own person, before the camera."""

    def neutral(self) -> HeadParams:
        """The portrait's pose."""
        return rest_pose(self.camera, self.ranges, self.weights)

    def pose_of(self, params: HeadParams) -> Pose:
        """What moves the vertices and blends the texture. Parameters that are not finite stand for the neutral ones; all are held within wide limits."""
        count = len(self.expression_names)
        given = _vector(params)[: STATE_EXPRESSION + count]
        if not np.isfinite(given).all():
            given = _vector(self.neutral())
        state = np.zeros(STATE_EXPRESSION + count, np.float32)
        np.clip(given, self.limits[0, : len(given)], self.limits[1, : len(given)], out=state[: len(given)], casting="same_kind")
        transforms, shapes = np.empty((5, 3, 4), np.float32), np.empty(len(self.shapes), np.float32)
        move_joints(self.joints, state, transforms, shapes)
        if self.weights is None:
            return Pose(shapes, NO_WEIGHTS, NO_WEIGHTS.reshape(0, 0), transforms)
        blended = self.weights(np.concatenate([state[:POSE_FEATURES], state[STATE_EXPRESSION:]]))
        split = len(blended) - len(self.dynamic_offsets)
        groups = 0 if self.texture_basis is None else self.texture_basis.group_count
        return Pose(shapes, blended[split:], blended[:split].reshape(groups, -1) if groups else NO_WEIGHTS.reshape(0, 0), transforms)

    def pose(self, params: HeadParams) -> Float:
        """(V, 3) camera space, metres."""
        vertices = np.empty_like(self.base)
        self.pose_range(self.pose_of(params), 0, len(vertices), vertices)
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
    count, surface_count = len(mesh.vertices), int((mesh.face_layer == 0).sum())
    region = np.ascontiguousarray(mesh.face_region[order])
    bases = [file.expression] if file.pose_correctives is None else [file.expression, file.pose_correctives]
    labels = vertex_labels(faces, region, count, len(file.regions))
    name = file.card.name
    under = order[int((mesh.face_layer < 2).sum()) :]
    return BakedAvatar(
        card=file.card,
        expression_names=file.expression_names,
        camera=file.camera,
        ranges=file.ranges,
        base=_own(mesh.vertices),
        limits=_limits(len(file.expression_names)),
        shapes=_joined(bases),
        dynamic_offsets=np.zeros((0, count, 3), np.float32) if file.dynamic_offsets is None else _own(file.dynamic_offsets),
        skinning_weights=_own(mesh.skinning_weights),
        joints=_own(mesh.joints),
        faces=faces,
        surface_count=surface_count,
        under_from=int((mesh.face_layer < 2).sum()),
        corner_uv=np.ascontiguousarray(mesh.uv[mesh.uv_faces[order]].reshape(-1, 6)),
        face_region=region,
        component=components(faces, count),
        open_sides=np.concatenate([np.zeros(surface_count, np.uint8), open_sides(faces[surface_count:])]),
        around=VertexFaces.of(faces, count),
        vertex_region=labels,
        face_flags=_face_flags(file.regions, region, labels[faces]),
        lights=portrait_lights(),
        materials=material_table(file.regions),
        texture=Texture.of(decode_image(file.texture, f"{name}: texture", 4, MAX_TEXTURE_PX)),
        texture_basis=None if file.texture_basis is None else BakedTextureBasis.of(file.texture_basis),
        plain_under=file.texture_basis is None or not file.texture_basis.reaches(mesh.uv[mesh.uv_faces[under]]),
        weights=file.weights,
        plate=None if file.plate is None else decode_image(file.plate, f"{name}: plate", 4, MAX_TEXTURE_PX),
        background=None if file.background is None else decode_image(file.background, f"{name}: background", 3, MAX_TEXTURE_PX),
        driver=file.driver,
    )


def _vector(params: HeadParams) -> Float:
    """(16 + E,): rotation, neck, jaw, gaze, translation, expression."""
    return np.concatenate([params.rotation, params.neck, params.jaw, params.gaze.ravel(), params.translation, params.expression])


def _face_flags(regions: tuple[Region, ...], face_region: NDArray[np.uint8], corner_region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(F,) from the regions of the faces (F,) and of their corners (F, 3)."""
    glossy = np.array([each.material.glossy and each.material.lit for each in regions])
    unlit = np.array([not each.material.lit for each in regions])
    return np.where(glossy[face_region], GLOSSY_FLAG, np.where(unlit[corner_region].all(1), UNLIT_FLAG, 0)).astype(np.uint8)


def _limits(expression_count: int) -> Float:
    """Wide: what keeps vertices where float32 can hold them."""
    highest = np.repeat([MAX_ANGLE, MAX_DISTANCE_M, MAX_WEIGHT], [STATE_TRANSLATION, 3, expression_count])
    return np.array([-highest, highest], np.float32)


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
def rotation_into(x: Scalar, y: Scalar, z: Scalar, matrix: Real) -> None:
    """Axis-angle to (3, 3), as models.rotations.to_matrix."""
    angle = math.sqrt(x * x + y * y + z * z)
    s, c = 1.0, 0.5
    if angle > 1e-8:
        s, c = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = 1.0 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = c * x * y + s * z, 1.0 - c * (x * x + z * z), c * y * z - s * x
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = c * x * z - s * y, c * y * z + s * x, 1.0 - c * (x * x + y * y)


@kernel
def product(one: Real, two: Real, out: Real) -> None:
    """(3, 3) times (3, 3); `out` is none of them."""
    for i in range(3):
        for k in range(3):
            out[i, k] = one[i, 0] * two[0, k] + one[i, 1] * two[1, k] + one[i, 2] * two[2, k]


@kernel
def move_joints(joints: Float, state: Float, transforms: Float, shapes: Float) -> None:
    """From a state vector the (5, 3, 4) transforms into camera space, as models.head.joint_transforms, and the weights of all shapes."""
    local, world = np.empty((5, 3, 3)), np.empty((5, 3, 3))
    yaw, pitch = np.empty((3, 3)), np.empty((3, 3))
    for j in range(3):
        rotation_into(state[3 * j], state[3 * j + 1], state[3 * j + 2], local[j])
    for eye in range(2):
        rotation_into(0.0, state[9 + 2 * eye], 0.0, yaw)
        rotation_into(state[10 + 2 * eye], 0.0, 0.0, pitch)
        product(yaw, pitch, local[3 + eye])
    place = np.empty((5, 3))
    for j in range(5):
        parent = 0 if j == 1 else 1
        if j == 0:
            world[0] = local[0]
            place[0] = joints[0]
        else:
            product(world[parent], local[j], world[j])
        for i in range(3):
            if j > 0:
                place[j, i] = place[parent, i]
                for k in range(3):
                    place[j, i] += world[parent, i, k] * (joints[j, k] - joints[parent, k])
            shift = place[j, i] + state[STATE_TRANSLATION + i]
            for k in range(3):
                transforms[j, i, k] = world[j, i, k]
                shift -= world[j, i, k] * joints[j, k]
            transforms[j, i, 3] = shift
    count = len(state) - STATE_EXPRESSION
    shapes[:count] = state[STATE_EXPRESSION:]
    for k in range(len(shapes) - count):
        j, entry = 1 + k // 9, k % 9
        shapes[count + k] = local[j, entry // 3, entry % 3] - (1.0 if entry % 4 == 0 else 0.0)


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

"""An avatar as one glTF 2.0 binary file: mesh, texture, a morph target for every expression shape, five joints, the portrait's camera.

Head space is glTF's own: metres, right-handed, +y up, the face towards +z (Khronos Group, "glTF 2.0 Specification", section 3.4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import Material, SparseBasis
from models.export.about import GENERATOR, describe, left_out
from models.export.animation import add_animation
from models.export.frames import Frames
from models.export.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuilder, index_array
from models.export.linear_avatar import LinearAvatar, png, texture_at
from models.export.normals import normal_shapes, unit_normals
from models.export.poses import JOINT_NAMES, joint_quaternions
from models.export.primitives import Primitive, primitives
from models.head import JOINT_PARENTS, HeadParams

Float = NDArray[np.float32]
Node = dict[str, Any]
UNLIT = "KHR_materials_unlit"
LINEAR_FILTER, MIPMAPS, CLAMP = 9729, 9987, 33071
JOINTS_PER_VERTEX = 4
MESH_NODE, FIRST_JOINT_NODE, CAMERA_NODE = 0, 1, 6
NEAR_M, FAR_M = 0.05, 10.0


def export_glb(avatar: AvatarFile, pose: HeadParams | None = None, frames: Frames | None = None) -> bytes:
    """The file's bytes.

    Args:
        avatar: whom to export.
        pose: how the file opens, in the avatar's own expression order; None: at rest.
        frames: becomes an animation clip; its expression in the avatar's own order.

    Raises:
        BadFile: a picture in the avatar is damaged.
    """
    linear = LinearAvatar.of(avatar)
    builder = GlbBuilder()
    texture = texture_at(linear.baked, linear.rest)
    parts = primitives(avatar.mesh, avatar.regions, texture)
    opened = linear.rest if pose is None else pose
    document: dict[str, Any] = {
        "asset": _asset(avatar),
        "scene": 0,
        "scenes": [{"name": avatar.card.name, "nodes": [MESH_NODE, FIRST_JOINT_NODE, CAMERA_NODE], "extras": describe(avatar)}],
        "nodes": [{"name": avatar.card.name, "mesh": 0, "skin": 0}, *_joint_nodes(linear, opened), _camera_node(avatar)],
        "cameras": [_camera(avatar)],
        "meshes": [_mesh(builder, linear, parts, opened)],
        "skins": [_skin(builder, avatar)],
        "materials": [_material(part) for part in parts],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": LINEAR_FILTER, "minFilter": MIPMAPS, "wrapS": CLAMP, "wrapT": CLAMP}],
        "images": [{"name": "base colour", "mimeType": "image/png", "bufferView": builder.view(png(texture))}],
    }
    if any(not part.region.material.lit for part in parts):
        document["extensionsUsed"] = [UNLIT]
    if frames is not None:
        document["animations"] = [add_animation(builder, avatar, frames, MESH_NODE, FIRST_JOINT_NODE)]
    return builder.finish(document)


def _asset(avatar: AvatarFile) -> dict[str, Any]:
    extras = describe(avatar) | {"leftOut": left_out(avatar)}
    return {"version": "2.0", "generator": GENERATOR, "copyright": avatar.card.licence, "extras": extras}


def _mesh(builder: GlbBuilder, linear: LinearAvatar, parts: list[Primitive], opened: HeadParams) -> Node:
    mesh = linear.file.mesh
    normals = unit_normals(linear.vertices, mesh.faces)
    lit = any(part.region.material.lit for part in parts)
    turns = normal_shapes(linear.vertices, mesh.faces, linear.shapes) if lit else None
    names = linear.file.expression_names
    found = [_primitive(builder, linear, part, normals, turns, index) for index, part in enumerate(parts)]
    morphs: Node = {"weights": opened.expression.astype(float).round(6).tolist(), "extras": {"targetNames": list(names)}} if names else {}
    return {"name": linear.file.card.name, "primitives": found, **morphs}


def _primitive(builder: GlbBuilder, linear: LinearAvatar, part: Primitive, normals: Float, turns: SparseBasis | None, material: int) -> Node:
    joints, weights = four_joints(linear.file.mesh.skinning_weights[part.vertex])
    attributes = {
        "POSITION": builder.accessor(linear.vertices[part.vertex], ARRAY_BUFFER, bounds=True),
        "NORMAL": builder.accessor(normals[part.vertex], ARRAY_BUFFER),
        "TEXCOORD_0": builder.accessor(part.uv, ARRAY_BUFFER),
        "JOINTS_0": builder.accessor(joints, ARRAY_BUFFER),
        "WEIGHTS_0": builder.accessor(weights, ARRAY_BUFFER),
    }
    targets = [{"POSITION": index} for index in _targets(builder, linear.shapes, part.vertex)]
    if turns is not None and part.region.material.lit:
        for target, index in zip(targets, _targets(builder, turns, part.vertex), strict=True):
            target["NORMAL"] = index
    indices = builder.accessor(index_array(part.faces.ravel()), ELEMENT_ARRAY_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": material} | ({"targets": targets} if targets else {})


def _targets(builder: GlbBuilder, shapes: SparseBasis, vertex: NDArray[np.int32]) -> list[int]:
    """Accessors of all shapes' motion of the vertices `vertex` (N,) of a primitive."""
    found = []
    row = np.full(vertex.max(initial=0) + 1, -1)
    for first, last in zip(shapes.start[:-1], shapes.start[1:], strict=True):
        row[:] = -1
        moved = shapes.vertex[first:last]
        inside = moved < len(row)
        row[moved[inside]] = np.arange(first, last)[inside]
        place = np.flatnonzero(row[vertex] >= 0).astype(np.int32)
        found.append(builder.sparse(len(vertex), place, shapes.delta[row[vertex[place]]]))
    return found


def four_joints(weights: Float) -> tuple[NDArray[np.uint8], Float]:
    """(N, 5) skinning weights → the four heaviest joints of each vertex (N, 4), and their weights, which sum to one."""
    joints = np.argsort(-weights, 1, kind="stable")[:, :JOINTS_PER_VERTEX]
    heaviest = np.take_along_axis(weights.astype(np.float64), joints, 1)
    heaviest /= heaviest.sum(1, keepdims=True)
    return np.where(heaviest > 0.0, joints, 0).astype(np.uint8), heaviest.astype(np.float32)


def _skin(builder: GlbBuilder, avatar: AvatarFile) -> Node:
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_NAMES), 1, 1))
    inverse[:, 3, :3] = -avatar.mesh.joints
    joints = [FIRST_JOINT_NODE + joint for joint in range(len(JOINT_NAMES))]
    return {"name": "head", "joints": joints, "skeleton": FIRST_JOINT_NODE, "inverseBindMatrices": builder.accessor(inverse)}


def _joint_nodes(linear: LinearAvatar, opened: HeadParams) -> list[Node]:
    joints = linear.file.mesh.joints.astype(float)
    moved = opened.translation.astype(float) - linear.file.camera.translation
    quaternions = joint_quaternions(opened)
    nodes: list[Node] = []
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, JOINT_PARENTS, strict=True)):
        place = joints[joint] + moved if parent < 0 else joints[joint] - joints[parent]
        node: Node = {"name": name, "translation": place.tolist(), "rotation": quaternions[joint].tolist()}
        children = [FIRST_JOINT_NODE + child for child, of in enumerate(JOINT_PARENTS) if of == joint]
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def _camera(avatar: AvatarFile) -> Node:
    perspective = {"aspectRatio": 1.0, "yfov": 2.0 * float(np.arctan(0.5 / avatar.camera.focal)), "znear": NEAR_M, "zfar": FAR_M}
    return {"name": "portrait", "type": "perspective", "perspective": perspective}


def _camera_node(avatar: AvatarFile) -> Node:
    """Where the camera is when the head stays where it is."""
    return {"name": "portrait", "camera": 0, "translation": (-np.array(avatar.camera.translation, np.float64)).tolist()}


def _material(part: Primitive) -> Node:
    colour = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": round(roughness(part.region.material), 4)}
    material: Node = {"name": part.name, "pbrMetallicRoughness": colour, "alphaMode": "BLEND" if part.soft else "OPAQUE", "doubleSided": part.two_sided}
    return material if part.region.material.lit else material | {"extensions": {UNLIT: {}}}


def roughness(material: Material) -> float:
    """glTF's roughness, 0…1, for a Blinn exponent; one where there is no highlight.

    Exponent n = 2 / α² - 2 with α = roughness² (Karis, "Real shading in Unreal Engine 4", SIGGRAPH 2013 course; α as in the glTF specification, B.2.3).
    """
    if material.specular <= 0.0 or not material.lit:
        return 1.0
    return float((2.0 / (material.shininess + 2.0)) ** 0.25)

"""The avatar file: the one contract between what makes avatars and what shows them. Safetensors with a versioned JSON header, checked on reading.

Header: kind "avatar", version, name, description, licence, created_by, consent {...}, head_layout, expression_names, regions [{name, material}],
signature {...} as in models/consent/signature.py, where somebody answers for it (reading here does not ask; models/consent/opening.py does),
camera {focal, principal, translation}, ranges {expression, rotation, neck, jaw, gaze}; texture_block and weight_clip where those parts are there;
driver {...} and its arrays, optional, as in models/driver.py.
Arrays (V vertices, F triangles, T texture coordinates, E shapes, K maps, G groups, D dynamic shapes):
    vertices (V, 3) f32 · faces (F, 3) i32 · uv (T, 2) f32 · uv_faces (F, 3) i32 · face_region (F,) u8 · face_layer (F,) u8
    skinning_weights (V, 5) u16 (65535 is one) · joints (5, 3) f32
    expression_start (E + 1,) i32, expression_vertex (N,) u16, expression_delta (N, 3) f16; the same three `corrective_…` of 0 or 36 shapes
    texture, thumbnail, plate?, background? (bytes,) u8, each a PNG or WebP
    texture_maps (K, R, R, 3|4) i8, texture_scale (K, blocks) f32, texture_group (blocks,) u8, all or none
    dynamic_offsets? (D, V, 3) f16
    weight_mean, weight_scale (13 + E,) f32, weight_matrix_0, weight_bias_0, weight_matrix_1?, weight_bias_1? f32, where there are maps or dynamic offsets
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from models import avatar_header, driver, strict_json
from models.avatar_parts import (
    POSE_FEATURES,
    AvatarCard,
    AvatarMesh,
    PortraitCamera,
    Region,
    SparseBasis,
    TextureBasis,
    TrainedRange,
    WeightFunction,
)
from models.driver import DriverProfile
from models.errors import BadFile
from models.image_blob import check_image
from models.tensor_file import HEADER_KEY, TensorFile, header_length, read_tensor_file, write_tensor_file

KIND = "avatar"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_TEXTURE_PX = 2048
MAX_THUMBNAIL_PX = 512
MAX_VERTICES = 65_535
MAX_FACES = 200_000
MAX_MAPS = 32
MAX_HIDDEN = 512
MAX_REACH_M = 10.0
MAX_SHAPE_ENTRIES = 10_000_000
"""Expression shapes times vertices; some readers keep them all side by side."""
WEIGHT_UNIT = 65_535


@dataclass(frozen=True, slots=True)
class AvatarFile:
    """One avatar, whole."""

    card: AvatarCard
    head_layout: str
    """Name of the head that the mesh was made from; informative."""
    expression_names: tuple[str, ...]
    regions: tuple[Region, ...]
    camera: PortraitCamera
    ranges: TrainedRange
    mesh: AvatarMesh
    expression: SparseBasis
    texture: bytes
    """RGBA (or RGB: opaque), PNG or WebP, straight alpha, at most 2048 pixels a side."""
    pose_correctives: SparseBasis | None = None
    """36 shapes, for the entries of R - I of joints 1 to 4, row by row."""
    texture_basis: TextureBasis | None = None
    dynamic_offsets: NDArray[np.float32] | None = None
    """(D, V, 3) metres, head space, added before the joints move."""
    weights: WeightFunction | None = None
    plate: bytes | None = None
    """RGBA, fixed to the picture, between background and head."""
    background: bytes | None = None
    """RGB, the avatar's own."""
    driver: DriverProfile | None = None
    """Its own person, before the camera."""


def write_avatar(path: Path, avatar: AvatarFile) -> None:
    """Writes the file after it was checked as on reading.

    Raises:
        BadFile: it would not be read back.
    """
    arrays = _arrays(avatar)
    header = {"kind": KIND, "version": VERSION, **avatar_header.pack(avatar)}
    if avatar.driver is not None:
        driver_arrays, header["driver"] = driver.pack(avatar.driver)
        arrays |= driver_arrays
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_BYTES:
        raise BadFile(f"{path.name}: {size} bytes; an avatar holds at most {MAX_BYTES}")
    parse_avatar(TensorFile(arrays, header, path.name))
    write_tensor_file(path, arrays, header)


def read_avatar(path: Path) -> AvatarFile:
    """Reads and checks an avatar file.

    Raises:
        BadFile: with what was expected and what came.
    """
    return parse_avatar(read_avatar_tensors(path))


def read_avatar_tensors(path: Path) -> TensorFile:
    """An avatar file's arrays and header, neither looked at yet; for `parse_avatar` and `parse_card`.

    Raises:
        BadFile: it is no avatar file, or too large.
    """
    _check_size(path)
    return read_tensor_file(path, KIND, VERSION)


def read_card(path: Path) -> AvatarCard:
    """Only what a gallery shows; the mesh and the textures stay on disk.

    Raises:
        BadFile: as `read_avatar`.
    """
    _check_size(path)
    try:
        with path.open("rb") as file:
            header_length(file.read(8), path.name)
        with safe_open(path, framework="numpy") as opened:
            header = strict_json.loads((opened.metadata() or {})[HEADER_KEY])
            arrays = {"thumbnail": opened.get_tensor("thumbnail")}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path.name}: not a Headcast avatar file, or damaged ({type(error).__name__})") from error
    if not isinstance(header, dict) or header.get("kind") != KIND or header.get("version") not in range(1, VERSION + 1):
        raise BadFile(f"{path.name}: should be an avatar of version 1 to {VERSION}")
    return parse_card(TensorFile(arrays, header, path.name))


def rename_avatar(path: Path, name: str) -> None:
    """Gives the avatar another name on its card; everything else of the file stays as it is, and its signature holds, for the name is not signed.

    Raises:
        BadFile: it is no avatar file, or would be none with that name; the file is as it was.
    """
    file = read_avatar_tensors(path)
    header = {**file.header, "name": name}
    parse_card(TensorFile(file.arrays, header, file.source))
    write_tensor_file(path, file.arrays, header)


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadFile(f"{path.name}: cannot be read ({error.strerror})") from error
    if size > MAX_BYTES:
        raise BadFile(f"{path.name}: {size} bytes; an avatar file holds at most {MAX_BYTES}")


def _bytes(blob: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(blob, np.uint8)


def _arrays(avatar: AvatarFile) -> dict[str, NDArray[Any]]:
    mesh = avatar.mesh
    arrays: dict[str, NDArray[Any]] = {
        "vertices": mesh.vertices,
        "faces": mesh.faces,
        "uv": mesh.uv,
        "uv_faces": mesh.uv_faces,
        "face_region": mesh.face_region,
        "face_layer": mesh.face_layer,
        "skinning_weights": np.rint(mesh.skinning_weights * WEIGHT_UNIT).astype(np.uint16),
        "joints": mesh.joints,
        "texture": _bytes(avatar.texture),
        "thumbnail": _bytes(avatar.card.thumbnail),
    }
    for name, basis in (("expression", avatar.expression), ("corrective", avatar.pose_correctives)):
        if basis is not None:
            arrays |= {f"{name}_start": basis.start, f"{name}_vertex": basis.vertex.astype(np.uint16), f"{name}_delta": basis.delta.astype(np.float16)}
    if avatar.texture_basis is not None:
        textures = avatar.texture_basis
        arrays |= {"texture_maps": textures.maps, "texture_scale": textures.scale, "texture_group": textures.group}
    if avatar.dynamic_offsets is not None:
        arrays["dynamic_offsets"] = avatar.dynamic_offsets.astype(np.float16)
    if avatar.weights is not None:
        arrays |= {"weight_mean": avatar.weights.mean, "weight_scale": avatar.weights.scale}
        for index, (weight, bias) in enumerate(avatar.weights.layers):
            arrays |= {f"weight_matrix_{index}": weight, f"weight_bias_{index}": bias}
    for name, blob in (("plate", avatar.plate), ("background", avatar.background)):
        if blob is not None:
            arrays[name] = _bytes(blob)
    return arrays


def parse_avatar(file: TensorFile) -> AvatarFile:
    """Everything of an avatar file, every part checked. Raises BadFile."""
    names = file.names("expression_names")
    regions = avatar_header.regions(file.header, file.source)
    mesh = _mesh(file, len(regions))
    count = len(mesh.vertices)
    textures = _texture_basis(file)
    offsets = file.take("dynamic_offsets", (None, count, 3), "float16").astype(np.float32) if "dynamic_offsets" in file.arrays else None
    correctives = _sparse(file, "corrective", count) if "corrective_start" in file.arrays else None
    if correctives is not None and len(correctives) != 36:
        raise BadFile(f"{file.source}: there should be 36 pose correctives or none, there are {len(correctives)}")
    expression = _sparse(file, "expression", count)
    if len(expression) * count > MAX_SHAPE_ENTRIES:
        raise BadFile(f"{file.source}: at most {MAX_SHAPE_ENTRIES} vertices of all shapes are read, there are {len(expression)} shapes of {count}")
    if len(expression) != len(names):
        raise BadFile(f"{file.source}: {len(names)} expression names for {len(expression)} shapes")
    outputs = (textures.group_count * len(textures.maps) if textures else 0) + (len(offsets) if offsets is not None else 0)
    return AvatarFile(
        card=parse_card(file),
        head_layout=avatar_header.text(file.header, "head_layout", file.source),
        expression_names=names,
        regions=regions,
        camera=avatar_header.camera(file.header, file.source),
        ranges=avatar_header.ranges(file.header, len(names), file.source),
        mesh=mesh,
        expression=expression,
        texture=_image(file, "texture", MAX_TEXTURE_PX),
        pose_correctives=correctives,
        texture_basis=textures,
        dynamic_offsets=offsets,
        weights=_weight_function(file, POSE_FEATURES + len(names), outputs) if outputs else None,
        plate=_image(file, "plate", MAX_TEXTURE_PX) if "plate" in file.arrays else None,
        background=_image(file, "background", MAX_TEXTURE_PX) if "background" in file.arrays else None,
        driver=driver.read(file, count, len(names)),
    )


def parse_card(file: TensorFile) -> AvatarCard:
    """Only the card. Raises BadFile."""
    return avatar_header.card(file.header, _image(file, "thumbnail", MAX_THUMBNAIL_PX), file.source)


def _image(file: TensorFile, name: str, max_side: int) -> bytes:
    blob = file.take(name, (None,), "uint8").tobytes()
    check_image(blob, f"{file.source}: '{name}'", max_side)
    return blob


def _mesh(file: TensorFile, region_count: int) -> AvatarMesh:
    vertices = file.take("vertices", (None, 3), "float32")
    count = len(vertices)
    if not 3 <= count <= MAX_VERTICES or np.abs(vertices).max() > MAX_REACH_M:
        raise BadFile(f"{file.source}: 3 to {MAX_VERTICES} vertices within {MAX_REACH_M:g} m are read, there are {count}")
    faces = file.take_indices("faces", (None, 3), count)
    if not 1 <= len(faces) <= MAX_FACES:
        raise BadFile(f"{file.source}: 1 to {MAX_FACES} triangles are read, there are {len(faces)}")
    uv = file.take("uv", (None, 2), "float32")
    if uv.size and (uv.min() < 0.0 or uv.max() > 1.0):
        raise BadFile(f"{file.source}: uv should lie in 0…1, it reaches from {uv.min():.3f} to {uv.max():.3f}")
    weights = file.take("skinning_weights", (count, 5), "uint16").astype(np.float32) / WEIGHT_UNIT
    if np.abs(weights.sum(1) - 1.0).max() > 1e-3:
        raise BadFile(f"{file.source}: the rows of skinning_weights should sum to 65535")
    return AvatarMesh(
        vertices=vertices,
        faces=faces,
        uv=uv,
        uv_faces=file.take_indices("uv_faces", (len(faces), 3), len(uv)),
        face_region=_labels(file, "face_region", len(faces), region_count),
        face_layer=_labels(file, "face_layer", len(faces), 3),
        skinning_weights=weights / weights.sum(1, keepdims=True),
        joints=_joints(file),
    )


def _joints(file: TensorFile) -> NDArray[np.float32]:
    joints = file.take("joints", (5, 3), "float32")
    if np.abs(joints).max() > MAX_REACH_M:
        raise BadFile(f"{file.source}: joints should lie within {MAX_REACH_M:g} m, they reach {np.abs(joints).max():.3g}")
    return joints


def _labels(file: TensorFile, name: str, count: int, below: int) -> NDArray[np.uint8]:
    labels = file.take(name, (count,), "uint8")
    if labels.size and labels.max() >= below:
        raise BadFile(f"{file.source}: '{name}' should be below {below}, it reaches {labels.max()}")
    return labels


def _sparse(file: TensorFile, name: str, vertex_count: int) -> SparseBasis:
    start = file.take(f"{name}_start", (None,), "int32")
    vertex = file.take(f"{name}_vertex", (None,), "uint16").astype(np.int32)
    delta = file.take(f"{name}_delta", (len(vertex), 3), "float16").astype(np.float32)
    if len(start) < 1 or start[0] != 0 or start[-1] != len(vertex) or (np.diff(start) < 0).any():
        raise BadFile(f"{file.source}: '{name}_start' should rise from 0 to {len(vertex)}")
    if vertex.size and vertex.max() >= vertex_count:
        raise BadFile(f"{file.source}: '{name}_vertex' points past the {vertex_count} vertices")
    return SparseBasis(start, vertex, delta)


def _texture_basis(file: TensorFile) -> TextureBasis | None:
    if "texture_maps" not in file.arrays:
        return None
    maps = file.take("texture_maps", (None, None, None, None), "int8")
    count, side, width, channels = maps.shape
    block = avatar_header.whole(file.header, "texture_block", 4, 256, file.source)
    if not 1 <= count <= MAX_MAPS or side != width or not 4 <= side <= MAX_TEXTURE_PX or side % block or channels not in (3, 4):
        raise BadFile(f"{file.source}: texture_maps should be (1…{MAX_MAPS}, R, R, 3 or 4) with R a multiple of {block}, it is {maps.shape}")
    blocks = (side // block) ** 2
    scale = file.take("texture_scale", (count, blocks), "float32")
    return TextureBasis(maps, scale, block, file.take("texture_group", (blocks,), "uint8"))


def _weight_function(file: TensorFile, inputs: int, outputs: int) -> WeightFunction:
    scale = file.take("weight_scale", (inputs,), "float32")
    if scale.min() <= 0.0:
        raise BadFile(f"{file.source}: weight_scale should be above zero")
    layers = [_layer(file, 0, inputs)]
    if "weight_matrix_1" in file.arrays:
        layers.append(_layer(file, 1, len(layers[0][1])))
    found = len(layers[-1][1])
    if found != outputs or max(len(bias) for _, bias in layers[:-1] or layers) > max(MAX_HIDDEN, outputs):
        raise BadFile(f"{file.source}: the weight function should give {outputs} weights, it gives {found}")
    clip = avatar_header.number(file.header, "weight_clip", 0.1, 100.0, file.source)
    return WeightFunction(file.take("weight_mean", (inputs,), "float32"), scale, clip, tuple(layers))


def _layer(file: TensorFile, index: int, inputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight = file.take(f"weight_matrix_{index}", (None, inputs), "float32")
    return weight, file.take(f"weight_bias_{index}", (len(weight),), "float32")

"""Puts one person together: geometry from the head, hair and clothes; one painted, shadowed atlas; the avatar's mesh."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import AvatarMesh, Material, Region, SparseBasis
from models.head import ROOT, HeadModel
from training.default_avatars import atlas, skin
from training.default_avatars.clothing import dress
from training.default_avatars.cut import compact
from training.default_avatars.hair import grow
from training.default_avatars.painting import paint
from training.default_avatars.parts import Float, Part, head_part, joined
from training.default_avatars.people import Person
from training.default_avatars.sitter import Sitter, sit

SKIN_RED = (0.16, 0.04, 0.02)
REGIONS = (
    Region("skin", Material(wrap=0.35, subsurface=SKIN_RED, specular=0.10, shininess=14.0, rim=0.25)),
    Region("lips", Material(wrap=0.35, subsurface=SKIN_RED, specular=0.22, shininess=28.0, rim=0.15, glossy=True)),
    Region("mouth", Material(wrap=0.6, specular=0.0, rim=0.0)),
    Region("left_eye", Material(wrap=0.5, specular=0.85, shininess=260.0, rim=0.0, glossy=True)),
    Region("right_eye", Material(wrap=0.5, specular=0.85, shininess=260.0, rim=0.0, glossy=True)),
    Region("upper_teeth", Material(wrap=0.6, specular=0.25, shininess=50.0, rim=0.0, glossy=True)),
    Region("lower_teeth", Material(wrap=0.6, specular=0.20, shininess=50.0, rim=0.0, glossy=True)),
    Region("tongue", Material(wrap=0.6, specular=0.12, shininess=30.0, rim=0.0, glossy=True)),
    Region("lashes", Material(wrap=0.5, specular=0.0, rim=0.0)),
    Region("hair", Material(wrap=0.30, specular=0.10, shininess=12.0, rim=0.45)),
    Region("cloth", Material(wrap=0.25, specular=0.02, shininess=8.0, rim=0.25)),
    Region("collar", Material(wrap=0.25, specular=0.02, shininess=8.0, rim=0.25)),
)
REGION_INDEX = {region.name: index for index, region in enumerate(REGIONS)}


@dataclass(frozen=True, slots=True)
class Figure:
    """A composed person: the mesh, its sparse expression shapes and the atlas (H, W, 4) RGBA."""

    mesh: AvatarMesh
    expression: SparseBasis
    texture: NDArray[np.uint8]


def compose(head: HeadModel, person: Person) -> Figure:
    """Builds `person` on `head`; the same input gives the same figure."""
    sitter = sit(head, person)
    parts = _parts(sitter)
    return Figure(_mesh(parts, sitter.joints), _expression(parts), paint(sitter, parts))


def worn_by(head: HeadModel, person: Person, texture: NDArray[np.uint8]) -> Figure:
    """`person` as modelled, painted as somebody else was: the atlas of a figure with the same hair and clothes."""
    sitter = sit(head, person)
    parts = _parts(sitter)
    return Figure(_mesh(parts, sitter.joints), _expression(parts), texture)


def _parts(sitter: Sitter) -> list[Part]:
    """Skin with eyes and mouth, cloth, lashes, collar, hair; placed in the atlas."""
    body = head_part(sitter.head, sitter.vertices)
    body = replace(body, region=_with_lips(sitter.head, body))
    overlay = np.array([name == "lashes" for name in body.region])
    lashes = replace(_subset(body, overlay), layer=1)
    above, cloth, collar = dress(_subset(body, ~overlay), sitter.person.garment, sitter.joints[ROOT])
    above, cloth, lashes = (compact(atlas.place(part, atlas.HEAD_RECT)) for part in (above, cloth, lashes))
    hair = atlas.place(grow(sitter.person.hair, sitter.scalp), atlas.HAIR_RECT)
    return [above, cloth, lashes, atlas.place(collar, atlas.COLLAR_RECT), hair]


def _subset(part: Part, chosen: NDArray[np.bool_]) -> Part:
    region = tuple(name for name, keep in zip(part.region, chosen, strict=True) if keep)
    return replace(part, faces=part.faces[chosen], uv_faces=part.uv_faces[chosen], region=region)


def _with_lips(head: HeadModel, body: Part) -> tuple[str, ...]:
    """The body's regions, with the skin inside the outline of the lips called so."""
    landmarks = head.landmarks(head.template).astype(np.float64)
    outline = (skin.lip_outline(landmarks)[:, :2] * 1e4).astype(np.float32)
    centres = head.template[head.faces].mean(1)
    front = landmarks[13, 2] - 0.03
    names = []
    for name, centre in zip(body.region, centres, strict=True):
        near = name == "skin" and centre[2] > front and abs(centre[1] - landmarks[13, 1]) < 0.03
        inside = near and cv2.pointPolygonTest(outline, (float(centre[0] * 1e4), float(centre[1] * 1e4)), False) >= 0
        names.append("lips" if inside else name)
    return tuple(names)


def _mesh(parts: list[Part], joints: Float) -> AvatarMesh:
    vertices, faces = joined(parts)
    uv_starts = np.cumsum([0, *(len(part.uv) for part in parts[:-1])])
    uv_faces = np.concatenate([part.uv_faces + start for part, start in zip(parts, uv_starts, strict=True)])
    regions = [REGION_INDEX[name] for part in parts for name in part.region]
    layers = [part.layer for part in parts for _ in part.region]
    return AvatarMesh(
        vertices.astype(np.float32),
        faces,
        np.concatenate([part.uv for part in parts]).astype(np.float32),
        uv_faces.astype(np.int32),
        np.array(regions, np.uint8),
        np.array(layers, np.uint8),
        np.concatenate([part.weights for part in parts]).astype(np.float32),
        joints.astype(np.float32),
    )


def _expression(parts: list[Part]) -> SparseBasis:
    shapes = next(len(part.expression) for part in parts if part.expression is not None)
    dense = [np.zeros((shapes, len(part.vertices), 3)) if part.expression is None else part.expression for part in parts]
    return SparseBasis.from_dense(np.concatenate(dense, 1).astype(np.float32))

"""What an avatar is made of. Plain frozen records; models/avatar_file.py reads and writes them, models/baked.py makes them fast.

Conventions: models/CONVENTIONS.md.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams

Float = NDArray[np.float32]
POSE_FEATURES = 13
"""rotation 3, neck 3, jaw 3, gaze 4 (left yaw, left pitch, right yaw, right pitch): what precedes the expression in a feature vector."""


@dataclass(frozen=True, slots=True)
class Consent:
    """Who an avatar shows, and who agreed to it."""

    synthetic: bool
    """Nobody's likeness; the other fields may then be empty."""
    subject: str = ""
    granted_by: str = ""
    statement: str = ""
    """What was agreed to, in words."""
    date: str = ""
    """ISO 8601 day, such as 2026-01-31."""
    expires: str | None = None
    """ISO 8601 day, the last one on which the avatar may be used; None: no end."""
    purposes: tuple[str, ...] = ()
    """What was agreed to, as in models/consent/statement.py; empty in records that were made before purposes were asked for, and of nobody's likeness."""
    own_driver_only: bool = False
    """Nobody but the person shown may drive the avatar."""
    agreed_at: str = ""
    """ISO 8601, UTC: 2026-01-31T12:00:00Z."""
    statement_version: int = 0
    """Of the words; 0: in the maker's own."""

    def valid_on(self, day: datetime.date) -> bool:
        """Whether the avatar may be used on `day`."""
        return self.expires is None or day <= datetime.date.fromisoformat(self.expires)

    def covers(self, purpose: str) -> bool:
        """Whether the avatar may be used for that."""
        return self.synthetic or purpose in self.purposes


@dataclass(frozen=True, slots=True)
class AvatarCard:
    """What a gallery shows of an avatar."""

    name: str
    description: str
    licence: str
    created_by: str
    consent: Consent
    thumbnail: bytes
    """PNG or WebP, at most 512 pixels a side."""


@dataclass(frozen=True, slots=True)
class Material:
    """How a region answers to the light. Unlit regions show their texture as it is, for it holds its light already."""

    lit: bool = True
    wrap: float = 0.3
    """0…1: how far diffuse light reaches round past the terminator."""
    subsurface: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """0…1, RGB: tint added where light fades out; slightly red for skin."""
    specular: float = 0.0
    """0…2: strength of the Blinn highlight."""
    shininess: float = 20.0
    """1…2000: Blinn exponent."""
    rim: float = 0.3
    """0…2: strength of the light from behind at grazing angles."""
    glossy: bool = False
    """The highlight is computed for every pixel (eyes, lips, teeth), not for every vertex."""


@dataclass(frozen=True, slots=True)
class Region:
    """A named part of the mesh and its material."""

    name: str
    material: Material = field(default_factory=Material)


@dataclass(frozen=True, slots=True)
class PortraitCamera:
    """The framing of a neutral portrait, for any output size."""

    focal: float
    """In picture heights: focal_px = focal * size."""
    principal: tuple[float, float] = (0.0, 0.0)
    """Principal point from the picture's centre, in picture heights, x right, y down."""
    translation: tuple[float, float, float] = (0.0, 0.0, -0.6)
    """Metres, camera space: where the neutral head stands."""


@dataclass(frozen=True, slots=True)
class TrainedRange:
    """What the avatar has been made or seen for: (…, 2) lowest and highest value. Radians, but for the expression's weights."""

    expression: Float
    """(E, 2)."""
    rotation: Float
    """(3, 2) axis-angle components, in camera space."""
    neck: Float
    """(3, 2)."""
    jaw: Float
    """(3, 2)."""
    gaze: Float
    """(2, 2): yaw, pitch."""

    @staticmethod
    def usual(expression_count: int) -> TrainedRange:
        """Limits of a healthy neck and eye, and weights from 0 to 1."""

        def symmetric(*limits: float) -> Float:
            return np.array([(-limit, limit) for limit in limits], np.float32)

        expression = np.tile(np.array([0.0, 1.0], np.float32), (expression_count, 1))
        return TrainedRange(expression, symmetric(0.6, 0.9, 0.6), symmetric(0.4, 0.5, 0.4), symmetric(0.5, 0.15, 0.1), symmetric(0.7, 0.5))


@dataclass(frozen=True, slots=True)
class SparseBasis:
    """K vertex offset shapes, most of whose entries are zero: shape k moves `vertex[start[k]:start[k + 1]]` by the same rows of `delta`."""

    start: NDArray[np.int32]
    """(K + 1,)."""
    vertex: NDArray[np.int32]
    """(N,), no vertex twice within a shape."""
    delta: Float
    """(N, 3) metres, head space, for a weight of one."""

    @staticmethod
    def from_dense(basis: Float, smallest_m: float = 2e-5) -> SparseBasis:
        """(K, V, 3) → the entries longer than `smallest_m`."""
        kept = np.linalg.norm(basis, axis=2) > smallest_m
        start = np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.int32)
        return SparseBasis(start, np.nonzero(kept)[1].astype(np.int32), basis[kept].astype(np.float32))

    @staticmethod
    def empty() -> SparseBasis:
        """No shapes."""
        return SparseBasis(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))

    def __len__(self) -> int:
        return len(self.start) - 1

    def dense(self, vertex_count: int) -> Float:
        """(K, V, 3)."""
        full = np.zeros((len(self), vertex_count, 3), np.float32)
        shape = np.repeat(np.arange(len(self)), np.diff(self.start))
        full[shape, self.vertex] = self.delta
        return full


@dataclass(frozen=True, slots=True)
class AvatarMesh:
    """V vertices, F triangles, T texture coordinates; the identity is baked in."""

    vertices: Float
    """(V, 3) metres, head space, neutral."""
    faces: NDArray[np.int32]
    """(F, 3), counter-clockwise from outside. Vertices are welded: normals are smooth across every shared vertex."""
    uv: Float
    """(T, 2), texture space."""
    uv_faces: NDArray[np.int32]
    """(F, 3) into `uv`."""
    face_region: NDArray[np.uint8]
    """(F,) into the avatar's regions."""
    face_layer: NDArray[np.uint8]
    """(F,): 0 the surface (depth-tested, front faces only; its alpha shows what lies under it), 1 overlay (lashes, hair tips: seen from both sides, blended),
    2 under (a bust: drawn first, over the backdrop and beneath everything else; depth-tested among itself)."""
    skinning_weights: Float
    """(V, 5), rows sum to one."""
    joints: Float
    """(5, 3) at rest."""


@dataclass(frozen=True, slots=True)
class WeightFunction:
    """A few dense layers from the standardised pose and expression to blending weights: `W x + b`, or `W2 relu(W1 x + b1) + b2`."""

    mean: Float
    """(13 + E,) of the features: rotation, neck, jaw, gaze, expression."""
    scale: Float
    """(13 + E,) standard deviations, above zero."""
    clip: float
    """Standardised features are clipped to plus and minus this."""
    layers: tuple[tuple[Float, Float], ...]
    """One or two (weight (out, in), bias (out,))."""

    def __call__(self, features: Float) -> Float:
        """(13 + E,) → (G * K + D,): the texture's weights group by group, then those of the dynamic offsets."""
        x = np.clip((features - self.mean) / self.scale, -self.clip, self.clip)
        for weight, bias in self.layers[:-1]:
            x = np.maximum(weight @ x + bias, 0.0)
        weight, bias = self.layers[-1]
        return np.asarray(weight @ x + bias, np.float32)


def features(params: HeadParams) -> Float:
    """(13 + E,): what a weight function looks at."""
    return np.concatenate([params.rotation, params.neck, params.jaw, params.gaze.ravel(), params.expression]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TextureBasis:
    """K maps of R x R texels that are added to the base texture, weighted block by block.

    colour(texel) = base + sum over k of weights[group[block], k] * scale[k, block] * maps[k, texel], in grey levels of 0…255.
    """

    maps: NDArray[np.int8]
    """(K, R, R, C): C is 3 (RGB) or 4 (and alpha). R may differ from the base texture's size."""
    scale: Float
    """(K, blocks) grey levels for a step of one; blocks row by row."""
    block: int
    """Side of a block in texels; divides R."""
    group: NDArray[np.uint8]
    """(blocks,) which row of the weights a block uses."""

    @staticmethod
    def quantised(maps: Float, block: int, group: NDArray[np.uint8]) -> TextureBasis:
        """From (K, R, R, C) grey levels: the largest value of a block is 127 steps."""
        count, side, _, channels = maps.shape
        along = side // block
        split = maps.reshape(count, along, block, along, block, channels)
        scale = np.maximum(np.abs(split).max((2, 4, 5)) / 127.0, 1e-8).astype(np.float32)
        steps = np.clip(np.rint(split / scale[:, :, None, :, None, None]), -127, 127).astype(np.int8)
        return TextureBasis(steps.reshape(maps.shape), scale.reshape(count, -1), block, group)

    @property
    def group_count(self) -> int:
        return int(self.group.max()) + 1

    def reaches(self, uv: NDArray[np.floating]) -> bool:
        """Whether any map is other than zero where a surface with texture coordinates `uv` (..., 2) looks, within their bounding box."""
        side = self.maps.shape[1]
        if not uv.size:
            return False
        low, high = (np.clip(bound * side, 0, side) for bound in (uv.reshape(-1, 2).min(0), uv.reshape(-1, 2).max(0)))
        columns, rows = (slice(max(int(a) - 1, 0), int(np.ceil(b)) + 1) for a, b in zip(low, high, strict=True))
        return bool(self.maps[:, rows, columns].any())

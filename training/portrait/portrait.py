"""The avatar while it is learned: the mesh, what was learned of it so far, and its drafts in the file's own form, which the renderer draws as it will live."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import (
    AvatarCard,
    AvatarMesh,
    Consent,
    Material,
    PortraitCamera,
    Region,
    SparseBasis,
    TextureBasis,
    TrainedRange,
    WeightFunction,
)
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.image_blob import encode_image
from models.passes import Passes
from models.texture import Texture
from training.portrait.capture_mesh import CaptureMesh
from training.portrait.features import LEVELS, Features

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
NOSE_ROOT, UNDER_NOSE = 168, 2
"""Landmarks between which upper face gives way to lower."""


@dataclass(frozen=True, slots=True)
class ExactMaps:
    """The texture's maps before they were rounded and put in blocks: what a baked avatar is compared with."""

    maps: NDArray[np.float16]
    """(K, S, S, 3) grey levels for a feature of one."""
    levels: Float
    """(S, S) the row of the features that a texel follows."""


@dataclass(frozen=True)
class Portrait:
    """V vertices of the capture mesh; K features; R x R base texture, S x S maps."""

    mesh: CaptureMesh
    focal: float
    translation: Float
    """(3,) metres: the mean over the training frames."""
    features: Features
    shape: Float
    """(V, 3) metres, at rest, beyond the mesh."""
    dynamic: Float
    """(V, D, 3) metres for the first D features, of the level of each vertex."""
    base: Float
    """(R, R, 4) RGBA, 0…255."""
    maps: TextureBasis | None = None
    exact: ExactMaps | None = None

    @property
    def lower(self) -> Float:
        """(V,) 0 on the upper face, 1 on the lower."""
        return lower_share(self.mesh)

    def draft(self) -> AvatarFile:
        """As a file, but for what only people look at (card, thumbnail, background); the base texture is a mere sketch."""
        mesh, dynamic = self.mesh, self.dynamic.transpose(1, 0, 2)
        lower = self.lower[None, :, None]
        offsets = np.concatenate([(1.0 - lower) * dynamic, lower * dynamic]).astype(np.float32) if len(dynamic) else None
        return AvatarFile(
            card=AvatarCard("draft", "", "all rights reserved", "", Consent(synthetic=True), b""),
            head_layout="",
            expression_names=self.mesh.expression_names,
            regions=tuple(Region(name, Material(lit=False)) for name in mesh.region_names),
            camera=PortraitCamera(self.focal, (0.0, 0.0), tuple(float(value) for value in self.translation)),  # type: ignore[arg-type]
            ranges=TrainedRange.usual(len(self.mesh.expression_names)),
            mesh=AvatarMesh(
                vertices=mesh.vertices + self.shape,
                faces=mesh.faces,
                uv=mesh.uv,
                uv_faces=mesh.uv_faces,
                face_region=mesh.face_region,
                face_layer=np.zeros(len(mesh.faces), np.uint8),
                skinning_weights=mesh.skinning_weights,
                joints=mesh.joints,
            ),
            expression=SparseBasis.from_dense(mesh.expression),
            texture=encode_image(picture(self.base[::64, ::64])),
            pose_correctives=SparseBasis.from_dense(mesh.correctives) if len(mesh.correctives) else None,
            texture_basis=self.maps,
            dynamic_offsets=offsets,
            weights=self._weights(len(dynamic)),
        )

    def baked(self) -> BakedAvatar:
        """Ready to be posed and drawn, without a detour through a compressed picture."""
        return replace(bake(self.draft()), texture=Texture.of(picture(self.base)))

    def texture_at(self, parameters: Float) -> Float:
        """(R, R, 4): the texture that exact arithmetic gives for parameters (13 + E,)."""
        assert self.exact is not None
        phi = self.features(parameters[None])[:, 0]
        weights = phi[np.rint(self.exact.levels).astype(int)]
        added = np.einsum("yxk,kyxc->yxc", weights, self.exact.maps.astype(np.float32))
        texture = self.base.copy()
        texture[..., :3] += upscaled(added, len(texture))
        return np.clip(texture, 0.0, 255.0)

    def _weights(self, dynamic: int) -> WeightFunction | None:
        maps = self.features.maps
        parts = [] if self.maps is None else [maps[:, : len(self.maps.maps)].reshape(-1, maps.shape[2])]
        if dynamic:
            parts += [maps[0, :dynamic], maps[-1, :dynamic]]
        if not parts:
            return None
        matrix = np.concatenate(parts).astype(np.float32)
        return WeightFunction(self.features.mean, self.features.scale, self.features.clip, ((matrix, np.zeros(len(matrix), np.float32)),))

    def save(self, path: Path) -> None:
        """Everything but the mesh, which follows from the head and the identity."""
        maps = {} if self.maps is None else {f"maps_{field.name}": getattr(self.maps, field.name) for field in fields(self.maps)}
        exact = {} if self.exact is None else {f"exact_{field.name}": getattr(self.exact, field.name) for field in fields(self.exact)}
        features = {f"features_{field.name}": getattr(self.features, field.name) for field in fields(self.features)}
        np.savez(path, focal=self.focal, translation=self.translation, shape=self.shape, dynamic=self.dynamic, base=self.base, **features, **maps, **exact)

    @staticmethod
    def load(path: Path, mesh: CaptureMesh) -> Portrait:
        """Reads what `save` wrote."""
        with np.load(path) as stored:
            values = {name: stored[name] for name in stored.files}
        features = Features(values["features_mean"], values["features_scale"], float(values["features_clip"]), values["features_maps"])
        maps = None
        if "maps_maps" in values:
            maps = TextureBasis(values["maps_maps"], values["maps_scale"], int(values["maps_block"]), values["maps_group"])
        exact = ExactMaps(values["exact_maps"], values["exact_levels"]) if "exact_maps" in values else None
        kept = (values["translation"], features, values["shape"], values["dynamic"], values["base"], maps, exact)
        return Portrait(mesh, float(values["focal"]), *kept)


def lower_share(mesh: CaptureMesh) -> Float:
    """(V,) 0 above the root of the nose and on the eyes, 1 below the nose and on the plate."""
    above, below = mesh.landmark(NOSE_ROOT)[1], mesh.landmark(UNDER_NOSE)[1]
    share = np.clip((above - mesh.vertices[:, 1]) / (above - below), 0.0, 1.0)
    share[mesh.of("left_eye", "right_eye")] = 0.0
    share[mesh.of("mouth")] = 1.0
    return share.astype(np.float32)


def level_of(lower: Float) -> NDArray[np.int32]:
    """The row of the features' maps for a share of the lower face."""
    return np.rint(lower * (LEVELS - 1)).astype(np.int32)


class View:
    """Draws one avatar frame after frame on one thread; what it saw stays until the next frame."""

    def __init__(self, avatar: BakedAvatar, size: int) -> None:
        self.avatar = avatar
        self._passes = Passes(avatar, size, 1)

    @property
    def points(self) -> Float:
        """(V, 3) x_px, y_px, depth of the latest frame."""
        return self._passes.surface.points

    @property
    def vertices(self) -> Float:
        """(V, 3) camera space."""
        return self._passes.surface.vertices

    @property
    def face_id(self) -> NDArray[np.int32]:
        """(S, S), -1 where nothing."""
        return self._passes.face_id

    @property
    def depth(self) -> Float:
        """(S, S) metres; inf where nothing."""
        with np.errstate(divide="ignore"):
            depth: Float = 1.0 / self._passes.nearness
        return depth

    def place(self, params: HeadParams) -> None:
        """Only poses: `points` and `vertices` are the frame's, the rest is the last look's."""
        self._passes.begin(self.avatar.pose_of(params))
        self._passes.pose(0)

    def look(self, params: HeadParams) -> None:
        """Poses and finds what each pixel sees."""
        self.place(params)
        self._passes.prepare(0)
        self._passes.rasterize(0)

    def draw(self, params: HeadParams, behind: Bytes) -> Bytes:
        """(S, S, 3) over `behind`."""
        self.look(params)
        passes, out = self._passes, np.array(behind)
        passes.light(0)
        passes.find(0)
        passes.shade(0, False, out)
        passes.resolve(0, False, out)
        passes.overlay(0, False, out)
        return out


def blank_portrait(mesh: CaptureMesh, focal: float, translation: Float, features: Features, size: int) -> Portrait:
    """Nothing learned yet: mid-grey."""
    base = np.full((size, size, 4), 128.0, np.float32)
    base[..., 3] = 255.0
    count = len(mesh.vertices)
    return Portrait(mesh, focal, translation, features, np.zeros((count, 3), np.float32), np.zeros((count, 0, 3), np.float32), base)


def picture(image: Float) -> Bytes:
    """Rounded to whole grey levels."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def upscaled(image: Float, size: int) -> Float:
    """(size, size, C) of a smaller texture."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)

"""A finished portrait as an avatar file: head and bust in one mesh and one texture, the room as background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import AvatarMesh, Material, Region, SparseBasis, TrainedRange
from models.head import ROOT
from models.image_blob import encode_image
from training.errors import TrainingError
from training.fitted import Fitted
from training.portrait.atlas import CELLS, largest_free, taken_cells
from training.portrait.bust import Bust
from training.portrait.core import make_core
from training.portrait.portrait import Portrait, picture, upscaled

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Int = NDArray[np.int32]
TEXTURE_PX = 1024
TEXTURE_QUALITY, BACKGROUND_QUALITY = 90, 88
BUST, CORE = "bust", "core"
UNDER_LAYER = 2
SMALLEST_MOTION_M = 1e-4
"""Expression shapes leave out vertices that they move by less."""
MARGIN = 0.15
"""How far past what the clip showed a parameter may go, as a share of what it showed,"""
LEAST_MARGIN = {"neck": 0.08, "gaze": 0.1, "jaw": 0.05, "expression": 0.08}
"""and at least by so much."""


def assemble(portrait: Portrait, bust: Bust, background: Bytes, fitted: Fitted, frames: NDArray[np.int64]) -> AvatarFile:
    """Without card and thumbnail. Bust and core are drawn beneath the head; their pictures take free parts of the texture."""
    draft, core = portrait.draft(), make_core(portrait)
    texture = _Texture(portrait)
    bust_uv = texture.take(bust.picture, bust.chart)
    core_uv = texture.take(core.picture, core.chart)
    root = np.zeros((len(bust.vertices), 5), np.float32)
    root[:, ROOT] = 1.0
    mesh = _with_part(draft.mesh, bust.vertices, root, bust.faces, bust_uv, bust.faces, len(draft.regions))
    mesh = _with_part(mesh, core.vertices, core.skinning_weights, core.faces, core_uv, core.chart_faces, len(draft.regions) + 1)
    offsets, added = draft.dynamic_offsets, len(bust.vertices) + len(core.vertices)
    return replace(
        draft,
        mesh=mesh,
        regions=(*draft.regions, Region(BUST, Material(lit=False)), Region(CORE, Material(lit=False))),
        expression=SparseBasis.from_dense(portrait.mesh.expression, SMALLEST_MOTION_M),
        dynamic_offsets=None if offsets is None else np.concatenate([offsets, np.zeros((len(offsets), added, 3), np.float32)], 1),
        texture=encode_image(texture.image, TEXTURE_QUALITY),
        texture_basis=texture.maps,
        background=encode_image(background, BACKGROUND_QUALITY),
        ranges=trained_range(fitted, frames, len(draft.expression_names)),
    )


def _with_part(mesh: AvatarMesh, vertices: Float, weights: Float, faces: Int, uv: Float, uv_faces: Int, region: int) -> AvatarMesh:
    """The mesh with more triangles in the under layer."""
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, vertices]),
        faces=np.concatenate([mesh.faces, faces + len(mesh.vertices)]).astype(np.int32),
        uv=np.concatenate([mesh.uv, uv]).astype(np.float32),
        uv_faces=np.concatenate([mesh.uv_faces, uv_faces + len(mesh.uv)]).astype(np.int32),
        face_region=np.concatenate([mesh.face_region, np.full(len(faces), region, np.uint8)]),
        face_layer=np.concatenate([mesh.face_layer, np.full(len(faces), UNDER_LAYER, np.uint8)]),
        skinning_weights=np.concatenate([mesh.skinning_weights, weights]),
    )


class _Texture:
    """The head's texture, into whose free parts pictures are put; the maps hold nothing there."""

    def __init__(self, portrait: Portrait) -> None:
        self.image = picture(upscaled(portrait.base, TEXTURE_PX))
        self.maps = portrait.maps
        self._taken = taken_cells(portrait.mesh.uv, portrait.mesh.uv_faces)

    def take(self, part: Bytes, chart: Float) -> Float:
        """Puts a picture (H, W, 4) where there is room; (T, 2) what its own texture coordinates become."""
        height, width = part.shape[:2]
        left, top, right, bottom = free_rectangle(self._taken, width / height, width / TEXTURE_PX)
        self._taken[round(top * CELLS) : round(bottom * CELLS), round(left * CELLS) : round(right * CELLS)] = 1
        x0, y0, x1, y1 = (round(edge * TEXTURE_PX) for edge in (left, top, right, bottom))
        self.image[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        if self.maps is not None:
            side, cleared = self.maps.maps.shape[1], self.maps.maps.copy()
            rows, columns = (slice(int(np.floor(a * side)), int(np.ceil(b * side))) for a, b in ((top, bottom), (left, right)))
            cleared[:, rows, columns] = 0
            self.maps = replace(self.maps, maps=cleared)
        inset = 1.0 / TEXTURE_PX
        low, high = np.array([x0, y0]) / TEXTURE_PX + inset, np.array([x1, y1]) / TEXTURE_PX - inset
        return (low + chart * (high - low)).astype(np.float32)


def free_rectangle(taken: Bytes, aspect: float, widest: float) -> tuple[float, float, float, float]:
    """(left, top, right, bottom), 0…1, of the largest rectangle of about that width over height, no wider than `widest`, in which `taken` (C, C) is zero.

    Where nothing of that shape is free it is made flatter; the least that is looked for is a twentieth of the texture wide.
    """
    wide = max(int(widest * len(taken)), 6)
    for least, stretch in ((0.4, 1.0), (0.4, 1.6), (0.2, 1.0), (0.1, 1.0), (0.2, 2.4), (0.05, 1.0)):
        found = largest_free(taken, aspect * stretch, wide, max(int(least * widest * len(taken)), 5) + 1)
        if found is not None:
            return found
    raise TrainingError("the head's texture coordinates leave no room for a bust: choose a head whose charts are packed less tightly")


def trained_range(fitted: Fitted, frames: NDArray[np.int64], expression_count: int) -> TrainedRange:
    """What the frames showed, and a little more."""
    usual = TrainedRange.usual(expression_count)
    named = bool((fitted.expression >= 0.0).all())

    def spread(name: str) -> Float:
        values = getattr(fitted, name)[frames].reshape(len(frames), -1)
        low, high = np.percentile(values, 0.5, axis=0), np.percentile(values, 99.5, axis=0)
        more = MARGIN * (high - low) + LEAST_MARGIN[name]
        return np.stack([low - more, high + more], 1).astype(np.float32)

    expression = spread("expression")
    if named:
        expression = np.clip(expression, 0.0, 1.0)
    gaze = spread("gaze").reshape(2, 2, 2)
    merged = np.stack([gaze[..., 0].min(0), gaze[..., 1].max(0)], 1)
    return replace(usual, expression=expression, rotation=np.zeros((3, 2), np.float32), neck=spread("neck"), jaw=spread("jaw"), gaze=merged)

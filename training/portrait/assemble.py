"""A finished portrait as an avatar file: head and bust in one mesh and one texture, the room as background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import Material, Region, SparseBasis, TextureBasis, TrainedRange
from models.head import ROOT
from models.image_blob import encode_image
from training.fitted import Fitted
from training.portrait.bust import Bust
from training.portrait.portrait import Portrait, picture, upscaled

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
TEXTURE_PX = 1024
TEXTURE_QUALITY, BACKGROUND_QUALITY = 90, 88
BUST = "bust"
UNDER_LAYER = 2
SMALLEST_MOTION_M = 1e-4
"""Expression shapes leave out vertices that they move by less."""
MARGIN = 0.15
"""How far past what the clip showed a parameter may go, as a share of what it showed,"""
LEAST_MARGIN = {"neck": 0.08, "gaze": 0.1, "jaw": 0.05, "expression": 0.08}
"""and at least by so much."""


def assemble(portrait: Portrait, bust: Bust, background: Bytes, fitted: Fitted, frames: NDArray[np.int64]) -> AvatarFile:
    """Without card and thumbnail. The bust's chart takes the free part of the texture below the head's charts."""
    draft = portrait.draft()
    mesh, count = draft.mesh, len(draft.mesh.vertices)
    texture, chart, maps = _texture(portrait, bust)
    weights = np.zeros((len(bust.vertices), 5), np.float32)
    weights[:, ROOT] = 1.0
    whole = replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, bust.vertices]),
        faces=np.concatenate([mesh.faces, bust.faces + count]).astype(np.int32),
        uv=np.concatenate([mesh.uv, chart]).astype(np.float32),
        uv_faces=np.concatenate([mesh.uv_faces, bust.faces + len(mesh.uv)]).astype(np.int32),
        face_region=np.concatenate([mesh.face_region, np.full(len(bust.faces), len(draft.regions), np.uint8)]),
        face_layer=np.concatenate([mesh.face_layer, np.full(len(bust.faces), UNDER_LAYER, np.uint8)]),
        skinning_weights=np.concatenate([mesh.skinning_weights, weights]),
    )
    offsets = draft.dynamic_offsets
    return replace(
        draft,
        mesh=whole,
        regions=(*draft.regions, Region(BUST, Material(lit=False))),
        expression=SparseBasis.from_dense(portrait.mesh.expression, SMALLEST_MOTION_M),
        dynamic_offsets=None if offsets is None else np.concatenate([offsets, np.zeros((len(offsets), len(bust.vertices), 3), np.float32)], 1),
        texture=encode_image(texture, TEXTURE_QUALITY),
        texture_basis=maps,
        background=encode_image(background, BACKGROUND_QUALITY),
        ranges=trained_range(fitted, frames, len(draft.expression_names)),
    )


def _texture(portrait: Portrait, bust: Bust) -> tuple[Bytes, Float, TextureBasis | None]:
    """The head's texture with the bust's picture in its largest free rectangle, the bust's chart there, and the maps without anything in it."""
    texture = picture(upscaled(portrait.base, TEXTURE_PX))
    height, width = bust.picture.shape[:2]
    left, top, right, bottom = free_rectangle(portrait, width / height)
    box = [round(edge * TEXTURE_PX) for edge in (left, top, right, bottom)]
    shrunk = cv2.resize(bust.picture, (box[2] - box[0], box[3] - box[1]), interpolation=cv2.INTER_AREA)
    texture[box[1] : box[3], box[0] : box[2]] = shrunk
    inset = 1.0 / TEXTURE_PX
    low, high = np.array([box[0], box[1]]) / TEXTURE_PX + inset, np.array([box[2], box[3]]) / TEXTURE_PX - inset
    maps = portrait.maps
    if maps is not None:
        side = maps.maps.shape[1]
        rows, columns = (slice(int(np.floor(a * side)), int(np.ceil(b * side))) for a, b in ((top, bottom), (left, right)))
        cleared = maps.maps.copy()
        cleared[:, rows, columns] = 0
        maps = replace(maps, maps=cleared)
    return texture, (low + bust.chart * (high - low)).astype(np.float32), maps


def free_rectangle(portrait: Portrait, aspect: float) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the largest rectangle of about that width over height that no chart touches, 0…1."""
    cells = 128
    taken = np.zeros((cells, cells), np.uint8)
    for triangle in portrait.mesh.uv[portrait.mesh.uv_faces]:
        cv2.fillConvexPoly(taken, np.rint(triangle * cells).astype(np.int32), 1)
    summed = cv2.integral(cv2.dilate(taken, np.ones((3, 3), np.uint8)))
    for stretch in (1.0, 1.6, 2.4):
        for width in range(cells, cells // 5, -2):
            height = max(int(width / (aspect * stretch)), 8)
            if height > cells:
                continue
            filled = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
            rows, columns = np.nonzero(filled == 0)
            if len(rows) and width >= cells * (0.5 if stretch < 2.0 else 0.2):
                row, column = int(rows[-1]), int(columns[0])
                return column / cells, row / cells, (column + width) / cells, (row + height) / cells
    return 0.35, 0.84, 0.99, 0.99


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

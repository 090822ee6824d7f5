"""Clothes: the body below a neckline, lifted a little and recoloured, with a rolled collar over the cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.cut import cut
from training.default_avatars.parts import Part, grid_faces, vertex_normals

Float = NDArray[np.float64]
COLLAR_COLUMNS = 88
COLLAR_ROWS = 9
TUCK_M = 0.010
"""The skin goes on so far below the neckline, so that nothing shows between cloth and collar."""


@dataclass(frozen=True, slots=True)
class Garment:
    """A top. Metres, heights relative to the root joint (the base of the neck)."""

    front: float = -0.045
    """Where the neckline passes the throat …"""
    back: float = 0.022
    """… and the nape."""
    sides: float = 0.35
    """How steeply it climbs towards the shoulders."""
    lift: float = 0.006
    """How far the cloth stands off the skin."""
    collar_height: float = 0.008
    """Half the height of the rolled collar."""
    collar_thickness: float = 0.0045
    colour: tuple[float, float, float] = (0.27, 0.35, 0.47)
    """sRGB 0…1."""
    collar_colour: tuple[float, float, float] | None = None
    weave: float = 0.03
    """How much the threads vary in brightness."""


def dress(body: Part, garment: Garment, neck: Float) -> tuple[Part, Part, Part]:
    """Splits `body` at the neckline around the root joint `neck` (3,).

    Returns:
        The skin above, the cloth below, and the collar (its own texture coordinates fill the unit square).
    """
    torso = np.array([name == "skin" for name in body.region])
    height = _above_neckline(body.vertices, garment, neck)
    outside = np.ones(len(body.vertices), bool)
    outside[np.unique(body.faces[torso])] = False
    height[outside] = 1.0
    skin, _ = cut(body, height + TUCK_M)
    _, below = cut(body, height)
    full_height = _above_neckline(below.vertices, garment, neck)
    normals = vertex_normals(below.vertices, below.faces)
    settle = np.clip(-full_height / 0.02, 0.0, 1.0)
    lift = garment.lift * (0.35 + 0.65 * settle * settle * (3.0 - 2.0 * settle))
    cloth = replace(below, vertices=below.vertices + normals * lift[:, None], region=("cloth",) * len(below.faces))
    return skin, cloth, _collar(below, full_height, garment, neck)


def _above_neckline(points: Float, garment: Garment, neck: Float) -> Float:
    """(V,) metres above the neckline; the line is a tilted plane that climbs at the sides."""
    x, y, z = (points - neck).T
    share = np.clip((z + 0.06) / 0.14, 0.0, 1.0)
    line = garment.back + (garment.front - garment.back) * share
    line = line + garment.sides * np.clip(np.abs(x) - 0.03, 0.0, 0.06)
    height: Float = y - line
    return height


def _collar(below: Part, height: Float, garment: Garment, neck: Float) -> Part:
    """A tube along the cut."""
    edge = np.flatnonzero((np.abs(height) < 1e-4) & np.isin(np.arange(len(height)), below.faces))
    points = below.vertices[edge]
    azimuth = np.arctan2(points[:, 0] - neck[0], points[:, 2] - neck[2])
    order = np.argsort(azimuth)
    azimuth, points, weights = azimuth[order], points[order], below.weights[edge][order]
    at = np.linspace(-np.pi, np.pi, COLLAR_COLUMNS, endpoint=False)
    line = np.stack([np.interp(at, azimuth, points[:, axis], period=2.0 * np.pi) for axis in range(3)], -1)
    joints = np.stack([np.interp(at, azimuth, weights[:, joint], period=2.0 * np.pi) for joint in range(5)], -1)
    for _ in range(3):
        line = 0.25 * np.roll(line, 1, 0) + 0.5 * line + 0.25 * np.roll(line, -1, 0)
    along = np.roll(line, -1, 0) - np.roll(line, 1, 0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normals = vertex_normals(below.vertices, below.faces)[edge][order]
    out = np.stack([np.interp(at, azimuth, normals[:, axis], period=2.0 * np.pi) for axis in range(3)], -1)
    out -= along * (out * along).sum(1, keepdims=True)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    up = np.cross(out, along)
    up *= np.sign(up[:, 1:2] + 1e-9)
    turn = np.linspace(0.0, 2.0 * np.pi, COLLAR_ROWS)
    ring = np.cos(turn)[:, None, None] * out * garment.collar_thickness - np.sin(turn)[:, None, None] * up * garment.collar_height
    rows = line[None] + out[None] * 0.35 * garment.lift + ring
    faces = grid_faces(COLLAR_ROWS, COLLAR_COLUMNS, closed=True)
    uv_faces = grid_faces(COLLAR_ROWS, COLLAR_COLUMNS + 1, closed=False)
    u, v = np.meshgrid(np.linspace(0.0, 1.0, COLLAR_COLUMNS + 1), np.linspace(0.0, 1.0, COLLAR_ROWS))
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Part(rows.reshape(-1, 3), faces, uv, uv_faces, np.tile(joints, (COLLAR_ROWS, 1)), ("collar",) * len(faces))

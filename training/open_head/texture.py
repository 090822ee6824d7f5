"""Texture coordinates of the open head: where each island of the base mesh goes in the atlas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.open_head import atlas
from training.open_head.cut import Cut, body_islands, boundary_chain
from training.open_head.eyeball import eyeball_uv
from training.open_head.lashes import GROUPS as LASHES
from training.open_head.source import Double
from training.open_head.teeth import LOWER, UPPER, row_faces, row_uv
from training.open_head.template import Template
from training.open_head.unwrap import relax

EDGE_SIZE = 0.6
"""How large the outermost triangles of the head's island are drawn, beside the others."""
EDGE_REACH = 0.06


def texture_layout(cut: Cut, template: Template, opened: Double) -> tuple[Double, NDArray[np.int32]]:
    """Texture coordinates (T, 2) and the triangles' corners (F, 3); `opened` (V, 3) is the template with mouth and eyes open."""
    used, flat = np.unique(cut.surface.uv_corners, return_inverse=True)
    corners = flat.reshape(-1, 3)
    points = np.zeros((len(used), 3))
    points[corners.ravel()] = opened[cut.surface.faces.ravel()]
    uv = np.zeros((len(used), 2))
    for slot, members in _slots(cut, used).items():
        island = cut.source.uv[used[members]]
        if slot == "head":
            triangles = np.searchsorted(members, corners[np.isin(corners[:, 0], members)])
            importance = _importance(template, points[members][triangles].mean(1)) * _hidden_edge(points[members], triangles)
            island = relax(island, points[members], triangles, importance)
        uv[members] = atlas.place(atlas.upright(island, points[members]), slot)
    unit_eye, eye_faces = eyeball_uv()
    parts = {
        "upper_teeth": (row_uv(UPPER), row_faces(UPPER)),
        "lower_teeth": (row_uv(LOWER), row_faces(LOWER)),
        "left_eye": (unit_eye, eye_faces),
        "right_eye": (unit_eye, eye_faces),
    }
    faces: list[NDArray[np.integer]] = [corners]
    for slot, (unit, part_faces) in parts.items():
        faces.append(part_faces + len(uv))
        uv = np.concatenate([uv, atlas.place(unit, slot)])
    return uv, np.concatenate(faces).astype(np.int32)


def _importance(template: Template, centres: Double) -> Double:
    """How large each triangle (m, 3) shall be drawn: the face more than the rest, lids and lips most, the folds of the ears less."""
    middle = 0.5 * (template.eyes[0].centre + template.eyes[1].centre)
    place = centres - middle
    importance = 1.0 + 1.2 * _within(place, (0.0, -0.3, 0.5), (1.1, 1.5, 1.35))
    for eye in template.eyes:
        importance += 1.0 * _within(centres - eye.centre, (0.0, 0.0, 0.15), (0.35, 0.22, 0.32))
    importance += 0.7 * _within(place, (0.0, -0.66, 0.2), (0.48, 0.26, 0.48))
    ear = np.column_stack([np.abs(place[:, 0]), place[:, 1:]])
    return importance * (1.0 - 0.5 * _within(ear, (0.75, -0.2, -0.8), (0.3, 0.52, 0.45)))


def _hidden_edge(points: Double, triangles: NDArray[np.int64]) -> Double:
    """Draws the triangles (m, 3) smaller towards the island's borders, so that what curls inwards at lips and lids does not cover the opening."""
    border = points[list(boundary_chain(triangles))]
    distance = np.linalg.norm(points[triangles].mean(1)[:, None] - border[None], axis=2).min(1)
    size: Double = EDGE_SIZE + (1.0 - EDGE_SIZE) * np.clip(distance / EDGE_REACH, 0.0, 1.0)
    return size


def _within(place: Double, centre: tuple[float, float, float], reach: tuple[float, float, float]) -> Double:
    """1 in the inner part of an ellipsoid, 0 outside, linear between."""
    distance = np.linalg.norm((place - centre) / reach, axis=1)
    within: Double = np.clip(2.5 * (1.0 - distance), 0.0, 1.0)
    return within


def _slots(cut: Cut, used: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Which of the used texture coordinates go where."""
    source = cut.source
    corners: dict[str, set[int]] = {slot: set() for slot in atlas.SLOTS}
    for (vertices, uvs), island in zip(source.groups["body"], body_islands(source), strict=True):
        side = "left" if source.vertices[vertices[0], 0] > 0.0 else "right"
        slot = f"{side}_socket" if island == "socket" else island
        if slot in corners:
            corners[slot].update(uvs)
    corners["tongue"].update(corner for _, uvs in source.groups["helper-tongue"] for corner in uvs)
    for group in LASHES:
        side, lid = ("left", "right")["-r-" in group], ("lower", "upper")[group.endswith("2")]
        corners[f"{side}_{lid}_lashes"].update(corner for _, uvs in source.groups[group] for corner in uvs)
    members = {slot: np.flatnonzero(np.isin(used, sorted(chosen))) for slot, chosen in corners.items()}
    return {slot: chosen for slot, chosen in members.items() if len(chosen)}

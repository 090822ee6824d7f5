"""The mean head, put right: clothes-ready chest, a level lower edge, lids that clear the eyeballs, a flatter tongue. Decimetres."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.open_head.cut import EYES, REGIONS, Cut, body_islands, boundary_chain
from training.open_head.eyeball import unit_eyeball
from training.open_head.source import Double
from training.open_head.teeth import LOWER, UPPER, row_faces

LID_CLEARANCE = 0.005
"""How far the outer side of the lids stays off the eyeball."""
TONGUE_FLATNESS = 0.7
LIP_CLOSING = 0.52
"""How far each lip goes towards the other; a half would just touch."""
LIP_REACH = 0.12
SMOOTHING_STEPS = 60
CHEST_STEPS = 400
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Eye:
    """A sphere."""

    centre: Double
    radius: float


@dataclass(frozen=True)
class Template:
    """The mean head (V, 3), its triangles (F, 3) and what the other steps ask about it."""

    vertices: Double
    faces: NDArray[np.int32]
    regions: NDArray[np.uint8]
    """(F,) into REGIONS."""
    islands: dict[str, NDArray[np.int64]]
    """Kept vertices of each texture island of the skin."""
    eyes: tuple[Eye, Eye]

    @cached_property
    def edges(self) -> NDArray[np.int32]:
        """(E, 2) every edge in both directions."""
        pairs = self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)

    @cached_property
    def tongue(self) -> NDArray[np.int32]:
        """The tongue's vertices."""
        return self.region("tongue")

    def region(self, name: str) -> NDArray[np.int32]:
        """The vertices of a region."""
        return np.unique(self.faces[self.regions == REGIONS.index(name)])

    def lids(self, eye: Eye) -> NDArray[np.int64]:
        """The vertices of the outer side of one eye's lids, and its lashes."""
        outside = np.union1d(np.setdiff1d(self.islands["head"], self.islands["socket"]), self.region("lashes"))
        offset = self.vertices[outside] - eye.centre
        near = (np.linalg.norm(offset, axis=1) < 1.6 * eye.radius) & (offset[:, 2] > 0.2 * eye.radius)
        lids: NDArray[np.int64] = outside[near]
        return lids


def make_template(cut: Cut) -> Template:
    """The template of a cut."""
    _, eye_faces = unit_eyeball()
    parts = {"upper_teeth": row_faces(UPPER), "lower_teeth": row_faces(LOWER), "left_eye": eye_faces, "right_eye": eye_faces}
    faces = np.concatenate([cut.surface.faces, *(cut.ranges[name].start + table for name, table in parts.items())]).astype(np.int32)
    regions = np.concatenate([cut.surface.regions, *(np.full(len(table), REGIONS.index(name)) for name, table in parts.items())]).astype(np.uint8)
    left, right = (Eye(*cut.eye(cut.mean, name)) for name in EYES)
    raw = Template(cut.head_vertices(cut.mean), faces, regions, _island_vertices(cut), (left, right))
    vertices = _level_edge(raw, _smooth_chest(raw))
    vertices = _close_lips(raw, _flatten_tongue(raw, vertices))
    for eye in raw.eyes:
        push = push_out(vertices, raw.lids(eye), eye.centre, eye.radius + LID_CLEARANCE)
        logger.info("lids: pushed out by up to %.2f mm", 100.0 * np.linalg.norm(push, axis=1).max())
        vertices = vertices + push
    return Template(vertices, faces, regions, raw.islands, raw.eyes)


def push_out(points: Double, lids: NDArray[np.int64], centre: Double, radius: float) -> Double:
    """(V, 3) displacement that carries those `lids` vertices which are nearer than `radius` to the eye's centre out to it."""
    offset = points[lids] - centre
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    push = np.zeros_like(points)
    push[lids] = offset / distance * np.maximum(radius - distance, 0.0)
    return push


def ramp(distance: Double, width: float) -> Double:
    """0 below zero, 1 above `width`, smooth between."""
    t = np.clip(distance / width, 0.0, 1.0)
    smooth: Double = t * t * (3.0 - 2.0 * t)
    return smooth


def _island_vertices(cut: Cut) -> dict[str, NDArray[np.int64]]:
    found: dict[str, set[int]] = {}
    for (vertices, _), island in zip(cut.source.groups["body"], body_islands(cut.source), strict=True):
        found.setdefault(island, set()).update(vertices)
    return {name: np.flatnonzero(np.isin(cut.sources[: cut.kept], sorted(vertices))) for name, vertices in found.items()}


def _smooth_chest(raw: Template) -> Double:
    """Evens out the chest, which clothes cover: umbrella smoothing, fading out towards the collar bones, the arms and the back."""
    chest = raw.islands["body"]
    x, y, z = raw.vertices[chest].T
    amount = np.zeros(len(raw.vertices))
    amount[chest] = ramp(5.0 - y, 0.6) * ramp(z - 0.3, 0.4) * ramp(1.6 - np.abs(x), 0.3)
    amount[list(boundary_chain(raw.faces))] = 0.0
    smooth = raw.vertices
    for _ in range(CHEST_STEPS):
        smooth = smooth + 0.5 * amount[:, None] * (neighbour_mean(raw, smooth) - smooth)
    return smooth


def _level_edge(raw: Template, vertices: Double) -> Double:
    edge = np.intersect1d(list(boundary_chain(raw.faces)), raw.islands["body"])
    level = vertices.copy()
    level[edge, 1] = vertices[edge, 1].min()
    return level


def _flatten_tongue(raw: Template, vertices: Double) -> Double:
    flat = vertices.copy()
    y = vertices[raw.tongue, 1]
    flat[raw.tongue, 1] = y.min() + TONGUE_FLATNESS * (y - y.min())
    return flat


def _close_lips(raw: Template, vertices: Double) -> Double:
    """Brings the rims of the lips together, which stand apart towards the corners; the skin around follows smoothly."""
    loop = lip_rim(raw)
    loop = np.roll(loop, -int(vertices[loop, 0].argmax()))
    corner = int(vertices[loop, 0].argmin())
    lips = loop[: corner + 1], np.append(loop[corner:], loop[0])
    shift = np.zeros_like(vertices)
    for own, other in (lips, lips[::-1]):
        along = other[np.argsort(vertices[other, 0])]
        meeting = np.interp(vertices[own, 0], vertices[along, 0], vertices[along, 1])
        shift[own, 1] = LIP_CLOSING * (meeting - vertices[own, 1])
    around = np.union1d(raw.islands["head"], raw.islands["mouth"])
    distance = np.linalg.norm(vertices[around][:, None] - vertices[loop][None], axis=2).min(1)
    near = np.setdiff1d(around[distance < LIP_REACH], loop)
    for _ in range(SMOOTHING_STEPS):
        shift[near] = neighbour_mean(raw, shift)[near]
    logger.info("lips: moved by up to %.2f mm", 100.0 * np.abs(shift).max())
    closed: Double = vertices + shift
    return closed


def lip_rim(raw: Template) -> NDArray[np.int64]:
    """The border between the skin and the mouth, from vertex to vertex."""
    after = boundary_chain(raw.faces[raw.regions == REGIONS.index("mouth")])
    rim = np.intersect1d(raw.islands["head"], raw.islands["mouth"])
    loop = [int(rim[0])]
    while (step := after[loop[-1]]) != loop[0]:
        loop.append(step)
    return np.array(loop)


def neighbour_mean(raw: Template, field: Double) -> Double:
    """(V, 3): the mean of (V, 3) over each vertex's neighbours."""
    count = len(raw.vertices)
    degree = np.bincount(raw.edges[:, 0], minlength=count).astype(float)
    total = np.stack([np.bincount(raw.edges[:, 0], field[raw.edges[:, 1], axis], count) for axis in range(3)], 1)
    mean: Double = total / degree[:, None]
    return mean

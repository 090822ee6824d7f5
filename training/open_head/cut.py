"""Which part of the base mesh becomes the head, and how an adult's vertices become the head's.

On the way the arms are lowered, the lashes shortened, eyeballs and teeth replaced by procedural ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.open_head import lashes, teeth
from training.open_head.eyeball import fit_sphere, unit_eyeball
from training.open_head.source import Double, MakeHuman, Polygon

REGIONS = ("skin", "mouth", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "lashes")
BELOW_CHIN = 3.0
"""Where the bust ends, in decimetres below the chin."""
SOCKET_DEPTH = 0.02
"""How far behind the eye's centre the inner side of the lids is kept, decimetres."""
ARM_ANGLE = np.radians(33.0)
SHOULDER_ANGLE = np.radians(6.0)
JOINTS = ("joint-neck", "joint-head", "joint-mouth")
ARM_JOINTS = ("joint-l-scapula", "joint-r-scapula", "joint-l-shoulder", "joint-r-shoulder")
EYES = ("helper-l-eye", "helper-r-eye")
TEETH = ("helper-upper-teeth", "helper-lower-teeth")


@dataclass(frozen=True)
class Surface:
    """Triangles of the kept vertices (F, 3), their corners in the base mesh's texture (F, 3) and their regions (F,)."""

    faces: NDArray[np.int32]
    uv_corners: NDArray[np.int64]
    regions: NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """Turns the S source vertices that matter into the head's V: first K kept ones, then upper and lower teeth, left and right eyeball."""

    source: MakeHuman
    sources: NDArray[np.int64]
    """(S,) vertices of the base mesh: first those kept, then those needed to place joints, arms, teeth and eyes."""
    kept: int
    surface: Surface
    arm_weights: Double
    """(4, S) share of the bones below the left and right shoulder blade, then the left and right upper arm."""
    lashes: lashes.Lashes
    mean: Double
    """(S, 3) the mean adult."""

    @cached_property
    def ranges(self) -> dict[str, slice]:
        """Where the procedural parts lie among the head's vertices, by region."""
        counts = {"upper_teeth": len(teeth.row_uv(teeth.UPPER)), "lower_teeth": len(teeth.row_uv(teeth.LOWER))}
        counts |= dict.fromkeys(("left_eye", "right_eye"), len(unit_eyeball()[0]))
        ends = self.kept + np.cumsum(list(counts.values()))
        return {name: slice(int(end) - count, int(end)) for (name, count), end in zip(counts.items(), ends, strict=True)}

    def rows(self, *groups: str) -> NDArray[np.int64]:
        """Positions of the groups' vertices in `sources`."""
        order = np.argsort(self.sources)
        return order[np.searchsorted(self.sources, self.source.group_vertices(*groups), sorter=order)]

    def joint(self, points: Double, name: str) -> Double:
        """(3,) the centre of a joint's cube in (S, 3)."""
        centre: Double = points[self.rows(name)].mean(0)
        return centre

    def eye(self, points: Double, name: str) -> tuple[Double, float]:
        """Centre (3,) and radius of one of MakeHuman's eyes in (S, 3)."""
        return fit_sphere(points[self.rows(name)])

    def head_vertices(self, points: Double) -> Double:
        """(S, 3) of an adult → (V, 3) of a head, decimetres."""
        unit, _ = unit_eyeball()
        spheres = [self.eye(points, name) for name in EYES]
        middle = np.mean([self.eye(self.mean, name)[0] for name in EYES], 0)
        rows = [
            teeth.follow(teeth.row_vertices(row) + middle, self.mean[self.rows(name)], points[self.rows(name)])
            for row, name in zip((teeth.UPPER, teeth.LOWER), TEETH, strict=True)
        ]
        body = self.lashes.shorten(lower_arms(self, points)[: self.kept])
        return np.concatenate([body, *rows, *(centre + radius * unit for centre, radius in spheres)])


def cut_head(source: MakeHuman, mean: Double) -> Cut:
    """Chooses the head's faces on the mean adult (N, 3)."""
    weights = _arm_weights(source)
    nothing = Surface(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.int64), np.zeros(0, np.uint8))
    whole = Cut(source, np.arange(len(mean)), len(mean), nothing, weights, lashes.Lashes.none(), mean)
    polygons = _body_polygons(source, mean, lower_arms(whole, mean))
    polygons += [(REGIONS.index("tongue"), polygon) for polygon in source.groups["helper-tongue"]]
    polygons += [(REGIONS.index("lashes"), polygon) for name in lashes.GROUPS for polygon in source.groups[name]]
    kept = np.unique([vertex for _, polygon in polygons for vertex in polygon[0]])
    helpers = source.group_vertices(*EYES, *TEETH, *JOINTS, *ARM_JOINTS)
    sources = np.concatenate([kept, np.setdiff1d(helpers, kept)])
    place = np.full(len(source.vertices), -1)
    place[kept] = np.arange(len(kept))
    triangles = [(region, vertices, corners) for region, polygon in polygons for vertices, corners in _split(polygon, mean)]
    surface = Surface(
        faces=place[np.array([vertices for _, vertices, _ in triangles])].astype(np.int32),
        uv_corners=np.array([corners for _, _, corners in triangles]),
        regions=np.array([region for region, _, _ in triangles], np.uint8),
    )
    return Cut(source, sources, len(kept), surface, weights[:, sources], lashes.find(source, mean, place), mean[sources])


def lower_arms(cut: Cut, points: Double) -> Double:
    """Arms hang, shoulders relax (S, 3): each bone turns about its joint, the arm before the shoulder."""
    angles = (-SHOULDER_ANGLE, SHOULDER_ANGLE, -ARM_ANGLE, ARM_ANGLE)
    moved = points
    for row in (2, 3, 0, 1):
        moved = _turn(moved, cut.arm_weights[row], cut.joint(moved, ARM_JOINTS[row]), angles[row])
    return moved


def boundary_chain(faces: NDArray[np.integer]) -> dict[int, int]:
    """For each vertex of a border of (F, 3) the next one, in the direction in which the triangles run along it."""
    edges = {(int(a), int(b)) for face in faces for a, b in ((face[0], face[1]), (face[1], face[2]), (face[2], face[0]))}
    return {a: b for a, b in sorted(edges) if (b, a) not in edges}


def body_islands(source: MakeHuman) -> list[str]:
    """For each polygon of the body the texture island it is on: head, mouth, body, socket or limb."""
    names = {0: "head", 1: "mouth", 2: "body", 3: "socket", 6: "socket"}
    root: dict[int, int] = {}

    def find(k: int) -> int:
        while root.setdefault(k, k) != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for _, corners in source.groups["body"]:
        for corner in corners[1:]:
            root[find(corner)] = find(corners[0])
    roots = [find(corners[0]) for _, corners in source.groups["body"]]
    order = {island: k for k, island in enumerate(dict.fromkeys(roots))}
    return [names.get(order[island], "limb") for island in roots]


def _arm_weights(source: MakeHuman) -> Double:
    weights = np.zeros((4, len(source.vertices)))
    for row, bone in enumerate(("shoulder01.L", "shoulder01.R", "upperarm01.L", "upperarm01.R")):
        for name, column in source.bone_weights.items():
            if bone in source.bone_chain(name):
                weights[row] += column
    return weights


def _body_polygons(source: MakeHuman, mean: Double, posed: Double) -> list[tuple[int, Polygon]]:
    islands = body_islands(source)
    polygons = source.groups["body"]
    centres = np.array([mean[list(vertices)].mean(0) for vertices, _ in polygons])
    heights = np.array([posed[list(vertices)][:, 1].min() for vertices, _ in polygons])
    face = np.array([island == "head" for island in islands]) & (centres[:, 2] > 1.1)
    bottom = heights[face].min() - BELOW_CHIN
    socket_end = mean[source.group_vertices(*EYES)][:, 2].mean() - SOCKET_DEPTH
    chosen = []
    for polygon, island, centre, height in zip(polygons, islands, centres, heights, strict=True):
        if height > bottom and not (island == "socket" and centre[2] < socket_end):
            chosen.append((REGIONS.index("mouth" if island == "mouth" else "skin"), polygon))
    return chosen


def _split(polygon: Polygon, mean: Double) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """A quad's two triangles, cut along its shorter diagonal; equal ones along that nearer to the mid-plane, so that both sides match."""
    vertices, corners = polygon
    if len(vertices) == 3:
        return [(vertices, corners)]
    points = mean[list(vertices)]
    first, second = np.linalg.norm(points[0] - points[2]), np.linalg.norm(points[1] - points[3])
    if abs(first - second) < 1e-6:
        first, second = abs(points[[0, 2], 0]).min(), abs(points[[1, 3], 0]).min()
    order = ((0, 1, 2), (0, 2, 3)) if first <= second else ((1, 2, 3), (1, 3, 0))
    return [(tuple(vertices[k] for k in three), tuple(corners[k] for k in three)) for three in order]


def _turn(points: Double, weights: Double, centre: Double, angle: float) -> Double:
    """Turns (S, 3) about the z axis through `centre` by `weights` (S,) times `angle`, so that the surface keeps its volume."""
    angles = weights * angle
    x, y = (points - centre)[:, 0], (points - centre)[:, 1]
    turned = points.copy()
    turned[:, 0] = centre[0] + np.cos(angles) * x - np.sin(angles) * y
    turned[:, 1] = centre[1] + np.sin(angles) * x + np.cos(angles) * y
    return turned

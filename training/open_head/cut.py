"""Which part of the base mesh becomes the head, and how an adult's vertices become the head's: arms lowered, eyeballs replaced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
LASHES = tuple(f"helper-{side}-eyelashes-{lid}" for side in "lr" for lid in "12")


@dataclass(frozen=True)
class Surface:
    """Triangles of the head (F, 3), their corners in the base mesh's texture (F, 3) and their regions (F,); eyeballs not included."""

    faces: NDArray[np.int32]
    uv_corners: NDArray[np.int64]
    regions: NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """Turns the S source vertices that matter into the head's V vertices: first K kept ones, then the left eyeball, then the right one."""

    sources: NDArray[np.int64]
    """(S,) vertices of the base mesh: first those kept, then those needed to place joints, arms and eyes."""
    kept: int
    surface: Surface
    arm_weights: Double
    """(4, S) share of the bones below the left and right shoulder blade, then the left and right upper arm."""

    def rows(self, vertices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of base mesh vertices in `sources`."""
        order = np.argsort(self.sources)
        return order[np.searchsorted(self.sources, vertices, sorter=order)]

    def joint(self, source: MakeHuman, points: Double, name: str) -> Double:
        """(3,) the centre of a joint's cube in (S, 3)."""
        centre: Double = points[self.rows(source.group_vertices(name))].mean(0)
        return centre

    def head_vertices(self, source: MakeHuman, points: Double) -> Double:
        """(S, 3) of an adult → (V, 3) of a head, decimetres."""
        eyes = []
        unit, _ = unit_eyeball()
        for name in EYES:
            centre, radius = fit_sphere(points[self.rows(source.group_vertices(name))])
            eyes.append(centre + radius * unit)
        return np.concatenate([self._lower_arms(source, points)[: self.kept], *eyes])

    def _lower_arms(self, source: MakeHuman, points: Double) -> Double:
        """Arms hang, shoulders relax: each bone turns about its joint, the arm after the shoulder."""
        moved = points
        for weights, joint, angle in zip(self.arm_weights[2:], ARM_JOINTS[2:], (-ARM_ANGLE, ARM_ANGLE), strict=True):
            moved = _turn(moved, weights, self.joint(source, moved, joint), angle)
        for weights, joint, angle in zip(self.arm_weights[:2], ARM_JOINTS[:2], (-SHOULDER_ANGLE, SHOULDER_ANGLE), strict=True):
            moved = _turn(moved, weights, self.joint(source, moved, joint), angle)
        return moved


def cut_head(source: MakeHuman, mean: Double) -> Cut:
    """Chooses the head's faces on the mean adult (N, 3)."""
    whole = _whole_body(source)
    posed = whole._lower_arms(source, mean)
    bottom = _chin_height(source, mean) - BELOW_CHIN
    groups = [("upper_teeth", ("helper-upper-teeth",)), ("lower_teeth", ("helper-lower-teeth",)), ("tongue", ("helper-tongue",)), ("lashes", LASHES)]
    polygons = _body_polygons(source, mean, posed, bottom)
    for region, names in groups:
        polygons += [(REGIONS.index(region), polygon) for name in names for polygon in source.groups[name]]
    kept = np.unique([vertex for _, polygon in polygons for vertex in polygon[0]])
    helpers = source.group_vertices(*EYES, *JOINTS, *ARM_JOINTS)
    sources = np.concatenate([kept, np.setdiff1d(helpers, kept)])
    place = np.full(len(source.vertices), -1)
    place[kept] = np.arange(len(kept))
    triangles = [(region, vertices, corners) for region, polygon in polygons for vertices, corners in _split(polygon, mean)]
    surface = Surface(
        faces=place[np.array([vertices for _, vertices, _ in triangles])].astype(np.int32),
        uv_corners=np.array([corners for _, _, corners in triangles]),
        regions=np.array([region for region, _, _ in triangles], np.uint8),
    )
    return Cut(sources, len(kept), surface, whole.arm_weights[:, sources])


def boundary_vertices(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Vertices on edges that only one triangle of (F, 3) has."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[counts == 1])


def _whole_body(source: MakeHuman) -> Cut:
    """No cut at all: every vertex, for posing the arms before the cut is chosen."""
    weights = np.zeros((4, len(source.vertices)))
    for row, bone in enumerate(("shoulder01.L", "shoulder01.R", "upperarm01.L", "upperarm01.R")):
        for name, column in source.bone_weights.items():
            if bone in source.bone_chain(name):
                weights[row] += column
    for row, joint in enumerate(ARM_JOINTS[2:]):
        weights[row][source.group_vertices(joint)] = 1.0
    empty = Surface(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.int64), np.zeros(0, np.uint8))
    return Cut(np.arange(len(source.vertices)), len(source.vertices), empty, weights)


def _body_polygons(source: MakeHuman, mean: Double, posed: Double, bottom: float) -> list[tuple[int, Polygon]]:
    islands = uv_islands(source, "body")
    polygons = source.groups["body"]
    centres = np.array([mean[list(vertices)].mean(0) for vertices, _ in polygons])
    heights = np.array([posed[list(vertices)][:, 1].min() for vertices, _ in polygons])
    eye_depth = mean[source.group_vertices(*EYES)][:, 2].mean()
    chosen = []
    for polygon, island, centre, height in zip(polygons, islands, centres, heights, strict=True):
        inner = island == "mouth"
        behind = island == "socket" and centre[2] < eye_depth - SOCKET_DEPTH
        if height > bottom and not behind:
            chosen.append((REGIONS.index("mouth" if inner else "skin"), polygon))
    return chosen


def uv_islands(source: MakeHuman, group: str) -> list[str]:
    """For each polygon of the body: which texture island it is on: head, mouth, body or socket (or limb)."""
    names = {0: "head", 1: "mouth", 2: "body", 3: "socket", 6: "socket"}
    root: dict[int, int] = {}

    def find(k: int) -> int:
        while root.setdefault(k, k) != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for _, corners in source.groups[group]:
        for corner in corners[1:]:
            root[find(corner)] = find(corners[0])
    roots = [find(corners[0]) for _, corners in source.groups[group]]
    order = {island: k for k, island in enumerate(dict.fromkeys(roots))}
    return [names.get(order[island], "limb") for island in roots]


def _chin_height(source: MakeHuman, mean: Double) -> float:
    """The lowest point of the front of the face's texture island."""
    islands = uv_islands(source, "body")
    vertices = np.unique([v for (ids, _), island in zip(source.groups["body"], islands, strict=True) if island == "head" for v in ids])
    front = mean[vertices][mean[vertices][:, 2] > 1.1]
    return float(front[:, 1].min())


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

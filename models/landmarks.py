"""Which surface point of a head each of the 478 landmarks is, computed: draw the head, run the landmarker on the drawings, average where its points fall.

First the bare head; then, with brows and lips painted where the first pass found them, the same from several views, in several expressions and for several
identities. Needs nothing but a head in the FLAME layout and a landmarker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN, JAW_OPEN_RAD
from models.head import LANDMARK_COUNT, LEFT_EYE, RIGHT_EYE, HeadModel, HeadParams
from models.landmark_groups import INNER_LIPS, OUTER_LIPS
from models.landmark_renders import IRIS_RADIUS, SIZE_PX, Brush, Drawing, Mask, Studio
from models.raster import Rasterizer
from models.rotations import to_matrix

Float = NDArray[np.float32]
Landmarker = Callable[[NDArray[np.uint8]], Float | None]
"""A picture (H, W, 3) uint8 RGB → (478, 3) in pixels, or None where it sees no face."""

Views = tuple[tuple[float, float], ...]

NO_SPREAD = 9.0
"""Spread of a landmark that has no point."""
FIRST_IRIS = 468
IRIS_POINTS = {RIGHT_EYE: range(468, 473), LEFT_EYE: range(473, 478)}
IRIS_DIRECTIONS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
"""The centre, then the limbus towards +x, +y, -x, -y, of a face that looks at the camera."""
VIEWS: Views = tuple((float(yaw), float(pitch)) for yaw in (-25, -12, 0, 12, 25) for pitch in (-12, 0, 12))
OPENING = 0.5
"""Of the mouth, as a share of `jawOpen`, wherever lips are to be told apart."""
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
    {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5, "browInnerUp": 0.5},
)
IDENTITIES = 4
IDENTITY_DEVIATION = 0.8
IDENTITY_SHAPES = 60
OTHER_LIP = 0.1
"""In distances between the eyes: no hit so far off is on the same lip."""
REACH_PX = 8
"""How far beside the mesh a landmark may fall and still count for the nearest pixel of it."""
FARTHEST_COUNTED_PX = 4.0
LEAST_FACING = 0.25
LEAST_HITS = 6
RIGHT_BROW = ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55))
LEFT_BROW = ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285))
BROW_COLOUR, LIP_COLOUR = (70, 55, 45), (185, 105, 105)
BRUSH_RADIUS = 0.048
"""In distances between the eyes."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Embedding:
    """As in models.head.HeadModel: `faces` (478,), `barycentrics` (478, 3), `spread` (478,)."""

    faces: NDArray[np.int32]
    barycentrics: Float
    spread: Float

    def put_on(self, head: HeadModel) -> HeadModel:
        """The head with these landmarks."""
        return replace(head, landmark_faces=self.faces, landmark_barycentrics=self.barycentrics, landmark_spread=self.spread)


@dataclass(frozen=True, slots=True)
class _Pose:
    """A head to draw: (V, 3), and whether its mouth is open."""

    vertices: Float
    opened: bool


@dataclass(frozen=True)
class _Hits:
    """Where landmarks fell on the surface: (n,) which one, (n, 3) metres with the mouth open, (n,) cosine towards the viewer, (n,) pixels beside the surface,
    (n,) triangle, and (n,) whether the mouth was open in the drawing."""

    landmark: NDArray[np.int64]
    place: Float
    facing: Float
    beside_px: Float
    face: NDArray[np.int32]
    opened: NDArray[np.bool_]


def compute(head: HeadModel, landmarker: Landmarker, rasterizer: Rasterizer, views: Views = VIEWS, seed: int = 0) -> Embedding:
    """The embedding of any head in the FLAME layout.

    Args:
        rasterizer: for pictures of models.landmark_renders.SIZE_PX squared.
        views: yaw and pitch in degrees to look from.
        seed: of the random identities.

    Raises:
        ValueError: the landmarker saw no face in any drawing.
    """
    studio = Studio(head, rasterizer)
    bare = _average(head, studio, _collect(head, studio, landmarker, (), [_Pose(head.template, False)], views))
    brushes = _make_up(head, bare)
    return _average(head, studio, _collect(head, studio, landmarker, brushes, _poses(head, seed), views))


def compute_on_cpu(head: HeadModel) -> Embedding:
    """The embedding by our own landmarker, whose weights are fetched if need be, and the CPU rasteriser: about a minute.

    Raises:
        MissingAsset: the weights are not here and cannot be fetched.
        ValueError: the landmarker saw no face in any drawing.
    """
    from models.kernels import Bands
    from models.landmarker import FaceLandmarker
    from models.raster.cpu import CpuRasterizer
    from models.weights import weight_path

    landmarker = FaceLandmarker(weight_path("face_landmarker.task"))

    def find(picture: NDArray[np.uint8]) -> Float | None:
        result = landmarker.detect_and_landmark(picture)
        return None if result is None else result.landmarks

    bands = Bands(1)
    try:
        return compute(head, find, CpuRasterizer(SIZE_PX, SIZE_PX, bands))
    finally:
        bands.close()


def _poses(head: HeadModel, seed: int) -> Iterator[_Pose]:
    """Several people with several expressions."""
    rng = np.random.default_rng(seed)
    count = min(len(head.identity), IDENTITY_SHAPES)
    for person in range(IDENTITIES):
        identity = (rng.normal(0.0, IDENTITY_DEVIATION, count) * (person > 0)).astype(np.float32)
        for weights in EXPRESSIONS:
            if set(weights) <= set(head.expression_names):
                expression = np.zeros(len(head.expression_names), np.float32)
                for name, weight in weights.items():
                    expression[head.expression_index(name)] = weight
                yield _Pose(head.shaped(identity, expression), False)
        yield _Pose(_opened(head, identity), True)


def _opened(head: HeadModel, identity: Float) -> Float:
    """(V, 3) with an open mouth, by a shape or by the jaw's joint."""
    expression = np.zeros(len(head.expression_names), np.float32)
    if JAW_OPEN in head.expression_names:
        expression[head.expression_index(JAW_OPEN)] = OPENING
        return head.shaped(identity, expression)
    still = HeadParams.neutral(len(head.expression_names))
    return head.vertices(replace(still, identity=identity, jaw=np.array([OPENING * JAW_OPEN_RAD, 0.0, 0.0], np.float32), translation=np.zeros(3, np.float32)))


def _collect(head: HeadModel, studio: Studio, landmarker: Landmarker, brushes: tuple[Brush, ...], poses: Iterable[_Pose], views: Views) -> _Hits:
    found, drawings, reference = [], 0, _opened(head, np.zeros(0, np.float32))
    for pose in poses:
        for yaw, pitch in views:
            turn = to_matrix((np.radians(pitch), 0.0, 0.0)) @ to_matrix((0.0, np.radians(yaw), 0.0))
            drawing = studio.draw(pose.vertices, turn.astype(np.float32), brushes)
            landmarks = landmarker(drawing.picture)
            drawings += 1
            if landmarks is not None:
                found.append(_carry_back(head, reference, studio.skin | studio.eyes, drawing, landmarks, pose.opened))
    if not found:
        raise ValueError(f"the landmarker should see a face in drawings of '{head.name}'; it saw none in {drawings}")
    logger.info("landmarks: a face was seen in %d of %d drawings", len(found), drawings)
    columns = zip(*((hits.landmark, hits.place, hits.facing, hits.beside_px, hits.face, hits.opened) for hits in found), strict=True)
    return _Hits(*(np.concatenate(column) for column in columns))


def _carry_back(head: HeadModel, reference: Float, outside: Mask, drawing: Drawing, landmarks: Float, opened: bool) -> _Hits:
    """(478, 3) in pixels → where on the `reference` (V, 3) they lie: on triangles that are `outside` (F,), for none is in the mouth."""
    x, y = landmarks[:, 0].astype(np.float64), landmarks[:, 1].astype(np.float64)
    face_id = drawing.fragments.face_id
    column, row, beside = _nearest_seen((face_id >= 0) & outside[face_id], x, y)
    known = np.flatnonzero(beside <= REACH_PX)
    column, row, beside = column[known], row[known], beside[known]
    face = face_id[row, column]
    corners = head.faces[face]
    inside = np.where(beside > 0.0, column + 0.5, x[known]), np.where(beside > 0.0, row + 0.5, y[known])
    weights = _perspective_weights(drawing.points[corners].astype(np.float64), *inside)
    camera = drawing.camera[corners].astype(np.float64)
    normal = np.cross(camera[:, 1] - camera[:, 0], camera[:, 2] - camera[:, 0])
    middle = camera.mean(1)
    facing = -(normal * middle).sum(1) / np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(middle, axis=1), 1e-12)
    place = np.einsum("pk,pkc->pc", weights, reference[corners])
    return _Hits(known, place.astype(np.float32), facing.astype(np.float32), beside.astype(np.float32), face, np.full(len(known), opened))


def _nearest_seen(shown: Mask, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Column, row and distance of the nearest pixel that is `shown`; distance 0 where the point itself is on it, infinite beyond REACH_PX."""
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    on_picture = (column >= 0) & (column < SIZE_PX) & (row >= 0) & (row < SIZE_PX)
    beside = np.full(len(x), np.inf)
    for k in np.flatnonzero(on_picture):
        if shown[row[k], column[k]]:
            beside[k] = 0.0
            continue
        top, left = max(row[k] - REACH_PX, 0), max(column[k] - REACH_PX, 0)
        rows, columns = np.nonzero(shown[top : row[k] + REACH_PX + 1, left : column[k] + REACH_PX + 1])
        if len(rows):
            distance = np.hypot(columns + left + 0.5 - x[k], rows + top + 0.5 - y[k])
            nearest = int(distance.argmin())
            column[k], row[k], beside[k] = columns[nearest] + left, rows[nearest] + top, distance[nearest]
    return column, row, beside


def _perspective_weights(corners: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) barycentrics of the picture points on triangles (n, 3, 3) of x_px, y_px, depth."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    first = ((b[:, 0] - x) * (c[:, 1] - y) - (b[:, 1] - y) * (c[:, 0] - x)) / area
    second = ((c[:, 0] - x) * (a[:, 1] - y) - (c[:, 1] - y) * (a[:, 0] - x)) / area
    weights = np.clip(np.stack([first, second, 1.0 - first - second], 1), 0.0, 1.0) / corners[:, :, 2]
    normalised: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalised


def _average(head: HeadModel, studio: Studio, hits: _Hits) -> Embedding:
    """The robust middle of each landmark's hits, on the nearest triangle of its kind; irises where they are known to be.

    All with the mouth open, where no lip lies on the other.
    """
    reference = _opened(head, np.zeros(0, np.float32))
    irises = _iris_points(head, studio)
    embedding = Embedding(np.full(LANDMARK_COUNT, -1, np.int32), np.zeros((LANDMARK_COUNT, 3), np.float32), np.full(LANDMARK_COUNT, NO_SPREAD, np.float32))
    counted = (hits.facing > LEAST_FACING) & (hits.beside_px < FARTHEST_COUNTED_PX)
    for landmark in range(LANDMARK_COUNT):
        own_kind = studio.eyes if landmark >= FIRST_IRIS else studio.skin
        chosen = np.flatnonzero(counted & (hits.landmark == landmark) & own_kind[hits.face])
        if landmark in INNER_LIPS:
            chosen = _on_own_lip(hits, chosen, OTHER_LIP * head.eye_distance_m)
        if len(chosen) < LEAST_HITS:
            continue
        middle, spread = robust_middle(hits.place[chosen], hits.facing[chosen] ** 2)
        if landmark in irises:
            spread = float(np.hypot(spread, np.linalg.norm(middle - irises[landmark])))
            middle = irises[landmark]
        face, weights = closest_on_surface(middle, reference, head.faces, np.flatnonzero(own_kind))
        embedding.faces[landmark], embedding.barycentrics[landmark] = face, weights
        embedding.spread[landmark] = spread / head.eye_distance_m
    return embedding


def _on_own_lip(hits: _Hits, chosen: NDArray[np.int64], reach_m: float) -> NDArray[np.int64]:
    """Those of the `chosen` hits that lie where the landmark is on open lips: of closed ones it may be on either."""
    opened = chosen[hits.opened[chosen]]
    if len(opened) < LEAST_HITS:
        return chosen
    middle, _ = robust_middle(hits.place[opened], hits.facing[opened] ** 2)
    return chosen[np.linalg.norm(hits.place[chosen] - middle, axis=1) < reach_m]


def _iris_points(head: HeadModel, studio: Studio) -> dict[int, NDArray[np.float64]]:
    """(3,) for each landmark of the irises. The lids squeeze those that the landmarker finds, so only their spread is measured."""
    joints = head.joints(head.template)
    radius = IRIS_RADIUS * head.eye_distance_m
    vertices = head.template[np.unique(head.faces[studio.eyes])]
    points = {}
    for joint, landmarks in IRIS_POINTS.items():
        distance = np.linalg.norm(vertices - joints[joint], axis=1)
        ball = float(np.median(distance[distance < 0.5 * head.eye_distance_m]))
        for landmark, direction in zip(landmarks, IRIS_DIRECTIONS, strict=True):
            x, y = radius * direction
            offset = np.array([x, y, np.sqrt(ball**2 - x * x - y * y)])
            points[landmark] = joints[joint] + offset
    return points


def robust_middle(points: Float, weights: Float) -> tuple[NDArray[np.float64], float]:
    """The weighted geometric median of (n, 3) (Weiszfeld's iteration) and the median distance from it."""
    middle = np.median(points, 0).astype(np.float64)
    for _ in range(20):
        pull = weights / np.maximum(np.linalg.norm(points - middle, axis=1), 1e-4)
        middle = (points * pull[:, None]).sum(0) / pull.sum()
    return middle, float(np.median(np.linalg.norm(points - middle, axis=1)))


def closest_on_surface(point: NDArray[np.float64], vertices: Float, faces: NDArray[np.int32], allowed: NDArray[np.int64]) -> tuple[int, NDArray[np.float64]]:
    """The allowed triangle that comes nearest to the point (3,), and the barycentrics of its nearest spot."""
    centres = vertices[faces[allowed]].mean(1)
    near = allowed[np.argsort(((centres - point) ** 2).sum(1), kind="stable")[:32]]
    best, best_distance, best_weights = -1, np.inf, np.zeros(3)
    for face in near:
        weights = _closest_on_triangle(point, vertices[faces[face]].astype(np.float64))
        distance = float(((weights @ vertices[faces[face]] - point) ** 2).sum())
        if distance < best_distance:
            best, best_distance, best_weights = int(face), distance, weights
    return best, best_weights


def _closest_on_triangle(point: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Barycentrics (3,) of the spot of a triangle (3, 3) nearest to the point: inside it, or on the nearest edge."""
    first, second, way = corners[1] - corners[0], corners[2] - corners[0], point - corners[0]
    gram = np.array([[first @ first, first @ second], [first @ second, second @ second]])
    s, t = np.linalg.lstsq(gram, np.array([first @ way, second @ way]), rcond=None)[0]
    if s >= 0.0 and t >= 0.0 and s + t <= 1.0:
        return np.array([1.0 - s - t, s, t])
    spots = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        edge = corners[b] - corners[a]
        along = float(np.clip((point - corners[a]) @ edge / max(edge @ edge, 1e-18), 0.0, 1.0))
        weights = np.zeros(3)
        weights[a], weights[b] = 1.0 - along, along
        spots.append(weights)
    return min(spots, key=lambda weights: float(((weights @ corners - point) ** 2).sum()))


def _make_up(head: HeadModel, embedding: Embedding) -> tuple[Brush, ...]:
    """Brows and lips, as far as their landmarks are known."""
    places = embedding.put_on(head).landmarks(head.template)
    radius = BRUSH_RADIUS * head.eye_distance_m
    brows = [_band(places, upper, lower, (0.3, 0.5, 0.7)) for upper, lower in (RIGHT_BROW, LEFT_BROW)]
    half = len(OUTER_LIPS) // 2 + 1
    outer, inner = OUTER_LIPS + OUTER_LIPS[:1], INNER_LIPS + INNER_LIPS[:1]
    lips = [_band(places, outer[part], inner[part], (0.2, 0.5, 0.8, 1.0)) for part in (slice(None, half), slice(half - 1, None))]
    strokes = [(points, BROW_COLOUR) for points in brows] + [(points, LIP_COLOUR) for points in lips]
    return tuple(Brush(points, radius, colour) for points, colour in strokes if len(points))


def _band(places: Float, outer: tuple[int, ...], inner: tuple[int, ...], shares: tuple[float, ...]) -> Float:
    """Points between two rows of landmarks, close enough for a brush; those of unknown landmarks left out."""
    steps = np.linspace(0.0, len(outer) - 1.0, 6 * len(outer))
    low = np.minimum(steps.astype(int), len(outer) - 2)
    part = (steps - low)[:, None]
    rows = [places[list(row)][low] * (1.0 - part) + places[list(row)][low + 1] * part for row in (outer, inner)]
    points = np.concatenate([(1.0 - share) * rows[0] + share * rows[1] for share in shares])
    known: Float = points[np.isfinite(points).all(1)].astype(np.float32)
    return known

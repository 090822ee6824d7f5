"""Puts the open head together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.head import LANDMARK_COUNT, HeadModel
from training.open_head import atlas
from training.open_head.adult import AdultMixer, make_mixer
from training.open_head.cut import EYES, JOINTS, LASHES, REGIONS, Cut, boundary_vertices, cut_head, uv_islands
from training.open_head.expressions import LID_CLEARANCE, clear_eyeball, expression_shapes, push_out
from training.open_head.eyeball import fit_sphere, unit_eyeball
from training.open_head.identity import BUST_WEIGHT, align, principal_components
from training.open_head.rig import eyeball_ranges, joint_regressor, skinning_weights
from training.open_head.source import Double, MakeHuman

METRES = 0.1
"""One decimetre."""
NAME = "open head"
LICENCE = "CC0-1.0"
NO_SPREAD = 9.0
SMOOTHING_STEPS = 60
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What the builder may vary."""

    samples: int = 1200
    """Random adults; each counts with its mirror image."""
    components: int = 80
    seed: int = 0


@dataclass(frozen=True)
class _Parts:
    """What the steps share; decimetres."""

    source: MakeHuman
    cut: Cut
    mixer: AdultMixer
    faces: NDArray[np.int32]
    correction: Double
    """(V, 3) what the finished template has beyond the cut mean adult; every adult gets it."""
    template: Double
    """(V, 3)."""
    islands: dict[str, NDArray[np.int64]]
    """Kept vertices of each texture island of the skin."""

    def head(self, adult: Double) -> Double:
        """(S, 3) → (V, 3)."""
        return self.cut.head_vertices(self.source, adult) + self.correction


def build_head(source: MakeHuman, recipe: Recipe) -> HeadModel:
    """The open head, without landmarks yet (training/landmark_embedding.py adds them)."""
    parts = _prepare(source)
    joints = np.array([parts.cut.joint(source, parts.mixer.mean(), name) for name in JOINTS])
    joints[1] = 0.35 * joints[0] + 0.65 * joints[1]
    heads, head_joints = _random_heads(parts, recipe)
    weights = np.where(_is_bust(parts), BUST_WEIGHT, 1.0)
    components = principal_components(heads - heads.mean(0), weights, recipe.components)
    logger.info("identity: %d shapes explain %.1f %% of the variance", recipe.components, 100.0 * components.explained)
    regressor = joint_regressor(parts.template, joints, heads[::8].astype(np.float64), head_joints[::8], parts.cut.kept)
    shapes = _expressions(parts)
    uv, uv_faces = _texture(parts)
    origin = np.mean([parts.template[eye].mean(0) for eye in _equators(parts)], 0)
    return HeadModel(
        name=NAME,
        licence=LICENCE,
        template=((parts.template - origin) * METRES).astype(np.float32),
        identity=(components.basis * METRES).astype(np.float32),
        expression=(np.stack(list(shapes.values())) * METRES).astype(np.float32),
        expression_names=tuple(shapes),
        pose_correctives=np.zeros((0, len(parts.template), 3), np.float32),
        joint_regressor=regressor.astype(np.float32),
        skinning_weights=skinning_weights(source, parts.cut.sources[: parts.cut.kept], len(parts.template)).astype(np.float32),
        faces=parts.faces,
        uv=uv.astype(np.float32),
        uv_faces=uv_faces,
        face_region=_regions(parts.cut),
        region_names=REGIONS,
        landmark_faces=np.full(LANDMARK_COUNT, -1, np.int32),
        landmark_barycentrics=np.zeros((LANDMARK_COUNT, 3), np.float32),
        landmark_spread=np.full(LANDMARK_COUNT, NO_SPREAD, np.float32),
    )


def _prepare(source: MakeHuman) -> _Parts:
    everyone = make_mixer(source, np.arange(len(source.vertices)), with_details=False)
    mean = everyone.mean()
    cut = cut_head(source, mean)
    _, eye_faces = unit_eyeball()
    left, right = eyeball_ranges(cut.kept)
    faces = np.concatenate([cut.surface.faces, left.start + eye_faces, right.start + eye_faces]).astype(np.int32)
    mixer = make_mixer(source, cut.sources)
    raw = cut.head_vertices(source, mixer.mean())
    bare = _Parts(source, cut, mixer, faces, np.zeros_like(raw), raw, _island_vertices(source, cut))
    template = _clear_lids(bare, _straighten(bare, _smooth_chest(bare, raw)))
    return _Parts(source, cut, mixer, faces, template - raw, template, bare.islands)


def _island_vertices(source: MakeHuman, cut: Cut) -> dict[str, NDArray[np.int64]]:
    kept = cut.sources[: cut.kept]
    found: dict[str, set[int]] = {}
    for (vertices, _), island in zip(source.groups["body"], uv_islands(source, "body"), strict=True):
        found.setdefault(island, set()).update(vertices)
    return {name: np.flatnonzero(np.isin(kept, sorted(vertices))) for name, vertices in found.items()}


def _is_bust(parts: _Parts) -> NDArray[np.bool_]:
    bust = np.zeros(len(parts.template), bool)
    bust[parts.islands["body"]] = True
    return bust


def _smooth_chest(parts: _Parts, vertices: Double) -> Double:
    """Evens out the chest, which clothes cover: umbrella smoothing, fading out towards the collar bones, the arms and the back."""
    neighbours = parts.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    both = np.concatenate([neighbours, neighbours[:, ::-1]])
    degree = np.bincount(both[:, 0], minlength=len(vertices)).astype(float)
    chest = parts.islands["body"]
    amount = np.zeros(len(vertices))
    x, y, z = vertices[chest].T
    amount[chest] = _ramp(5.0 - y, 0.6) * _ramp(z - 0.3, 0.4) * _ramp(1.6 - np.abs(x), 0.3)
    amount[boundary_vertices(parts.faces)] = 0.0
    smooth = vertices
    for _ in range(SMOOTHING_STEPS):
        mean = np.stack([np.bincount(both[:, 0], smooth[both[:, 1], axis], len(vertices)) for axis in range(3)], 1) / degree[:, None]
        smooth = smooth + 0.5 * amount[:, None] * (mean - smooth)
    return smooth


def _ramp(distance: Double, width: float) -> Double:
    """0 below zero, 1 above `width`, smooth between."""
    t = np.clip(distance / width, 0.0, 1.0)
    ramp: Double = t * t * (3.0 - 2.0 * t)
    return ramp


def _straighten(parts: _Parts, vertices: Double) -> Double:
    """Puts the bust's lower edge on one level."""
    edge = np.intersect1d(boundary_vertices(parts.faces), parts.islands["body"])
    straight = vertices.copy()
    straight[edge, 1] = vertices[edge, 1].min()
    return straight


def _lids(parts: _Parts, centre: Double, radius: float) -> NDArray[np.int64]:
    """The vertices of the outer side of the lids of one eye."""
    face = np.setdiff1d(parts.islands["head"], parts.islands["socket"])
    offset = parts.template[face] - centre
    near = (np.linalg.norm(offset, axis=1) < 1.6 * radius) & (offset[:, 2] > 0.2 * radius)
    return face[near]


def _clear_lids(parts: _Parts, vertices: Double) -> Double:
    cleared = vertices
    for centre, radius in _eyes(parts):
        push = push_out(cleared, _lids(parts, centre, radius), centre, radius + LID_CLEARANCE)
        logger.info("lids: pushed out by up to %.2f mm", 100.0 * np.linalg.norm(push, axis=1).max())
        cleared = cleared + push
    return cleared


def _eyes(parts: _Parts) -> list[tuple[Double, float]]:
    return [fit_sphere(parts.template[equator]) for equator in (slice(r.start + 150, r.stop - 1) for r in eyeball_ranges(parts.cut.kept))]


def _equators(parts: _Parts) -> list[slice]:
    from training.open_head.eyeball import EQUATOR, SEGMENTS

    starts = [eyeball.start + 1 + EQUATOR * SEGMENTS for eyeball in eyeball_ranges(parts.cut.kept)]
    return [slice(start, start + SEGMENTS) for start in starts]


def _expressions(parts: _Parts) -> dict[str, Double]:
    shapes = expression_shapes(parts.source, parts.cut.sources[: parts.cut.kept], len(parts.template))
    for centre, radius in _eyes(parts):
        lids = _lids(parts, centre, radius)
        for name, shape in shapes.items():
            shapes[name] = clear_eyeball(parts.template, shape, lids, centre, radius + LID_CLEARANCE)
    return shapes


def _random_heads(parts: _Parts, recipe: Recipe) -> tuple[NDArray[np.float32], Double]:
    """(2 n, V, 3) aligned on the face, each adult followed by its mirror image, and (2 n, 3, 3) their root, neck and jaw."""
    partner = _mirror(parts)
    face = np.setdiff1d(parts.islands["head"], parts.islands["body"])
    face = face[parts.template[face, 2] > parts.template[face, 2].mean()]
    heads = np.empty((2 * recipe.samples, len(parts.template), 3), np.float32)
    joints = np.empty((2 * recipe.samples, 3, 3))
    flip = np.array([-1.0, 1.0, 1.0])
    for k, adult in enumerate(parts.mixer.samples(recipe.samples, recipe.seed)):
        head = parts.head(adult)
        rotation, offset, scale = align(head, parts.template, face)
        placed = scale * head @ rotation.T + offset
        joint = np.array([parts.cut.joint(parts.source, adult, name) for name in JOINTS])
        joint[1] = 0.35 * joint[0] + 0.65 * joint[1]
        joint = scale * joint @ rotation.T + offset
        heads[2 * k], heads[2 * k + 1] = placed, placed[partner] * flip
        joints[2 * k], joints[2 * k + 1] = joint, joint * flip
    return heads, joints


def _mirror(parts: _Parts) -> NDArray[np.int64]:
    """(V,) the vertex on the other side."""
    kept = parts.cut.sources[: parts.cut.kept]
    partner = np.arange(len(parts.template))
    partner[: len(kept)] = np.searchsorted(kept, parts.source.mirror[kept])
    left, right = eyeball_ranges(len(kept))
    unit, _ = unit_eyeball()
    distance = np.linalg.norm((unit * [-1.0, 1.0, 1.0])[:, None] - unit[None], axis=2)
    nearest = distance.argmin(1)
    partner[left], partner[right] = right.start + nearest, left.start + nearest
    return partner


def _regions(cut: Cut) -> NDArray[np.uint8]:
    count = len(unit_eyeball()[1])
    eyes = np.repeat([REGIONS.index("left_eye"), REGIONS.index("right_eye")], count)
    return np.concatenate([cut.surface.regions, eyes]).astype(np.uint8)


def _texture(parts: _Parts) -> tuple[Double, NDArray[np.int32]]:
    """Texture coordinates (T, 2) and (F, 3) into them."""
    source, surface = parts.source, parts.cut.surface
    used, corners = np.unique(surface.uv_corners, return_inverse=True)
    corners = corners.reshape(-1, 3)
    points = np.zeros((len(used), 3))
    points[corners.ravel()] = parts.template[surface.faces.ravel()]
    uv = np.zeros((len(used), 2))
    for slot, members in _slots(source, used).items():
        unit = atlas.upright(source.uv[used[members]], points[members])
        if slot == "head":
            unit = _magnify(parts, unit, points[members])
        uv[members] = atlas.place(unit, slot)
    tables, faces = [uv], [corners]
    for slot in ("left_eye", "right_eye"):
        disc, disc_faces = atlas.eye_disc(slot)
        faces.append(disc_faces + sum(len(table) for table in tables))
        tables.append(disc)
    return np.concatenate(tables), np.concatenate(faces).astype(np.int32)


def _magnify(parts: _Parts, unit: Double, points: Double) -> Double:
    def spot(x: float, y: float, z: float) -> tuple[float, float]:
        nearest = unit[np.linalg.norm(points - [x, y, z], axis=1).argsort(kind="stable")[:6]].mean(0)
        return float(nearest[0]), float(nearest[1])

    teeth = parts.template[np.unique(parts.cut.surface.faces[parts.cut.surface.regions == REGIONS.index("upper_teeth")])]
    (left, radius), _ = _eyes(parts)
    eye = spot(left[0], left[1], left[2] + radius)
    mouth = spot(0.0, teeth[:, 1].min(), teeth[:, 2].max())
    return atlas.magnified_face(unit, (eye, (1.0 - eye[0], eye[1])), (0.5, mouth[1]))


def _slots(source: MakeHuman, used: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Which of the used texture coordinates go where."""
    corners: dict[str, set[int]] = {slot: set() for slot in atlas.SLOTS}
    for (vertices, uvs), island in zip(source.groups["body"], uv_islands(source, "body"), strict=True):
        side = "left" if source.vertices[vertices[0], 0] > 0.0 else "right"
        slot = f"{side}_socket" if island == "socket" else island
        if slot in corners:
            corners[slot].update(uvs)
    for group in ("helper-upper-teeth", "helper-lower-teeth", "helper-tongue", *LASHES):
        _, side, *rest = group.replace("-teeth", "_teeth").split("-")
        slot = f"{ {'l': 'left', 'r': 'right'}[side]}_{ {'1': 'lower', '2': 'upper'}[rest[-1]]}_lashes" if rest else side
        corners[slot].update(corner for _, uvs in source.groups[group] for corner in uvs)
    members = {slot: np.flatnonzero(np.isin(used, sorted(chosen))) for slot, chosen in corners.items()}
    return {slot: chosen for slot, chosen in members.items() if len(chosen)}


__all__ = ["EYES", "Recipe", "build_head"]

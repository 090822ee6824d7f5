"""The mesh that a person is learned on: a head model with the person's identity, without what a camera never sees clearly, and with a plate behind the lips.

Teeth, tongue and cavity are seen only in glimpses; one plate, fixed to the skull and sloping back behind the lips, takes what the lips uncover as a picture.
Works for any head in the FLAME layout with a landmark embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.head import NECK, ROOT, HeadModel
from training.portrait.atlas import CELLS, largest_free, taken_cells
from training.portrait.subdivide import relocated, subdivide

Float = NDArray[np.float32]
Int = NDArray[np.int32]

EYES = ("left_eye", "right_eye")
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
"""Landmarks from the person's right corner of the mouth to the left one."""
PLATE_ROWS, PLATE_COLUMNS = 15, 25
PLATE_RISE_M, PLATE_DROP_M = 0.012, 0.034
"""How far the plate reaches above and below the upper inner lip: lips rise, and nothing but the plate is behind them,"""
PLATE_FRONT_M, PLATE_BACK_M = 0.005, 0.025
"""and how far behind it its upper and lower edge lie: it must not come through the chin."""
PLATE_RECEDES = 0.6
"""Above the lip the plate goes back by so much of its height: it must not come through the skin below the nose."""
PLATE_WIDENING = 0.45
"""Smiles draw the corners outwards: the plate is so much wider than the mouth at rest."""
TORSO = 0.97
"""Triangles that follow the root joint by more than this are left out: shoulders are another layer."""
FADE = (0.5, 0.9)
"""Down the neck the surface fades out between these weights of the root joint."""
LONGEST_SIDE_M = 0.011
"""Sides of the skin's triangles that are longer are halved."""
PLATE, SKIN = "mouth", "skin"


@dataclass(frozen=True)
class CaptureMesh:
    """V vertices, F triangles, T texture coordinates; metres, head space, the identity of one person at rest."""

    vertices: Float
    """(V, 3)."""
    expression: Float
    """(E, V, 3), still on eyeballs and plate."""
    correctives: Float
    """(36 or 0, V, 3)."""
    skinning_weights: Float
    """(V, 5)."""
    joints: Float
    """(5, 3)."""
    faces: Int
    uv: Float
    uv_faces: Int
    face_region: NDArray[np.uint8]
    region_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    landmark_faces: Int
    """(478,) into `faces`; -1 where that triangle is left out."""
    landmark_barycentrics: Float
    fade: Float
    """(V,) 1 on the head, falling to 0 down the neck."""

    def of(self, *names: str) -> NDArray[np.bool_]:
        """(V,) whether a vertex belongs to one of the named regions."""
        chosen = np.zeros(len(self.vertices), bool)
        chosen[self.faces[np.isin(self.face_region, [self.region_names.index(name) for name in names if name in self.region_names])]] = True
        return chosen

    def landmark(self, index: int) -> Float:
        """(3,) at rest."""
        corners = self.vertices[self.faces[self.landmark_faces[index]]]
        return (self.landmark_barycentrics[index] @ corners).astype(np.float32)


def capture_mesh(head: HeadModel, identity: Float) -> CaptureMesh:
    """Makes the mesh of one person."""
    rest = head.shaped(identity, np.zeros(0, np.float32))
    kept = _kept_faces(head)
    used = np.unique(head.faces[kept])
    number = np.full(len(rest), -1, np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    face_number = np.full(len(head.faces), -1, np.int32)
    face_number[kept] = np.arange(len(kept), dtype=np.int32)
    region_names = (SKIN, *EYES, PLATE)
    region_of = [region_names.index(name) if name in EYES else 0 for name in head.region_names]
    expression = head.expression[:, used].copy()
    eyes = np.isin(used, head.region_vertices(*[name for name in EYES if name in head.region_names]))
    expression[:, eyes] = 0.0
    weights = head.skinning_weights[used]
    low, high = FADE
    uv_used = np.unique(head.uv_faces[kept])
    uv_number = np.zeros(len(head.uv), np.int32)
    uv_number[uv_used] = np.arange(len(uv_used), dtype=np.int32)
    landmark_faces = np.where(head.landmark_faces >= 0, face_number[head.landmark_faces], -1).astype(np.int32)
    mesh = CaptureMesh(
        vertices=rest[used],
        expression=expression,
        correctives=head.pose_correctives[:, used] if len(head.pose_correctives) else np.zeros((0, len(used), 3), np.float32),
        skinning_weights=weights,
        joints=head.joints(rest),
        faces=number[head.faces[kept]],
        uv=head.uv[uv_used],
        uv_faces=uv_number[head.uv_faces[kept]],
        face_region=np.array(region_of, np.uint8)[head.face_region[kept]],
        region_names=region_names,
        expression_names=head.expression_names,
        landmark_faces=landmark_faces,
        landmark_barycentrics=head.landmark_barycentrics,
        fade=np.clip((high - weights[:, ROOT]) / (high - low), 0.0, 1.0).astype(np.float32),
    )
    return _with_plate(_finer(mesh))


def _finer(mesh: CaptureMesh) -> CaptureMesh:
    """The same surface with more triangles where sides are long: scalp, cheeks, neck."""
    skin = mesh.face_region == mesh.region_names.index(SKIN)
    division = subdivide(mesh.vertices, mesh.faces, mesh.uv_faces, skin, LONGEST_SIDE_M)
    landmark_faces, barycentrics = relocated(division, mesh.faces, mesh.landmark_faces, mesh.landmark_barycentrics)
    return replace(
        mesh,
        vertices=division.vertices(mesh.vertices),
        expression=division.vertices(mesh.expression),
        correctives=division.vertices(mesh.correctives),
        skinning_weights=division.vertices(mesh.skinning_weights),
        faces=division.faces,
        uv=division.uv(mesh.uv),
        uv_faces=division.uv_faces,
        face_region=mesh.face_region[division.parent],
        landmark_faces=landmark_faces,
        landmark_barycentrics=barycentrics,
        fade=division.vertices(mesh.fade[:, None])[:, 0],
    )


def _kept_faces(head: HeadModel) -> NDArray[np.int64]:
    """Skin down to the neck, and the eyeballs."""
    wanted = [index for index, name in enumerate(head.region_names) if name == SKIN or name in EYES]
    torso = (head.skinning_weights[head.faces, ROOT] > TORSO).all(1)
    return np.flatnonzero(np.isin(head.face_region, wanted) & ~torso)


def _with_plate(mesh: CaptureMesh) -> CaptureMesh:
    """Adds the plate behind the lips; its chart takes the largest free rectangle of the texture."""
    lip = np.stack([mesh.landmark(index) for index in UPPER_INNER_LIP]).astype(np.float64)
    along = np.linspace(0.0, 1.0, PLATE_COLUMNS)
    middle = lip.mean(0)
    half = 0.5 * (lip[-1, 0] - lip[0, 0]) * (1.0 + PLATE_WIDENING)
    x = middle[0] + half * (2.0 * along - 1.0)
    depth = np.interp(x, lip[:, 0], lip[:, 2]) - 0.4 * np.maximum(np.abs(x - middle[0]) - half / (1.0 + PLATE_WIDENING), 0.0)
    down = np.linspace(0.0, 1.0, PLATE_ROWS)[:, None]
    grid = np.empty((PLATE_ROWS, PLATE_COLUMNS, 3))
    grid[..., 0] = x
    grid[..., 1] = lip[:, 1].mean() + PLATE_RISE_M - (PLATE_RISE_M + PLATE_DROP_M) * down
    above = np.maximum(grid[..., 1] - lip[:, 1].mean(), 0.0)
    grid[..., 2] = depth - PLATE_FRONT_M - (PLATE_BACK_M - PLATE_FRONT_M) * down - PLATE_RECEDES * above
    count = PLATE_ROWS * PLATE_COLUMNS
    uv, left, top, width, height = _room(mesh, aspect=1.6)
    chart = np.stack(np.meshgrid(left + width * along, top + height * down[:, 0]), -1).reshape(-1, 2)
    weights = np.zeros((count, 5), np.float32)
    weights[:, NECK] = 1.0
    faces, plate_region = grid_faces(PLATE_ROWS, PLATE_COLUMNS), mesh.region_names.index(PLATE)
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, grid.reshape(-1, 3)]).astype(np.float32),
        expression=_padded(mesh.expression, count),
        correctives=_padded(mesh.correctives, count),
        skinning_weights=np.concatenate([mesh.skinning_weights, weights]),
        faces=np.concatenate([mesh.faces, faces + len(mesh.vertices)]).astype(np.int32),
        uv=np.concatenate([uv, chart]).astype(np.float32),
        uv_faces=np.concatenate([mesh.uv_faces, faces + len(uv)]).astype(np.int32),
        face_region=np.concatenate([mesh.face_region, np.full(len(faces), plate_region, np.uint8)]),
        fade=np.concatenate([mesh.fade, np.ones(count, np.float32)]),
    )


def grid_faces(rows: int, columns: int) -> Int:
    """(2 (rows - 1) (columns - 1), 3) of a grid whose columns run to the person's left and whose rows run down: seen from the front."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    below, aside = corner + columns, corner + 1
    return np.concatenate([np.stack([corner, below, aside], 1), np.stack([aside, below, below + 1], 1)]).astype(np.int32)


def _padded(shapes: Float, count: int) -> Float:
    return np.concatenate([shapes, np.zeros((len(shapes), count, 3), np.float32)], 1)


def _room(mesh: CaptureMesh, aspect: float) -> tuple[Float, float, float, float, float]:
    """Texture coordinates and, among them, a free rectangle (left, top, width, height) at least as wide as a quarter of the texture.

    Where there is none, everything is squeezed into the upper four fifths.
    """
    found = largest_free(taken_cells(mesh.uv, mesh.uv_faces), aspect, int(0.56 * CELLS), CELLS // 4)
    if found is not None:
        left, top, right, bottom = found
        inset = 1.0 / CELLS
        return mesh.uv, left + inset, top + inset, right - left - 2 * inset, bottom - top - 2 * inset
    squeezed = (mesh.uv * (1.0, 0.8)).astype(np.float32)
    return squeezed, 0.01, 0.81, 0.3, 0.18

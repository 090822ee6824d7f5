"""The head's outline: where the matte ends, the surface must end. Hair volume and the shape of jaw and ears, as one smooth offset along the normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve

from models.mesh import vertex_normals
from models.rotations import to_matrix
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.capture_mesh import SKIN, CaptureMesh
from training.portrait.portrait import View

Float = NDArray[np.float32]
Double = NDArray[np.float64]
ON_EDGE = 0.3
"""Largest cosine to the line of sight of a vertex that may lie on the outline."""
INWARDS_PX, OUTWARDS_PX = 25, 70
CLEAR_PX = 4
"""So far outside a vertex of the outline nothing more of the head may be seen."""
SMOOTHNESS = 30.0
LIMITS_M = (-0.02, 0.06)
FACE_WEIGHT, FREE_WEIGHT = 6.0, 0.002
"""How firmly the face, which the landmarks have placed, and the rest stay where they are."""
CERTAIN_SPREAD = 0.06


def laplacian(faces: NDArray[np.int32], count: int) -> sparse.csr_matrix:
    """(V, V) a vertex minus the mean of its neighbours; zero rows where there are none."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    sides = np.concatenate([sides, sides[:, ::-1]])
    beside = sparse.coo_matrix((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), shape=(count, count)).tocsr()
    beside.data[:] = 1.0
    degree = np.asarray(beside.sum(1)).ravel()
    return (sparse.diags((degree > 0).astype(float)) - sparse.diags(1.0 / np.maximum(degree, 1.0)) @ beside).tocsr()


def smooth_normals(mesh: CaptureMesh, rounds: int = 15) -> Double:
    """(V, 3) of the rest shape, evened out over neighbours, so that offsets along them do not cross."""
    normals = vertex_normals(mesh.vertices, mesh.faces).astype(np.float64)
    step = laplacian(mesh.faces, len(mesh.vertices))
    for _ in range(rounds):
        normals -= 0.5 * (step @ normals)
    smooth: Double = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return smooth


@dataclass(frozen=True, slots=True)
class Outline:
    """N vertices that lie on the outline of one frame."""

    vertex: NDArray[np.int64]
    direction: Double
    """(N, 2) outwards in the picture, of unit length."""
    distance_px: Double
    """(N,) from the vertex outwards to the matte's edge."""


def outline_of(view: View, matte: NDArray[np.uint8], rotation: Double, normals: Double, skin: NDArray[np.bool_]) -> Outline:
    """Args: `view` has looked at the frame; `rotation` (3, 3) of the head; `normals` (V, 3) at rest; `skin` (V,) which vertices may count."""
    size = matte.shape[0]
    turned = normals @ rotation.T
    sight = view.vertices / np.linalg.norm(view.vertices, axis=1, keepdims=True)
    candidates = np.flatnonzero(skin & (np.abs((turned * sight).sum(1)) < ON_EDGE))
    outwards = turned[candidates, :2] * (1.0, -1.0)
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    reach = np.arange(-INWARDS_PX, OUTWARDS_PX)
    column = (view.points[candidates, 0, None] + outwards[:, :1] * reach).astype(int)
    row = (view.points[candidates, 1, None] + outwards[:, 1:] * reach).astype(int)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    column, row = np.clip(column, 0, size - 1), np.clip(row, 0, size - 1)
    cover = np.where(inside, matte[row, column], 255).astype(np.float64)
    head = np.where(inside, view.face_id[row, column] >= 0, True)
    outermost = ~head[:, INWARDS_PX + CLEAR_PX :].any(1)
    distance, known = _edge(cover)
    chosen = outermost & known
    return Outline(candidates[chosen], outwards[chosen], distance[chosen])


def _edge(cover: Double) -> tuple[Double, NDArray[np.bool_]]:
    """(C,) where a row (C, INWARDS + OUTWARDS) falls below half, next to its middle, to a fraction of a pixel; and whether it does."""
    count = len(cover)
    inside = cover[:, INWARDS_PX] > 127
    outer = cover[:, INWARDS_PX:] <= 127
    leave = np.where(outer.any(1), outer.argmax(1), -1)
    inner = cover[:, : INWARDS_PX + 1] > 127
    enter = np.where(inner.any(1), INWARDS_PX - inner[:, ::-1].argmax(1), -1)
    first_out = np.where(inside, INWARDS_PX + leave, enter + 1)
    known = np.where(inside, leave > 0, enter >= 0)
    at = np.clip(first_out, 1, cover.shape[1] - 1)
    rows = np.arange(count)
    before, after = cover[rows, at - 1], cover[rows, at]
    part = (before - 127.5) / np.maximum(before - after, 1e-6)
    return at - 1 + part - INWARDS_PX, known


def outline_offsets(mesh: CaptureMesh, clip: Clip, fitted: Fitted, frames: NDArray[np.int64], view: View, normals: Double, spread: Float) -> Float:
    """(V,) metres along `normals` (V, 3) that bring the outline to the matte's.

    Args:
        view: of the mesh as it is.
        spread: (478,) of the landmarks, in inter-ocular distances.
    """
    skin = mesh.of(SKIN)
    found: list[list[float]] = [[] for _ in range(len(mesh.vertices))]
    for frame in frames:
        view.look(fitted.params(int(frame)))
        outline = outline_of(view, clip.mattes[frame], to_matrix(fitted.neck[frame]), normals, skin)
        metres = outline.distance_px * view.points[outline.vertex, 2] / (fitted.focal * clip.size)
        for vertex, distance in zip(outline.vertex, metres, strict=True):
            found[vertex].append(float(distance))
    seen = np.array([min(len(each), 8) for each in found], float)
    target = np.array([float(np.median(each)) if each else 0.0 for each in found])
    anchor = np.full(len(found), FREE_WEIGHT)
    certain = (mesh.landmark_faces >= 0) & (spread < CERTAIN_SPREAD)
    anchor[np.unique(mesh.faces[mesh.landmark_faces[certain]])] = FACE_WEIGHT
    anchor[~skin] = 100.0
    step = laplacian(mesh.faces[mesh.face_region == mesh.region_names.index(SKIN)], len(found))
    system = sparse.diags(seen + anchor) + SMOOTHNESS * (step.T @ step)
    offsets: Float = np.clip(spsolve(system.tocsc(), seen * target), *LIMITS_M).astype(np.float32)
    return offsets

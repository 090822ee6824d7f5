"""The surface itself from dense flows: what no pose or expression explains, over all frames, is shape; and what of it follows the features is motion.

For every vertex a static offset in three dimensions (turns of the head tell its depth) and one for each of a few features, by least squares over the frames
that show it, held together with its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.kernels import kernel
from models.rotations import to_matrix
from training.clip import Clip
from training.fit.photometric import Flows, camera_of
from training.fitted import Fitted
from training.portrait.capture_mesh import SKIN
from training.portrait.features import parameters_of
from training.portrait.geometry import laplacian, outline_of, smooth_normals
from training.portrait.portrait import Portrait, View, level_of

Float = NDArray[np.float32]
SPILL_PX = 16.0
"""A round draws spilt surface in no farther."""
SPILT_PX = 2.5
"""So far outside the matte surface counts as spilt."""


@dataclass(frozen=True, slots=True)
class SurfaceSettings:
    dynamic: int = 5
    """So many features move the surface."""
    flow_sigma_px: float = 2.0
    static_sigma_m: float = 0.01
    dynamic_sigma_m: float = 0.002
    together: float = 30.0
    """How firmly a vertex holds to the mean of its neighbours, in frames that see both clearly."""
    rounds: int = 40
    outline_sigma_px: float = 1.0
    spill_sigma_px: float = 0.7
    outline_px: float = 12.0
    """A round follows the outline no farther."""
    normal_rounds: int = 15
    """How much the normals are evened out."""
    largest_m: float = 0.006
    """A round moves no vertex farther."""


def refine_surface(portrait: Portrait, clip: Clip, fitted: Fitted, flows: Flows, settings: SurfaceSettings) -> Portrait:
    """Moves the surface by what `flows` left unexplained in the training frames, and its outline onto the matte's."""
    mesh = portrait.mesh
    used = np.flatnonzero(~clip.held_out[flows.frames])
    frames = flows.frames[used]
    count = len(mesh.vertices)
    phi = portrait.features(parameters_of(fitted)[frames])[:, :, : settings.dynamic]
    unknowns = 3 * (1 + settings.dynamic)
    normal = np.zeros((count, unknowns, unknowns), np.float32)
    right = np.zeros((count, unknowns), np.float32)
    level = level_of(portrait.lower)
    focal_px = portrait.focal * clip.size
    view = View(portrait.baked(), clip.size)
    normals, skin = smooth_normals(mesh, settings.normal_rounds), mesh.of(SKIN) & (mesh.fade > 0.9)
    for k, frame in enumerate(frames):
        view.look(fitted.params(int(frame)))
        camera = camera_of(view.vertices, focal_px)
        rotation = to_matrix(fitted.neck[frame])
        turned = (camera @ rotation).astype(np.float32)
        outline = outline_of(view, clip.mattes[frame], rotation, normals, skin)
        inner = flows.visible[used[k]].copy()
        inner[outline.vertex] = False
        outside, way_back = spill(view, clip.mattes[frame], skin)
        inner[outside] = False
        accumulate(turned, flows.residual[used[k]], inner, phi[:, k], level, 1.0 / settings.flow_sigma_px, normal, right)
        accumulate(turned, way_back, outside, phi[:, k], level, 1.0 / settings.spill_sigma_px, normal, right)
        distance = np.clip(outline.distance_px, -settings.outline_px, settings.outline_px)
        along = np.einsum("ni,nij->nj", outline.direction, turned[outline.vertex]).astype(np.float32)
        accumulate_outline(along, distance.astype(np.float32), outline.vertex, phi[:, k], level, 1.0 / settings.outline_sigma_px, normal, right)
    prior = np.r_[np.full(3, settings.static_sigma_m**-2.0), np.full(unknowns - 3, settings.dynamic_sigma_m**-2.0)]
    scale = float((focal_px / -portrait.translation[2] / settings.flow_sigma_px) ** 2)
    offsets = _held_together(mesh.faces[mesh.face_region == mesh.region_names.index(SKIN)], normal, right, prior, settings.together * scale, settings.rounds)
    offsets[~mesh.of(SKIN)] = 0.0
    offsets *= mesh.fade[:, None, None]
    offsets = np.clip(offsets, -settings.largest_m, settings.largest_m).astype(np.float32)
    dynamic = offsets[:, 1:]
    if portrait.dynamic.shape[1]:
        dynamic = dynamic + portrait.dynamic
    return replace(portrait, shape=portrait.shape + offsets[:, 0], dynamic=dynamic)


def spill(view: View, matte: NDArray[np.uint8], skin: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Float]:
    """(V,) which visible vertices lie outside the matte, and (V, 2) pixels from each of them to the nearest pixel within."""
    count, size = len(view.points), len(matte)
    outside, way = np.zeros(count, bool), np.zeros((count, 2), np.float32)
    column, row = (np.clip(view.points[:, axis].astype(int), 0, size - 1) for axis in range(2))
    seen = np.zeros(count, bool)
    seen[view.avatar.faces[np.unique(view.face_id[view.face_id >= 0])]] = True
    away, label = cv2.distanceTransformWithLabels((matte < 128).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    chosen = np.flatnonzero(seen & skin & (away[row, column] > SPILT_PX))
    within = np.flatnonzero(away.ravel() == 0.0)
    place = np.zeros(int(label.max()) + 1, np.int64)
    place[label.ravel()[within]] = within
    nearest = place[label[row[chosen], column[chosen]]]
    way[chosen, 0] = nearest % size + 0.5 - view.points[chosen, 0]
    way[chosen, 1] = nearest // size + 0.5 - view.points[chosen, 1]
    outside[chosen] = True
    return outside, np.clip(way, -SPILL_PX, SPILL_PX)


def _held_together(faces: NDArray[np.int32], normal: Float, right: Float, prior: NDArray[np.float64], together: float, rounds: int) -> Float:
    """(V, 1 + D, 3): Jacobi sweeps over vertices, each solved exactly with its neighbours held."""
    count, unknowns = right.shape
    step = laplacian(faces, count)
    linked = np.asarray(step.diagonal()) > 0
    matrix = normal.astype(np.float64)
    matrix[:, np.arange(unknowns), np.arange(unknowns)] += prior + np.where(linked, together, 0.0)[:, None]
    inverse = np.linalg.inv(matrix)
    offsets = np.einsum("vij,vj->vi", inverse, right.astype(np.float64))
    for _ in range(rounds):
        neighbours = np.where(linked[:, None], offsets - step @ offsets, 0.0)
        offsets = np.einsum("vij,vj->vi", inverse, right + together * neighbours)
    moved: Float = offsets.reshape(count, -1, 3).astype(np.float32)
    return moved


@kernel
def accumulate(
    camera: Float, flow: Float, visible: NDArray[np.bool_], phi: Float, level: NDArray[np.int32], certainty: float, normal: Float, right: Float
) -> None:
    """Adds one frame to every visible vertex's normal equations: unknown 3 k + c is offset component c for feature k (0: static)."""
    features = phi.shape[1]
    row = np.empty((2, 3 * (features + 1)), np.float32)
    weights = np.empty(features + 1, np.float32)
    weights[0] = 1.0
    for v in range(len(visible)):
        if not visible[v]:
            continue
        length = np.sqrt(flow[v, 0] * flow[v, 0] + flow[v, 1] * flow[v, 1])
        trust = certainty * np.sqrt(min(1.0, 1.5 / max(length, 1e-6)))
        for k in range(features):
            weights[k + 1] = phi[level[v], k]
        for i in range(2):
            for k in range(features + 1):
                for c in range(3):
                    row[i, 3 * k + c] = trust * weights[k] * camera[v, i, c]
            value = trust * flow[v, i]
            for p in range(3 * (features + 1)):
                right[v, p] += row[i, p] * value
                for q in range(3 * (features + 1)):
                    normal[v, p, q] += row[i, p] * row[i, q]


@kernel
def accumulate_outline(
    along: Float, distance: Float, vertex: NDArray[np.int64], phi: Float, level: NDArray[np.int32], certainty: float, normal: Float, right: Float
) -> None:
    """The same for N vertices on the outline, each of which is to move by `distance` (N,) pixels in a direction whose derivative is `along` (N, 3)."""
    features = phi.shape[1]
    row = np.empty(3 * (features + 1), np.float32)
    for n in range(len(vertex)):
        v = vertex[n]
        for k in range(features + 1):
            weight = certainty * (phi[level[v], k - 1] if k > 0 else np.float32(1.0))
            for c in range(3):
                row[3 * k + c] = weight * along[n, c]
        value = certainty * distance[n]
        for p in range(3 * (features + 1)):
            right[v, p] += row[p] * value
            for q in range(3 * (features + 1)):
                normal[v, p, q] += row[p] * row[q]

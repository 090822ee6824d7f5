"""Where on an avatar's mesh the tracker's landmarks are, read off the frames themselves.

An avatar file does not say which of its points the landmarks are, and its mesh may be any. But the start is fitted: on average its surface lies right, so the
surface point that a landmark falls on in most frames is the landmark's. What a single frame's landmarks say against that is news about that frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.head import LEFT_EYE, RIGHT_EYE
from models.raster import Rasterizer
from training.neural.frames import Frames, evenly
from training.neural.scene import Scene
from training.neural.view import look

FACE_LANDMARKS = 468
"""Those after them are irises, which lie on moving eyeballs."""
LOOKED_AT = 40
LEAST_HITS = 0.3
"""A landmark must fall on the surface in this share of the frames."""
LARGEST_SPREAD = 0.05
"""Of the distance between the eyes: landmarks that wander further, on average, have no place of their own."""
LIDS_UPPER, LIDS_LOWER = (386, 159), (374, 145)
"""Middle of the left and of the right eye's lids (the person's own left), of models.landmarker's landmarks."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the 478 landmarks are."""

    corners: Tensor
    """(478, 3) vertices."""
    barycentrics: Tensor
    """(478, 3)."""
    weight: Tensor
    """(478,) 1 where the place is known, else 0."""

    def points(self, vertices: Tensor) -> Tensor:
        """(B, V, 3) → (B, 478, 3)."""
        return (vertices[:, self.corners] * self.barycentrics[..., None]).sum(2)

    @property
    def lids_known(self) -> bool:
        return bool(self.weight[[*LIDS_UPPER, *LIDS_LOWER]].all())


def find_places(scene: Scene, frames: Frames, rasterizer: Rasterizer) -> Places:
    """Looks at some of the frames that are learned from."""
    chosen = evenly(np.flatnonzero(~frames.watched), LOOKED_AT)
    count = frames.landmarks.shape[1]
    faces = np.full((len(chosen), count), -1, np.int64)
    weights = np.zeros((len(chosen), count, 3), np.float32)
    for row, frame in enumerate(chosen):
        faces[row], weights[row] = _hits(scene, frames, int(frame), rasterizer)
    mesh_faces = scene.faces.cpu().numpy()
    rest = scene.head.vertices.cpu().numpy()
    points = np.einsum("tlk,tlkc->tlc", weights, rest[mesh_faces[np.maximum(faces, 0)]])
    corners, barycentrics = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.float32)
    known = np.zeros(count, np.float32)
    joints = scene.head.joints.cpu().numpy()
    reach = LARGEST_SPREAD * float(np.linalg.norm(joints[LEFT_EYE] - joints[RIGHT_EYE]))
    for landmark in range(min(count, FACE_LANDMARKS)):
        (hit,) = np.nonzero(faces[:, landmark] >= 0)
        if len(hit) < max(LEAST_HITS * len(chosen), 1):
            continue
        apart = np.linalg.norm(points[hit, landmark][:, None] - points[hit, landmark][None], axis=-1).mean(1)
        middle = hit[int(apart.argmin())]
        corners[landmark], barycentrics[landmark] = mesh_faces[faces[middle, landmark]], weights[middle, landmark]
        known[landmark] = float(apart.min() < reach)
    device = scene.faces.device
    like = frames.conditions
    return Places(torch.from_numpy(corners).to(device), torch.from_numpy(barycentrics).to(like), torch.from_numpy(known).to(like))


def _hits(scene: Scene, frames: Frames, frame: int, rasterizer: Rasterizer) -> tuple[np.ndarray, np.ndarray]:
    """(478,) surface triangles, -1 for none, and (478, 3) barycentrics, at the landmarks' pixels."""
    chosen = torch.tensor([frame], device=frames.conditions.device)
    dynamic = torch.tensordot(frames.dynamic_weights[chosen], scene.dynamic, 1)
    view = look(scene, scene.head.posed(frames.poses_of(chosen), offsets=dynamic)[0], frames.focal_px, frames.size, rasterizer)
    face = view.picture(view.face[:, None].float() + 1.0)[0].long().cpu().numpy() - 1
    weights = view.picture(view.barycentrics).permute(1, 2, 0).cpu().numpy()
    column, row = np.floor(frames.landmarks[frame].cpu().numpy()).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < frames.size) & (row < frames.size)
    column, row = np.clip(column, 0, frames.size - 1), np.clip(row, 0, frames.size - 1)
    return np.where(inside, face[row, column], -1), weights[row, column]

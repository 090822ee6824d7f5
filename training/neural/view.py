"""What the camera sees of a posed surface: the rasteriser's fragments as constants, and what is looked up with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.head_torch import project, vertex_normals
from models.raster import Rasterizer
from training.neural.sampling import interpolate

if TYPE_CHECKING:
    from training.neural.scene import Scene

CODE_REACH_PX = 3
"""How far the normal encoder looks around a pixel."""


@dataclass(frozen=True, slots=True)
class View:
    """The N surface points that one frame shows, one a pixel, row by row. No tensor of it carries a gradient."""

    size: int
    pixel: Tensor
    """(N,) row * size + column."""
    face: Tensor
    """(N,) of the surface."""
    corners: Tensor
    """(N, 3) vertices of that triangle."""
    barycentrics: Tensor
    """(N, 3)."""
    uv: Tensor
    """(N, 2)."""
    level: Tensor
    """(N,) of the base texture."""
    depth: NDArray[np.float32]
    """(S, S) of everything that is drawn, inf where nothing is."""
    overlay: Tensor
    """(S, S) bool, where the overlay lies in front."""

    def picture(self, values: Tensor) -> Tensor:
        """(N, C) → (C, S, S), zero where nothing is seen."""
        empty = values.new_zeros(self.size * self.size, values.shape[1])
        return empty.index_copy(0, self.pixel, values).T.reshape(-1, self.size, self.size)

    def gathered(self, picture: Tensor) -> Tensor:
        """(C, S, S) → (N, C)."""
        return picture.flatten(1)[:, self.pixel].T


def look(scene: Scene, vertices: Tensor, focal_px: float, size: int, rasterizer: Rasterizer) -> View:
    """Draws (V, 3) of camera space into a picture of `size` pixels a side."""
    points = project(vertices.detach(), focal_px, (size / 2.0, size / 2.0))
    fragments = rasterizer.rasterize(np.ascontiguousarray(points.cpu().numpy(), np.float32), scene.drawn)
    surface_count = len(scene.faces)
    shown = np.flatnonzero((fragments.face_id.ravel() >= 0) & (fragments.face_id.ravel() < surface_count))
    device = vertices.device
    face = torch.from_numpy(fragments.face_id.ravel()[shown]).long().to(device)
    weights = torch.from_numpy(fragments.barycentrics.reshape(-1, 3)[shown]).to(vertices.detach())
    return View(
        size=size,
        pixel=torch.from_numpy(shown).to(device),
        face=face,
        corners=scene.faces[face],
        barycentrics=weights,
        uv=(scene.corner_uv[face] * weights[..., None]).sum(1),
        level=scene.level_of(points, face),
        depth=fragments.depth.copy(),
        overlay=torch.from_numpy(fragments.face_id >= surface_count).to(device),
    )


def projected(view: View, vertices: Tensor, focal_px: float) -> Tensor:
    """(N, 2) where the visible points are in the picture: their pixels' centres, with gradients to `vertices` (V, 3)."""
    return project(interpolate(vertices, view.corners, view.barycentrics), focal_px, (view.size / 2.0, view.size / 2.0))[:, :2]


def normal_picture(scene: Scene, view: View, vertices: Tensor) -> Tensor:
    """(3, S, S) unit normals in camera space of (V, 3), zero in the background; with gradients to `vertices`."""
    smooth = vertex_normals(vertices[None], scene.faces)[0]
    seen = interpolate(smooth, view.corners, view.barycentrics)
    return view.picture(torch.nn.functional.normalize(seen, dim=1))


def box_around(view: View) -> tuple[slice, slice]:
    """Rows and columns that hold all visible points and what the normal encoder sees around them."""
    if len(view.pixel) == 0:
        return slice(0, 1), slice(0, 1)
    row, column = view.pixel // view.size, view.pixel % view.size

    def reach(along: Tensor) -> slice:
        return slice(max(int(along.min()) - CODE_REACH_PX, 0), int(along.max()) + CODE_REACH_PX + 1)

    return reach(row), reach(column)

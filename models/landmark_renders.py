"""Simple pictures of any head in the FLAME layout, plain enough to draw quickly and lifelike enough for the face landmarker.

Shaded skin, procedural irises, and brows and lips as far as they are known. Where on the mesh each pixel lies is kept, so that a landmark found in the
picture can be carried back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.head import LEFT_EYE, RIGHT_EYE, HeadModel
from models.mesh import vertex_normals
from models.raster import Fragments, Rasterizer

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE_PX = 512
EYE_DISTANCE_PX = 100.0
DEPTH_M = 0.62
IRIS_RADIUS = 0.0935
"""Of an iris, in distances between the eyes: 11.8 mm across at 63 mm."""
PUPIL_SHARE = 0.4
LIGHT = np.array([0.25, 0.45, 0.85], np.float32)
COLOURS = {"mouth": (95, 40, 45), "upper_teeth": (232, 228, 215), "lower_teeth": (232, 228, 215), "tongue": (190, 100, 105)}
SKIN, WHITE, IRIS, PUPIL = (215, 168, 142), (240, 238, 236), (92, 74, 60), (15, 15, 15)
BACKGROUND = (110, 100, 90)
HIDDEN = "lashes"
NOT_SKIN = (*COLOURS, HIDDEN)


@dataclass(frozen=True, slots=True)
class Brush:
    """Paints skin near some points of the template: (n, 3) metres, with a soft edge about `radius_m`."""

    points: Float
    radius_m: float
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Drawing:
    """A picture (SIZE_PX, SIZE_PX, 3) uint8 RGB, and what it shows."""

    picture: NDArray[np.uint8]
    fragments: Fragments
    points: Float
    """(V, 3): x_px, y_px, depth of each vertex."""
    camera: Float
    """(V, 3) camera space."""


class Studio:
    """Draws one head."""

    def __init__(self, head: HeadModel, rasterizer: Rasterizer) -> None:
        """`rasterizer` draws pictures of SIZE_PX x SIZE_PX."""
        self._head = head
        self._rasterizer = rasterizer
        joints = head.joints(head.template)
        self._eyes = joints[[LEFT_EYE, RIGHT_EYE]]
        self._drawn = head.faces.copy()
        if HIDDEN in head.region_names:
            self._drawn[head.region_faces(HIDDEN)] = 0
        self._colours = np.tile(np.array(SKIN, np.float32), (len(head.faces), 1))
        for name, colour in COLOURS.items():
            if name in head.region_names:
                self._colours[head.region_faces(name)] = colour
        self._colours[self.eyes] = WHITE

    @cached_property
    def eyes(self) -> Mask:
        """(F,) triangles of the eyeballs: those that turn with the eye joints."""
        return eye_faces(self._head)

    @cached_property
    def skin(self) -> Mask:
        """(F,) triangles of the outer skin."""
        other = [name for name in NOT_SKIN if name in self._head.region_names]
        mask = ~self.eyes
        mask[self._head.region_faces(*other)] = False
        return mask

    def draw(self, vertices: Float, rotation: Float, brushes: tuple[Brush, ...] = ()) -> Drawing:
        """`vertices` (V, 3) in head space, seen by a camera in front of the eyes after they were turned by `rotation` (3, 3) about their middle."""
        middle = self._eyes.mean(0)
        camera = ((vertices - middle) @ rotation.T + [0.0, 0.02, -DEPTH_M]).astype(np.float32)
        depth = -camera[:, 2]
        focal = EYE_DISTANCE_PX * DEPTH_M / self._head.eye_distance_m
        points = np.stack([SIZE_PX / 2 + focal * camera[:, 0] / depth, SIZE_PX / 2 - focal * camera[:, 1] / depth, depth], 1).astype(np.float32)
        fragments = self._rasterizer.rasterize(points, self._drawn)
        return Drawing(self._shade(fragments, vertex_normals(camera, self._head.faces), brushes), fragments, points, camera)

    def _shade(self, fragments: Fragments, normals: Float, brushes: tuple[Brush, ...]) -> NDArray[np.uint8]:
        seen = fragments.face_id >= 0
        face, barycentrics = fragments.face_id[seen], fragments.barycentrics[seen]
        at_vertices = 0.45 + 0.6 * np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
        colour = self._colours[face]
        self._paint_irises(colour, face, barycentrics)
        for brush in brushes:
            self._paint(colour, face, barycentrics, brush)
        colour *= (barycentrics * at_vertices[self._head.faces[face]]).sum(1)[:, None]
        picture = np.empty((SIZE_PX, SIZE_PX, 3), np.float32)
        picture[:] = BACKGROUND
        picture[seen] = np.clip(colour, 0.0, 255.0)
        return _soften(picture).astype(np.uint8)

    def _places(self, face: NDArray[np.int32], barycentrics: Float) -> Float:
        """(n, 3) where pixels lie on the template."""
        corners = self._head.template[self._head.faces[face]]
        places: Float = (barycentrics[:, :, None] * corners).sum(1)
        return places

    def _paint_irises(self, colour: Float, face: NDArray[np.int32], barycentrics: Float) -> None:
        """In place. The iris is a disc about the axis through the eye's centre along +z."""
        pixel = np.flatnonzero(self.eyes[face])
        place = self._places(face[pixel], barycentrics[pixel])
        own = np.where(place[:, :1] * self._eyes[0, 0] > 0.0, self._eyes[:1], self._eyes[1:])
        away = np.hypot(place[:, 0] - own[:, 0], place[:, 1] - own[:, 1]) / (IRIS_RADIUS * self._head.eye_distance_m)
        front = place[:, 2] > own[:, 2]
        colour[pixel[front & (away < 1.0)]] = IRIS
        colour[pixel[front & (away < PUPIL_SHARE)]] = PUPIL

    def _paint(self, colour: Float, face: NDArray[np.int32], barycentrics: Float, brush: Brush) -> None:
        """In place."""
        low, high = brush.points.min(0) - 1.5 * brush.radius_m, brush.points.max(0) + 1.5 * brush.radius_m
        corners = self._head.template[self._head.faces]
        near = self.skin & (corners.max(1) > low).all(1) & (corners.min(1) < high).all(1)
        pixel = np.flatnonzero(near[face])
        place = self._places(face[pixel], barycentrics[pixel])
        squared = (place**2).sum(1)[:, None] - 2.0 * place @ brush.points.T + (brush.points**2).sum(1)
        distance = np.sqrt(np.maximum(squared.min(1, initial=np.inf), 0.0))
        strength = np.clip(1.5 - distance / brush.radius_m, 0.0, 1.0)[:, None]
        colour[pixel] += strength * (np.array(brush.colour, np.float32) - colour[pixel])


def eye_faces(head: HeadModel) -> Mask:
    """(F,) triangles whose corners turn with the eye joints."""
    weights = head.skinning_weights[:, [LEFT_EYE, RIGHT_EYE]].sum(1)
    turning: Mask = (weights[head.faces] > 0.5).all(1)
    return turning


def _soften(picture: Float) -> Float:
    """A small blur, as a lens has it."""
    padded = np.pad(picture, ((1, 1), (0, 0), (0, 0)), "edge")
    picture = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    padded = np.pad(picture, ((0, 0), (1, 1), (0, 0)), "edge")
    softened: Float = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    return softened

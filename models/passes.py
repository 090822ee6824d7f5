"""The passes that make one frame of one avatar, each over a share of the vertices, triangles or rows; with the buffers between them, made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.baked import BakedAvatar, Pose, project
from models.kernels import share
from models.lighting import light_vertices
from models.raster.edges import TILE, Edges, find_edges, sample_edges
from models.raster.triangles import SETUP_COLUMNS, box_around, rasterize_rows, set_up
from models.shading import Surface, draw_overlays, resolve_edges, shade_glossy, shade_rows, sort_far_to_near
from models.texture_basis import BakedTextureBasis
from models.texture_look_up import GLOSSY_FLAG, set_up_texture

EDGE_WORK = 30.0
"""What an edge pixel costs, in interior pixels; as the next two, measured."""
RUN_WORK = 8.0
"""What the first pixel of a triangle on a row costs beyond the others."""
EMPTY_WORK = 0.2
"""What an empty pixel costs."""
TRIANGLE_WORK = 60.0
"""What a triangle costs when it is drawn, in pixels drawn."""
BALANCE_EVERY = 16
"""Frames between two looks at how the work is spread: heads move slowly."""


@dataclass(frozen=True, slots=True)
class Under:
    """What the under layer's pixels see: without edge samples, for its outline is in its alpha."""

    face_id: NDArray[np.int32]
    """(S, S), counted from the layer's first triangle."""
    nearness: NDArray[np.float32]
    no_edges: NDArray[np.int32]
    """(S, S) all -1."""

    @staticmethod
    def buffers(size: int) -> Under:
        """Nothing seen yet."""
        return Under(np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32), np.full((size, size), -1, np.int32))


class Passes:
    """Call `begin`, then `pose`, `prepare`, `light` and `rasterize`, `find`, `shade` with every part, each when all parts of the one before are done.

    `light` and `rasterize` need not wait for each other, nor do the steps of one part within `find` … `shade`.
    """

    def __init__(self, avatar: BakedAvatar, size: int, parts: int) -> None:
        count, faces = len(avatar.base), len(avatar.faces)
        self.avatar = avatar
        self.size = size
        self.parts = parts
        self.face_id = np.full((size, size), -1, np.int32)
        self.nearness = np.zeros((size, size), np.float32)
        self.edges = Edges.buffers(size, size)
        self.rows = [share(-(-size // TILE), part, parts)[0] * TILE for part in range(parts)] + [size]
        self.raster_rows = list(self.rows)
        self._frames = 0
        self._free = [0] * parts
        self._glossy = np.flatnonzero(avatar.face_flags[: avatar.surface_count] & GLOSSY_FLAG).astype(np.int32)
        self._glossy_box = (0, 0, 0, 0)
        self._overlays = np.empty(avatar.under_from - avatar.surface_count, np.int32)
        self._keys = np.empty(len(self._overlays), np.float32)
        self._overlay_count = 0
        self._under = Under.buffers(size) if avatar.under_from < faces else None
        self._state = avatar.texture_basis.blank() if avatar.texture_basis else None
        self.surface = Surface(
            points=np.zeros((count, 3), np.float32),
            vertices=np.zeros((count, 3), np.float32),
            normals=np.zeros((count, 3), np.float32),
            light=np.zeros((count, 4), np.float32),
            faces=avatar.faces,
            face_region=avatar.face_region,
            component=avatar.component,
            setup=np.zeros((faces, SETUP_COLUMNS), np.float32),
            box=np.zeros((faces, 4), np.int32),
            lights=avatar.lights,
            materials=avatar.materials,
            texels=avatar.texture.texels,
            level=avatar.texture.level,
            residual=self._state.words if self._state else None,
        )
        self._pose: Pose | None = None

    def begin(self, pose: Pose) -> None:
        """Takes the pose of the frame to come."""
        self._pose = pose

    def pose(self, part: int) -> None:
        """Vertices in camera space and in the picture; the texture's blend."""
        assert self._pose is not None
        surface, camera, size = self.surface, self.avatar.camera, self.size
        first, last = share(len(surface.vertices), part, self.parts)
        self.avatar.pose_range(self._pose, first, last, surface.vertices)
        centre = [size * (0.5 + offset) for offset in camera.principal]
        project(surface.vertices, camera.focal * size, centre[0], centre[1], first, last, surface.points)
        basis = self.avatar.texture_basis
        if basis is not None and self._state is not None:
            basis.update(self._pose.texture, *share(len(basis.scale), part, self.parts), self._state)

    def prepare(self, part: int) -> None:
        """Set-up of the triangles: the surface's, then the overlay's."""
        surface, count = self.surface, self.avatar.surface_count
        for low, high, two_sided in ((0, count, False), (count, len(surface.faces), True)):
            first, last = (low + bound for bound in share(high - low, part, self.parts))
            set_up(surface.points, surface.faces, first, last, two_sided, self.size, self.size, surface.setup, surface.box)
            set_up_texture(self.avatar.corner_uv, surface.level, self.avatar.face_flags, surface.box, first, last, surface.setup)

    def light(self, part: int) -> None:
        """Normals and light of the vertices; the first part also sorts the overlay and bounds what is glossy."""
        surface, avatar = self.surface, self.avatar
        first, last = share(len(surface.vertices), part, self.parts)
        light_vertices(
            avatar.lights,
            avatar.materials,
            surface.vertices,
            surface.faces,
            avatar.around.start,
            avatar.around.face,
            surface.box,
            avatar.vertex_region,
            first,
            last,
            surface.normals,
            surface.light,
        )
        if part == 0:
            self._glossy_box = box_around(surface.box, self._glossy)
            self._overlay_count = sort_far_to_near(
                surface.points, surface.faces[: avatar.under_from], surface.box, avatar.surface_count, self._overlays, self._keys
            )

    def rasterize(self, part: int) -> None:
        """One sample a pixel."""
        surface, under, start = self.surface, self._under, self.avatar.under_from
        low, high = self.raster_rows[part], self.raster_rows[part + 1]
        rasterize_rows(surface.points, surface.faces, self.avatar.surface_count, surface.setup, surface.box, low, high, self.face_id, self.nearness)
        if under is not None:
            faces, setup, box = surface.faces[start:], surface.setup[start:], surface.box[start:]
            rasterize_rows(surface.points, faces, len(faces), setup, box, low, high, under.face_id, under.nearness)

    def find(self, part: int) -> None:
        """Edge pixels, and eight samples for each."""
        surface, low, high = self.surface, self.rows[part], self.rows[part + 1]
        first, last = share(len(self.edges.place), part, self.parts)
        self._free[part] = find_edges(self.face_id, self.nearness, surface.setup, surface.component, low, high, first, last, self.edges)
        sample_edges(surface.setup, surface.box, self.avatar.surface_count, low, high, self.edges)

    def shade(self, part: int, mirror: bool, out: NDArray[np.uint8]) -> None:
        """The under layer, then interior pixels, over the backdrop in `out` (size, size, 3)."""
        low, high = self.rows[part], self.rows[part + 1]
        if self._under is not None:
            start = self.avatar.under_from
            residual = None if self.avatar.plain_under else self.surface.residual
            beneath = self.surface._replace(faces=self.surface.faces[start:], setup=self.surface.setup[start:], residual=residual)
            shade_rows(beneath, self._under.face_id, self._under.no_edges, mirror, low, high, out)
        shade_rows(self.surface, self.face_id, self.edges.slot, mirror, low, high, out)
        left, right, top, bottom = self._glossy_box
        shade_glossy(self.surface, self.face_id, self.edges.slot, mirror, max(low, top), min(high, bottom), left, right, out)

    def resolve(self, part: int, mirror: bool, out: NDArray[np.uint8]) -> None:
        """Edge pixels over the backdrop in `out`."""
        first, _ = share(len(self.edges.place), part, self.parts)
        resolve_edges(self.surface, self.edges, first, self._free[part], mirror, out)

    def overlay(self, part: int, mirror: bool, out: NDArray[np.uint8]) -> None:
        """The overlay over what is in `out`."""
        order = self._overlays[: self._overlay_count]
        draw_overlays(self.surface, self.avatar.open_sides, order, self.nearness, mirror, self.rows[part], self.rows[part + 1], out)

    def compile_other_kind(self, out: NDArray[np.uint8]) -> None:
        """Compiles the shading for avatars with a texture basis where this one has none, and the other way round, by drawing nothing."""
        other = self.surface._replace(residual=np.zeros((2, 2), np.uint64) if self._state is None else None)
        shade_rows(other, self.face_id, self.edges.slot, False, 0, 0, out)
        shade_glossy(other, self.face_id, self.edges.slot, False, 0, 0, 0, 0, out)
        resolve_edges(other, self.edges, 0, 0, False, out)
        draw_overlays(other, self.avatar.open_sides, self._overlays[:0], self.nearness, False, 0, 0, out)
        nothing = BakedTextureBasis(np.zeros((1, 1, 16), np.int8), np.ones((1, 1), np.float32), np.zeros(1, np.uint8), 2, 2)
        nothing.update(np.zeros((1, 1), np.float32), 0, 1, nothing.blank())

    def balance(self) -> None:
        """Now and then shares the rows of the next frames out so that every part has as much to do."""
        self._frames += 1
        if self.parts == 1 or self._frames % BALANCE_EVERY != 1:
            return
        covered, edges = (self.face_id >= 0).sum(1), (self.edges.slot >= 0).sum(1)
        runs = (self.face_id[:, 1:] != self.face_id[:, :-1]).sum(1)
        self.rows = self._shared(covered + RUN_WORK * runs + EDGE_WORK * edges + EMPTY_WORK * self.size)
        box = self.surface.box[: self.avatar.surface_count]
        middle = (box[:, 2] + box[:, 3])[box[:, 1] > 0] // 2
        self.raster_rows = self._shared(covered + TRIANGLE_WORK * np.bincount(middle, minlength=self.size)[: self.size])

    def _shared(self, work: NDArray[np.floating]) -> list[int]:
        """Rows at which the bands start, and the end, for the work in each row."""
        done = np.cumsum(work)
        starts = [round(int(np.searchsorted(done, done[-1] * part / self.parts)) / TILE) * TILE for part in range(self.parts)]
        return [min(start, self.size) for start in starts] + [self.size]

"""The avatar that training starts from, as tensors: its mesh with everything derived once, and the colours its surface has already.

V vertices, F surface triangles, M vertices that may be moved, N visible points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import MAX_TEXTURE_PX, AvatarFile
from models.avatar_parts import AvatarMesh
from models.head import LEFT_EYE, NECK, RIGHT_EYE, ROOT
from models.head_torch import TorchHead
from models.image_blob import decode_image
from models.mesh import vertex_normals
from models.texture import Texture
from training.neural.sampling import bilinear

MOUTH_WORDS = ("mouth", "teeth", "tongue")
STIFF_MOUTH = 100.0
"""Laplacian weight of the mouth's inside: a plate that bends is seen at once."""
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Topology:
    """What follows from the mesh alone."""

    canonical: Tensor
    """(V, 3), -1…1 a direction."""
    frames: Tensor
    """(M, 3, 3): columns are the axes of each movable vertex, x = up × normal, y = normal × x, z = the normal of the neutral mesh."""
    movable: Tensor
    """(M,) vertices that the offset network moves: the surface without the eyeballs."""
    source: Tensor
    """(V,) whose offset each vertex takes, into the movable ones; M: none. An overlay's vertices follow the nearest of the surface."""
    neck: Tensor
    """(M,), 0…1: how much a vertex lies between head and shoulders."""
    mouth: Tensor
    """(V,), 0…1: how much a vertex belongs to the mouth's inside."""
    edges: Tensor
    """(E, 2) among all vertices."""
    rest_m: Tensor
    """(E,)."""
    neighbours: Tensor
    """(M, M) sparse, rows sum to one."""
    stiffness: Tensor
    """(M,)."""
    edge_m: float
    """The mean edge."""


@dataclass(frozen=True)
class Scene:
    """The start, and how it is drawn."""

    head: TorchHead
    topology: Topology
    faces: Tensor
    """(F, 3) of the surface."""
    corner_uv: Tensor
    """(F, 3, 2)."""
    learned: Tensor
    """(F,) 1 where colours are learned, 0 where the renderer adds light to the texture, which a picture does not part from it."""
    drawn: NDArray[np.int32]
    """(F + 2 O, 3): the surface, then the O triangles of the overlay, once each way round."""
    texels: Tensor
    """(all levels, 4), 0…1: models.texture."""
    levels: Tensor
    """(L, 3): first texel, width, height."""
    maps: Tensor
    """(K, C, R, R), 0…1 for a weight of one; (0, 4, 1, 1) without a basis."""
    group: Tensor
    """(R, R) which row of the weights a texel uses."""
    dynamic: Tensor
    """(D, V, 3)."""

    @staticmethod
    def of(avatar: AvatarFile, like: Tensor) -> Scene:
        """On the device and of the type of `like`."""
        mesh = avatar.mesh
        surface = mesh.face_layer == 0
        overlay = mesh.faces[~surface]
        texture = Texture.of(decode_image(avatar.texture, f"{avatar.card.name}: texture", 4, MAX_TEXTURE_PX))
        texels = texture.texels.astype("<u4").view(np.uint8).reshape(-1, 4)
        maps, group = basis_maps(avatar)
        dynamic = np.zeros((0, len(mesh.vertices), 3), np.float32) if avatar.dynamic_offsets is None else avatar.dynamic_offsets
        return Scene(
            head=TorchHead.of_avatar(avatar, like),
            topology=topology(avatar, like),
            faces=torch.from_numpy(mesh.faces[surface]).long().to(like.device),
            corner_uv=torch.from_numpy(mesh.uv[mesh.uv_faces[surface]]).to(like),
            learned=torch.from_numpy(np.array([not region.material.lit for region in avatar.regions])[mesh.face_region[surface]]).to(like),
            drawn=np.ascontiguousarray(np.concatenate([mesh.faces[surface], overlay, overlay[:, ::-1]]), np.int32),
            texels=torch.from_numpy(texels / np.float32(255.0)).to(like),
            levels=torch.from_numpy(np.array(texture.level)).long().to(like.device),
            maps=torch.from_numpy(maps).to(like),
            group=torch.from_numpy(group).long().to(like.device),
            dynamic=torch.from_numpy(np.array(dynamic)).to(like),
        )

    def spread(self, offsets: Tensor) -> Tensor:
        """(B, M, 3) in the vertices' frames → (B, V, 3) metres, head space."""
        turned = (self.topology.frames @ offsets[..., None])[..., 0]
        return torch.cat([turned, torch.zeros_like(turned[:, :1])], 1)[:, self.topology.source]

    def level_of(self, points: Tensor, face: Tensor) -> Tensor:
        """(N,) level of the texture with about one texel a pixel, as models.shading chooses it; `points` (V, 3) projected, `face` (N,)."""

        def area(corners: Tensor) -> Tensor:
            one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
            return (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).abs()

        texels = float(self.levels[0, 1] * self.levels[0, 2])
        corners = points[self.faces]
        near = 1.0 / corners[..., 2]
        ratio = area(self.corner_uv) * texels / area(corners[..., :2]).clamp(min=1e-9) * near[:, 1] * near[:, 2] / near[:, 0] ** 2
        level = (ratio.clamp(min=1.0).log2() + 0.5).long().clamp(max=len(self.levels) - 1)
        return level[face]

    def base(self, uv: Tensor, level: Tensor) -> Tensor:
        """(N, 4) straight RGBA, 0…1, of the base texture at (N, 2) in the (N,) levels; no gradient."""
        start, width, height = self.levels[level].unbind(1)
        size = torch.stack([width, height], 1)
        place = (uv * size - 0.5).clamp(min=0.0).minimum(size - 1.01)
        low = place.long()
        along, across = (place - low).unsqueeze(2).unbind(1)
        here = start + low[:, 1] * width + low[:, 0]
        upper = torch.lerp(self.texels[here], self.texels[here + 1], along)
        return torch.lerp(upper, torch.lerp(self.texels[here + width], self.texels[here + width + 1], along), across)

    def residual_map(self, weights: Tensor) -> Tensor:
        """(C, R, R) of what the start's texture basis adds with (G, K) weights, 0…1."""
        total = torch.zeros_like(self.maps[0]) if len(self.maps) else self.texels.new_zeros(4, 1, 1)
        for map_, weight in zip(self.maps, weights.T, strict=True):
            total = total + map_ * weight[self.group]
        return total

    def colours(self, uv: Tensor, level: Tensor, weights: Tensor) -> Tensor:
        """(N, 4) straight RGBA of the start with (G, K) texture weights; colours may leave 0…1, alpha does not."""
        colours = self.base(uv, level)
        if len(self.maps) == 0:
            return colours
        residual = self.residual_map(weights)
        added = bilinear(residual, uv * residual.shape[-1])
        colours = torch.cat([colours[:, :3] + added[:, :3], colours[:, 3:]], 1)
        if added.shape[1] == 4:
            colours = torch.cat([colours[:, :3], (colours[:, 3:] + added[:, 3:]).clamp(0.0, 1.0)], 1)
        return colours


def basis_maps(avatar: AvatarFile) -> tuple[Float, NDArray[np.uint8]]:
    """The texture basis as (K, C, R, R), 0…1 for a weight of one, and the (R, R) group of each texel; (0, 4, 1, 1) and one group without one."""
    basis = avatar.texture_basis
    if basis is None:
        return np.zeros((0, 4, 1, 1), np.float32), np.zeros((1, 1), np.uint8)
    along = basis.maps.shape[1] // basis.block

    def spread(blocks: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.repeat(np.repeat(blocks.reshape(*blocks.shape[:-1], along, along), basis.block, -1), basis.block, -2)

    scaled = basis.maps.transpose(0, 3, 1, 2) * spread(basis.scale)[:, None].astype(np.float32) / np.float32(255.0)
    return scaled.astype(np.float32), spread(basis.group).astype(np.uint8)


def topology(avatar: AvatarFile, like: Tensor) -> Topology:
    """Derives everything; on the device and of the type of `like`."""
    mesh = avatar.mesh
    count = len(mesh.vertices)
    surface = mesh.faces[mesh.face_layer == 0]
    movable, source = _movable(mesh, surface)
    edges = np.unique(np.sort(np.concatenate([surface[:, [0, 1]], surface[:, [1, 2]], surface[:, [2, 0]]]), axis=1), axis=0)
    rest = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)
    mouth = _region_share(avatar, MOUTH_WORDS)
    root = mesh.skinning_weights[:, ROOT]
    neck = 4.0 * root * np.minimum(mesh.skinning_weights[:, NECK], 1.0 - root)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)

    def tensor(array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(like)

    def index(array: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(like.device)

    return Topology(
        canonical=tensor(2.0 * (mesh.vertices - low) / np.maximum(high - low, 1e-9) - 1.0),
        frames=tensor(_frames(vertex_normals(mesh.vertices, surface)[movable])),
        movable=index(movable),
        source=index(source),
        neck=tensor(np.where(neck > 0.01, neck, 0.0)[movable]),
        mouth=tensor(mouth),
        edges=index(edges),
        rest_m=tensor(rest),
        neighbours=_neighbours(edges, movable, count).to(like),
        stiffness=tensor(1.0 + (STIFF_MOUTH - 1.0) * mouth[movable]),
        edge_m=float(rest.mean()),
    )


def _movable(mesh: AvatarMesh, surface: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = len(mesh.vertices)
    eye = mesh.skinning_weights[:, [LEFT_EYE, RIGHT_EYE]].sum(1) > 0.5
    on_surface = np.zeros(count, bool)
    on_surface[surface] = True
    movable = np.flatnonzero(on_surface & ~eye)
    source = np.full(count, len(movable))
    source[movable] = np.arange(len(movable))
    for vertex in np.flatnonzero(~on_surface & ~eye):
        source[vertex] = int(((mesh.vertices[movable] - mesh.vertices[vertex]) ** 2).sum(1).argmin())
    return movable, source


def _region_share(avatar: AvatarFile, words: tuple[str, ...]) -> Float:
    """(V,): of the triangles around a vertex, the share in regions whose name has one of the words."""
    mesh = avatar.mesh
    chosen = np.array([any(word in region.name for word in words) for region in avatar.regions])[mesh.face_region]
    around = np.bincount(mesh.faces.ravel(), minlength=len(mesh.vertices))
    inside = np.bincount(mesh.faces.ravel(), np.repeat(chosen, 3).astype(float), len(mesh.vertices))
    return (inside / np.maximum(around, 1)).astype(np.float32)


def _frames(normals: Float) -> Float:
    """(M, 3, 3) from unit normals (M, 3); where the normal is upright, x is the head's."""
    across = np.cross(np.array([0.0, 1.0, 0.0]), normals)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    x = np.where(length > 1e-6, across / np.maximum(length, 1e-6), np.array([1.0, 0.0, 0.0]))
    return np.stack([x, np.cross(normals, x), normals], -1).astype(np.float32)


def _neighbours(edges: NDArray[np.int32], movable: NDArray[np.int64], count: int) -> Tensor:
    place = np.full(count, -1)
    place[movable] = np.arange(len(movable))
    both = place[np.concatenate([edges, edges[:, ::-1]])]
    both = both[(both >= 0).all(1)]
    degree = np.bincount(both[:, 0], minlength=len(movable))
    indices = torch.from_numpy(both.T.astype(np.int64))
    values = torch.from_numpy((1.0 / degree[both[:, 0]]).astype(np.float32))
    size = (len(movable), len(movable))
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=False).coalesce()

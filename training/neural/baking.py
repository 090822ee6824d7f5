"""From networks back to an avatar file: offsets into vertices and a few dynamic shapes, colours into texture maps and a weight function.

Each pose's whole residual (what the start adds to its base texture, and what the texture network adds to that) is written into the texture; its principal
components, block group by block group, become maps; a weight function is fitted to the poses' coefficients; the maps are then solved for again with the
weights that the function really gives. A poses, K maps, G groups, D shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import MAX_MAPS, AvatarFile, write_avatar
from models.avatar_parts import TextureBasis, WeightFunction
from models.raster import Rasterizer
from training.neural.avatar import NeuralAvatar
from training.neural.frames import evenly, poses_at
from training.neural.poses import Asked
from training.neural.schedule import NeuralSettings
from training.neural.texels import TexelColours, Texels
from training.neural.weight_fit import apply, fit_layers, hidden_units
from training.progress import Progress

Float = NDArray[np.float32]
Real = NDArray[np.float64]
MakeRasterizer = Callable[[int], Rasterizer]
BLOCK = 16
SMALLEST_OFFSET_M = 2e-5
PIECE = 1 << 13
"""Texels that are in memory at a time."""
RIDGE = 1e-6
"""Of the weights' own energy, when maps are solved for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the baked texture basis is cut: as the start's, where it has one."""

    side: int
    channels: int
    block: int
    group: NDArray[np.uint8]
    """(blocks,)."""

    @staticmethod
    def of(start: AvatarFile, settings: NeuralSettings) -> Layout:
        basis = start.texture_basis
        if basis is None:
            side = settings.map_side
            return Layout(side, 3, BLOCK, np.zeros((side // BLOCK) ** 2, np.uint8))
        return Layout(basis.maps.shape[1], basis.maps.shape[3], basis.block, basis.group)

    def map_count(self, spare_bytes: int, feature_count: int, most: int) -> int:
        """As many maps, with their share of the weight function, as fit into `spare_bytes`, but at least one and at most `most`."""
        groups = int(self.group.max()) + 1
        per_map = self.side**2 * self.channels + 4 * len(self.group) + 4 * hidden_units(feature_count) * groups
        return max(min(MAX_MAPS, most, spare_bytes // per_map), 1)

    def of_texels(self, values: NDArray[Any]) -> NDArray[Any]:
        """(…, blocks) → (…, R, R)."""
        along = self.side // self.block
        return np.repeat(np.repeat(values.reshape(*values.shape[:-1], along, along), self.block, -1), self.block, -2)


def bake(avatar: NeuralAvatar, start: AvatarFile, settings: NeuralSettings, make: MakeRasterizer, folder: Path, progress: Progress) -> AvatarFile:
    """An avatar file that shows what the networks show. `make` gives a rasteriser for pictures of so many pixels a side; `folder` takes a file for a while."""
    frames = avatar.frames
    chosen = evenly(np.arange(len(frames)), settings.bake_frames)
    asked = Asked.of(frames, chosen, settings.bake_mixed, start, settings.seed)
    with torch.no_grad():
        moved = _offsets(avatar, asked)
    still = moved[: len(chosen)].mean(0)
    varying = moved - still + np.tensordot(asked.dynamic_weights.cpu().numpy(), avatar.scene.dynamic.cpu().numpy(), 1)
    varying = varying.reshape(len(asked), -1)
    layout = Layout.of(start, settings)
    varies = np.abs(varying).max() > SMALLEST_OFFSET_M
    shape_count = min(max(settings.dynamic_shapes, len(avatar.scene.dynamic)), len(asked)) if varies else 0
    spare = settings.file_bytes - _fixed_bytes(start, folder, frames.conditions.shape[1], shape_count)
    count = layout.map_count(spare, frames.conditions.shape[1], min(settings.maps, len(asked)))
    conditions = asked.conditions.cpu().numpy().astype(np.float64)
    residuals, texels = _residuals(avatar, start, layout, asked, make, folder, progress)
    try:
        bases = [*_components(residuals, texels, layout, count), _coefficients(len(asked), [varying], shape_count)]
        layers = fit_layers(conditions, _of_one_size(bases), settings.seed)
        given = apply(layers, conditions)
        split = (len(bases) - 1) * count
        basis = _texture_basis(residuals, texels, layout, given[:, :split].reshape(len(asked), -1, count))
    finally:
        _file(folder).unlink(missing_ok=True)
    standard = frames.standard
    return replace(
        start,
        mesh=replace(start.mesh, vertices=(start.mesh.vertices + still).astype(np.float32)),
        texture_basis=basis,
        dynamic_offsets=(_solver(given[:, split:]) @ varying).reshape(-1, *still.shape) if varies else None,
        weights=WeightFunction(standard.mean, standard.scale, standard.clip, layers),
    )


def _of_one_size(bases: list[Real]) -> Real:
    """The coefficients of all bases side by side, textures and dynamic offsets each of standard deviation one."""
    textures, dynamic = np.concatenate(bases[:-1], 1), bases[-1]
    parts = [part / max(float(part.std()), 1e-12) for part in (textures, dynamic) if part.shape[1]]
    return np.concatenate(parts, 1)


def _offsets(avatar: NeuralAvatar, asked: Asked) -> Float:
    """(A, V, 3) metres, head space: what the offset network says of poses."""
    return np.concatenate([avatar.scene.spread(avatar.local_offsets(neck)).cpu().numpy() for neck in asked.poses.neck.split(16)])


def _fixed_bytes(start: AvatarFile, folder: Path, feature_count: int, shape_count: int) -> int:
    """What the file takes without texture maps and what weighs them."""
    path = folder / "size.part"
    write_avatar(path, replace(start, texture_basis=None, dynamic_offsets=None, weights=None))
    size = path.stat().st_size
    path.unlink()
    units = hidden_units(feature_count)
    return size + 6 * shape_count * len(start.mesh.vertices) + 4 * units * (feature_count + shape_count + 1)


def _file(folder: Path) -> Path:
    return folder / "residuals.part.npy"


@torch.no_grad()
def _residuals(
    avatar: NeuralAvatar, start: AvatarFile, layout: Layout, asked: Asked, make: MakeRasterizer, folder: Path, progress: Progress
) -> tuple[Float, Texels]:
    """(A, N, C) grey levels that each pose adds to the base texture at the covered texels; on disk."""
    frames, scene = avatar.frames, avatar.scene
    texels = Texels.of(start, layout.side, make(layout.side), frames.conditions)
    colours = TexelColours(avatar, texels, make(frames.size))
    progress.start("neural bake", 2 * len(asked))

    def posed(row: int) -> Tensor:
        poses = poses_at(asked.poses, torch.tensor([row], device=frames.conditions.device))
        return avatar.vertices(poses, avatar.local_offsets(poses.neck), asked.dynamic_weights[row : row + 1])[0]

    for row in range(len(asked)):
        colours.look_at(posed(row))
        progress.advance()
    kept = np.lib.format.open_memmap(_file(folder), "w+", np.float32, (len(asked), len(texels), layout.channels))
    for row in range(len(asked)):
        kept[row] = 0.0
        kept[row, :, :3] = 255.0 * colours(posed(row), asked.conditions[row]).cpu().numpy()
        if len(scene.maps):
            whole = scene.residual_map(asked.texture_weights[row]).cpu().numpy()
            kept[row] += 255.0 * whole[:, texels.row, texels.column].T
        progress.advance()
    return kept, texels


def _members(texels: Texels, layout: Layout, group: int) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Which covered texels a group's texels show, and where those are, gutters and all."""
    row, column = np.nonzero((layout.of_texels(layout.group) == group) & (texels.origin >= 0))
    return texels.origin[row, column], (row, column)


def _pieces(residuals: Float, shown: NDArray[np.int64]) -> Iterator[Float]:
    """(A, n C) rows of the shown texels, piece by piece."""
    for first in range(0, len(shown), PIECE):
        yield residuals[:, shown[first : first + PIECE]].reshape(len(residuals), -1)


def _components(residuals: Float, texels: Texels, layout: Layout, count: int) -> list[Real]:
    """For each group (A, K) coefficients of its principal components; they are not centred, so a constant change needs no other place."""
    groups = range(int(layout.group.max()) + 1)
    return [_coefficients(len(residuals), _pieces(residuals, _members(texels, layout, group)[0]), count) for group in groups]


def _coefficients(length: int, pieces: Iterable[Float], count: int) -> Real:
    """From pieces (A, X) of A = `length` long rows their (A, K) coefficients, in the unit of the rows, an entry's mean square taken over all X."""
    gram, width = np.zeros((length, length)), 0
    for piece in pieces:
        exact = piece.astype(np.float64)
        gram += exact @ exact.T
        width += piece.shape[1]
    energy, vectors = np.linalg.eigh(gram / max(width, 1))
    largest = np.argsort(energy)[::-1][:count]
    return np.asarray(vectors[:, largest] * np.sqrt(np.maximum(energy[largest], 0.0)))


def _solver(weights: Real) -> Float:
    """(K, A): times (A, X) it is the basis that, with (A, K) weights, comes nearest to them."""
    gram = weights.T @ weights
    gram[np.diag_indices(len(gram))] += RIDGE * max(float(np.trace(gram)), 1e-12) / len(gram)
    return np.linalg.solve(gram, weights.T).astype(np.float32)


def _texture_basis(residuals: Float, texels: Texels, layout: Layout, weights: Real) -> TextureBasis:
    """Maps for the weights (A, G, K) that the function gives, in steps of their blocks."""
    count, side = weights.shape[2], layout.side
    maps = np.zeros((count, side, side, layout.channels), np.float32)
    for group in range(weights.shape[1]):
        shown, (row, column) = _members(texels, layout, group)
        solver = _solver(weights[:, group])
        solved = [solver @ piece for piece in _pieces(residuals, shown)]
        if solved:
            maps[:, row, column] = np.concatenate(solved, 1).reshape(count, len(shown), layout.channels)
    return TextureBasis.quantised(maps, layout.block, layout.group)

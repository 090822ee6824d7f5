"""The texture basis at run time: int8 maps in blocks, summed only in blocks whose weights have changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import TextureBasis
from models.kernels import kernel

SMALLEST_CHANGE = 0.02
"""In grey levels: a block is left alone while no texel in it can change by more."""


@dataclass(frozen=True, slots=True)
class BakedTextureBasis:
    """K maps, B blocks of n texels of 4 channels, the texels of a block side by side."""

    maps: NDArray[np.int8]
    """(B, K, 4 n): channel by channel of the first texel, then of the next."""
    scale: NDArray[np.float32]
    """(B, K) grey levels for a step of one; zero where a map is zero all over the block."""
    group: NDArray[np.uint8]
    """(B,)."""
    side: int
    block: int

    @property
    def group_count(self) -> int:
        return int(self.group.max()) + 1

    @staticmethod
    def of(basis: TextureBasis) -> BakedTextureBasis:
        """Texels sorted by block; three channels are filled up with a zero fourth."""
        count, side, _, channels = basis.maps.shape
        along, block = side // basis.block, basis.block
        full = np.zeros((count, side, side, 4), np.int8)
        full[..., :channels] = basis.maps
        split = full.reshape(count, along, block, along, block, 4).transpose(1, 3, 0, 2, 4, 5)
        maps = np.ascontiguousarray(split.reshape(along * along, count, 4 * block * block))
        return BakedTextureBasis(maps, np.ascontiguousarray(np.where(maps.any(2), basis.scale.T, np.float32(0.0))), basis.group, side, block)

    def blank(self) -> ResidualTexture:
        """The state of one session: nothing added yet."""
        shown = np.full((len(self.scale), self.maps.shape[1]), np.inf, np.float32)
        return ResidualTexture(np.zeros((self.side, self.side, 4), np.int16), shown)

    def update(self, weights: NDArray[np.float32], first: int, last: int, state: ResidualTexture) -> None:
        """Brings blocks first…last - 1 up to date with `weights` (G, K)."""
        blend_blocks(self.maps, self.scale, self.group, self.block, weights, first, last, state.shown, state.texels.reshape(self.side, -1))


@dataclass(frozen=True, slots=True)
class ResidualTexture:
    """What the basis adds to the base texture at present."""

    texels: NDArray[np.int16]
    """(R, R, 4) in 1/64 of a grey level."""
    shown: NDArray[np.float32]
    """(B, K) the scaled weights that `texels` was made with."""

    @property
    def words(self) -> NDArray[np.uint64]:
        """(R, R): the same memory, the four channels of a texel in one word, red lowest (on little-endian machines)."""
        return self.texels.view(np.uint64)[..., 0]


@kernel
def blend_blocks(
    maps: NDArray[np.int8],
    scale: NDArray[np.float32],
    group: NDArray[np.uint8],
    side: int,
    weights: NDArray[np.float32],
    first: int,
    last: int,
    shown: NDArray[np.float32],
    texels: NDArray[np.int16],
) -> None:
    """texels (R, 4 R) = 64 * sum over k of scale * weight * map, saturated, for the blocks whose weights moved."""
    count, channels = maps.shape[1], maps.shape[2]
    along = texels.shape[0] // side
    total = np.empty(channels, np.float32)
    for b in range(first, last):
        change = np.float32(0.0)
        for k in range(count):
            change += abs(scale[b, k] * weights[group[b], k] - shown[b, k]) * np.float32(127.0)
        if change < SMALLEST_CHANGE:
            continue
        total[:] = 0.0
        for k in range(count):
            shown[b, k] = scale[b, k] * weights[group[b], k]
            weight = np.float32(64.0) * shown[b, k]
            if weight != 0.0:
                for n in range(channels):
                    total[n] += weight * maps[b, k, n]
        top, left = (b // along) * side, (b % along) * side
        for row in range(side):
            for n in range(4 * side):
                value = total[4 * side * row + n]
                texels[top + row, 4 * left + n] = np.int16(min(max(value, np.float32(-16320.0)), np.float32(16320.0)))

"""An avatar as other programs can hold it: one texture, and shapes that add up. What depends on the pose otherwise is taken at rest, or made linear."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import SparseBasis
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.image_blob import encode_image

Float = NDArray[np.float32]
SMALLEST_M = 5e-5
"""Motion of learned shapes below this is left out."""
PNG_LEVEL = 6
"""A seventh of the time of 9, for four per cent more bytes."""
LEAST_REACH = 0.25
"""A learned motion is measured over at least so much of a shape's weight, beyond rest."""


@dataclass(frozen=True)
class LinearAvatar:
    """V vertices, E shapes: vertices before the joints move = `vertices` + weights @ `shapes`; exact at rest."""

    file: AvatarFile
    baked: BakedAvatar
    rest: HeadParams
    vertices: Float
    """(V, 3) metres, head space, with all weights at zero."""
    shapes: SparseBasis
    """E shapes, in the order of the avatar's expression names."""

    @staticmethod
    def of(file: AvatarFile) -> LinearAvatar:
        """Dynamic offsets become a part of the shapes: what they do from rest to the highest trained weight of one shape, the others at rest.

        Raises:
            BadFile: a picture in the file is damaged.
        """
        baked = bake(file)
        rest = baked.neutral()
        dense = file.expression.dense(len(baked.base))
        at_rest = baked.base + np.tensordot(rest.expression, dense, 1)
        if len(baked.dynamic_offsets):
            still = baked.pose_of(rest).dynamic
            at_rest += np.tensordot(still, baked.dynamic_offsets, 1)
            dense += np.tensordot(_gains(baked, rest, still), baked.dynamic_offsets, 1)
        shapes = SparseBasis.from_dense(dense, SMALLEST_M if len(baked.dynamic_offsets) else 0.0)
        vertices = at_rest - np.tensordot(rest.expression, shapes.dense(len(baked.base)), 1)
        return LinearAvatar(file, baked, rest, vertices.astype(np.float32), shapes)


def _gains(baked: BakedAvatar, rest: HeadParams, still: Float) -> Float:
    """(E, D): how much of each dynamic offset comes with a weight of one of each shape. `still` (D,): their weights at rest."""
    gains = np.zeros((len(rest.expression), len(still)), np.float32)
    for index, highest in enumerate(baked.ranges.expression[:, 1]):
        reach = max(float(highest - rest.expression[index]), LEAST_REACH)
        moved = rest.expression.copy()
        moved[index] += reach
        gains[index] = (baked.pose_of(replace(rest, expression=moved)).dynamic - still) / reach
    return gains


def texture_at(baked: BakedAvatar, params: HeadParams) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA, straight: the avatar's texture as it is at `params`."""
    base = baked.texture.image(0)
    basis = baked.texture_basis
    if basis is None:
        return base
    added = basis.blank()
    basis.update(np.ascontiguousarray(baked.pose_of(params).texture), 0, len(basis.scale), added)
    grey = cv2.resize(added.texels.astype(np.float32) / 64.0, base.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(np.rint(base + grey), 0, 255).astype(np.uint8)


def png(texture: NDArray[np.uint8]) -> bytes:
    """Of (H, W, 4): a format that every program reads, for WebP is an extension in glTF."""
    return encode_image(texture, png_level=PNG_LEVEL)

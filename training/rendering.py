"""Pictures of an avatar over any picture: for measuring, unmarked; and the mark for those that people get to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import MAX_TEXTURE_PX, AvatarFile
from models.badge import lay_badge, make_badge
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.image_blob import decode_image, encode_image
from models.kernels import Bands
from models.passes import Passes
from models.watermark.marker import Marker

Picture = NDArray[np.uint8]
Parts = Literal["all", "head"]
BUST = "bust"
"""Name of the region below the head: neck, shoulders, clothes."""
EMPTY_GREY = 128
"""Behind an avatar that has no background of its own."""


class HeadRenderer:
    """Draws one avatar; called from one thread.

    Args:
        file: the avatar; its camera is the picture's.
        size: width and height of the pictures, in pixels.
        threads: how many cores to use.
    """

    def __init__(self, file: AvatarFile, size: int, threads: int = 1) -> None:
        self.size = size
        self._bands = Bands(threads)
        self.avatar = bake(file)
        self._passes: dict[Parts, Passes] = {"all": Passes(self.avatar, size, self._bands.count)}
        self._passes["head"] = Passes(_without_bust(file, self.avatar), size, self._bands.count) if _has_bust(file) else self._passes["all"]

    def render(self, params: HeadParams, behind: Picture, parts: Parts = "all") -> Picture:
        """A new (size, size, 3) picture, RGB.

        Args:
            params: expression in the avatar's own order.
            behind: (size, size, 3), stays as it is. The avatar's plate is not laid over it: `own_backdrop` holds it.
            parts: "head" leaves the bust out.
        """
        return self.render_over(params, (behind,), parts)[0]

    def render_over(self, params: HeadParams, behind: Sequence[Picture], parts: Parts = "all") -> list[Picture]:
        """As `render`, over several pictures at the price of little more than one."""
        passes, bands = self._passes[parts], self._bands
        outs = [picture.copy() for picture in behind]
        passes.begin(self.avatar.pose_of(params))
        for step in (passes.pose, passes.prepare, passes.light, passes.rasterize):
            bands.run(step)

        def colour(part: int) -> None:
            passes.find(part)
            for out in outs:
                passes.shade(part, False, out)
                passes.resolve(part, False, out)
                passes.overlay(part, False, out)

        bands.run(colour)
        passes.balance()
        return outs

    def close(self) -> None:
        """Ends the threads; may be called twice."""
        self._bands.close()


def _has_bust(file: AvatarFile) -> bool:
    return any(region.name == BUST for region in file.regions)


def _without_bust(file: AvatarFile, whole: BakedAvatar) -> BakedAvatar:
    """The same avatar without those triangles; shares what takes memory with the whole one."""
    mesh = file.mesh
    bust = [index for index, region in enumerate(file.regions) if region.name == BUST]
    kept = ~np.isin(mesh.face_region, bust)
    cut = replace(mesh, faces=mesh.faces[kept], uv_faces=mesh.uv_faces[kept], face_region=mesh.face_region[kept], face_layer=mesh.face_layer[kept])
    small = encode_image(np.zeros((1, 1, 4), np.uint8))
    head = bake(replace(file, mesh=cut, texture=small, texture_basis=None, weights=None, dynamic_offsets=None, plate=None, background=None))
    return replace(head, texture=whole.texture, texture_basis=whole.texture_basis, weights=whole.weights, dynamic_offsets=whole.dynamic_offsets)


def own_backdrop(file: AvatarFile, size: int) -> Picture:
    """(size, size, 3) RGB: the avatar's background with its plate over it, as the server shows them; plain grey where it has no background."""
    name = file.card.name
    picture = np.full((size, size, 3), EMPTY_GREY, np.uint8)
    if file.background is not None:
        picture = _fitted(decode_image(file.background, f"{name}: background", 3, MAX_TEXTURE_PX), size)
    if file.plate is None:
        return picture
    plate = _fitted(decode_image(file.plate, f"{name}: plate", 4, MAX_TEXTURE_PX), size)
    alpha = plate[..., 3:].astype(np.float32) / 255.0
    return np.clip(np.rint(plate[..., :3] * alpha + picture * (1.0 - alpha)), 0, 255).astype(np.uint8)


def _fitted(picture: Picture, size: int) -> Picture:
    """The largest centred square, scaled."""
    import cv2

    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC), np.uint8)


def static_texture(file: AvatarFile) -> AvatarFile:
    """The avatar with the texture and the offsets of its mean pose, whatever the pose is: a baseline that shows what the rest is worth."""
    if file.weights is None:
        return file
    (matrix, bias), *rest = file.weights.layers
    return replace(file, weights=replace(file.weights, layers=((np.zeros_like(matrix), bias), *rest)))


class Mark:
    """What says that a picture is synthetic, for pictures of one size: the badge "AI avatar", and the invisible mark."""

    def __init__(self, size: int) -> None:
        self._badge, self._margin = make_badge(size)
        self._marker = Marker(size)

    def lay(self, picture: Picture) -> Picture:
        """Marks a (size, size, 3) picture in place, and returns it."""
        lay_badge(self._badge, self._margin, 0, len(picture), picture)
        return self._marker.mark(picture)

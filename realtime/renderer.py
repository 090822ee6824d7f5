"""HeadParams to a picture of one avatar: pose, raster, shade, composite, in bands on a few threads, into buffers made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.badge import lay_badge, make_badge
from models.baked import BakedAvatar
from models.head import HeadParams
from models.kernels import Bands
from models.passes import Passes
from models.watermark.marker import Marker
from models.yuv import planes, to_i420
from realtime.backgrounds import backdrop

Picture = NDArray[np.uint8]
SMALLEST_PX, LARGEST_PX = 64, 1024
ROTATION = 3
"""Buffers in turn: a returned picture stays as it is while the next two are made."""


@dataclass(frozen=True, slots=True)
class _Behind:
    """A backdrop and what it was made for."""

    name: str
    mirror: bool
    picture: Picture


class AvatarRenderer:
    """Renders one avatar at a time; called from one thread.

    Args:
        avatar: who is shown.
        size: width and height of the picture in pixels: even, 64…1024.
        threads: how many cores to use.
    """

    def __init__(self, avatar: BakedAvatar, size: int, threads: int = 2) -> None:
        if size % 2 or not SMALLEST_PX <= size <= LARGEST_PX:
            raise ValueError(f"size: expected an even number of pixels from {SMALLEST_PX} to {LARGEST_PX}, got {size}")
        self.size = size
        self._bands = Bands(threads)
        self._pictures = [np.zeros((size, size, 3), np.uint8) for _ in range(ROTATION)]
        self._i420 = [np.zeros((size * 3 // 2, size), np.uint8) for _ in range(ROTATION)]
        self._turn = 0
        self._badge, self._margin = make_badge(size)
        self._says_so = True
        self._marker = Marker(size)
        self.set_avatar(avatar)

    def set_avatar(self, avatar: BakedAvatar) -> None:
        """Shows another avatar from the next picture on."""
        self.avatar = avatar
        self._passes = Passes(avatar, self.size, self._bands.count)
        self._behind: _Behind | None = None

    def set_badge(self, enabled: bool) -> None:
        """Whether pictures say "AI avatar" from the next one on; they do at first."""
        self._says_so = enabled

    def render(self, params: HeadParams, background: str = "avatar", mirror: bool = False) -> Picture:
        """(size, size, 3) RGB; the buffer is used again three pictures later.

        Args:
            params: expression in the avatar's own order; parameters that are not finite show the neutral face.
            background: realtime.backgrounds.
            mirror: flips everything but the badge.

        Raises:
            ValueError: no such background.
        """
        return self._render(params, background, mirror, None)

    def render_i420(self, params: HeadParams, background: str = "avatar", mirror: bool = False) -> Picture:
        """(size * 3 / 2, size) uint8 as RenderedFrame.i420, with the invisible mark (models/watermark); otherwise as `render`, which does not have it."""
        i420 = self._i420[self._turn]
        self._render(params, background, mirror, i420)
        return i420

    def warm_up(self) -> None:
        """Compiles everything that a first picture of this avatar, or of one of another kind, would otherwise wait for."""
        self._passes.compile_other_kind(self.render(self.avatar.neutral()))
        self.render_i420(self.avatar.neutral())

    def close(self) -> None:
        """Ends the threads; may be called twice."""
        self._bands.close()

    def _render(self, params: HeadParams, background: str, mirror: bool, i420: Picture | None) -> Picture:
        passes, behind = self._passes, self._prepared(background, mirror)
        out = self._pictures[self._turn]
        self._turn = (self._turn + 1) % ROTATION
        passes.begin(self.avatar.pose_of(params))
        self._bands.run(passes.pose)
        self._bands.run(passes.prepare)

        def see(part: int) -> None:
            passes.light(part)
            passes.rasterize(part)

        def colour(part: int) -> None:
            low, high = passes.rows[part], passes.rows[part + 1]
            out[low:high] = behind.picture[low:high]
            passes.find(part)
            passes.shade(part, mirror, out)
            passes.resolve(part, mirror, out)
            passes.overlay(part, mirror, out)
            if self._says_so:
                lay_badge(self._badge, self._margin, low, high, out)
            if i420 is not None:
                luma, blue, red = planes(i420)
                to_i420(out, low, high, luma, blue, red)
                self._marker.mark_luma(luma, low, high)

        self._bands.run(see)
        self._bands.run(colour)
        passes.balance()
        return out

    def _prepared(self, background: str, mirror: bool) -> _Behind:
        behind = self._behind
        if behind is None or (behind.name, behind.mirror) != (background, mirror):
            picture = backdrop(background, self.size, self.avatar.background, self.avatar.plate)
            behind = self._behind = _Behind(background, mirror, np.ascontiguousarray(picture[:, ::-1]) if mirror else picture)
        return behind

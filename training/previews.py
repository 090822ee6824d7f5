"""Pictures of an avatar in the making, for whoever waits for it: marked as synthetic, at one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from training.fitted import Fitted
from training.portrait.portrait import Portrait, View
from training.rendering import EMPTY_GREY, HeadRenderer, Mark, own_backdrop

Picture = NDArray[np.uint8]
SIDE_PX = 384


def of_portrait(portrait: Portrait, fitted: Fitted, frame: int) -> Picture:
    """(SIDE_PX, SIDE_PX, 3) RGB: what has been learned by now, as it would be in that frame of the clip."""
    behind = np.full((SIDE_PX, SIDE_PX, 3), EMPTY_GREY, np.uint8)
    return Mark(SIDE_PX).lay(View(portrait.baked(), SIDE_PX).draw(fitted.params(frame), behind))


def of_file(file: AvatarFile, fitted: Fitted, frame: int) -> Picture:
    """As `of_portrait`, of a whole avatar before its own background."""
    renderer = HeadRenderer(file, SIDE_PX)
    try:
        return Mark(SIDE_PX).lay(renderer.render(fitted.params(frame), own_backdrop(file, SIDE_PX)))
    finally:
        renderer.close()


def calmest(fitted: Fitted, frames: NDArray[np.int64]) -> int:
    """Of the frames, the one with the least expression and the most usual pose."""
    turned = np.linalg.norm(fitted.neck[frames] - fitted.neck[frames].mean(0), axis=1)
    return int(frames[int(np.argmin(turned + 0.3 * np.abs(fitted.expression[frames]).sum(1)))])

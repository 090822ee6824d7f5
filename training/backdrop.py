"""The empty room behind the person, gathered over the clip; and whether the camera stands still enough for that."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.matting import Bytes, Plate
from training.video import Image

AT_MOST = 48
"""Frames that are asked: more say nothing new, and take memory."""
CLEARANCE_PX = 15
SEEN, SEEN_SHARE = 4, 0.08
"""A place of the room counts from so many frames on, and from such a share of those that are asked."""
CALM, RESTLESS = 5.0, 14.0
"""How far a place's colour is from its median, grey values, in a tenth of the frames: up to the first it is trusted, from the second on not at all."""
STILL_SHARE = 0.6
"""The camera stands still where so much of what is seen of the room is."""


@dataclass(frozen=True, slots=True)
class Room:
    """The background in pixels of the crop, over everything that the crops of the clip reach."""

    corner: tuple[int, int]
    """x, y of its own corner in the same pixels as the crops' origins."""
    plate: Plate

    def seen_from(self, origin: NDArray[np.int32], size: int) -> Plate:
        """What one crop sees of it."""
        x, y = int(origin[0]) - self.corner[0], int(origin[1]) - self.corner[1]
        place = (slice(y, y + size), slice(x, x + size))
        return Plate(self.plate.colours[place], self.plate.trust[place])


def gather_room(frames: list[Image], persons: list[Bytes], origins: NDArray[np.int32], outside: list[NDArray[np.bool_]]) -> Room | None:
    """The median over time of what is not person, or None where the camera moves.

    Args:
        frames: N crops (S, S, 3), spread over the clip.
        persons: N coarse mattes (S, S), 255 all person.
        origins: (N, 2) corners of the crops.
        outside: N masks (S, S) of what the picture does not reach.
    """
    size = frames[0].shape[0]
    low = origins.min(0)
    width, height = (origins.max(0) - low + size).tolist()
    stack = np.full((len(frames), height, width, 3), 255, np.uint8)
    free = np.zeros((len(frames), height, width), np.bool_)
    kernel = np.ones((2 * CLEARANCE_PX + 1,) * 2, np.uint8)
    for number, (frame, person, origin, beyond) in enumerate(zip(frames, persons, origins, outside, strict=True)):
        x, y = (origin - low).tolist()
        place = (number, slice(y, y + size), slice(x, x + size))
        empty = (cv2.dilate(person, kernel) < 26) & ~beyond
        free[place] = empty
        stack[place][empty] = frame[empty]
    count = free.sum(0)
    colours = _quantile(stack, count, 0.5)
    away = np.abs(stack.astype(np.int16) - colours).max(-1).astype(np.uint8)
    away[~free] = 255
    seen = count >= max(SEEN, SEEN_SHARE * len(frames))
    unrest = _quantile(away[..., None], count, 0.9)[..., 0]
    if not seen.any() or (unrest[seen] < RESTLESS).mean() < STILL_SHARE:
        return None
    trust = seen * np.clip((RESTLESS - unrest) / np.float32(RESTLESS - CALM), 0.0, 1.0)
    return Room((int(low[0]), int(low[1])), Plate(colours, np.asarray(trust, np.float32)))


def _quantile(stack: Bytes, count: NDArray[np.int64], share: float) -> Bytes:
    """(N, H, W, C), of which the smallest `count` (H, W) matter → (H, W, C)."""
    ordered = np.sort(stack, axis=0)
    index = np.clip(np.rint(share * (count - 1)), 0, None).astype(np.int64)
    return np.take_along_axis(ordered, index[None, ..., None], 0)[0]

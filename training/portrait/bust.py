"""Neck, shoulders and clothes: a card in the plane of the neck that follows it, painted with what the clip shows below the head; and the room behind.

The head's own surface fades out down the neck, over the card. The card does not turn with the head. How much of the neck's moves shoulders make differs from
clip to clip, so that share is measured; the card then stands so much farther away, and larger, that it seems to move by that share and no more. Cloth moves by
itself, too, and a mean over frames is a blur: one frame paints the card, and the others only what its head hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.head import NECK
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.capture_mesh import grid_faces
from training.portrait.portrait import Portrait, View
from training.portrait.texels import filled

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
ROWS, COLUMNS = 12, 24
SPARE, SPARE_BELOW = 0.12, 0.3
"""The card reaches so far beyond the picture's sides and its lower edge, in picture sides: what leaning uncovers is continued."""
HEAD_CLEARANCE_PX = 5
"""The card learns nothing so close to the head's surface: chins cast shadows."""
SHARES = (0.1, 0.25, 0.4, 0.6, 0.8, 1.0)
"""Of the neck's moves that a bust may make."""
TRIAL_FRAMES = 24
OTHERS = 1e-5
"""What frames weigh beside the one that paints the card."""
WHOLLY = 0.999
"""A pixel of the card that lies less within a frame is mixed with the black outside, and would go on as a shadow beneath the picture."""
ROOM_CLEARANCE_PX = 5
"""What the room's plate knows so close to what it does not know still has the person's edge in it."""
COVERED = 0.6
"""The head hides the card where its surface is more opaque than this."""


@dataclass(frozen=True, slots=True)
class Bust:
    """A grid of ROWS x COLUMNS vertices and its picture."""

    vertices: Float
    """(N, 3) metres, head space."""
    faces: NDArray[np.int32]
    chart: Float
    """(N, 2) 0…1 over the picture."""
    picture: Bytes
    """(H, W, 4) RGBA."""


def learn_bust(portrait: Portrait, clip: Clip, fitted: Fitted, frames: NDArray[np.int64]) -> Bust:
    """From the training frames `frames`, each shifted and scaled so that its neck stands where it stands on average."""
    size, mean = clip.size, portrait.translation
    share, model = follow_share(portrait, clip, fitted, frames)
    depth = neck_depth(portrait) / share
    top = _top(portrait, size)
    spare = round(SPARE * size)
    width, height = size + 2 * spare, size - top + round(SPARE_BELOW * size)
    total, weight = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    cover, looks = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    view = View(portrait.baked(), size)
    for frame in frames:
        view.look(fitted.params(int(frame)))
        to_card = _to_card(fitted.translation[frame], mean, depth, fitted.focal * size, size, spare, top)
        hidden = _hidden(view, portrait)
        matte = clip.mattes[frame].astype(np.float32) / 255.0
        inside = cv2.warpAffine(np.ones((size, size), np.float32), to_card, (width, height), flags=cv2.INTER_LINEAR) > WHOLLY
        free = np.asarray(inside * (1.0 - cv2.warpAffine(hidden, to_card, (width, height), flags=cv2.INTER_LINEAR, borderValue=1.0)), np.float32)
        shown = cv2.warpAffine(np.ascontiguousarray(clip.frames[frame]), to_card, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
        person = np.asarray(cv2.warpAffine(matte, to_card, (width, height), flags=cv2.INTER_LINEAR), np.float32)
        free *= 1.0 if frame == model else OTHERS
        part = free * np.clip((person - 0.6) / 0.4, 0.0, 1.0)
        total += shown * part[..., None]
        weight += part
        cover += person * free
        looks += free
    colour = filled(total / np.maximum(weight, 1e-9)[..., None], np.minimum(weight / OTHERS, 1.0))
    known = np.minimum(looks / OTHERS, 1.0)
    alpha = filled((cover / np.maximum(looks, 1e-9))[..., None], known)
    picture = np.concatenate([colour, 255.0 * _grounded(alpha, known)], 2)
    return _card(np.clip(np.rint(picture), 0, 255).astype(np.uint8), mean, depth, fitted.focal * size, size, spare, top)


def neck_depth(portrait: Portrait) -> float:
    """Metres from the camera, on average."""
    return -(float(portrait.translation[2]) + float(portrait.mesh.joints[NECK, 2]))


def follow_share(portrait: Portrait, clip: Clip, fitted: Fitted, frames: NDArray[np.int64]) -> tuple[float, int]:
    """Of SHARES the one that makes the pictures below the head most alike once the moves are taken back, and the frame that is most like all."""
    size, top = clip.size, _top(portrait, clip.size)
    some = frames[np.unique(np.linspace(0, len(frames) - 1, TRIAL_FRAMES).astype(int))]
    matte = np.min([clip.mattes[frame] for frame in some], axis=0)
    below = np.zeros((size, size), bool)
    below[min(top + round(0.15 * size), size - 8) :] = True
    torso = cv2.dilate(matte, np.ones((25, 25), np.uint8)) > 127
    found: list[tuple[float, float, int]] = []
    for share in SHARES:
        still = []
        for frame in some:
            to_card = _to_card(fitted.translation[frame], portrait.translation, neck_depth(portrait) / share, fitted.focal * size, size, 0, 0)
            still.append(cv2.warpAffine(np.ascontiguousarray(clip.frames[frame]), to_card, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE))
        stack = np.array(still)[:, below & torso]
        off = np.abs(stack - np.median(stack, axis=0)).mean((1, 2))
        found.append((float(off.mean()), share, int(some[int(np.argmin(off))])))
    return min(found)[1:]


def _top(portrait: Portrait, size: int) -> int:
    """The picture's row at which the card begins: at the chin of the mean pose, behind the head."""
    chin = portrait.mesh.landmark(152) + portrait.translation
    row = 0.5 * size - portrait.focal * size * float(chin[1]) / -float(chin[2])
    return int(np.clip(row - 0.06 * size, 0, 0.9 * size))


def _to_card(at: Float, mean: Float, depth: float, focal_px: float, size: int, spare: int, top: int) -> NDArray[np.float64]:
    """(2, 3): from a frame's pixels to the card's, for a neck at translation `at`."""
    here = depth - float(at[2] - mean[2])
    scale = here / depth
    shift = focal_px * (at[:2] - mean[:2]) * (1.0, -1.0) / here
    centre = 0.5 * size
    x = centre - scale * (centre + float(shift[0])) + spare
    y = centre - scale * (centre + float(shift[1])) - top
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def _hidden(view: View, portrait: Portrait) -> Float:
    """(S, S) 1 where the head's surface stands before the card, or close to it."""
    faded = portrait.mesh.fade[portrait.mesh.faces].mean(1) > COVERED
    seen = view.face_id >= 0
    head = seen & faded[np.maximum(view.face_id, 0)]
    return np.asarray(cv2.dilate(head.astype(np.float32), np.ones((HEAD_CLEARANCE_PX,) * 2)), np.float32)


def _grounded(alpha: Float, known: Float) -> Float:
    """(H, W, 1): the matte, where the clip never showed it continued downwards and sideways, for bodies do not end."""
    grounded: NDArray[Any] = np.clip((alpha - 0.05) / 0.9, 0.0, 1.0)
    rows = np.flatnonzero((known > 0.5).any(1))
    columns = np.flatnonzero((known > 0.5).any(0))
    if len(rows) and len(columns):
        grounded[rows[-1] :] = grounded[rows[-1]]
        grounded[:, : columns[0]] = grounded[:, columns[0], None]
        grounded[:, columns[-1] :] = grounded[:, columns[-1], None]
    return grounded.astype(np.float32)


def _card(picture: Bytes, mean: Float, depth: float, focal_px: float, size: int, spare: int, top: int) -> Bust:
    """The grid that shows `picture` where it was taken from."""
    height, width = picture.shape[:2]
    across, down = np.meshgrid(np.linspace(0.0, 1.0, COLUMNS), np.linspace(0.0, 1.0, ROWS))
    x = across * width - spare - 0.5 * size
    y = down * height + top - 0.5 * size
    camera = np.stack([x * depth / focal_px, -y * depth / focal_px, np.full_like(x, -depth)], -1).reshape(-1, 3)
    chart = np.stack([across, down], -1).reshape(-1, 2)
    return Bust((camera - mean).astype(np.float32), grid_faces(ROWS, COLUMNS), chart.astype(np.float32), picture)


def room_behind(clip: Clip, plate: Bytes | None, frames: NDArray[np.int64]) -> Bytes:
    """(S, S, 3) the background without the person: the plate where the dataset has one, else the mean of what the frames show beside them; filled in."""
    if plate is not None:
        seen = cv2.erode(np.ascontiguousarray(plate[..., 3]), np.ones((ROOM_CLEARANCE_PX,) * 2, np.uint8))
        colour, known = plate[..., :3].astype(np.float32), (seen > 0).astype(np.float32)
    else:
        size = clip.size
        total, weight = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
        for frame in frames:
            person = cv2.dilate(np.ascontiguousarray(clip.mattes[frame]), np.ones((15, 15), np.uint8)).astype(np.float32) / 255.0
            free = np.asarray((1.0 - person) ** 4, np.float32)
            total += clip.frames[frame] * free[..., None]
            weight += free
        colour, known = (total / np.maximum(weight, 1e-3)[..., None]).astype(np.float32), np.minimum(weight, 1.0).astype(np.float32)
    return np.clip(np.rint(filled(colour, known)), 0, 255).astype(np.uint8)

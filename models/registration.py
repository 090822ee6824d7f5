"""Better parameters from the picture itself: what colours it shows at an avatar's vertices says how far the avatar is off.

Supervised descent (Xiong and De la Torre, "Supervised Descent Method and Its Applications to Face Alignment", CVPR 2013) on the avatar's own mesh: a few
stages, each a linear function of the colours, learned when the avatar is made. Only colours of the webcam's picture are read; none is kept.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import SparseBasis
from models.baked import BakedAvatar, project
from models.driver import Registration
from models.head import HeadParams
from models.kernels import kernel
from models.rotations import to_axis_angle, to_matrix

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
LEAST_CONTRAST = 1.0
"""Grey levels: colours that vary less are taken to vary so much."""
LEAST_INSIDE = 0.9
"""Where less than this share of the points lies in the picture, the parameters stay as they are."""


def features(image: Image, points: Float) -> Float:
    """Colours at points of a picture, without its exposure and white balance.

    The mean of 3 x 3 pixels, bilinear; less the mean over the points, over their standard deviation, for each channel. A point outside the picture counts
    as the mean (zero), and so does one that is not finite.

    Args:
        image: (H, W, 3) RGB.
        points: (P, 2), or (N, P, 2) for N sets of points that are normalised apart; x, y in pixels (models/CONVENTIONS.md).

    Returns:
        (3 P,) or (N, 3 P): red, green, blue of the first point, then of the second…
    """
    sets = np.ascontiguousarray(points, np.float32).reshape(-1, *points.shape[-2:])
    colours = np.empty((*sets.shape[:2], 3), np.float32)
    _sample(np.ascontiguousarray(image), sets, colours)
    _normalise(colours)
    return colours.reshape(*points.shape[:-2], -1)


class Registrar:
    """A registration on its avatar, ready for frame after frame. Keeps no state between frames."""

    def __init__(self, registration: Registration, avatar: BakedAvatar) -> None:
        """`registration` was learned on `avatar`: its vertices are the avatar's, its unknowns hold the avatar's expression."""
        self._registration = registration
        self._points = _reduced(avatar, registration.vertices)
        self._low, self._high = avatar.ranges.expression.T

    def points(self, params: HeadParams, focal_px: float, centre_px: tuple[float, float]) -> Float:
        """(P, 2): where a camera with that focal length and principal point sees the vertices, in pixels; finite."""
        seen = np.empty((len(self._points.base), 3), np.float32)
        project(self._points.pose(params), focal_px, *centre_px, 0, len(seen), seen)
        return np.ascontiguousarray(seen[:, :2])

    def refine(self, image: Image, params: HeadParams, focal_px: float, centre_px: tuple[float, float]) -> HeadParams:
        """Parameters that show the picture better; those given where the face is hardly in it, or nothing finite comes out.

        Args:
            image: (H, W, 3) RGB, the driver's.
            params: of the avatar, its expression in the avatar's order; the root is not turned.
            focal_px: of the driver's camera, as `centre_px`, the principal point.
        """
        height, width = image.shape[:2]
        refined = params
        for stage in self._registration.stages:
            points = self.points(refined, focal_px, centre_px)
            if ((points >= 0.0) & (points <= (width, height))).all(1).mean() < LEAST_INSIDE:
                return params
            delta = stage.matrix @ (features(image, points) - stage.mean) + stage.bias
            if not np.isfinite(delta).all():
                return params
            stepped = moved(refined, delta)
            refined = replace(stepped, expression=np.clip(stepped.expression, self._low, self._high))
        return refined


def moved(params: HeadParams, delta: NDArray[np.floating]) -> HeadParams:
    """Parameters after a step (10 + E,): rotation of the head from the left, translation, expression, gaze."""
    shapes = len(params.expression)
    return replace(
        params,
        neck=to_axis_angle(to_matrix(delta[:3]) @ to_matrix(params.neck)).astype(np.float32),
        translation=(params.translation + delta[3:6]).astype(np.float32),
        expression=(params.expression + delta[6 : 6 + shapes]).astype(np.float32),
        gaze=(params.gaze + delta[6 + shapes :].reshape(2, 2)).astype(np.float32),
    )


def _reduced(avatar: BakedAvatar, vertices: NDArray[np.int32]) -> BakedAvatar:
    """Only some vertices of an avatar, to be posed and not to be rendered; `vertices` (P,) rising."""
    number = np.full(len(avatar.base), -1, np.int32)
    number[vertices] = np.arange(len(vertices), dtype=np.int32)
    shapes = avatar.shapes
    kept = number[shapes.vertex] >= 0
    start = np.concatenate([[0], np.cumsum(kept)])[shapes.start].astype(np.int32)
    return replace(
        avatar,
        base=avatar.base[vertices],
        shapes=SparseBasis(start, number[shapes.vertex[kept]], shapes.delta[kept]),
        dynamic_offsets=np.ascontiguousarray(avatar.dynamic_offsets[:, vertices]),
        skinning_weights=avatar.skinning_weights[vertices],
    )


@kernel
def _sample(image: Image, points: Float, colours: Float) -> None:
    """Fills `colours` (N, P, 3) with 3 x 3 means of the picture, interpolated, in grey levels; NaN outside. `points` (N, P, 2)."""
    height, width = image.shape[0], image.shape[1]
    for n in range(points.shape[0]):
        for p in range(points.shape[1]):
            x, y = points[n, p, 0], points[n, p, 1]
            colours[n, p] = np.nan
            if not (x >= 0.0 and x <= width and y >= 0.0 and y <= height):
                continue
            column, row = math.floor(x - 0.5), math.floor(y - 0.5)
            right, down = x - 0.5 - column, y - 0.5 - row
            red = green = blue = np.float32(0.0)
            for i in range(4):
                across = (1.0 - down if i == 0 else down if i == 3 else 1.0) / 9.0
                line = image[min(max(row - 1 + i, 0), height - 1)]
                for k in range(4):
                    weight = np.float32(across * (1.0 - right if k == 0 else right if k == 3 else 1.0))
                    pixel = line[min(max(column - 1 + k, 0), width - 1)]
                    red += weight * pixel[0]
                    green += weight * pixel[1]
                    blue += weight * pixel[2]
            colours[n, p, 0], colours[n, p, 1], colours[n, p, 2] = red, green, blue


@kernel
def _normalise(colours: Float) -> None:
    """(N, P, 3) grey levels, NaN where there are none → mean 0 and standard deviation 1 in each set and channel, 0 where there are none."""
    for n in range(colours.shape[0]):
        for c in range(3):
            count, total, square = 0, 0.0, 0.0
            for p in range(colours.shape[1]):
                value = colours[n, p, c]
                if not math.isnan(value):
                    count += 1
                    total += value
            mean = total / max(count, 1)
            for p in range(colours.shape[1]):
                value = colours[n, p, c]
                if not math.isnan(value):
                    square += (value - mean) ** 2
            scale = 1.0 / max(math.sqrt(square / max(count, 1)), LEAST_CONTRAST)
            for p in range(colours.shape[1]):
                value = colours[n, p, c]
                colours[n, p, c] = 0.0 if math.isnan(value) else (value - mean) * scale

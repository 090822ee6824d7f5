"""The picture that a gallery shows of a trained avatar: drawn from the avatar file alone, so it holds no frame of its person's video."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.image_blob import decode_image, encode_image
from tests.trained_run import MARA
from training import bake
from training.fitted import Fitted
from training.still import named_params

GREEN = (0, 160, 0)
MARGIN = 64
"""Of the thumbnail's 256 pixels, around the face."""


def fitted(avatar: AvatarFile) -> Fitted:
    """One frame, in which the avatar looks straight ahead."""
    params, _ = named_params(avatar, {})
    one = {name: getattr(params, name)[None] for name in ("expression", "neck", "jaw", "gaze", "translation")}
    return Fitted(focal=1.0, identity=params.identity, offsets=np.zeros((478, 3), np.float32), **one)


def face(avatar: AvatarFile) -> NDArray[np.uint8]:
    """The middle of its thumbnail."""
    picture = decode_image(bake._thumbnail(avatar, fitted(avatar), np.arange(1)), "thumbnail", 3, 512)
    return picture[MARGIN:-MARGIN, MARGIN:-MARGIN]


def test_the_thumbnail_is_drawn_from_the_avatar_alone() -> None:
    mara = read_avatar(MARA)
    texture = decode_image(mara.texture, "texture", 3, 4096)
    painted = replace(mara, texture=encode_image(np.full_like(texture, GREEN), 90))
    before, after = face(mara).reshape(-1, 3).astype(int), face(painted).reshape(-1, 3).astype(int)
    green = [(np.argmax(pixels, 1) == 1) & (pixels[:, 1] > 1.5 * pixels[:, 0]) for pixels in (before, after)]
    assert np.mean(green[0]) < 0.1
    assert np.mean(green[1]) > 0.6, "what was painted is what is seen"
    assert list(inspect.signature(bake._thumbnail).parameters) == ["avatar", "fitted", "frames"], "frames are numbers: no picture is given to it"

"""Backgrounds by name, and the badge."""

from __future__ import annotations

import numpy as np
import pytest

from models.badge import lay_badge, make_badge
from realtime.backgrounds import backdrop


def test_plain_colours() -> None:
    assert (backdrop("green", 64) == (0x00, 0xB1, 0x40)).all()
    assert (backdrop("#0a10fF", 64) == (10, 16, 255)).all()


def test_checker_has_two_light_colours_and_square_checks() -> None:
    picture = backdrop("checker", 512)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
    assert (picture[:16, :16] == picture[0, 0]).all()
    assert (picture[:16, 16:32] == picture[0, 16]).all()
    assert (picture[0, 16] != picture[0, 0]).all()


def test_gradient_is_smooth_and_the_same_each_time() -> None:
    picture = backdrop("gradient", 256)
    np.testing.assert_array_equal(picture, backdrop("gradient", 256))
    steps = np.abs(np.diff(picture.astype(int), axis=1))
    assert steps.max() <= 5
    assert picture.reshape(-1, 3).std(0).min() > 8


@pytest.mark.parametrize("shape", [(80, 120), (300, 200), (64, 64)])
def test_own_background_is_cropped_to_its_centre(shape: tuple[int, int]) -> None:
    own = np.zeros((*shape, 3), np.uint8)
    own[..., 0] = 200
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    own[top : top + side, left : left + side, 1] = 90
    picture = backdrop("avatar", 64, own)
    assert picture.shape == (64, 64, 3)
    np.testing.assert_allclose(picture[8:-8, 8:-8].astype(int), np.broadcast_to((200, 90, 0), (48, 48, 3)), atol=1)


def test_avatar_without_its_own_is_the_gradient_and_the_plate_lies_over_all() -> None:
    np.testing.assert_array_equal(backdrop("avatar", 64), backdrop("gradient", 64))
    plate = np.zeros((64, 64, 4), np.uint8)
    plate[32:] = (10, 20, 30, 255)
    plate[16:32] = (200, 200, 200, 128)
    picture = backdrop("#646464", 64, plate=plate)
    assert (picture[:16] == 100).all()
    assert (picture[16:32] == 150).all()
    assert (picture[32:] == (10, 20, 30)).all()


@pytest.mark.parametrize("name", ["", "blue", "#12345", "#12345g", "#1234567", "Green"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="background"):
        backdrop(name, 64)


@pytest.mark.parametrize("size", [64, 256, 512, 1024])
def test_badge_is_small_and_half_transparent(size: int) -> None:
    badge, margin = make_badge(size)
    assert badge.shape[0] <= max(0.065 * size, 16)
    assert margin + badge.shape[1] < 0.3 * size or size < 256
    assert badge[..., 3].max() > 200
    assert badge[0, 0, 3] < 40
    out = np.full((size, size, 3), 128, np.uint8)
    for low in range(0, size, 16):
        lay_badge(badge, margin, low, low + 16, out)
    alpha = badge[..., 3:] / 255.0
    top = size - margin - len(badge)
    width = min(badge.shape[1], size - margin)
    expected = alpha * badge[..., :3] + (1 - alpha) * 128
    np.testing.assert_allclose(out[top : size - margin, margin : margin + width], expected[:, :width], atol=0.51)
    out[top : size - margin, margin : margin + width] = 128
    assert (out == 128).all()

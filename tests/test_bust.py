"""training/portrait/bust.py: a card that stands where the picture was, follows the neck by the share that the clip shows, and the room behind it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import load_head
from tests.flame_like import OPEN_HEAD
from tests.portraits import FOCAL, PLACE, blotches, painted
from training.clip import Clip
from training.errors import TrainingError
from training.fitted import Fitted
from training.portrait import bust
from training.portrait.assemble import UNDER_LAYER, assemble, free_rectangle
from training.portrait.bust import SHARES, Bust, follow_share, learn_bust, neck_depth, room_behind
from training.portrait.portrait import Portrait

SIZE = 192
COUNT = 8
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return painted(load_head(OPEN_HEAD), 2, 64).portrait


def cloth() -> Picture:
    """(SIZE, SIZE, 3) shoulders as they are seen from the mean place, and beyond."""
    return blotches(2 * SIZE, 5, 3.0).astype(np.uint8)


def swaying(portrait: Portrait, share: float) -> tuple[Clip, Fitted]:
    """Frames in which only the cloth shows: at `share` of the neck's moves. The first is taken at the mean place."""
    rng = np.random.default_rng(1)
    translation = PLACE + rng.normal(0.0, 0.012, (COUNT, 3)).astype(np.float32)
    translation[0] = PLACE
    still = {"neck": (COUNT, 3), "jaw": (COUNT, 3), "gaze": (COUNT, 2, 2), "expression": (COUNT, len(portrait.mesh.expression_names))}
    zero = {name: np.zeros(shape, np.float32) for name, shape in still.items()}
    fitted = Fitted(FOCAL, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), translation=translation, **zero)
    depth = -(float(PLACE[2]) + float(portrait.mesh.joints[1, 2])) / share
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5 - 0.5 * SIZE) / (FOCAL * SIZE)
    frames = []
    for x_m, y_m, z_m in translation - PLACE:
        here = depth - z_m
        at_x, at_y = (x * here - x_m) / depth, (y * here + y_m) / depth
        to_pixel = [(axis * FOCAL * SIZE + SIZE - 0.5).astype(np.float32) for axis in (at_x, at_y)]
        frames.append(cv2.remap(cloth(), to_pixel[0], to_pixel[1], cv2.INTER_LINEAR))
    mattes = np.full((COUNT, SIZE, SIZE), 255, np.uint8)
    nothing = np.zeros((COUNT, 478, 3), np.float32), np.zeros((COUNT, 52), np.float32), np.ones(COUNT, np.float32), np.zeros((COUNT, 2), np.int32)
    return Clip(np.array(frames, np.uint8), mattes, np.arange(COUNT) / 25.0, *nothing, np.zeros(COUNT, bool)), fitted


def seen_at(card: Bust, translation: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 2) pixels."""
    x, y, z = (card.vertices + translation).astype(np.float64).T
    return np.stack([0.5 * SIZE + FOCAL * SIZE * x / -z, 0.5 * SIZE - FOCAL * SIZE * y / -z], 1)


def colours(picture: Picture, points: NDArray[np.floating]) -> NDArray[np.float64]:
    x, y = (points - 0.5).astype(np.float32).T
    return np.asarray(cv2.remap(np.ascontiguousarray(picture), x[None], y[None], cv2.INTER_LINEAR)[0], np.float64)


@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_the_clip_s_and_the_card_stands_where_it_was(portrait: Portrait, share: float) -> None:
    clip, fitted = swaying(portrait, share)
    frames = np.arange(COUNT)
    assert follow_share(portrait, clip, fitted, frames)[0] == share
    card = learn_bust(portrait, clip, fitted, frames)
    assert card.vertices[:, 2].max() + PLACE[2] == pytest.approx(-neck_depth(portrait) / share, rel=1e-4)
    height, width = card.picture.shape[:2]
    for frame in range(COUNT):
        at = seen_at(card, fitted.translation[frame])
        inside = ((at > 6) & (at < SIZE - 6)).all(1)
        head_hides = at[:, 1] < 0.8 * SIZE
        free = inside & ~head_hides
        assert free.sum() > 20
        off = np.abs(colours(card.picture[..., :3], card.chart * (width, height)) - colours(clip.frames[frame], at))[free]
        assert np.median(off) < 6.0, frame
    assert (card.picture[-20:, 20:-20, 3] > 200).all()


def test_one_frame_paints_the_card_and_others_what_it_hides(portrait: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, fitted = swaying(portrait, 1.0)
    tinted = clip.frames.copy()
    tinted[1:] //= 2
    monkeypatch.setattr(bust, "follow_share", lambda *given: (1.0, 0))
    card = learn_bust(portrait, replace(clip, frames=tinted), fitted, np.arange(COUNT))
    at = seen_at(card, PLACE)
    free = ((at > 6) & (at < SIZE - 6)).all(1) & (at[:, 1] > 0.8 * SIZE) & (np.abs(at[:, 0] - 0.5 * SIZE) > 0.3 * SIZE)
    height, width = card.picture.shape[:2]
    shown = colours(card.picture[..., :3], card.chart * (width, height))[free]
    assert np.abs(shown - colours(tinted[0], at)[free]).mean() < 3.0
    assert np.abs(shown - colours(tinted[1], at)[free]).mean() > 30.0
    alone = learn_bust(portrait, replace(clip, frames=tinted), fitted, np.array([0]))
    beside = at[:, 0] > SIZE + 4
    assert beside.any()
    assert not np.array_equal(card.picture, alone.picture)


def test_the_matte_is_the_card_s_alpha(portrait: Portrait) -> None:
    clip, fitted = swaying(portrait, 1.0)
    mattes = clip.mattes.copy()
    mattes[:, :, : SIZE // 4] = 0
    steady = replace(fitted, translation=np.tile(PLACE, (COUNT, 1)))
    card = learn_bust(portrait, replace(clip, mattes=mattes, frames=clip.frames[:1].repeat(COUNT, 0)), steady, np.arange(COUNT))
    at = seen_at(card, PLACE)
    height, width = card.picture.shape[:2]
    alpha = colours(card.picture, card.chart * (width, height))[:, 3]
    low = (at[:, 1] > 0.7 * SIZE) & (at[:, 1] < SIZE - 4)
    assert alpha[low & (at[:, 0] < SIZE // 4 - 4)].max() < 40.0
    assert np.median(alpha[low & (at[:, 0] > SIZE // 4 + 8) & (at[:, 0] < SIZE - 4)]) > 250.0


def test_the_card_goes_into_the_avatar_beneath_the_head(portrait: Portrait) -> None:
    clip, fitted = swaying(portrait, 0.6)
    card = learn_bust(portrait, clip, fitted, np.arange(COUNT))
    file = assemble(portrait, card, np.full((SIZE, SIZE, 3), 90, np.uint8), fitted, np.arange(COUNT))
    mesh, head = file.mesh, len(portrait.mesh.vertices)
    under = mesh.face_region == [region.name for region in file.regions].index("bust")
    assert under.sum() == len(card.faces)
    assert (mesh.face_layer[under] == UNDER_LAYER).all()
    assert (mesh.faces[under] >= head).all()
    of_card = slice(head, head + len(card.vertices))
    np.testing.assert_array_equal(mesh.skinning_weights[of_card], np.tile(np.eye(5, dtype=np.float32)[0], (len(card.vertices), 1)))
    chart = mesh.uv[mesh.uv_faces[under]].reshape(-1, 2)
    own = portrait.mesh.uv[portrait.mesh.uv_faces]
    assert chart.min() >= 0.0
    assert chart.max() <= 1.0
    crossing = ((own.max(1) > chart.min(0)) & (own.min(1) < chart.max(0))).all(1)
    assert not crossing.any()


def test_the_largest_free_rectangle_of_a_shape_is_found() -> None:
    taken = np.ones((128, 128), np.uint8)
    taken[40:80, 10:90] = 0
    left, top, right, bottom = free_rectangle(taken, 2.0, 1.0)
    assert (taken[round(top * 128) : round(bottom * 128), round(left * 128) : round(right * 128)] == 0).all()
    assert round((right - left) * 128) == 80
    assert (right - left) / (bottom - top) == pytest.approx(2.0, rel=0.05)
    narrow = free_rectangle(taken, 2.0, 0.25)
    assert narrow[2] - narrow[0] == pytest.approx(0.25, abs=0.01)
    with pytest.raises(TrainingError, match="no room"):
        free_rectangle(np.ones((128, 128), np.uint8), 2.0, 1.0)


def test_the_room_is_what_shows_beside_the_person(portrait: Portrait) -> None:
    clip, _ = swaying(portrait, 1.0)
    room = blotches(SIZE, 9, 6.0).astype(np.uint8)
    frames, mattes = np.tile(room, (COUNT, 1, 1, 1)), np.zeros((COUNT, SIZE, SIZE), np.uint8)
    for k in range(COUNT):
        left = 20 + 12 * k
        frames[k, 40:, left : left + 40], mattes[k, 40:, left : left + 40] = (255, 0, 255), 255
    walking = replace(clip, frames=frames, mattes=mattes)
    found = room_behind(walking, None, np.arange(COUNT))
    assert np.abs(found.astype(int) - room).max() <= 2
    still = room_behind(walking, None, np.array([0]))
    hidden = mattes[0] > 0
    assert np.abs(still.astype(int) - room)[~cv2.dilate(mattes[0], np.ones((17, 17), np.uint8)).astype(bool)].max() <= 2
    assert not (np.abs(still[hidden].astype(int) - [255, 0, 255]).max(1) < 60).any(), "the person is nowhere in it"
    plate = np.concatenate([np.full((SIZE, SIZE, 3), 40, np.uint8), np.full((SIZE, SIZE, 1), 255, np.uint8)], 2)
    plate[:20, :, 3] = 0
    plate[:20, :, :3] = 255
    assert (room_behind(walking, plate, np.arange(COUNT)) == 40).all()

"""The under layer: a bust is drawn over the backdrop and beneath the head, whose soft edges show it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.image_blob import encode_image
from models.passes import Passes
from tests.render_reference import render_reference
from tests.tiny_avatar import tiny_avatar, tiny_texture
from training.portrait.capture_mesh import grid_faces

SIZE = 160
ROWS, COLUMNS = 7, 9
CHART = (0.3, 0.3, 0.6, 0.7)
"""Left, top, right, bottom of the bust's picture in the texture; the ball has it, too."""
PHOTO = 4
Picture = NDArray[np.uint8]


def texture() -> Picture:
    """Smooth; the ball's lower part can be seen through, and the bust fades out at its border."""
    image = np.asarray(cv2.GaussianBlur(tiny_texture(), (0, 0), 3.0), np.uint8)
    v, u = (np.mgrid[:256, :256] + 0.5) / 256
    left, top, right, bottom = CHART
    border = np.minimum(np.minimum(u - left, right - u), np.minimum(v - top, bottom - v))
    image[..., 3] = np.where(border > -0.01, np.clip(border / 0.08, 0.0, 1.0) * 255.0, np.where(v > 0.6, 140.0, 255.0)).astype(np.uint8)
    return image


def with_bust(trained: bool, depth_m: float = -0.05) -> AvatarFile:
    """The ball before, above and below a curved card that follows the root."""
    file = replace(tiny_avatar(24, trained=trained), texture=encode_image(texture(), 101))
    across, down = np.meshgrid(np.linspace(0.0, 1.0, COLUMNS), np.linspace(0.0, 1.0, ROWS))
    card = np.stack([0.24 * across - 0.12, 0.02 - 0.16 * down, depth_m + 0.04 * np.sin(3.0 * across)], -1).reshape(-1, 3)
    left, top, right, bottom = CHART
    chart = np.stack([left + (right - left) * across, top + (bottom - top) * down], -1).reshape(-1, 2)
    mesh, faces = file.mesh, grid_faces(ROWS, COLUMNS)
    weights = np.tile(np.eye(5, dtype=np.float32)[0], (len(card), 1))
    order = np.random.default_rng(0).permutation(len(mesh.faces) + len(faces))
    whole = replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, card]).astype(np.float32),
        uv=np.concatenate([mesh.uv, chart]).astype(np.float32),
        skinning_weights=np.concatenate([mesh.skinning_weights, weights]),
        faces=np.concatenate([mesh.faces, faces + len(mesh.vertices)]).astype(np.int32)[order],
        uv_faces=np.concatenate([mesh.uv_faces, faces + len(mesh.uv)]).astype(np.int32)[order],
        face_region=np.concatenate([mesh.face_region, np.full(len(faces), PHOTO, np.uint8)])[order],
        face_layer=np.concatenate([mesh.face_layer, np.full(len(faces), 2, np.uint8)])[order],
    )
    offsets = file.dynamic_offsets
    padded = None if offsets is None else np.concatenate([offsets, np.zeros((len(offsets), len(card), 3), np.float32)], 1)
    return replace(file, mesh=whole, dynamic_offsets=padded)


def without_bust(file: AvatarFile) -> AvatarFile:
    mesh = file.mesh
    kept = mesh.face_layer != 2
    cut = replace(mesh, faces=mesh.faces[kept], uv_faces=mesh.uv_faces[kept], face_region=mesh.face_region[kept], face_layer=mesh.face_layer[kept])
    return replace(file, mesh=cut)


def draw(avatar: BakedAvatar, params: HeadParams, behind: Picture, mirror: bool = False, parts: int = 2) -> Picture:
    passes, out = Passes(avatar, len(behind), parts), behind.copy()
    passes.begin(avatar.pose_of(params))
    for step in (passes.pose, passes.prepare, passes.light, passes.rasterize, passes.find):
        for part in range(parts):
            step(part)
    for colour in (passes.shade, passes.resolve, passes.overlay):
        for part in range(parts):
            colour(part, mirror, out)
    return out


def posed(avatar: BakedAvatar) -> HeadParams:
    neutral = avatar.neutral()
    return replace(neutral, rotation=np.array([0.05, 0.1, 0.0], np.float32), neck=np.array([0.1, 0.4, 0.05], np.float32))


def stripes() -> Picture:
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([90 + 60 * np.sin(x / 9.0), 110 + 60 * np.sin(y / 7.0), 60 + x / 2.0], -1).astype(np.uint8)


@pytest.mark.parametrize("trained", [False, True])
def test_the_bust_lies_over_the_backdrop_and_beneath_the_head(trained: bool) -> None:
    file, behind = with_bust(trained), stripes()
    avatar = bake(file)
    params = posed(avatar)
    fast, slow = draw(avatar, params, behind).astype(float), render_reference(file, params, behind)
    off = np.abs(fast - slow)
    assert off.mean() < 0.4
    assert np.percentile(off, 99.5) < 12.0
    headless = render_reference(without_bust(file), params, behind)
    shown = np.abs(headless - slow).max(2) > 30.0
    assert shown.mean() > 0.05, "much of the bust shows"
    assert off[shown].mean() < 1.5
    over_head = shown & (np.abs(draw(bake(without_bust(file)), params, behind).astype(float) - behind).max(2) > 30.0)
    assert over_head.mean() > 0.01, "some of it through the head"


def test_a_bust_before_the_head_is_still_beneath_it() -> None:
    near, far = with_bust(False, 0.15), with_bust(False)
    behind = stripes()
    avatar = bake(near)
    params = avatar.neutral()
    off = np.abs(draw(avatar, params, behind).astype(float) - render_reference(near, params, behind))
    assert off.mean() < 0.4
    head = np.abs(draw(bake(without_bust(near)), params, behind).astype(float) - draw(bake(without_bust(near)), params, 255 - behind)).max(2) < 1.0
    assert head.mean() > 0.1
    np.testing.assert_array_equal(draw(avatar, params, behind)[head], draw(bake(far), params, behind)[head])


@pytest.mark.parametrize("trained", [False, True])
def test_mirrored_and_in_parts(trained: bool) -> None:
    avatar, behind = bake(with_bust(trained)), stripes()
    params = posed(avatar)
    plain = draw(avatar, params, behind)
    np.testing.assert_array_equal(draw(avatar, params, behind[:, ::-1].copy(), mirror=True), plain[:, ::-1])
    np.testing.assert_array_equal(draw(avatar, params, behind, parts=1), plain)
    np.testing.assert_array_equal(draw(avatar, params, behind, parts=5), plain)


def test_a_bust_out_of_sight_changes_nothing() -> None:
    file, behind = with_bust(True), stripes()
    bust = np.unique(file.mesh.faces[file.mesh.face_layer == 2])
    away = file.mesh.vertices.copy()
    away[bust] += [50.0, 0.0, 0.0]
    plain, moved = bake(without_bust(file)), bake(replace(file, mesh=replace(file.mesh, vertices=away)))
    assert plain.under_from == len(plain.faces)
    np.testing.assert_array_equal(draw(moved, posed(plain), behind), draw(plain, posed(plain), behind))

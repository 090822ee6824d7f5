"""A short clip rendered from a made-up avatar whose look depends on its pose, its exact fit, and a start that is deliberately wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import Material, PortraitCamera, Region
from models.baked import bake
from models.head import HeadParams
from models.image_blob import decode_image, encode_image
from models.kernels import Bands
from models.raster.cpu import CpuRasterizer
from realtime.renderer import AvatarRenderer
from tests.tiny_avatar import tiny_avatar
from training.clip import Clip
from training.fitted import Fitted

SIZE = 96
FOCAL = 1.9
NARROWER = 0.92
BALL_VERTICES = 220
BADGE_ROW = 77
"""From here on down the renderer's badge may lie over the ball."""


@dataclass(frozen=True)
class Case:
    truth: AvatarFile
    start: AvatarFile
    clip: Clip
    fitted: Fitted


def unlit(file: AvatarFile) -> AvatarFile:
    """The texture as it is, and nothing but the head in the picture."""
    regions = tuple(Region(region.name, replace(region.material, lit=False, glossy=False)) for region in file.regions)
    return replace(file, regions=(*regions[:-1], Region("mouth", Material(lit=False))), plate=None, background=None)


def charted(file: AvatarFile) -> AvatarFile:
    """Head and eyes each with a chart of their own, where the tiny avatar's overlap."""
    mesh = file.mesh
    corners = mesh.uv[mesh.uv_faces]
    head, right = mesh.face_region == 0, mesh.face_region == 2
    corners[head] = 0.25 + 0.75 * corners[head]
    corners[right] += np.array([0.0, 0.25], np.float32)
    texture = decode_image(file.texture, "texture", 4, 2048)
    quarter = len(texture) // 4
    texture[quarter : 2 * quarter, :quarter] = texture[:quarter, :quarter]
    uv_faces = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return replace(file, mesh=replace(mesh, uv=corners.reshape(-1, 2), uv_faces=uv_faces), texture=encode_image(texture))


def true_avatar() -> AvatarFile:
    """A ball with a texture basis, without lashes; its lower front is its mouth."""
    import cv2

    whole = charted(unlit(tiny_avatar(10, trained=True)))
    kept = whole.mesh.face_layer == 0
    corners = whole.mesh.vertices[whole.mesh.faces[kept]].mean(1)
    inside = (np.abs(corners - [0.0, -0.04, 0.09]) < 0.025).all(1)
    region = np.where(inside, np.uint8(len(whole.regions) - 1), whole.mesh.face_region[kept])
    basis = whole.texture_basis
    assert basis is not None
    maps = np.stack([cv2.GaussianBlur(each.astype(np.float32), (0, 0), 5.0) for each in basis.maps])
    smooth = replace(basis, maps=np.rint(maps * (100.0 / np.abs(maps).max())).astype(np.int8))
    mesh = replace(
        whole.mesh,
        faces=whole.mesh.faces[kept],
        uv_faces=whole.mesh.uv_faces[kept],
        face_layer=whole.mesh.face_layer[kept],
        face_region=region,
    )
    return replace(
        whole,
        mesh=mesh,
        texture_basis=smooth,
        dynamic_offsets=np.float32(0.2) * np.asarray(whole.dynamic_offsets),
        camera=PortraitCamera(FOCAL, (0.0, 0.0), (0.0, 0.0, -0.55)),
    )


def spoiled(truth: AvatarFile) -> AvatarFile:
    """A narrower, tinted, blurred ball whose look does not change."""
    import cv2

    texture = decode_image(truth.texture, "texture", 4, 2048)
    rgb = cv2.GaussianBlur(texture[..., :3], (0, 0), 6.0).astype(np.float32) * np.array([0.85, 1.0, 1.15], np.float32)
    tinted = np.concatenate([np.clip(rgb, 0, 255).astype(np.uint8), texture[..., 3:]], 2)
    points = truth.mesh.vertices.copy()
    ball = np.unique(truth.mesh.faces[~np.isin(truth.mesh.face_region, (1, 2))])
    points[ball, 0] *= NARROWER
    mesh = replace(truth.mesh, vertices=points)
    return replace(truth, mesh=mesh, texture=encode_image(tinted), texture_basis=None, dynamic_offsets=None, weights=None)


def landmark_vertices(file: AvatarFile) -> NDArray[np.int64]:
    """(478,) vertices of the ball's lower front, again and again."""
    points = file.mesh.vertices[:BALL_VERTICES]
    return np.resize(np.flatnonzero((np.abs(points[:, 0]) < 0.07) & (points[:, 1] < 0.0) & (points[:, 2] > 0.04)), 478)


def params_of(frame: int, count: int) -> HeadParams:
    """A slow nod and turn with a moving face."""
    t = frame / count
    expression = np.array([0.5 + 0.5 * np.sin(9.0 * t), 0.5 + 0.5 * np.cos(7.0 * t), 0.5 + 0.5 * np.sin(4.0 * t + 1.0)], np.float32)
    neck = np.array([0.12 * np.sin(5.0 * t), 0.3 * np.sin(6.3 * t), 0.05 * np.cos(3.0 * t)], np.float32)
    away = np.array([0.004 * np.sin(8.0 * t), 0.003 * np.cos(5.0 * t), -0.55], np.float32)
    zero = np.zeros(3, np.float32)
    return HeadParams(np.zeros(0, np.float32), expression, zero, neck, np.array([0.1 * t, 0, 0], np.float32), np.zeros((2, 2), np.float32), away)


def make_case(count: int = 15) -> Case:
    """The last fifth of the frames is held out."""
    truth = true_avatar()
    avatar = bake(truth)
    renderer = AvatarRenderer(avatar, SIZE, threads=1)
    rasterizer = CpuRasterizer(SIZE, SIZE, Bands(1))
    params = [params_of(frame, count) for frame in range(count)]
    frames, mattes, landmarks = [], [], []
    for each in params:
        frames.append(renderer.render(each).copy())
        vertices = avatar.pose(each)
        points = np.stack([SIZE * (0.5 - FOCAL * vertices[:, 0] / vertices[:, 2]), SIZE * (0.5 + FOCAL * vertices[:, 1] / vertices[:, 2]), -vertices[:, 2]], 1)
        mattes.append(np.where(rasterizer.rasterize(points.astype(np.float32), avatar.faces).face_id >= 0, 255, 0).astype(np.uint8))
        landmarks.append(points[landmark_vertices(truth)] * [1.0, 1.0, 0.0])
    renderer.close()
    clip = Clip(
        frames=np.stack(frames),
        mattes=np.stack(mattes) * (np.arange(SIZE)[:, None] < BADGE_ROW),
        pts_s=np.arange(count) / 25.0,
        landmarks=np.stack(landmarks).astype(np.float32),
        coefficients=np.zeros((count, 52), np.float32),
        sharpness=np.ones(count, np.float32),
        origin=np.zeros((count, 2), np.int32),
        held_out=np.arange(count) >= count - count // 5,
    )
    stacked = {name: np.stack([getattr(each, name) for each in params]) for name in ("expression", "neck", "jaw", "gaze", "translation")}
    fitted = Fitted(focal=FOCAL, identity=np.zeros(0, np.float32), offsets=np.zeros((478, 3), np.float32), **stacked)
    return Case(truth, spoiled(truth), clip, fitted)

"""A small made-up avatar: a ball with two eyes, lashes and a stalk. Big enough to show every part of the format and of the renderer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import (
    POSE_FEATURES,
    AvatarCard,
    AvatarMesh,
    Consent,
    Material,
    PortraitCamera,
    Region,
    SparseBasis,
    TextureBasis,
    TrainedRange,
    WeightFunction,
)
from models.image_blob import encode_image

NAMES = ("jawOpen", "eyeBlinkLeft", "browInnerUp")
REGIONS = (
    Region("skin", Material(wrap=0.4, subsurface=(0.25, 0.06, 0.03), specular=0.15, shininess=18.0)),
    Region("left_eye", Material(specular=0.9, shininess=400.0, glossy=True)),
    Region("right_eye", Material(specular=0.9, shininess=400.0, glossy=True)),
    Region("lashes", Material(rim=0.0)),
    Region("photo", Material(lit=False)),
)
EYES = np.array([[0.03, 0.02, 0.075], [-0.03, 0.02, 0.075]])
Int = NDArray[np.int32]
Vertices = NDArray[np.float64]


def sphere(rings: int, sectors: int, radius: float, centre: tuple[float, float, float]) -> tuple[Vertices, Vertices, Int, Int]:
    """Vertices, uv, faces, uv_faces of a ball around +y, welded at the seam, counter-clockwise from outside."""
    polar = np.linspace(0.02, np.pi - 0.02, rings + 1)
    around = np.linspace(0.0, 2.0 * np.pi, sectors + 1)
    theta, phi = np.meshgrid(polar, around, indexing="ij")
    unit = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
    uv = np.stack([(phi / (2.0 * np.pi) + 0.5) % 1.0, theta / np.pi], -1)
    uv[:, sectors // 2, 0] = 1.0
    row, column = np.meshgrid(np.arange(rings), np.arange(sectors), indexing="ij")

    def grid(width: int, columns: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Int:
        here, there = columns
        a, b, c, d = row * width + here, (row + 1) * width + here, (row + 1) * width + there, row * width + there
        return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]).astype(np.int32)

    faces = grid(sectors, (column, (column + 1) % sectors))
    uv_faces = grid(sectors + 1, (column, column + 1))
    vertices = unit[:, :-1].reshape(-1, 3) * radius + np.array(centre)
    return vertices, uv.reshape(-1, 2), faces, uv_faces


def _seam(uv: Vertices, uv_faces: Int) -> tuple[Vertices, Int]:
    """Splits triangles that would run across the whole texture."""
    corner = uv[uv_faces]
    wraps = corner[..., 0].max(1) - corner[..., 0].min(1) > 0.5
    corner[wraps] = np.where(corner[wraps][..., :1] > 0.5, corner[wraps] * [0.0, 1.0], corner[wraps])
    return corner.reshape(-1, 2), np.arange(len(corner) * 3, dtype=np.int32).reshape(-1, 3)


def _parts(detail: int) -> list[tuple[Vertices, Vertices, Int, Int, int, int]]:
    """(vertices, uv, faces, uv_faces, region, layer) of head, eyes, lashes."""
    head = sphere(detail, 2 * detail, 0.1, (0.0, 0.0, 0.0))
    parts = [(*head, 0, 0)]
    for index, centre in enumerate(EYES):
        ball = sphere(max(detail // 4, 6), max(detail // 2, 8), 0.022, (float(centre[0]), float(centre[1]), float(centre[2])))
        parts.append((ball[0], ball[1] * 0.2, ball[2], ball[3], 1 + index, 0))
    for centre in EYES:
        x = np.linspace(-0.03, 0.03, 13)
        low = np.stack([centre[0] + x, np.full(13, centre[1] + 0.006), np.full(13, centre[2] + 0.026)], 1)
        card = np.concatenate([low, low + np.array([0.0, 0.02, 0.002])])
        k = np.arange(12)
        faces = np.concatenate([np.stack([k, k + 1, k + 14], 1), np.stack([k, k + 14, k + 13], 1)]).astype(np.int32)
        uv = np.concatenate([np.stack([np.linspace(0.0, 0.2, 13), np.full(13, v)], 1) for v in (0.99, 0.9)])
        parts.append((card, uv, faces, faces, 3, 1))
    return parts


def tiny_mesh(detail: int = 24) -> AvatarMesh:
    """About 2 * detail² vertices."""
    vertices: list[Vertices] = []
    uv: list[Vertices] = []
    faces: list[Int] = []
    uv_faces: list[Int] = []
    parts = _parts(detail)
    for part in parts:
        faces.append(part[2] + sum(len(done) for done in vertices))
        corners, corner_faces = _seam(part[1], part[3])
        uv_faces.append(corner_faces + sum(len(done) for done in uv))
        vertices.append(part[0])
        uv.append(corners)
    points = np.concatenate(vertices).astype(np.float32)
    weights = np.zeros((len(points), 5), np.float32)
    neck = np.clip((points[:, 1] + 0.1) / 0.15, 0.0, 1.0)
    jaw = np.clip((-0.01 - points[:, 1]) / 0.04, 0.0, 1.0) * (points[:, 2] > 0.03)
    weights[:, 0], weights[:, 1], weights[:, 2] = 1.0 - neck, neck * (1.0 - jaw), neck * jaw
    first = len(vertices[0])
    for eye in range(2):
        weights[first : first + len(vertices[1])] = np.eye(5)[3 + eye]
        first += len(vertices[1])
    joints = np.array([[0, -0.1, 0], [0, -0.07, 0], [0, -0.01, 0.01], *EYES], np.float32)
    counts = [len(part[2]) for part in parts]
    return AvatarMesh(
        vertices=points,
        faces=np.concatenate(faces),
        uv=np.concatenate(uv).astype(np.float32),
        uv_faces=np.concatenate(uv_faces),
        face_region=np.repeat([part[4] for part in parts], counts).astype(np.uint8),
        face_layer=np.repeat([part[5] for part in parts], counts).astype(np.uint8),
        skinning_weights=weights,
        joints=joints,
    )


def tiny_texture(side: int = 256) -> NDArray[np.uint8]:
    """(side, side, 4) RGBA: soft blotches, an iris at the eyes' place, a row of lashes."""
    v, u = (np.mgrid[:side, :side] + 0.5) / side
    red, green, blue = 205 + 12 * np.sin(9 * u) * np.cos(13 * v), 150 + 16 * np.sin(23 * u + 3 * v), 128 + 20 * np.cos(17 * v)
    iris = np.hypot(u - 0.1, v - 0.1) < 0.03
    eye = (u < 0.21) & (v < 0.21)
    image = np.stack([red, green, blue, np.full_like(u, 255.0)], -1)
    image[eye] = (235, 232, 228, 255)
    image[iris] = (60, 90, 130, 255)
    lash = (v > 0.88) & (u < 0.22)
    image[lash] = (30, 22, 20, 255)
    image[..., 3] = np.where(lash, 255.0 * np.clip((v - 0.9) / 0.09, 0.0, 1.0) * (0.5 + 0.5 * np.cos(u * 900.0)), 255.0)
    rounded: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return rounded


def tiny_avatar(detail: int = 24, trained: bool = False) -> AvatarFile:
    """`trained`: with texture basis, dynamic offsets, pose correctives, plate, background and a hidden layer."""
    rng = np.random.default_rng(3)
    mesh = tiny_mesh(detail)
    points = mesh.vertices
    shapes = np.zeros((len(NAMES), len(points), 3), np.float32)
    shapes[0, :, 1] = -0.02 * np.exp(-(((points - [0, -0.05, 0.09]) / 0.03) ** 2).sum(1))
    shapes[1, :, 2] = 0.01 * np.exp(-(((points - [0.03, 0.05, 0.09]) / 0.02) ** 2).sum(1))
    shapes[2, :, 1] = 0.01 * np.exp(-(((points - [0, 0.07, 0.07]) / 0.02) ** 2).sum(1))
    thumbnail = encode_image(tiny_texture(64))
    card = AvatarCard("Ball", "A ball with eyes, for tests.", "CC0-1.0", "tests/tiny_avatar.py", Consent(synthetic=True), thumbnail)
    plain = AvatarFile(
        card=card,
        head_layout="ball",
        expression_names=NAMES,
        regions=REGIONS,
        camera=PortraitCamera(1.9, (0.0, 0.0), (0.0, 0.0, -0.55)),
        ranges=TrainedRange.usual(len(NAMES)),
        mesh=mesh,
        expression=SparseBasis.from_dense(shapes),
        texture=encode_image(tiny_texture()),
    )
    return _trained(plain, rng) if trained else plain


def _trained(plain: AvatarFile, rng: np.random.Generator) -> AvatarFile:
    points = plain.mesh.vertices
    maps = rng.integers(-60, 60, (3, 64, 64, 4), np.int8)
    maps[..., 3] = 0
    group = (np.arange(16) >= 8).astype(np.uint8)
    layers = tuple((rng.normal(0, 0.4, (out, inside)).astype(np.float32), rng.normal(0, 0.2, out).astype(np.float32)) for out, inside in ((9, 16), (8, 9)))
    inputs = POSE_FEATURES + len(NAMES)
    plate = np.zeros((96, 96, 4), np.uint8)
    plate[60:, 20:76] = (90, 40, 60, 255)
    return replace(
        plain,
        texture=encode_image(tiny_texture(), 101),
        pose_correctives=SparseBasis.from_dense(rng.normal(0, 0.002, (36, len(points), 3)).astype(np.float32) * (points[:, 2:] > 0.06)),
        texture_basis=TextureBasis(maps, rng.uniform(0.1, 0.3, (3, 16)).astype(np.float32), 16, group),
        dynamic_offsets=rng.normal(0, 0.0005, (2, len(points), 3)).astype(np.float16).astype(np.float32),
        weights=WeightFunction(np.full(inputs, 0.05, np.float32), np.full(inputs, 0.4, np.float32), 1.8, layers),
        plate=encode_image(plate),
        background=encode_image(np.full((80, 120, 3), (20, 60, 90), np.uint8)),
    )

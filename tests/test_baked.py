"""The fast form of an avatar equals the slow one: vertices, normals, light, texture blend; and nothing hurts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.avatar_file import AvatarFile
from models.avatar_parts import TextureBasis
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.lighting import light_vertices
from models.mesh import components, open_sides, vertex_labels, vertex_normals
from models.texture import Texture
from models.texture_basis import BakedTextureBasis
from models.texture_look_up import UNLIT_FLAG
from tests.render_reference import reference_residual, reference_vertices, vertex_light
from tests.tiny_avatar import tiny_avatar, tiny_mesh, tiny_texture


def params_at(seed: int, count: int = 3) -> HeadParams:
    rng = np.random.default_rng(seed)

    def angles(*shape: int) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    place = np.array([0.01, -0.02, -0.6], np.float32)
    return HeadParams(np.zeros(0, np.float32), rng.uniform(-0.5, 1, count).astype(np.float32), angles(3), angles(3), angles(3), angles(2, 2), place)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "trained"])
def avatar(request: pytest.FixtureRequest) -> AvatarFile:
    return tiny_avatar(trained=request.param)


@pytest.fixture(scope="module")
def baked(avatar: AvatarFile) -> BakedAvatar:
    return bake(avatar)


@pytest.mark.parametrize("seed", range(4))
def test_pose_is_the_slow_forward(avatar: AvatarFile, baked: BakedAvatar, seed: int) -> None:
    params = params_at(seed)
    np.testing.assert_allclose(baked.pose(params), reference_vertices(avatar, params), atol=2e-6)


def test_pose_in_ranges_is_the_pose(baked: BakedAvatar) -> None:
    pose = baked.pose_of(params_at(1))
    whole, parts = np.zeros_like(baked.base), np.zeros_like(baked.base)
    baked.pose_range(pose, 0, len(whole), whole)
    for first, last in ((0, 7), (7, 7), (7, 600), (600, len(whole))):
        baked.pose_range(pose, first, last, parts)
    np.testing.assert_array_equal(whole, parts)


def test_normals_and_light(avatar: AvatarFile, baked: BakedAvatar) -> None:
    vertices = baked.pose(params_at(2))
    normals, light = np.zeros_like(vertices), np.zeros((len(vertices), 4), np.float32)
    around, drawn = baked.around, np.ones((len(baked.faces), 4), np.int32)
    surface = (baked.lights, baked.materials, vertices, baked.faces, around.start, around.face)
    light_vertices(*surface, drawn, baked.vertex_region, 0, len(vertices), normals, light)
    slow = vertex_normals(vertices, avatar.mesh.faces)
    np.testing.assert_allclose(normals, slow, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-4)
    labels = vertex_labels(avatar.mesh.faces, avatar.mesh.face_region, len(vertices), len(avatar.regions))
    expected = vertex_light(vertices.astype(np.float64), slow.astype(np.float64), [avatar.regions[label].material for label in labels])
    np.testing.assert_allclose(light, expected, atol=2e-3)


def test_texture_basis_is_the_sum_and_only_changes_are_made() -> None:
    file = tiny_avatar(trained=True)
    baked = bake(file)
    assert baked.texture_basis is not None
    state = baked.texture_basis.blank()
    for seed in range(3):
        params = params_at(seed)
        baked.texture_basis.update(baked.pose_of(params).texture, 0, len(baked.texture_basis.scale), state)
        expected = reference_residual(file, params)
        assert expected is not None
        np.testing.assert_allclose(state.texels / 64.0, expected, atol=0.05)
    state.texels[:] = 7
    weights = baked.pose_of(params).texture.copy()
    weights[1] += 0.5
    baked.texture_basis.update(weights, 0, len(baked.texture_basis.scale), state)
    half = state.texels.reshape(2, 32, 64, 4)
    assert (half[0] == 7).all()
    assert (half[1, ..., :3] != 7).mean() > 0.9


def test_texture_basis_without_alpha() -> None:
    maps = np.random.default_rng(0).integers(-9, 9, (2, 8, 8, 3), np.int8)
    basis = BakedTextureBasis.of(TextureBasis(maps, np.ones((2, 4), np.float32), 4, np.zeros(4, np.uint8)))
    state = basis.blank()
    basis.update(np.array([[1.0, 2.0]], np.float32), 0, 4, state)
    np.testing.assert_array_equal(state.texels[..., :3], 64 * (maps[0].astype(int) + 2 * maps[1]))
    assert (state.texels[..., 3] == 0).all()


def test_a_basis_reaches_what_looks_at_its_texels() -> None:
    maps = np.zeros((2, 16, 16, 3), np.int8)
    maps[1, 4:8, 8:12] = 1
    basis = TextureBasis(maps, np.ones((2, 16), np.float32), 4, np.zeros(16, np.uint8))
    inside, beside, below = (np.array(corners) / 16 for corners in ([[9, 5], [10, 6]], [[12.4, 4], [15, 8]], [[0, 10], [16, 16]]))
    assert basis.reaches(inside)
    assert basis.reaches(beside), "a look-up between texels 11 and 12 sees both"
    assert not basis.reaches(below)
    assert not basis.reaches(np.zeros((0, 3, 2)))


def test_triangles_that_no_light_changes_are_known() -> None:
    file = tiny_avatar()
    dark = tuple(replace(region, material=replace(region.material, lit=region.name != "left_eye")) for region in file.regions)
    unlit = (bake(replace(file, regions=dark)).face_flags & UNLIT_FLAG) > 0
    names = np.array([region.name for region in file.regions])[bake(file).face_region]
    assert set(names[unlit]) == {"left_eye"}
    assert not (bake(file).face_flags & UNLIT_FLAG).any()


def test_layers_are_sorted_surface_first(avatar: AvatarFile, baked: BakedAvatar) -> None:
    assert baked.surface_count == (avatar.mesh.face_layer == 0).sum()
    overlay = {tuple(face) for face in avatar.mesh.faces[avatar.mesh.face_layer == 1]}
    assert {tuple(face) for face in baked.faces[baked.surface_count :]} == overlay


def test_parameters_that_hurt() -> None:
    baked = bake(tiny_avatar(12))
    for name in ("expression", "rotation", "gaze", "translation"):
        for bad in (np.nan, np.inf):
            params = params_at(0)
            array = getattr(params, name).copy()
            array.flat[0] = bad
            np.testing.assert_array_equal(baked.pose(replace(params, **{name: array})), baked.pose(baked.neutral()))
    for count in (0, 1, 3, 60):
        assert len(baked.pose_of(params_at(0, count)).shapes) == 3
    wild = replace(params_at(0), expression=np.full(3, 1e30, np.float32), translation=np.full(3, -1e30, np.float32))
    assert np.isfinite(baked.pose(wild)).all()


def test_connected_parts() -> None:
    mesh = tiny_mesh(12)
    parts = components(mesh.faces, len(mesh.vertices))
    assert len(np.unique(parts)) == 5
    for region in (0, 1, 2):
        assert len(np.unique(parts[mesh.face_region == region])) == 1


def test_open_sides_are_those_of_one_triangle() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3], [3, 4, 2], [7, 8, 9]], np.int32)
    np.testing.assert_array_equal(open_sides(faces), [0b110, 0b001, 0b101, 0b111])
    np.testing.assert_array_equal(open_sides(faces[:0]), [])


def test_texture_levels_keep_the_mean_and_the_colours_beside_holes() -> None:
    image = tiny_texture(128)
    image[40:80, 40:80] = (0, 255, 0, 0)
    texture = Texture.of(image)
    assert len(texture.level) == 7
    np.testing.assert_array_equal(texture.image(0)[image[..., 3] == 255], image[image[..., 3] == 255])
    for index in range(len(texture.level)):
        level = texture.image(index).astype(float)
        assert level[..., 3].mean() == pytest.approx(image[..., 3].mean(), abs=2.5)
        seen = level[..., 3:] / 255.0
        weighed = image[..., :3] * (image[..., 3:] / 255.0)
        np.testing.assert_allclose((level[..., :3] * seen).mean((0, 1)), weighed.mean((0, 1)), atol=2.5)
    hole = texture.image(0)[40:80, 40:80]
    assert (hole[..., 3] == 0).all()
    assert hole[..., 0].min() > 100

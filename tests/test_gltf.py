"""The GLB export, read back by tests/gltf_reader.py and looked at by the Khronos validator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.avatar_parts import Material
from models.baked import bake
from models.export.frames import Frames
from models.export.glb import index_array
from models.export.gltf import export_glb, four_joints, roughness
from models.export.linear_avatar import texture_at
from models.export.normals import unit_normals
from models.export.poses import JOINT_NAMES, joint_quaternions
from models.export.primitives import primitives
from models.head import HeadParams
from models.image_blob import decode_image
from realtime.gallery import SHIPPED
from tests.flame_avatar import flame_avatar
from tests.gltf_reader import Glb
from tests.test_obj import triangles
from tests.tiny_avatar import tiny_avatar

FOLDER = Path(__file__).parent / "gltf"
SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.avatar"))
MADE: dict[str, Callable[[], AvatarFile]] = {
    "plain": tiny_avatar,
    "trained": lambda: active(tiny_avatar(trained=True)),
    "flame": flame_avatar,
}


@cache
def avatar(name: str) -> AvatarFile:
    return MADE[name]() if name in MADE else read_avatar(SHIPPED / f"{name}.avatar")


def active(file: AvatarFile) -> AvatarFile:
    """Somebody whose face does something at rest."""
    assert file.weights is not None
    weights = replace(file.weights, mean=np.full_like(file.weights.mean, 0.45), scale=np.full_like(file.weights.scale, 0.3))
    return replace(file, weights=weights)


@cache
def exported(name: str) -> bytes:
    return export_glb(avatar(name))


def posed(file: AvatarFile, seed: int = 0) -> HeadParams:
    """Everything moves."""
    rng = np.random.default_rng(seed)
    count = len(file.expression_names)
    rotation, neck, jaw = (rng.uniform(-0.3, 0.3, 3).astype(np.float32) for _ in range(3))
    gaze, translation = rng.uniform(-0.3, 0.3, (2, 2)).astype(np.float32), np.array(file.camera.translation, np.float32)
    return HeadParams(np.zeros(0, np.float32), rng.uniform(0.0, 1.0, count).astype(np.float32), rotation, neck, jaw, gaze, translation)


def moves(file: AvatarFile, params: HeadParams) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Weights by name, quaternions by joint."""
    weights = dict(zip(file.expression_names, map(float, params.expression), strict=True))
    return weights, dict(zip(JOINT_NAMES, joint_quaternions(params), strict=True))


def off_mm(file: AvatarFile, glb: Glb, params: HeadParams) -> NDArray[np.float64]:
    """How far each vertex of the GLB lies from where Headcast puts it."""
    baked = bake(file)
    parts = primitives(file.mesh, file.regions, texture_at(baked, baked.neutral()))
    wanted = baked.pose(params) - np.array(file.camera.translation)
    found = glb.positions(*moves(file, params))
    return 1e3 * np.concatenate([np.linalg.norm(points - wanted[part.vertex], axis=1) for points, part in zip(found, parts, strict=True)])


@pytest.mark.parametrize("name", ["mara", "plain"])
def test_morphed_and_skinned_it_is_the_avatar(name: str) -> None:
    assert off_mm(avatar(name), Glb.of(exported(name)), posed(avatar(name))).max() < 1e-3


def test_a_jaw_that_is_a_joint_moves() -> None:
    """Without its pose correctives, which glTF has no place for."""
    plain = replace(avatar("flame"), pose_correctives=None)
    assert off_mm(plain, Glb.of(export_glb(plain)), posed(plain)).max() < 1e-3
    assert off_mm(avatar("flame"), Glb.of(exported("flame")), posed(avatar("flame"))).max() < 5.0
    assert Glb.of(exported("flame")).target_names == list(avatar("flame").expression_names)
    assert "pose correctives" in Glb.of(exported("flame")).document["asset"]["extras"]["leftOut"]


def test_a_learned_shape_is_exact_at_rest_and_near_it_elsewhere() -> None:
    file = replace(avatar("trained"), pose_correctives=None)
    glb, rest = Glb.of(export_glb(file)), bake(file).neutral()
    assert rest.expression.any()
    assert off_mm(file, glb, rest).max() < 1e-3
    for index in range(len(file.expression_names)):
        highest = rest.expression.copy()
        highest[index] = file.ranges.expression[index, 1]
        assert off_mm(file, glb, replace(rest, expression=highest)).max() < 0.06


def test_the_file_opens_at_rest_or_as_asked() -> None:
    file = avatar("trained")
    rest, other = bake(file).neutral(), replace(posed(file), translation=np.array([0.05, 0.0, -0.6], np.float32))
    for data, params in ((exported("trained"), rest), (export_glb(file, other), other)):
        document = Glb.of(data).document
        nodes = {node["name"]: node for node in document["nodes"]}
        assert document["meshes"][0]["weights"] == pytest.approx(params.expression, abs=1e-6)
        for name, quaternion in moves(file, params)[1].items():
            assert nodes[name]["rotation"] == pytest.approx(quaternion)
        assert nodes["root"]["translation"] == pytest.approx(file.mesh.joints[0] + params.translation - file.camera.translation)


def test_joints_are_named_and_bound_where_they_are() -> None:
    glb = Glb.of(exported("mara"))
    skin, nodes = glb.document["skins"][0], glb.document["nodes"]
    assert [nodes[joint]["name"] for joint in skin["joints"]] == ["root", "neck", "jaw", "left_eye", "right_eye"]
    assert [nodes[child]["name"] for child in nodes[2]["children"]] == ["jaw", "left_eye", "right_eye"]
    inverse = glb.accessor(skin["inverseBindMatrices"]).reshape(5, 4, 4)
    np.testing.assert_allclose(inverse[:, 3, :3], -avatar("mara").mesh.joints)
    assert nodes[4]["translation"][0] + nodes[2]["translation"][0] + nodes[1]["translation"][0] > 0.02  # the person's left is +x


def test_targets_carry_arkit_names_and_stay_small() -> None:
    glb = Glb.of(exported("mara"))
    assert glb.target_names == list(avatar("mara").expression_names)
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight", "tongueOut"} <= set(glb.target_names)
    assert all(len(primitive["targets"]) == 52 for primitive in glb.document["meshes"][0]["primitives"])
    dense = sum(glb.document["accessors"][primitive["attributes"]["POSITION"]]["count"] for primitive in glb.document["meshes"][0]["primitives"]) * 52 * 24
    assert len(exported("mara")) < 3.5e6 < dense


def test_normals_are_of_unit_length_and_turn_with_the_shape() -> None:
    file = avatar("plain")
    glb = Glb.of(exported("plain"))
    parts = primitives(file.mesh, file.regions, texture_at(bake(file), bake(file).neutral()))
    wanted = unit_normals(file.mesh.vertices + file.expression.dense(len(file.mesh.vertices))[0], file.mesh.faces)
    for primitive, part in zip(glb.document["meshes"][0]["primitives"], parts, strict=True):
        normals = glb.accessor(primitive["attributes"]["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
        turned = normals + glb.accessor(primitive["targets"][0]["NORMAL"])
        assert np.linalg.norm(turned - wanted[part.vertex], axis=1).max() < 0.021
    assert np.abs(wanted - unit_normals(file.mesh.vertices, file.mesh.faces)).max() > 0.3


def test_materials_show_what_is_seen_through_and_what_is_lit() -> None:
    materials = {each["name"]: each for each in Glb.of(exported("mara")).document["materials"]}
    assert {name for name, each in materials.items() if each["alphaMode"] == "BLEND"} == {"lashes"}
    assert {name for name, each in materials.items() if each["doubleSided"]} == {"lashes"}
    assert materials["left_eye"]["pbrMetallicRoughness"]["roughnessFactor"] < 0.35 < materials["skin"]["pbrMetallicRoughness"]["roughnessFactor"]
    assert "extensionsUsed" not in Glb.of(exported("mara")).document
    flame = Glb.of(exported("flame")).document
    assert all("KHR_materials_unlit" in each["extensions"] for each in flame["materials"])
    assert flame["extensionsUsed"] == ["KHR_materials_unlit"]
    assert roughness(Material(specular=0.0)) == 1.0


def test_soft_parts_of_a_region_are_apart_and_the_under_layer_comes_first() -> None:
    file = avatar("plain")
    texture = decode_image(file.texture, "texture", 4, 2048)
    texture[100:140, 60:180, 3] = 120
    layer = np.where(file.mesh.face_region == 2, 2, file.mesh.face_layer).astype(np.uint8)
    parts = primitives(replace(file.mesh, face_layer=layer), file.regions, texture)
    assert [(part.name, part.soft, part.two_sided) for part in parts] == [
        ("right_eye", False, False), ("skin", False, False), ("left_eye", False, False), ("skin_soft", True, False), ("lashes", True, True),
    ]  # fmt: skip
    assert sum(len(part.faces) for part in parts) == len(file.mesh.faces)
    for part in parts:
        column, row = np.clip((part.uv[part.faces].mean(1) * 256).astype(int), 0, 255).T
        assert part.soft or (texture[row, column, 3] == 255).all()


def test_every_triangle_is_there_with_its_place_in_the_texture() -> None:
    file, glb = avatar("plain"), Glb.of(exported("plain"))
    parts = primitives(file.mesh, file.regions, texture_at(bake(file), bake(file).neutral()))
    corners, uv = [], []
    for primitive, part in zip(glb.document["meshes"][0]["primitives"], parts, strict=True):
        indices = glb.accessor(primitive["indices"]).reshape(-1, 3)
        corners.append(part.vertex[indices])
        uv.append(glb.accessor(primitive["attributes"]["TEXCOORD_0"])[indices])
    faces = np.concatenate(corners).astype(np.int32)
    places = np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)
    found = triangles(np.concatenate(uv).reshape(-1, 2), faces, places)
    np.testing.assert_array_equal(found, triangles(file.mesh.uv, file.mesh.faces, file.mesh.uv_faces))


def test_the_texture_is_that_at_rest() -> None:
    document = Glb.of(exported("trained"))
    found = decode_image(document.view(document.document["images"][0]["bufferView"]), "texture", 4, 2048)
    baked = bake(avatar("trained"))
    basis, weights = avatar("trained").texture_basis, baked.pose_of(baked.neutral()).texture
    assert basis is not None
    along = 64 // basis.block
    grey = np.einsum("bk,kb,kbnc->bnc", weights[basis.group], basis.scale, basis.maps.reshape(3, along, 16, along, 16, 4).swapaxes(2, 3).reshape(3, 16, 256, 4))
    added = grey.reshape(along, along, 16, 16, 4).swapaxes(1, 2).reshape(64, 64, 4)
    centres = found[2::4, 2::4].astype(float) - baked.texture.image(0)[2::4, 2::4]
    assert np.abs(added).max() > 10.0
    inside = (found[2::4, 2::4, :3] > 0) & (found[2::4, 2::4, :3] < 255)
    difference = (centres - added)[..., :3][inside]
    assert np.corrcoef(centres[..., :3][inside], added[..., :3][inside])[0, 1] > 0.9
    assert np.abs(difference).mean() < 0.35 * np.abs(added[..., :3][inside]).mean()


def test_the_file_says_whom_it_shows() -> None:
    asset = Glb.of(exported("flame")).document["asset"]
    assert asset["version"] == "2.0"
    assert asset["generator"].startswith("Headcast")
    assert asset["copyright"] == "All rights reserved"
    assert asset["extras"]["mark"] == "AI avatar: synthetic"
    assert asset["extras"]["name"] == avatar("flame").card.name
    assert asset["extras"]["consent"] == {
        "synthetic": False, "subject": "Anna B.", "granted_by": "Anna B.", "statement": "Agreed to tests.", "date": "2026-01-31", "expires": "2031-01-31",
        "agreed_at": "", "statement_version": 0, "purposes": [], "own_driver_only": False,
    }  # fmt: skip
    mara = Glb.of(exported("mara")).document
    assert mara["scenes"][0]["extras"]["consent"] == mara["asset"]["extras"]["consent"]  # the scene's are what Blender keeps
    assert mara["asset"]["extras"]["consent"]["synthetic"] is True


def clip(file: AvatarFile, count: int = 5) -> Frames:
    params = [posed(file, seed) for seed in range(count)]
    parts = {name: np.stack([getattr(each, name) for each in params]) for name in ("expression", "rotation", "neck", "jaw", "gaze", "translation")}
    parts["rotation"] = np.linspace([0.0, 2.9, 0.0], [0.0, 3.4, 0.0], count, dtype=np.float32)  # past half a turn
    parts["translation"] = parts["translation"] + np.linspace(0.0, 0.04, count, dtype=np.float32)[:, None]
    return Frames(7.0 + np.arange(count) / 25.0, file.expression_names, **parts)


def test_frames_become_an_animation() -> None:
    file = avatar("plain")
    frames = clip(file)
    glb = Glb.of(export_glb(file, frames=frames))
    animation = glb.document["animations"][0]
    tracks: dict[tuple[str, str], NDArray[Any]] = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        np.testing.assert_allclose(glb.accessor(sampler["input"]), np.arange(5) / 25.0, atol=1e-6)
        tracks[glb.document["nodes"][channel["target"]["node"]]["name"], channel["target"]["path"]] = glb.accessor(sampler["output"])
    np.testing.assert_array_equal(tracks[file.card.name, "weights"].reshape(5, -1), frames.expression)
    np.testing.assert_allclose(tracks["root", "translation"], file.mesh.joints[0] + frames.translation - file.camera.translation, atol=1e-6)
    for index in range(5):
        for name, quaternion in moves(file, frames.params(index))[1].items():
            found = tracks[name, "rotation"][index]
            assert abs(found @ quaternion) == pytest.approx(1.0, abs=1e-6)
            assert index == 0 or found @ tracks[name, "rotation"][index - 1] > 0.0


def test_the_four_heaviest_joints_are_kept() -> None:
    joints, weights = four_joints(np.array([[0.1, 0.2, 0.3, 0.05, 0.35], [0.0, 1.0, 0.0, 0.0, 0.0]], np.float32))
    assert joints.tolist() == [[4, 2, 1, 0], [1, 0, 0, 0]]
    assert weights[0] == pytest.approx(np.array([0.35, 0.3, 0.2, 0.1]) / 0.95)
    assert weights[1].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_indices_are_as_narrow_as_they_may_be() -> None:
    assert index_array(np.array([0, 65_534])).dtype == np.uint16
    assert index_array(np.array([0, 65_535])).dtype == np.uint32


def test_the_validator_finds_nothing(tmp_path: Path) -> None:
    """Errors, warnings and hints of Khronos's glTF validator; a picture whose sides are no powers of two is a remark of its."""
    files = {name: exported(name) for name in (*MADE, *SHIPPED_NAMES)}
    files |= {"clip": export_glb(avatar("trained"), frames=clip(avatar("trained"))), "bare": export_glb(bare(avatar("plain")))}
    for name, data in files.items():
        (tmp_path / f"{name}.glb").write_bytes(data)
    reports = dict(zip(files, validated([tmp_path / f"{name}.glb" for name in files]), strict=True))
    for name, report in reports.items():
        messages = [each for each in report["issues"]["messages"] if each["code"] != "IMAGE_NPOT_DIMENSIONS"]
        assert (name, messages, report["issues"]["truncated"]) == (name, [], False)
    assert reports["clip"]["info"]["animationCount"] == 1
    (tmp_path / "broken.glb").write_bytes(files["plain"].replace(b'"VEC3"', b'"VEC2"', 1))
    assert validated([tmp_path / "broken.glb"])[0]["issues"]["numErrors"] > 0


def bare(file: AvatarFile) -> AvatarFile:
    """Without a single expression shape."""
    ranges = replace(file.ranges, expression=np.zeros((0, 2), np.float32))
    return replace(file, expression_names=(), expression=type(file.expression).empty(), ranges=ranges)


def validated(paths: list[Path]) -> list[dict[str, Any]]:
    """The validator's reports. `make test` installs it; without it this test is skipped, or fails where it is required (as the browser's)."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / "gltf-validator").is_dir():
        required = os.environ.get("CI", "").lower() == "true" or os.environ.get("HEADCAST_REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)("the glTF validator is not installed: npm ci --prefix tests/gltf")
    done = subprocess.run([node, str(FOLDER / "validate.mjs"), *map(str, paths)], capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]

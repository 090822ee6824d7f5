"""The OBJ export, read back by a small reader of the format."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import bake
from models.export.linear_avatar import texture_at
from models.export.normals import unit_normals
from models.export.obj import export_obj, zipped
from models.head import HeadParams
from models.image_blob import decode_image
from tests.flame_avatar import flame_avatar
from tests.tiny_avatar import tiny_avatar


@dataclass
class Obj:
    """Positions and normals (V, 3), texture coordinates (T, 2), and corners (F, 3, 3) of v, vt, vn from zero, with their materials."""

    positions: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    uv: list[list[float]] = field(default_factory=list)
    corners: list[list[list[int]]] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @staticmethod
    def of(data: bytes) -> Obj:
        found, material = Obj(), ""
        lists = {"v": found.positions, "vn": found.normals, "vt": found.uv}
        for line in data.decode().splitlines():
            word, _, rest = line.partition(" ")
            if word in lists:
                lists[word].append([float(number) for number in rest.split()])
            elif word == "usemtl":
                material = rest
            elif word == "f":
                found.corners.append([[int(index) - 1 for index in corner.split("/")] for corner in rest.split()])
                found.materials.append(material)
            elif word == "#":
                found.comments.append(rest)
            else:
                assert word in ("mtllib", "o", "g"), line
        return found


def moved(file: AvatarFile) -> HeadParams:
    rng = np.random.default_rng(4)
    rotation, neck, jaw = (rng.uniform(-0.3, 0.3, 3).astype(np.float32) for _ in range(3))
    expression, gaze = rng.uniform(0.0, 1.0, len(file.expression_names)).astype(np.float32), rng.uniform(-0.3, 0.3, (2, 2)).astype(np.float32)
    return HeadParams(np.zeros(0, np.float32), expression, rotation, neck, jaw, gaze, np.array([0.1, 0.0, -0.5], np.float32))


def triangles(mesh_uv: NDArray[np.float32], *arrays: NDArray[np.int32]) -> NDArray[np.float64]:
    """Sorted rows of vertices and texture coordinates, one a triangle: the same whatever the order."""
    faces, uv_faces = arrays
    rows = np.concatenate([faces, np.round(mesh_uv[uv_faces].reshape(-1, 6), 5)], 1)
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("trained", [False, True])
def test_the_mesh_is_the_avatar_in_its_pose(trained: bool) -> None:
    """Correctives, dynamic offsets and texture included."""
    file = tiny_avatar(12, trained=trained)
    baked = bake(file)
    for params in (None, moved(file)):
        files = export_obj(file, "ball", params)
        assert list(files) == ["ball.obj", "ball.mtl", "ball.png"]
        obj, pose = Obj.of(files["ball.obj"]), baked.neutral() if params is None else params
        vertices = baked.pose(pose) - np.array(file.camera.translation, np.float32)
        np.testing.assert_allclose(obj.positions, vertices, atol=1e-6)
        np.testing.assert_allclose(obj.normals, unit_normals(vertices, file.mesh.faces), atol=1e-6)
        corners = np.array(obj.corners)
        np.testing.assert_array_equal(corners[..., 0], corners[..., 2])
        uv = np.array(obj.uv, np.float32) * [1, -1] + [0, 1]
        found = triangles(uv.astype(np.float32), corners[..., 0].astype(np.int32), corners[..., 1].astype(np.int32))
        np.testing.assert_allclose(found, triangles(file.mesh.uv, file.mesh.faces, file.mesh.uv_faces), atol=2e-5)
        np.testing.assert_array_equal(decode_image(files["ball.png"], "texture", 4, 2048), texture_at(baked, pose))


def test_materials_are_named_after_regions() -> None:
    files = export_obj(tiny_avatar(8), "ball")
    mtl = files["ball.mtl"].decode()
    assert b"mtllib ball.mtl\n" in files["ball.obj"]
    assert set(Obj.of(files["ball.obj"]).materials) == {line.split()[1] for line in mtl.splitlines() if line.startswith("newmtl")}
    blocks = {block.split("\n")[0]: block for block in mtl.split("newmtl ")[1:]}
    assert all("map_Kd ball.png\n" in block for block in blocks.values())
    assert {name for name, block in blocks.items() if "map_d ball.png\n" in block} == {"lashes", "skin_soft"}
    assert "Ks 0.9 0.9 0.9\nNs 400\nillum 2\n" in blocks["left_eye"]


def test_the_files_say_whom_they_show_and_a_name_cannot_break_out() -> None:
    files = export_obj(flame_avatar(), "anna")
    for name in ("anna.obj", "anna.mtl"):
        text = files[name].decode()
        assert '# mark: "AI avatar: synthetic"\n' in text
        assert '"granted_by": "Anna B."' in text
        assert '# name: "Anna\\n# not a comment"\n' in text
    assert b"o Anna_#_not_a_comment\n" in files["anna.obj"]
    Obj.of(files["anna.obj"])


def test_an_archive_of_them_is_always_the_same() -> None:
    files = export_obj(replace(tiny_avatar(8)), "ball")
    opened = zipfile.ZipFile(io.BytesIO(zipped(files)))
    assert {name: opened.read(name) for name in opened.namelist()} == files
    assert zipped(files) == zipped(files)

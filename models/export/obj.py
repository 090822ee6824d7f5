"""An avatar in one pose as Wavefront OBJ with MTL and PNG: for programs that read no glTF.

Wavefront, "Object files (.obj)" and "MTL material format", Advanced Visualizer manual, appendices B1 and 5 (1995).
"""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.baked import bake
from models.export.about import GENERATOR, describe
from models.export.linear_avatar import png, texture_at
from models.export.normals import unit_normals
from models.export.primitives import Primitive, primitives
from models.head import HeadParams

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest that a ZIP archive can say, so that the same avatar gives the same bytes."""


def export_obj(avatar: AvatarFile, stem: str, params: HeadParams | None = None) -> dict[str, bytes]:
    """File name → contents: STEM.obj, STEM.mtl, STEM.png.

    The mesh is exact, correctives and dynamic offsets included, and so is its texture. It stands where its portrait's place is the origin: metres, +y up,
    the face towards +z.

    Args:
        params: the pose, in the avatar's own expression order; None: at rest.

    Raises:
        BadFile: a picture in the avatar is damaged.
    """
    baked = bake(avatar)
    params = baked.neutral() if params is None else params
    vertices = baked.pose(params) - np.array(avatar.camera.translation, np.float32)
    texture = texture_at(baked, params)
    parts = primitives(avatar.mesh, avatar.regions, texture)
    about = "".join(f"# {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in ({"generator": GENERATOR} | describe(avatar)).items())
    normals = unit_normals(vertices, avatar.mesh.faces)
    obj = f"{about}mtllib {stem}.mtl\no {_word(avatar.card.name)}\n" + _rows("v", vertices) + _rows("vn", normals) + _faces(parts)
    mtl = about + "".join(_material(part, stem) for part in parts)
    return {f"{stem}.obj": obj.encode(), f"{stem}.mtl": mtl.encode(), f"{stem}.png": png(texture)}


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP archive of them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(zipfile.ZipInfo(name, FIRST_DAY), data, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _faces(parts: list[Primitive]) -> str:
    """Texture coordinates and triangles; OBJ counts from one, and its v points up."""
    text, used = "", 1
    for part in parts:
        corners = np.stack([part.vertex[part.faces] + 1, part.faces + used], -1)
        lines = "\n".join("f " + " ".join(f"{v}/{t}/{v}" for v, t in face) for face in corners.tolist())
        text += f"{_rows('vt', part.uv * [1, -1] + [0, 1])}g {_word(part.name)}\nusemtl {_word(part.name)}\n{lines}\n"
        used += len(part.uv)
    return text


def _material(part: Primitive, stem: str) -> str:
    material = part.region.material
    strength = material.specular if material.lit else 0.0
    alpha = f"map_d {stem}.png\n" if part.soft else ""
    shine = f"Ks {strength:g} {strength:g} {strength:g}\nNs {min(material.shininess, 1000.0):g}\nillum {2 if strength else 1}\n"
    return f"newmtl {_word(part.name)}\nKa 1 1 1\nKd 1 1 1\n{shine}map_Kd {stem}.png\n{alpha}"


def _rows(word: str, values: NDArray[np.floating]) -> str:
    return "".join(f"{word} {' '.join(f'{value:.6f}' for value in row)}\n" for row in values.tolist())


def _word(text: str) -> str:
    return "_".join(text.split()) or "avatar"

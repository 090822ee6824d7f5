"""A soft portrait set-up, fixed to the camera: warm key from the upper left, cool fill from the right, rim from behind, sky and ground.

Diffuse: wrapped Lambert with a wrap of its own for each colour, which reddens the terminator as skin does (Green, "Real-time approximations to subsurface
scattering", GPU Gems, 2004). Highlight: Blinn, "Models of light reflection for computer synthesized pictures", 1977. Light is summed in sRGB values
(models/CONVENTIONS.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import Region
from models.kernels import Scalar, kernel

Float = NDArray[np.float32]
Int = NDArray[np.int32]

LIT, WRAP_R, WRAP_G, WRAP_B, SPECULAR, SHININESS, RIM, GLOSSY = range(8)
LIGHT_X, LIGHT_Y, LIGHT_Z, LIGHT_R, LIGHT_G, LIGHT_B = range(6)
KEY, FILL, BACK, SKY, GROUND = range(5)


def portrait_lights() -> Float:
    """(5, 6): direction towards the light (unit, camera space) and colour of key, fill, back, sky, ground. A surface that faces the camera gets about one."""
    rows = [
        ((-0.50, 0.55, 0.67), (0.66, 0.62, 0.56)),
        ((0.75, 0.05, 0.66), (0.17, 0.20, 0.25)),
        ((0.55, 0.45, -0.70), (0.55, 0.60, 0.68)),
        ((0.0, 1.0, 0.0), (0.36, 0.37, 0.40)),
        ((0.0, -1.0, 0.0), (0.22, 0.19, 0.18)),
    ]
    table = np.array([(*direction, *colour) for direction, colour in rows], np.float32)
    table[:, :3] /= np.linalg.norm(table[:, :3], axis=1, keepdims=True)
    return table


def material_table(regions: Sequence[Region]) -> Float:
    """(regions, 8) for the kernels."""
    table = np.zeros((len(regions), 8), np.float32)
    for row, region in zip(table, regions, strict=True):
        material = region.material
        row[:] = (material.lit, *(min(material.wrap + more, 1.5) for more in material.subsurface), 0, material.shininess, material.rim, material.glossy)
        row[SPECULAR] = material.specular
    return table


@kernel
def facing(lights: Float, index: int, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    """Cosine between a unit normal and the way to a light."""
    return x * lights[index, LIGHT_X] + y * lights[index, LIGHT_Y] + z * lights[index, LIGHT_Z]


@kernel
def wrapped(cosine: Scalar, wrap: Scalar) -> Scalar:
    """Diffuse light that reaches `wrap` beyond the terminator; one where the surface faces the light."""
    return max((cosine + wrap) / (np.float32(1.0) + wrap), np.float32(0.0))


@kernel
def blinn(lights: Float, index: int, nx: Scalar, ny: Scalar, nz: Scalar, vx: Scalar, vy: Scalar, vz: Scalar, shininess: Scalar) -> Scalar:
    """(n · h) ** shininess, for unit normal and unit way to the viewer."""
    hx, hy, hz = lights[index, LIGHT_X] + vx, lights[index, LIGHT_Y] + vy, lights[index, LIGHT_Z] + vz
    length = np.sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6)
    cosine = (nx * hx + ny * hy + nz * hz) / length
    if cosine < np.float32(0.05):
        return np.float32(0.0)
    return np.exp(shininess * np.log(cosine))


@kernel
def reached(lights: Float, index: int, nx: Scalar, ny: Scalar, nz: Scalar) -> Scalar:
    """0…1: how much of a highlight is left where the surface turns away from its light."""
    return min(max(np.float32(4.0) * facing(lights, index, nx, ny, nz), np.float32(0.0)), np.float32(1.0))


@kernel
def highlight(lights: Float, nx: Scalar, ny: Scalar, nz: Scalar, vx: Scalar, vy: Scalar, vz: Scalar, specular: Scalar, shininess: Scalar) -> Scalar:
    """Strength of the mirrored key light, and a third of the fill light's, 0…about 2."""
    key = blinn(lights, KEY, nx, ny, nz, vx, vy, vz, shininess) * reached(lights, KEY, nx, ny, nz)
    fill = blinn(lights, FILL, nx, ny, nz, vx, vy, vz, shininess) * reached(lights, FILL, nx, ny, nz)
    return specular * (key + np.float32(0.3) * fill)


@kernel
def sharp_highlight(lights: Float, nx: Scalar, ny: Scalar, nz: Scalar, vx: Scalar, vy: Scalar, vz: Scalar, specular: Scalar, shininess: Scalar) -> Scalar:
    """A highlight with a plateau, as a window mirrored by something wet: crisp at any size."""
    return min(np.float32(1.8) * highlight(lights, nx, ny, nz, vx, vy, vz, specular, shininess), specular)


@kernel
def light_vertices(
    lights: Float,
    materials: Float,
    vertices: Float,
    faces: Int,
    around: Int,
    around_face: Int,
    box: Int,
    vertex_region: NDArray[np.uint8],
    first: int,
    last: int,
    normals: Float,
    light: Float,
) -> None:
    """Normals (V, 3) and light (V, 4) of vertices first…last - 1: three factors for the texture's colour, one part of white to add.

    `lights` and `materials` as `portrait_lights` and `material_table`; `vertices` (V, 3) in camera space; `around`, `around_face`: models.mesh.VertexFaces.
    Vertices none of whose triangles is drawn (`box` of models.raster.triangles) are left as they are.
    """
    one, zero, half = np.float32(1.0), np.float32(0.0), np.float32(0.5)
    for v in range(first, last):
        if not any_drawn(box, around, around_face, v):
            continue
        nx, ny, nz = normal_of(vertices, faces, around, around_face, v)
        normals[v, 0], normals[v, 1], normals[v, 2] = nx, ny, nz
        m = vertex_region[v]
        if materials[m, LIT] == zero:
            light[v, 0] = light[v, 1] = light[v, 2] = one
            light[v, 3] = zero
            continue
        px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        scale = -one / (np.sqrt(px * px + py * py + pz * pz) + np.float32(1e-9))
        vx, vy, vz = px * scale, py * scale, pz * scale
        edge = min(max(one - (nx * vx + ny * vy + nz * vz), zero), one)
        back = materials[m, RIM] * edge * edge * edge * max(facing(lights, BACK, nx, ny, nz) + np.float32(0.35), zero)
        up = half + half * ny
        key, fill = facing(lights, KEY, nx, ny, nz), facing(lights, FILL, nx, ny, nz)
        for c in range(3):
            wrap = materials[m, WRAP_R + c]
            total = lights[GROUND, LIGHT_R + c] + up * (lights[SKY, LIGHT_R + c] - lights[GROUND, LIGHT_R + c])
            total += wrapped(key, wrap) * lights[KEY, LIGHT_R + c] + wrapped(fill, wrap) * lights[FILL, LIGHT_R + c]
            light[v, c] = total + back * lights[BACK, LIGHT_R + c]
        light[v, 3] = np.float32(0.12) * back
        if materials[m, GLOSSY] == zero and materials[m, SPECULAR] > zero:
            light[v, 3] += highlight(lights, nx, ny, nz, vx, vy, vz, materials[m, SPECULAR], materials[m, SHININESS])


@kernel
def any_drawn(box: Int, around: Int, around_face: Int, v: int) -> bool:
    """Whether any triangle around a vertex is to be drawn."""
    drawn = False
    for k in range(around[v], around[v + 1]):
        drawn |= box[around_face[k], 1] > 0
    return drawn


@kernel
def normal_of(vertices: Float, faces: Int, around: Int, around_face: Int, v: int) -> tuple[Scalar, Scalar, Scalar]:
    """The area-weighted mean normal of the triangles around a vertex, of unit length or zero."""
    nx = ny = nz = np.float32(0.0)
    for k in range(around[v], around[v + 1]):
        f = around_face[k]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        wx, wy, wz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        nx += uy * wz - uz * wy
        ny += uz * wx - ux * wz
        nz += ux * wy - uy * wx
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    if length < np.float32(1e-20):
        return np.float32(0.0), np.float32(0.0), np.float32(0.0)
    return nx / length, ny / length, nz / length

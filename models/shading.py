"""Kernels that give each pixel its colour: texture, light, edges, overlays, over a backdrop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.kernels import Scalar, kernel
from models.lighting import SHININESS, SPECULAR, sharp_highlight
from models.raster.edges import SAMPLES, STEP_M, Edges
from models.raster.triangles import (
    B1_X,
    B1_Y,
    B2_X,
    B2_Y,
    CORNER_X,
    CORNER_Y,
    LEVEL,
    NEAR,
    NEAR_X,
    NEAR_Y,
    U0,
    U1,
    U2,
    V0,
    V1,
    V2,
)
from models.texture_look_up import GLOSSY_FLAG, HALF, LEVEL_MASK, ONE, TOP, UNLIT_FLAG, ZERO, Residual, Words, colour_at

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Picture = NDArray[np.uint8]
OVERLAY_BIAS_M = 0.0008
"""An overlay this far behind the surface is still drawn: lashes grow out of the lid."""


class Surface(NamedTuple):
    """One posed, lit frame of an avatar, as the shading kernels look at it."""

    points: Float
    """(V, 3) x_px, y_px, depth."""
    vertices: Float
    """(V, 3) camera space."""
    normals: Float
    """(V, 3)."""
    light: Float
    """(V, 4) models.lighting.light_vertices."""
    faces: Int
    face_region: Picture
    component: Int
    setup: Float
    """(F, 16) models.raster.triangles."""
    box: Int
    lights: Float
    materials: Float
    """models.lighting."""
    texels: Words
    level: Int
    """models.texture.Texture."""
    residual: Residual
    """(R, R) models.texture_basis.ResidualTexture.words; None without a basis: the kernels are then compiled without it."""


@kernel
def weights_at(setup: Float, f: int, x: Scalar, y: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Perspective-correct barycentrics of triangle `f` at the picture's point (x, y)."""
    dx, dy = x - setup[f, CORNER_X], y - setup[f, CORNER_Y]
    depth = ONE / (setup[f, NEAR] + dx * setup[f, NEAR_X] + dy * setup[f, NEAR_Y])
    b1 = (dx * setup[f, B1_X] + dy * setup[f, B1_Y]) * depth
    b2 = (dx * setup[f, B2_X] + dy * setup[f, B2_Y]) * depth
    return ONE - b1 - b2, b1, b2


@kernel
def fragment(
    setup: Float, faces: Int, light: Float, texels: Words, level: Int, residual: Residual, f: int, x: Scalar, y: Scalar
) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Lit colour, 0…255 and at times above, and alpha, 0…1, of triangle `f` at the picture's point (x, y); without gloss."""
    b0, b1, b2 = weights_at(setup, f, x, y)
    u, v = b0 * setup[f, U0] + b1 * setup[f, U1] + b2 * setup[f, U2], b0 * setup[f, V0] + b1 * setup[f, V1] + b2 * setup[f, V2]
    k = np.int32(setup[f, LEVEL]) & LEVEL_MASK
    red, green, blue, alpha = colour_at(texels, level[k, 0], level[k, 1], level[k, 2], residual, u, v)
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    white = (b0 * light[a, 3] + b1 * light[b, 3] + b2 * light[c, 3]) * TOP
    red = red * (b0 * light[a, 0] + b1 * light[b, 0] + b2 * light[c, 0]) + white
    green = green * (b0 * light[a, 1] + b1 * light[b, 1] + b2 * light[c, 1]) + white
    blue = blue * (b0 * light[a, 2] + b1 * light[b, 2] + b2 * light[c, 2]) + white
    return red, green, blue, alpha * np.float32(1.0 / 255.0)


@kernel
def gloss(
    setup: Float, faces: Int, face_region: Picture, vertices: Float, normals: Float, lights: Float, materials: Float, f: int, x: Scalar, y: Scalar
) -> Scalar:
    """White to add, 0…255, where triangle `f` is of a glossy region: a highlight computed for this very point."""
    b0, b1, b2 = weights_at(setup, f, x, y)
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    nx = b0 * normals[a, 0] + b1 * normals[b, 0] + b2 * normals[c, 0]
    ny = b0 * normals[a, 1] + b1 * normals[b, 1] + b2 * normals[c, 1]
    nz = b0 * normals[a, 2] + b1 * normals[b, 2] + b2 * normals[c, 2]
    px = b0 * vertices[a, 0] + b1 * vertices[b, 0] + b2 * vertices[c, 0]
    py = b0 * vertices[a, 1] + b1 * vertices[b, 1] + b2 * vertices[c, 1]
    pz = b0 * vertices[a, 2] + b1 * vertices[b, 2] + b2 * vertices[c, 2]
    tiny = np.float32(1e-9)
    sn, sp = ONE / (np.sqrt(nx * nx + ny * ny + nz * nz) + tiny), -ONE / (np.sqrt(px * px + py * py + pz * pz) + tiny)
    m = face_region[f]
    return TOP * sharp_highlight(lights, nx * sn, ny * sn, nz * sn, px * sp, py * sp, pz * sp, materials[m, SPECULAR], materials[m, SHININESS])


@kernel
def saturated(value: Scalar) -> Scalar:
    """Into 0…255."""
    return min(max(value, ZERO), TOP)


@kernel
def lay_over(out: Picture, y: int, x: int, red: Scalar, green: Scalar, blue: Scalar, alpha: Scalar) -> None:
    """Blends a colour over the pixel (y, x)."""
    rest = ONE - alpha
    out[y, x, 0] = np.uint8(np.int32(saturated(red) * alpha + rest * np.float32(out[y, x, 0]) + HALF))
    out[y, x, 1] = np.uint8(np.int32(saturated(green) * alpha + rest * np.float32(out[y, x, 1]) + HALF))
    out[y, x, 2] = np.uint8(np.int32(saturated(blue) * alpha + rest * np.float32(out[y, x, 2]) + HALF))


@kernel
def shade_rows(surface: Surface, face_id: Int, slot: Int, mirror: bool, low: int, high: int, out: Picture) -> None:
    """Lays the pixels without edges and gloss of rows low…high - 1 over `out` (H, W, 3), which holds the backdrop; run by run of one triangle."""
    setup, faces, light, texels, level, residual = surface.setup, surface.faces, surface.light, surface.texels, surface.level, surface.residual
    width = face_id.shape[1]
    for y in range(low, high):
        first = 0
        while first < width:
            f = face_id[y, first]
            last = first + 1
            if f >= 0:
                while last < width and face_id[y, last] == f:
                    last += 1
                if np.int32(setup[f, LEVEL]) & UNLIT_FLAG:
                    shade_unlit_run(setup, texels, level, residual, f, slot, mirror, y, first, last, out)
                elif setup[f, LEVEL] < GLOSSY_FLAG:
                    shade_run(setup, faces, light, texels, level, residual, f, slot, mirror, y, first, last, out)
            first = last


@kernel
def nearness_at(setup: Float, f: int, x: Scalar, y: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """One over the depth of triangle `f` at the picture's point (x, y), and the barycentrics times that: all linear in the picture."""
    dx, dy = x - setup[f, CORNER_X], y - setup[f, CORNER_Y]
    near = setup[f, NEAR] + dx * setup[f, NEAR_X] + dy * setup[f, NEAR_Y]
    p1, p2 = dx * setup[f, B1_X] + dy * setup[f, B1_Y], dx * setup[f, B2_X] + dy * setup[f, B2_Y]
    return near, near - p1 - p2, p1, p2


@kernel
def shade_run(
    setup: Float,
    faces: Int,
    light: Float,
    texels: Words,
    level: Int,
    residual: Residual,
    f: int,
    slot: Int,
    mirror: bool,
    y: int,
    first: int,
    last: int,
    out: Picture,
) -> None:
    """Pixels first…last - 1 of row `y`, which see triangle `f`, as `fragment`: all that is linear in the picture is stepped along the row."""
    near, p0, p1, p2 = nearness_at(setup, f, np.float32(first) + HALF, np.float32(y) + HALF)
    near_step, q1, q2 = setup[f, NEAR_X], setup[f, B1_X], setup[f, B2_X]
    q0 = near_step - q1 - q2
    u, u_step = p0 * setup[f, U0] + p1 * setup[f, U1] + p2 * setup[f, U2], q0 * setup[f, U0] + q1 * setup[f, U1] + q2 * setup[f, U2]
    v, v_step = p0 * setup[f, V0] + p1 * setup[f, V1] + p2 * setup[f, V2], q0 * setup[f, V0] + q1 * setup[f, V1] + q2 * setup[f, V2]
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    red, red_step = p0 * light[a, 0] + p1 * light[b, 0] + p2 * light[c, 0], q0 * light[a, 0] + q1 * light[b, 0] + q2 * light[c, 0]
    green, green_step = p0 * light[a, 1] + p1 * light[b, 1] + p2 * light[c, 1], q0 * light[a, 1] + q1 * light[b, 1] + q2 * light[c, 1]
    blue, blue_step = p0 * light[a, 2] + p1 * light[b, 2] + p2 * light[c, 2], q0 * light[a, 2] + q1 * light[b, 2] + q2 * light[c, 2]
    white, white_step = p0 * light[a, 3] + p1 * light[b, 3] + p2 * light[c, 3], q0 * light[a, 3] + q1 * light[b, 3] + q2 * light[c, 3]
    k = np.int32(setup[f, LEVEL]) & LEVEL_MASK
    start, width, height = level[k, 0], level[k, 1], level[k, 2]
    for x in range(first, last):
        if slot[y, x] < 0:
            depth = ONE / near
            r, g, bl, alpha = colour_at(texels, start, width, height, residual, u * depth, v * depth)
            add = white * depth * TOP
            to = out.shape[1] - 1 - x if mirror else x
            lay_over(out, y, to, r * red * depth + add, g * green * depth + add, bl * blue * depth + add, alpha * np.float32(1.0 / 255.0))
        near, u, v, red, green, blue, white = near + near_step, u + u_step, v + v_step, red + red_step, green + green_step, blue + blue_step, white + white_step


@kernel
def shade_unlit_run(
    setup: Float, texels: Words, level: Int, residual: Residual, f: int, slot: Int, mirror: bool, y: int, first: int, last: int, out: Picture
) -> None:
    """As `shade_run`, for a triangle that shows its texture as it is."""
    near, p0, p1, p2 = nearness_at(setup, f, np.float32(first) + HALF, np.float32(y) + HALF)
    near_step, q1, q2 = setup[f, NEAR_X], setup[f, B1_X], setup[f, B2_X]
    q0 = near_step - q1 - q2
    u, u_step = p0 * setup[f, U0] + p1 * setup[f, U1] + p2 * setup[f, U2], q0 * setup[f, U0] + q1 * setup[f, U1] + q2 * setup[f, U2]
    v, v_step = p0 * setup[f, V0] + p1 * setup[f, V1] + p2 * setup[f, V2], q0 * setup[f, V0] + q1 * setup[f, V1] + q2 * setup[f, V2]
    k = np.int32(setup[f, LEVEL]) & LEVEL_MASK
    start, width, height = level[k, 0], level[k, 1], level[k, 2]
    for x in range(first, last):
        if slot[y, x] < 0:
            depth = ONE / near
            red, green, blue, alpha = colour_at(texels, start, width, height, residual, u * depth, v * depth)
            lay_over(out, y, out.shape[1] - 1 - x if mirror else x, red, green, blue, alpha * np.float32(1.0 / 255.0))
        near, u, v = near + near_step, u + u_step, v + v_step


@kernel
def shade_glossy(surface: Surface, face_id: Int, slot: Int, mirror: bool, low: int, high: int, left: int, right: int, out: Picture) -> None:
    """The glossy pixels without edges of rows low…high - 1 and columns left…right - 1."""
    setup, faces, light, texels, level, residual = surface.setup, surface.faces, surface.light, surface.texels, surface.level, surface.residual
    region, vertices, normals, lights, materials = surface.face_region, surface.vertices, surface.normals, surface.lights, surface.materials
    for y in range(low, high):
        for x in range(left, right):
            f = face_id[y, x]
            if f < 0 or setup[f, LEVEL] < GLOSSY_FLAG or slot[y, x] >= 0:
                continue
            cx, cy = np.float32(x) + HALF, np.float32(y) + HALF
            red, green, blue, alpha = fragment(setup, faces, light, texels, level, residual, f, cx, cy)
            white = gloss(setup, faces, region, vertices, normals, lights, materials, f, cx, cy)
            lay_over(out, y, out.shape[1] - 1 - x if mirror else x, red + white, green + white, blue + white, alpha)


@kernel
def resolve_edges(surface: Surface, edges: Edges, first: int, last: int, mirror: bool, out: Picture) -> None:
    """Lays the edge pixels in slots first…last - 1 over `out`: each surface that their samples see is shaded once and weighs as its samples."""
    setup, faces, light, texels, level, residual = surface.setup, surface.faces, surface.light, surface.texels, surface.level, surface.residual
    region, vertices, normals, lights, materials = surface.face_region, surface.vertices, surface.normals, surface.lights, surface.materials
    component, offsets, place, samples = surface.component, edges.offsets, edges.place, edges.samples
    width = out.shape[1]
    for n in range(first, last):
        y, x = place[n, 0], place[n, 1]
        red = green = blue = cover = ZERO
        done = 0
        for s in range(SAMPLES):
            if samples[n, SAMPLES + s] < ZERO or done >> s & 1:
                continue
            count, best = 0, s
            for other in range(s, SAMPLES):
                if not (done >> other & 1) and same_surface(component, samples, n, s, other):
                    done |= 1 << other
                    count += 1
                    best = nearer_centre(offsets, best, other)
            f = int(samples[n, SAMPLES + best])
            cx, cy = np.float32(x) + HALF + offsets[0, best], np.float32(y) + HALF + offsets[1, best]
            r, g, b, alpha = fragment(setup, faces, light, texels, level, residual, f, cx, cy)
            white = gloss(setup, faces, region, vertices, normals, lights, materials, f, cx, cy) if setup[f, LEVEL] >= GLOSSY_FLAG else ZERO
            weight = np.float32(1.0 / SAMPLES) * np.float32(count) * alpha
            cover += weight
            red += weight * saturated(r + white)
            green += weight * saturated(g + white)
            blue += weight * saturated(b + white)
        if cover > ZERO:
            lay_over(out, y, width - 1 - x if mirror else x, red / cover, green / cover, blue / cover, cover)


@kernel
def same_surface(component: Int, samples: Float, n: int, one: int, two: int) -> bool:
    """Whether two samples of a pixel see the same part at about the same depth."""
    p, q = np.int32(samples[n, SAMPLES + one]), np.int32(samples[n, SAMPLES + two])
    if p == q:
        return True
    if q < 0 or component[p] != component[q]:
        return False
    near = samples[n, one]
    return bool(abs(near - samples[n, two]) < np.float32(2.0 * STEP_M) * near * near)


@kernel
def nearer_centre(offsets: Float, one: int, two: int) -> int:
    """Of two samples the one nearer to the pixel centre."""
    first = offsets[0, one] * offsets[0, one] + offsets[1, one] * offsets[1, one]
    second = offsets[0, two] * offsets[0, two] + offsets[1, two] * offsets[1, two]
    return two if second < first else one


@kernel
def overlay_point(setup: Float, f: int, open_sides: int, x: Scalar, y: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """How much of the pixel around (x, y) an overlay triangle covers, 0…1, and the point of it to be shaded.

    Across a side that another overlay triangle shares the pixel centre decides, so that the two together neither gap nor overlap. An open side fades with the
    distance of the centre; what two open sides leave uncovered is summed, so that a card seen edge-on fades out instead of breaking into dots.
    """
    cover = ONE
    for side in range(3):
        dx, dy = x - setup[f, CORNER_X], y - setup[f, CORNER_Y]
        if side == 0:
            along, across = setup[f, NEAR_X] - setup[f, B1_X] - setup[f, B2_X], setup[f, NEAR_Y] - setup[f, B1_Y] - setup[f, B2_Y]
            height = setup[f, NEAR] + dx * along + dy * across
        else:
            along, across = setup[f, B1_X + 2 * (side - 1)], setup[f, B1_Y + 2 * (side - 1)]
            height = dx * along + dy * across
        scale = ONE / (np.sqrt(along * along + across * across) + np.float32(1e-12))
        distance = height * scale
        if open_sides >> side & 1:
            cover -= min(max(HALF - distance, ZERO), ONE)
            if distance < ZERO:
                x, y = x - distance * along * scale, y - distance * across * scale
        elif distance < ZERO:
            return ZERO, x, y
    return cover, x, y


@kernel
def draw_overlays(surface: Surface, open_sides: Picture, order: Int, nearness: Float, mirror: bool, low: int, high: int, out: Picture) -> None:
    """Blends the triangles of `order`, far to near, over rows low…high - 1 of `out`, where the surface does not hide them.

    `open_sides` (F,): models.mesh.open_sides.
    """
    setup, faces, light, texels, level, residual = surface.setup, surface.faces, surface.light, surface.texels, surface.level, surface.residual
    box, width = surface.box, nearness.shape[1]
    for k in range(len(order)):
        f = order[k]
        for y in range(max(box[f, 2], low), min(box[f, 3], high)):
            for x in range(box[f, 0], box[f, 1]):
                cover, cx, cy = overlay_point(setup, f, open_sides[f], np.float32(x) + HALF, np.float32(y) + HALF)
                if cover <= ZERO:
                    continue
                near = setup[f, NEAR] + (cx - setup[f, CORNER_X]) * setup[f, NEAR_X] + (cy - setup[f, CORNER_Y]) * setup[f, NEAR_Y]
                if near + np.float32(OVERLAY_BIAS_M) * near * near < nearness[y, x]:
                    continue
                red, green, blue, alpha = fragment(setup, faces, light, texels, level, residual, f, cx, cy)
                if alpha > np.float32(0.002):
                    lay_over(out, y, width - 1 - x if mirror else x, red, green, blue, alpha * cover)


@kernel
def sort_far_to_near(points: Float, faces: Int, box: Int, first: int, order: Int, keys: Float) -> int:
    """Fills `order` with the drawn triangles from `first` on, the farthest centroid first; returns how many. `keys` is scratch of the same length."""
    count = 0
    for f in range(first, len(faces)):
        if box[f, 1] == 0:
            continue
        keys[count] = -(points[faces[f, 0], 2] + points[faces[f, 1], 2] + points[faces[f, 2], 2])
        order[count] = f
        count += 1
    if count > 0:
        ranked = order[:count][np.argsort(keys[:count], kind="mergesort")]
        order[:count] = ranked
    return count

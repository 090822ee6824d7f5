"""The atlas: every texel painted by what it shows, then shadowed by what surrounds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.head import LEFT_EYE, RIGHT_EYE
from training.default_avatars import atlas, eyes, mouth, skin, strands
from training.default_avatars.noise import fractal_noise
from training.default_avatars.occlusion import Sky
from training.default_avatars.parts import Float, Part, joined, vertex_normals
from training.default_avatars.sitter import Sitter

INSIDE_MOUTH = ("mouth", "upper_teeth", "lower_teeth", "tongue")
LEAST_LIGHT = {("left_eye", "right_eye"): 0.55, ("upper_teeth", "lower_teeth"): 0.45}
"""Wet, bright things that shadows must not swallow."""
JAW_OPEN_FOR_LIGHT = 0.75
"""The inside of the mouth is lit as it is seen: with the mouth open."""


def paint(sitter: Sitter, parts: list[Part]) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 4) RGBA, straight alpha, gutters filled."""
    solid = [part for part in parts if part.layer == 0]
    opened = [_opened(sitter, part) for part in solid]
    vertices, faces = joined(solid)
    closed_sky, open_sky = Sky(vertices, faces), Sky(joined(opened)[0], faces)
    image = np.zeros((atlas.HEIGHT, atlas.WIDTH, 4), np.uint8)
    covered = np.zeros((atlas.HEIGHT, atlas.WIDTH), bool)
    for part, wide in zip(solid, opened, strict=True):
        spots = atlas.texels(part)
        names = np.array(part.region)[spots.face]
        inner = np.isin(names, INSIDE_MOUTH)
        light = np.ones(len(names))
        for chosen, posed, sky in ((~inner, part, closed_sky), (inner, wide, open_sky)):
            if chosen.any():
                light[chosen] = _light(spots.pick(chosen), posed, sky)
        for shaded, floor in LEAST_LIGHT.items():
            here = np.isin(names, shaded)
            light[here] = floor + (1.0 - floor) * light[here]
        colour = _colours(sitter, part, spots) * _tinted(light, np.isin(names, ("skin", "lips")))
        image[spots.rows, spots.columns, :3] = np.clip(np.round(colour * 255.0), 0, 255).astype(np.uint8)
        image[spots.rows, spots.columns, 3] = 255
        covered[spots.rows, spots.columns] = True
    for part in (p for p in parts if p.layer == 1):
        spots = atlas.texels(part)
        image[spots.rows, spots.columns] = _lashes(sitter, part, spots, vertices[np.unique(faces)])
        covered[spots.rows, spots.columns] = True
    return atlas.bleed(image, covered)


def _light(spots: atlas.Texels, part: Part, sky: Sky) -> Float:
    share = sky.visible(spots.gather(part.vertices, part.faces), _normals(part, spots))
    light: Float = 0.30 + 0.70 * np.clip(share / 0.92, 0.0, 1.0) ** 0.9
    return light


def _normals(part: Part, spots: atlas.Texels) -> Float:
    normals = spots.gather(vertex_normals(part.vertices, part.faces), part.faces)
    unit: Float = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return unit


def _tinted(light: Float, skin_like: NDArray[np.bool_]) -> Float:
    """(N, 3): shadows on skin turn red, for light goes through it."""
    power = np.where(skin_like[:, None], np.array([0.80, 1.08, 1.14]), 1.0)
    tinted: Float = light[:, None] ** power
    return tinted


def _opened(sitter: Sitter, part: Part) -> Part:
    if part.expression is None:
        return part
    return replace(part, vertices=part.vertices + JAW_OPEN_FOR_LIGHT * part.expression[sitter.head.expression_index("jawOpen")])


def _colours(sitter: Sitter, part: Part, spots: atlas.Texels) -> Float:
    """(N, 3) sRGB before shadows."""
    points, normals = spots.gather(part.vertices, part.faces), _normals(part, spots)
    names = np.array(part.region)[spots.face]
    colour = np.zeros((len(points), 3))
    for name in np.unique(names):
        here = names == name
        colour[here] = _region_colour(sitter, str(name), part, spots.pick(here), points[here], normals[here])
    return colour


def _region_colour(sitter: Sitter, name: str, part: Part, spots: atlas.Texels, points: Float, normals: Float) -> Float:
    person, seed = sitter.person, sitter.person.identity_seed
    if name in ("skin", "lips"):
        return _scalp_shade(sitter, skin.paint_skin(points, normals, sitter.landmarks, person.skin, seed), points)
    if name in ("left_eye", "right_eye"):
        centre = sitter.joints[LEFT_EYE if name == "left_eye" else RIGHT_EYE]
        radius = float(np.linalg.norm(points - centre, axis=1).mean())
        return eyes.paint_eye(points, centre, person.eyes, seed) * eyes.lid_shadow(points, centre, radius)[:, None]
    if name in ("upper_teeth", "lower_teeth"):
        return mouth.paint_teeth(points, name)
    if name == "tongue":
        return mouth.paint_tongue(points, seed)
    if name == "mouth":
        return mouth.paint_cavity(points, sitter.landmarks[13, 2], seed)
    if name == "cloth":
        return strands.paint_cloth(points, person.garment.colour, person.garment.weave, seed)
    if name == "hair":
        u, v = spots.gather(atlas.unit_uv(part, atlas.HAIR_RECT), part.uv_faces).T
        return strands.paint_hair(u, v, person.hair_look, seed)
    u, v = spots.gather(atlas.unit_uv(part, atlas.COLLAR_RECT), part.uv_faces).T
    return strands.paint_rib(u, v, person.garment.collar_colour or person.garment.colour)


def _scalp_shade(sitter: Sitter, colour: Float, points: Float) -> Float:
    """Hair roots darken the skin that the hair grows from, with a ragged edge at the hairline."""
    person = sitter.person
    ray = points - sitter.scalp.centre
    length = np.linalg.norm(ray, axis=1)
    ray /= length[:, None]
    azimuth = np.degrees(np.arctan2(ray[:, 0], ray[:, 2]))
    elevation = np.degrees(np.arcsin(np.clip(ray[:, 1], -1.0, 1.0)))
    knots = np.array(person.hair.hairline)
    line = np.interp(np.abs(azimuth), knots[:, 0], knots[:, 1])
    ragged = 1.6 * fractal_noise(points / (0.0022, 0.006, 0.004), person.identity_seed + 200, 2)
    share = np.clip((elevation - line + 2.5 + ragged) / 5.0, 0.0, 1.0) * (np.abs(length - sitter.scalp.radius(ray)) < 0.012)
    amount = person.scalp_shade * share * share * (3.0 - 2.0 * share)
    shaded: Float = colour + (np.array(person.hair_look.root) * 1.15 - colour) * amount[:, None]
    return shaded


def _lashes(sitter: Sitter, part: Part, spots: atlas.Texels, skin_points: Float) -> NDArray[np.uint8]:
    """(N, 4) RGBA: single hairs that fan out from the lid and thin to their tips."""
    reach = cKDTree(skin_points).query(part.vertices)[0]
    points = spots.gather(part.vertices, part.faces)
    centre = sitter.joints[[LEFT_EYE, RIGHT_EYE]][(points[:, 0] < 0.0).astype(int)]
    upper = points[:, 1] > centre[:, 1] - 0.002
    out = np.clip(spots.gather(reach[:, None], part.faces)[:, 0] / reach.max(), 0.0, 1.0)
    fan = np.arctan2(points[:, 1] - centre[:, 1] + 0.012, (points[:, 0] - centre[:, 0]) * 1.5) * 34.0
    hair = np.abs((fan + 0.25 * np.sin(fan * 2.7)) % 1.0 - 0.5) * 2.0
    width = np.where(upper, 0.80, 0.42) * (1.0 - 0.75 * out)
    alpha = np.clip((width - hair) / 0.30 + 0.5, 0.0, 1.0) * np.clip((0.92 - out) / 0.25, 0.0, 1.0)
    painted = np.empty((len(spots.rows), 4))
    painted[:, :3] = np.array(sitter.person.skin.liner_colour) * 255.0
    painted[:, 3] = 255.0 * alpha * np.where(upper, 0.9, 0.4)
    return np.clip(np.round(painted), 0, 255).astype(np.uint8)

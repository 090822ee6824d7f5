"""Skin: tone, blush, lips, brows, lid lines, stubble, freckles, lines of age; painted over the template's face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.canvas import Canvas, smooth_curve
from training.default_avatars.noise import fractal_noise, value_noise

Float = NDArray[np.float64]
Colour = tuple[float, float, float]

LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_PARTING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
BROWS = (((107, 66, 105, 63, 70), (55, 65, 52, 53, 46)), ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)))
UPPER_LIDS = ((133, 173, 157, 158, 159, 160, 161, 246, 33), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((133, 155, 154, 153, 145, 144, 163, 7, 33), (362, 382, 381, 380, 374, 373, 390, 249, 263))
CHEEKS, NOSE_TIP, CHIN, UNDER_EYES = (50, 280), 4, 199, (119, 348)
NOSE_WINGS, MOUTH_CORNERS = (129, 358), (61, 291)
FOREHEAD = (151, 9)


@dataclass(frozen=True, slots=True)
class SkinLook:
    """sRGB colours 0…1; amounts 0…1."""

    tone: Colour
    blush: Colour
    lips: Colour
    brow: Colour
    lip_strength: float = 0.75
    blush_strength: float = 0.4
    brow_thickness: float = 1.0
    brow_strength: float = 0.85
    liner: float = 0.45
    liner_colour: Colour = (0.10, 0.07, 0.06)
    stubble: float = 0.0
    stubble_colour: Colour = (0.2, 0.17, 0.15)
    freckles: float = 0.0
    age: float = 0.0
    mottling: float = 1.0


def paint_skin(points: Float, normals: Float, landmarks: Float, look: SkinLook, seed: int) -> Float:
    """(N, 3) sRGB at (N, 3) points of the template's skin; `landmarks` (478, 3) on the same surface."""
    colour = np.tile(np.array(look.tone), (len(points), 1))
    tone = fractal_noise(points / 0.030, seed, 3)
    colour *= 1.0 + look.mottling * (0.030 * tone + 0.018 * fractal_noise(points / 0.006, seed + 20, 3))[:, None]
    colour[:, 0] *= 1.0 + 0.02 * look.mottling * value_noise(points / 0.02, seed + 40)
    _mix(colour, look.blush, look.blush_strength * _blush(points, landmarks))
    _mix(colour, tuple(np.array(look.tone) * (0.78, 0.68, 0.70)), 0.40 * _spots(points, landmarks[list(UNDER_EYES)], 0.009))
    if look.freckles > 0.0:
        _mix(colour, tuple(np.array(look.tone) * (0.72, 0.58, 0.48)), look.freckles * _freckles(points, landmarks, seed))
    if look.age > 0.0:
        _mix(colour, tuple(np.array(look.tone) * (0.66, 0.55, 0.52)), look.age * _age_lines(landmarks).read(points, normals))
    if look.stubble > 0.0:
        _mix(colour, look.stubble_colour, look.stubble * _stubble(points, normals, landmarks, seed))
    _paint_lips(colour, points, normals, landmarks, look, seed)
    _mix(colour, look.liner_colour, look.liner * _lid_lines(landmarks).read(points, normals))
    _mix(colour, tuple(np.array(look.tone) * (0.80, 0.62, 0.60)), 0.55 * _lid_rims(landmarks).read(points, normals))
    _mix(colour, look.brow, look.brow_strength * _brows(landmarks, look.brow_thickness, seed).read(points, normals))
    return np.clip(colour, 0.0, 1.0)


def lip_outline(landmarks: Float) -> Float:
    """(N, 3) closed outline of the lips."""
    upper = smooth_curve(landmarks[list(LIPS_OUTER[:11])], 60)
    lower = smooth_curve(landmarks[[*LIPS_OUTER[10:], LIPS_OUTER[0]]], 60)
    return np.concatenate([upper, lower[1:-1]])


def _mix(colour: Float, other: Colour | tuple[float, ...], amount: Float) -> None:
    colour += (np.array(other) - colour) * np.clip(amount, 0.0, 1.0)[:, None]


def _spots(points: Float, centres: Float, sigma_m: float) -> Float:
    total = np.zeros(len(points))
    for centre in centres:
        total += np.exp(-0.5 * ((points - centre) ** 2).sum(1) / sigma_m**2)
    return total


def _blush(points: Float, landmarks: Float) -> Float:
    cheeks = _spots(points, landmarks[list(CHEEKS)] + (0.0, 0.002, 0.0), 0.017)
    nose = _spots(points, landmarks[[NOSE_TIP]], 0.011)
    chin = _spots(points, landmarks[[CHIN]], 0.011)
    ears = np.clip((np.abs(points[:, 0]) - 0.070) / 0.008, 0.0, 1.0) * (np.abs(points[:, 1] + 0.01) < 0.05) * (points[:, 2] > -0.16)
    lids = _spots(points, landmarks[[159, 386]] + (0.0, 0.006, 0.0), 0.007)
    return np.clip(cheeks + 0.9 * nose + 0.35 * chin + 0.7 * ears + 0.35 * lids, 0.0, 1.4)


def _paint_lips(colour: Float, points: Float, normals: Float, landmarks: Float, look: SkinLook, seed: int) -> None:
    fill = Canvas()
    fill.polygon(lip_outline(landmarks))
    lips = fill.soften(0.0011).read(points, normals)
    creases = fractal_noise(points / (0.0012, 0.006, 0.004), seed + 60, 2)
    tint = np.array(look.lips) * (1.0 + 0.05 * creases)[:, None]
    upper = np.clip((points[:, 1] - landmarks[13, 1]) / 0.003, 0.0, 1.0)
    tint *= (1.0 - 0.12 * upper)[:, None]
    colour += (tint - colour) * (look.lip_strength * lips)[:, None]
    seam = Canvas()
    seam.stroke(smooth_curve(landmarks[list(LIPS_PARTING)], 60), 0.0012)
    _mix(colour, tuple(np.array(look.lips) * 0.45), 0.5 * seam.soften(0.0005).read(points, normals))


def _lid_lines(landmarks: Float) -> Canvas:
    canvas = Canvas()
    for lid in UPPER_LIDS:
        canvas.stroke(smooth_curve(landmarks[list(lid)], 40)[3:], 0.0016)
    return canvas.soften(0.0005)


def _lid_rims(landmarks: Float) -> Canvas:
    canvas = Canvas()
    for lid in LOWER_LIDS:
        canvas.stroke(smooth_curve(landmarks[list(lid)], 40), 0.0014)
    for lid in UPPER_LIDS:
        crease = smooth_curve(landmarks[list(lid)], 40) + np.array([0.0, 0.0052, 0.0])
        canvas.stroke(crease[4:-2], 0.0009, 0.8)
    return canvas.soften(0.0006)


def _brows(landmarks: Float, thickness: float, seed: int) -> Canvas:
    rng = np.random.default_rng(seed)
    fill, strokes = Canvas(), Canvas()
    for upper, lower in BROWS:
        top, bottom = smooth_curve(landmarks[list(upper)], 60), smooth_curve(landmarks[list(lower)], 60)
        middle = 0.5 * (top + bottom)
        taper = np.interp(np.linspace(0.0, 1.0, 60), (0.0, 0.15, 0.6, 1.0), (0.62, 0.92, 0.82, 0.22))[:, None]
        top, bottom = middle + (top - middle) * thickness * taper, middle + (bottom - middle) * thickness * taper
        fill.polygon(np.concatenate([top, bottom[::-1]]), 0.75)
        outward = np.sign(middle[-1, 0] - middle[0, 0])
        for _ in range(420):
            s, w = rng.random() ** 0.9, rng.random()
            k = int(s * 59)
            root = bottom[k] + (top[k] - bottom[k]) * (0.05 + 0.8 * w)
            lean = np.radians(np.interp(s, (0.0, 0.25, 1.0), (78.0, 42.0, 4.0)) - 34.0 * w + rng.normal(0.0, 8.0))
            length = rng.uniform(0.0035, 0.0065) * np.interp(s, (0.0, 0.2, 1.0), (0.9, 1.0, 0.75)) * (0.6 + 0.4 * thickness)
            heading = np.array([outward * np.cos(lean), np.sin(lean), 0.0])
            bend = np.array([outward * 0.35, -0.25, 0.0]) * length
            line = np.stack([root, root + heading * 0.5 * length, root + heading * length + bend * 0.4])
            strokes.stroke(smooth_curve(line, 7), 0.0005, rng.uniform(0.6, 1.0), taper=0.6)
    fill.soften(0.0013)
    strokes.soften(0.00018)
    return strokes.union(fill, 0.62)


def _freckles(points: Float, landmarks: Float, seed: int) -> Float:
    spots = np.clip(value_noise(points / 0.0022, seed + 80) * 3.0 - 1.55, 0.0, 1.0)
    where = _spots(points, landmarks[[*CHEEKS, 197]], 0.020) + 0.25
    freckles: Float = spots * np.clip(where, 0.0, 1.0) * (points[:, 2] > -0.05)
    return freckles


def _stubble(points: Float, normals: Float, landmarks: Float, seed: int) -> Float:
    """The lower face: below the nose, around the mouth, along the jaw and a little down the neck."""
    mouth, ear = landmarks[13], landmarks[[234, 454]].mean(0)
    share = np.clip((mouth[2] - points[:, 2]) / (mouth[2] - ear[2]), 0.0, 1.0)
    top = landmarks[2, 1] - 0.001 - 0.030 * np.sin(np.pi * np.clip(share * 1.25, 0.0, 1.0)) * (share < 0.8) + 0.050 * _step(share - 0.86, 0.14)
    bottom = landmarks[152, 1] - 0.022 + 0.035 * share
    band = _step(top - points[:, 1], 0.010) * _step(points[:, 1] - bottom, 0.014) * _step(points[:, 2] - ear[2] + 0.024, 0.008)
    lips = Canvas()
    lips.polygon(lip_outline(landmarks))
    band *= 1.0 - lips.soften(0.0022).read(points, normals)
    hairs = 0.62 + 0.55 * value_noise(points / (0.0011, 0.0019, 0.0011), seed + 90)
    stubble: Float = band * np.clip(hairs, 0.0, 1.0)
    return stubble


def _age_lines(landmarks: Float) -> Canvas:
    canvas = Canvas()
    for wing, corner in zip(NOSE_WINGS, MOUTH_CORNERS, strict=True):
        outward = np.sign(landmarks[corner, 0])
        side = np.array([outward, 1.0, 1.0])
        fold = np.stack(
            [
                landmarks[wing] + side * (0.003, 0.004, 0.0),
                landmarks[wing] + side * (0.010, -0.010, 0.0),
                landmarks[corner] + side * (0.010, 0.002, 0.0),
            ]
        )
        canvas.stroke(smooth_curve(fold, 30), 0.0022, 0.9, taper=0.5)
        marionette = np.stack([landmarks[corner] + side * (0.004, -0.005, 0.0), landmarks[corner] + side * (0.006, -0.018, 0.0)])
        canvas.stroke(marionette, 0.0016, 0.45)
    top, root = landmarks[FOREHEAD[0]], landmarks[FOREHEAD[1]]
    for share in (0.35, 0.75, 1.15):
        height = root[1] + (top[1] - root[1]) * share + 0.006
        x = np.linspace(-0.030, 0.030, 15)
        canvas.stroke(np.stack([x, height + 0.0018 * np.cos(x * 160.0), np.zeros(15)], -1), 0.0012, 0.4)
    for eye in (33, 263):
        outward = np.sign(landmarks[eye, 0])
        for slope in (-0.35, 0.05, 0.45):
            start = landmarks[eye] + (outward * 0.006, slope * 0.006, 0.0)
            canvas.stroke(np.stack([start, start + np.array([outward * 0.011, slope * 0.009, 0.0])]), 0.0010, 0.5, taper=0.6)
    return canvas.soften(0.0012)


def _step(distance: Float, width: float) -> Float:
    t = np.clip(distance / width, 0.0, 1.0)
    smooth: Float = t * t * (3.0 - 2.0 * t)
    return smooth

"""The texture, in closed form: every texel's colour as a base and a few maps weighted by the frame's features (training/portrait/features.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import TextureBasis
from models.kernels import Bands, kernel, share
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.capture_mesh import PLATE, SKIN
from training.portrait.features import parameters_of
from training.portrait.portrait import ExactMaps, Portrait, View, level_of, upscaled
from training.portrait.solve import ridge
from training.portrait.texels import Samples, Texels, collect, facing_of, filled

Float = NDArray[np.float32]
Bytes = NDArray[np.uint8]
HAIR_M = 0.004
"""Surface that stands so far off the head model's is hair, from the tip of the nose upwards."""
NOSE_TIP = 1


@dataclass(frozen=True, slots=True)
class AppearanceSettings:
    maps_px: int = 256
    base_px: int = 512
    penalty: float = 20.0
    """Of the maps, in frames that show a texel well."""
    plate_penalty: float = 0.3
    """The same behind the lips, as a share: they are seen less often, and looked at more."""
    constant_penalty: float = 3.0
    block: int = 8
    robust_rounds: int = 2
    outlier: float = 24.0
    """Grey levels from which on a colour counts as something else (a hand, a shadow) when the base is averaged."""


def learn_texture(portrait: Portrait, clip: Clip, fitted: Fitted, frames: NDArray[np.int64], settings: AppearanceSettings, bands: Bands) -> Portrait:
    """Base, maps and alpha from the training frames `frames`."""
    coarse, fine = _gather(portrait, clip, fitted, frames, (settings.maps_px, settings.base_px), bands)
    phi = portrait.features(parameters_of(fitted)[frames])
    maps, levels = _learn_maps(portrait, *coarse, phi, settings, bands), _levels(portrait, coarse[0])
    base = _learn_base(portrait, *fine, phi, maps, settings, bands)
    return replace(portrait, base=base, maps=quantised(maps, settings.block, levels), exact=ExactMaps(maps.astype(np.float16), levels))


def _gather(portrait: Portrait, clip: Clip, fitted: Fitted, frames: NDArray[np.int64], sizes: tuple[int, ...], bands: Bands) -> list[tuple[Texels, Samples]]:
    """What the frames show of the texels of textures of several sizes."""
    mesh = portrait.mesh
    view = View(portrait.baked(), clip.size)
    texels = [Texels.of(mesh.uv, mesh.uv_faces, mesh.faces, mesh.face_region, size, bands) for size in sizes]
    samples = [Samples.empty(len(frames), len(each)) for each in texels]
    for k, frame in enumerate(frames):
        view.look(fitted.params(int(frame)))
        facing = facing_of(view.vertices, mesh.faces)
        picture, matte = np.ascontiguousarray(clip.frames[frame]), np.ascontiguousarray(clip.mattes[frame])
        for each, into in zip(texels, samples, strict=True):
            collect(each, picture, matte, view.points, facing, view.depth, bands, into, k)
    return list(zip(texels, samples, strict=True))


def _learn_maps(portrait: Portrait, texels: Texels, samples: Samples, phi: Float, settings: AppearanceSettings, bands: Bands) -> Float:
    """(K, S, S, 3): what a feature of one adds to the colours."""
    size, count = settings.maps_px, phi.shape[2]
    level = level_of(texels.mean(portrait.lower))
    penalty = _penalty(portrait, texels, settings)
    solved = ridge(samples.colour, samples.weight, phi, level, penalty, settings.constant_penalty, _means(texels, samples), bands)
    images = texels.image(solved[:, 1:].reshape(len(texels), -1))
    maps: Float = filled(images, texels.covered()).reshape(size, size, count, 3).transpose(2, 0, 1, 3)
    return maps


def _levels(portrait: Portrait, texels: Texels) -> Float:
    """(S, S): which level of the features a texel follows."""
    level = level_of(texels.mean(portrait.lower)).astype(np.float32)
    return filled(texels.image(level[:, None]), texels.covered())[..., 0]


def _penalty(portrait: Portrait, texels: Texels, settings: AppearanceSettings) -> Float:
    penalty = np.full(len(texels), settings.penalty, np.float32)
    penalty[texels.region == portrait.mesh.region_names.index(PLATE)] *= settings.plate_penalty
    return penalty


def _means(texels: Texels, samples: Samples) -> Float:
    """(N, 3) weighted mean colours; of texels that are hardly seen, those of their surroundings."""
    total = np.zeros((len(texels), 3), np.float32)
    weight = np.zeros(len(texels), np.float32)
    for colour, share_seen in zip(samples.colour, samples.weight, strict=True):
        part = share_seen.astype(np.float32) / 255.0
        total += colour * part[:, None]
        weight += part
    image = texels.image(total / np.maximum(weight, 1e-3)[:, None])
    known = texels.image(np.minimum(weight / 8.0, 1.0)[:, None])[..., 0]
    means: Float = filled(image, known).reshape(-1, 3)[texels.index]
    return means


def _learn_base(portrait: Portrait, texels: Texels, samples: Samples, phi: Float, maps: Float, settings: AppearanceSettings, bands: Bands) -> Float:
    """(B, B, 4): what remains of the colours when the maps' share is taken out."""
    level = level_of(texels.mean(portrait.lower))
    coefficients = np.stack([upscaled(image, settings.base_px).reshape(-1, 3)[texels.index] for image in maps], 1)
    base, weight = _means(texels, samples), np.zeros(len(texels), np.float32)
    for _ in range(settings.robust_rounds):

        def part(p: int, base: Float = base) -> None:
            first, last = share(len(texels), p, bands.count)
            average_texels(samples.colour, samples.weight, phi, level, coefficients, settings.outlier, first, last, base, weight)

        bands.run(part)
    image = _with_hair(portrait, texels, base, np.minimum(weight / 4.0, 1.0))
    return np.concatenate([image, _alpha(portrait, texels, samples)], 2)


def _alpha(portrait: Portrait, texels: Texels, samples: Samples) -> Float:
    """(B, B, 1): the matte's mean where the skin is seen, 255 where nothing is known, fading out down the neck.

    So the outline is as soft as hair is. Turned to the front such soft lines would be slits, were there no core beneath (training/portrait/core.py).
    """
    total, weight = np.zeros(len(texels), np.float32), np.zeros(len(texels), np.float32)
    for matte, view in zip(samples.alpha, samples.view, strict=True):
        total += matte * (view.astype(np.float32) / 255.0)
        weight += view.astype(np.float32) / 255.0
    known = np.minimum(weight / 4.0, 1.0) * (texels.region == portrait.mesh.region_names.index(SKIN))
    mean = np.where(weight > 0.0, total / np.maximum(weight, 1e-6), 255.0)
    smooth = filled(texels.image(mean[:, None]), texels.image(known[:, None])[..., 0]).reshape(-1)[texels.index]
    alpha = (255.0 + known * (smooth - 255.0)) * texels.mean(portrait.mesh.fade)
    return filled(texels.image(alpha[:, None]), texels.covered())


def _with_hair(portrait: Portrait, texels: Texels, values: Float, known: Float) -> Float:
    """(B, B, 3): colours (N, 3) continued into where they are hardly known (N,); hair, which stands off the head, only from hair."""
    mesh = portrait.mesh
    off = np.linalg.norm(portrait.shape, axis=1) > HAIR_M
    hair = texels.mean((off & (mesh.vertices[:, 1] > mesh.landmark(NOSE_TIP)[1]) & mesh.of(SKIN)).astype(np.float32)[:, None])[:, 0]
    image, trust = texels.image(values), texels.image(known[:, None])[..., 0]
    of_hair = texels.image(hair[:, None])
    everything, from_hair = filled(image, trust), filled(image, trust * (of_hair[..., 0] > 0.99))
    return everything + (1.0 - trust[..., None]) * of_hair * (from_hair - everything)


def quantised(images: Float, block: int, levels: Float) -> TextureBasis:
    """(K, S, S, C) grey levels for a feature of one → int8 with a scale for every block; `levels` (S, S): the row of the features each texel uses."""
    along = images.shape[1] // block
    group = np.rint(levels.reshape(along, block, along, block).mean((1, 3))).astype(np.uint8).reshape(-1)
    return TextureBasis.quantised(images, block, group)


@kernel
def average_texels(
    colour: Bytes, weight: Bytes, phi: Float, level: NDArray[np.int32], coefficients: Float, outlier: float, first: int, last: int, base: Float, total: Float
) -> None:
    """Replaces `base` (N, 3) of texels first…last - 1 by the robust mean of colour minus maps (Huber weights about the base given)."""
    frames, count = colour.shape[0], coefficients.shape[1]
    mean, off = np.empty(3, np.float32), np.empty(3, np.float32)
    for i in range(first, last):
        mean[:] = 0.0
        total[i] = 0.0
        for t in range(frames):
            w = np.float32(weight[t, i]) * np.float32(1.0 / 255.0)
            if w <= 0.0:
                continue
            error = np.float32(0.0)
            for c in range(3):
                value = np.float32(colour[t, i, c])
                for k in range(count):
                    value -= phi[level[i], t, k] * coefficients[i, k, c]
                off[c] = value
                error = max(error, abs(value - base[i, c]))
            w *= min(np.float32(1.0), outlier / max(error, np.float32(1e-3)))
            total[i] += w
            for c in range(3):
                mean[c] += w * off[c]
        if total[i] > 0.0:
            for c in range(3):
                base[i, c] = mean[c] / total[i]

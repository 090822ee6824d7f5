"""How near pictures are: an avatar to its frames, a baked avatar to its networks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import AvatarFile
from models.raster import Rasterizer
from training.clip import Clip
from training.fitted import Fitted
from training.neural.avatar import NeuralAvatar
from training.neural.frames import Frames
from training.neural.scene import Scene
from training.neural.view import look


class FileView:
    """An avatar file's own look at frames, as the live renderer draws its surface, but for light and overlays."""

    def __init__(self, file: AvatarFile, clip: Clip, fitted: Fitted, like: Frames, rasterizer: Rasterizer) -> None:
        """`like`: the frames in question."""
        self._scene = Scene.of(file, like.conditions)
        self.frames = Frames.of(clip, fitted, file, like.size, len(clip.training), like.conditions)
        self._row = {int(number): row for row, number in enumerate(self.frames.index)}
        self._like, self._rasterizer = like, rasterizer

    @torch.no_grad()
    def __call__(self, frame: int) -> Tensor:
        """(4, S, S) straight RGBA, 0…1, of the `frame`th of the frames in question."""
        row = self._row[int(self._like.index[frame])]
        chosen = torch.tensor([row], device=self.frames.conditions.device)
        dynamic = torch.tensordot(self.frames.dynamic_weights[chosen], self._scene.dynamic, 1)
        vertices = self._scene.head.posed(self.frames.poses_of(chosen), offsets=dynamic)[0]
        view = look(self._scene, vertices, self.frames.focal_px, self.frames.size, self._rasterizer)
        return view.picture(self._scene.colours(view.uv, view.level, self.frames.texture_weights[row]))


@torch.no_grad()
def network_view(avatar: NeuralAvatar, frame: int, rasterizer: Rasterizer) -> Tensor:
    """(4, S, S) straight RGBA, 0…1, of a frame as the fit poses it, without what was learned about that pose."""
    frames = avatar.frames
    chosen = torch.tensor([frame], device=frames.conditions.device)
    poses = frames.poses_of(chosen)
    vertices = avatar.vertices(poses, avatar.local_offsets(poses.neck), frames.dynamic_weights[chosen])[0]
    view = look(avatar.scene, vertices, frames.focal_px, frames.size, rasterizer)
    return view.picture(avatar.colours(frame, view, vertices, frames.conditions[frame]))


def over_black(rgba: Tensor) -> Tensor:
    """(4, S, S) → (3, S, S), 0…1."""
    return rgba[:3].clamp(0.0, 1.0) * rgba[3:]


def psnr(errors: list[float]) -> float:
    """Decibels for the mean of mean squared differences of values 0…1."""
    return float(-10.0 * np.log10(max(float(np.mean(errors)), 1e-10)))


def against_frames(show: FileView, frames: Frames, chosen: NDArray[np.int64]) -> float:
    """PSNR of an avatar on black against the person on black."""
    errors = []
    for frame in chosen:
        rgb, matte = frames.picture(int(frame))
        errors.append(float(((over_black(show(int(frame))) - rgb * matte) ** 2).mean()))
    return psnr(errors)


def parity(show: FileView, avatar: NeuralAvatar, chosen: NDArray[np.int64], rasterizer: Rasterizer) -> float:
    """PSNR of what was baked against the networks' own pictures, where either shows anything."""
    errors = []
    for frame in chosen:
        baked, own = over_black(show(int(frame))), network_view(avatar, int(frame), rasterizer)
        truth = over_black(own)
        shown = (own[3] > 0.0) | (baked > 0.0).any(0)
        errors.append(float(((baked - truth) ** 2).mean(0)[shown].mean()))
    return psnr(errors)

"""What is known of the frames that are learned from: parameters, conditions, landmarks; the pictures are read when they are wanted."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import AvatarFile
from models.avatar_parts import POSE_FEATURES, WeightFunction, features
from models.face_groups import group_of
from models.head_torch import Poses
from training.clip import Clip
from training.fitted import Fitted

WATCHED_SHARE = 20
"""Two stretches of one frame in so many are watched, not learned from: in the middle and at the end."""
FEATURE_CLIP = 2.0
"""In standard deviations, where the start has no limit of its own: beyond, appearance is guesswork."""
SMALLEST_SCALE = 1e-3
NEVER_MOVED = 1e3
"""The scale of a feature that never moved: nothing is known of it, so it should say nothing."""
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Standard:
    """How features become conditions: as in an avatar's weight function."""

    mean: Float
    scale: Float
    clip: float

    @staticmethod
    def of(start: AvatarFile, seen: Float) -> Standard:
        """Of the (T, 13 + E) features that were seen."""
        scale = seen.std(0)
        clip = FEATURE_CLIP if start.weights is None else start.weights.clip
        return Standard(seen.mean(0), np.where(scale > SMALLEST_SCALE, scale, np.float32(NEVER_MOVED)).astype(np.float32), clip)

    def __call__(self, seen: Float) -> Float:
        return np.clip((seen - self.mean) / self.scale, -self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True)
class Frames:
    """T frames, none of them held out, in the order of time."""

    clip: Clip
    index: NDArray[np.int64]
    """(T,) into the clip."""
    watched: NDArray[np.bool_]
    """(T,) frames that tell when to stop; nothing is learned from them."""
    standard: Standard
    poses: Poses
    """Of all T frames."""
    conditions: Tensor
    """(T, 13 + E) standardised features."""
    texture_weights: Tensor
    """(T, G, K) of the start's texture basis."""
    dynamic_weights: Tensor
    """(T, D) of the start's dynamic offsets."""
    landmarks: Tensor
    """(T, 478, 2) in pixels of pictures of `size`."""
    size: int
    focal_px: float
    normals: NDArray[np.int8] | None
    """(frames of the clip, S, S, 3) camera space, 127 is one; None: there are none."""

    @staticmethod
    def of(clip: Clip, fitted: Fitted, start: AvatarFile, size: int, most: int, like: Tensor, normals: NDArray[np.int8] | None = None) -> Frames:
        """At most `most` training frames, evenly spread; tensors on the device of `like`."""
        index = evenly(clip.training, most)
        params = [fitted.params(int(frame)) for frame in index]
        seen = np.stack([features(each) for each in params])
        standard = Standard.of(start, seen)
        texture, dynamic = start_weights(start, seen)
        return Frames(
            clip=clip,
            index=index,
            watched=watched_stretches(len(index)),
            standard=standard,
            poses=Poses.of(params, like),
            conditions=torch.from_numpy(standard(seen)).to(like),
            texture_weights=torch.from_numpy(texture).to(like),
            dynamic_weights=torch.from_numpy(dynamic).to(like),
            landmarks=torch.from_numpy(clip.landmarks[index][..., :2] * np.float32(size / clip.size)).to(like),
            size=size,
            focal_px=fitted.focal * size,
            normals=normals,
        )

    def __len__(self) -> int:
        return len(self.index)

    def picture(self, frame: int) -> tuple[Tensor, Tensor]:
        """(3, S, S) RGB and (S, S) matte, 0…1, of the `frame`th frame."""
        number = int(self.index[frame])
        rgb, matte = self._shrunk(self.clip.frames[number]), self._shrunk(self.clip.mattes[number])
        return self._tensor(rgb).permute(2, 0, 1).contiguous(), self._tensor(matte)

    def normal_picture(self, frame: int) -> Tensor | None:
        """(3, S, S) camera space, -1…1, zero where unknown."""
        if self.normals is None:
            return None
        wide = self._shrunk(self.normals[int(self.index[frame])].astype(np.float32) / np.float32(127.0))
        return torch.from_numpy(wide).to(self.conditions).permute(2, 0, 1).contiguous()

    def poses_of(self, chosen: Tensor) -> Poses:
        """Of (B,) frames."""
        poses = self.poses
        return Poses(poses.expression[chosen], poses.rotation[chosen], poses.neck[chosen], poses.jaw[chosen], poses.gaze[chosen], poses.translation[chosen])

    def _tensor(self, picture: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(picture).to(self.conditions) / 255.0

    def _shrunk(self, picture: NDArray[np.generic]) -> NDArray[np.generic]:
        import cv2

        if picture.shape[0] == self.size:
            return np.array(picture)
        method = cv2.INTER_AREA if picture.shape[0] > self.size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(np.ascontiguousarray(picture), (self.size, self.size), interpolation=method))


def poses_at(poses: Poses, chosen: Tensor) -> Poses:
    """Some of them."""
    return Poses(*(getattr(poses, field.name)[chosen] for field in fields(Poses)))


def watched_stretches(count: int) -> NDArray[np.bool_]:
    """(count,) stretches rather than scattered frames, whose neighbours would be learned from."""
    length = max(count // WATCHED_SHARE, 1)
    place = np.arange(count)
    return (place >= count - length) | ((place >= count // 2 - length) & (place < count // 2))


def evenly(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the indices, evenly spread."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(np.int64)]


def start_weights(start: AvatarFile, seen: Float) -> tuple[Float, Float]:
    """(T, G, K) and (T, D): what the start's weight function says of (T, 13 + E) features."""
    maps = 0 if start.texture_basis is None else len(start.texture_basis.maps)
    groups = 1 if start.texture_basis is None else start.texture_basis.group_count
    shapes = 0 if start.dynamic_offsets is None else len(start.dynamic_offsets)
    if start.weights is None:
        return np.zeros((len(seen), groups, maps), np.float32), np.zeros((len(seen), shapes), np.float32)
    said = evaluate(start.weights, seen)
    return said[:, : groups * maps].reshape(len(seen), groups, maps), said[:, groups * maps :]


def evaluate(weights: WeightFunction, seen: Float) -> Float:
    """A weight function of many (T, 13 + E) features at once."""
    return np.stack([weights(each) for each in seen])


def mouth_features(expression_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Which of the 13 + E features shape the mouth: the jaw, and the expressions that move jaw and lips by their name; all expressions if none tells."""
    named = [k for k, name in enumerate(expression_names) if group_of(name) in ("jaw", "mouth")]
    chosen = named or list(range(len(expression_names)))
    return np.array([6, 7, 8, *(POSE_FEATURES + k for k in chosen)], np.int64)

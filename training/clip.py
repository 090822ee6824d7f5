"""The dataset of one person: square pictures around the head, and what is known of each; arrays in a folder, the pictures memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Float = NDArray[np.float32]
FRAMES, MATTES, OBSERVATIONS = "frames.npy", "mattes.npy", "observations.npz"
CLIP_PX = 512


@dataclass(frozen=True, slots=True)
class Clip:
    """T usable frames of S x S pixels, in the order of time."""

    frames: Bytes
    """(T, S, S, 3) RGB."""
    mattes: Bytes
    """(T, S, S) how much of a pixel is the person, 255 all."""
    pts_s: NDArray[np.float64]
    """(T,) rising."""
    landmarks: Float
    """(T, 478, 3) as models.landmarker gives them: x, y in pixels of the crop, z in the same scale."""
    coefficients: Float
    """(T, 52) in the order of models.landmarker.COEFFICIENT_NAMES."""
    sharpness: Float
    """(T,) of the face, relative to the clip's median: 1 is usual, 0.5 blurred."""
    origin: NDArray[np.int32]
    """(T, 2) x, y of the crop's corner in the upright video, in pixels of the crop: all equal where one crop holds the whole clip."""
    held_out: NDArray[np.bool_]
    """(T,) frames that nothing is learned from: they are only tracked, and shown in the evaluation."""

    @property
    def size(self) -> int:
        return int(self.frames.shape[1])

    @property
    def training(self) -> NDArray[np.int64]:
        """Indices of the frames that may be learned from."""
        return np.flatnonzero(~self.held_out)

    @property
    def steady(self) -> bool:
        """The crop never moved (though the camera may have)."""
        return bool((self.origin == self.origin[0]).all())


def save_observations(folder: Path, clip: Clip) -> None:
    """Everything but the pictures, which the dataset stage writes frame by frame."""
    names = ("pts_s", "landmarks", "coefficients", "sharpness", "origin", "held_out")
    np.savez(folder / OBSERVATIONS, **{name: getattr(clip, name) for name in names})


def load_clip(folder: Path) -> Clip:
    """Opens a finished dataset; the pictures stay on disk."""
    frames, mattes = (np.load(folder / name, mmap_mode="r") for name in (FRAMES, MATTES))
    with np.load(folder / OBSERVATIONS) as stored:
        return Clip(frames=frames, mattes=mattes, **{name: stored[name] for name in stored.files})

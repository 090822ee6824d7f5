"""Faces for tests: the clips beside the repository where they are present, and a moving portrait that is always there."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Image = NDArray[np.uint8]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def clip_path(name: str) -> Path:
    """A clip's path; skips the test where it is absent."""
    path = DATA / f"{name}.mp4"
    if not path.exists():
        pytest.skip(f"needs the clip {path.name} in ../shared/data")
    return path


def clip_frames(name: str, step: int = 1, limit: int | None = None) -> list[Image]:
    """Every step-th frame of a clip, `limit` at most, (height, width, 3) uint8 RGB; skips the test where the clip is absent."""
    frames: list[Image] = []
    with av.open(str(clip_path(name))) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if len(frames) == limit:
                break
            if index % step == 0:
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    return frames


def moving_portrait(count: int, size: int = 512) -> list[Image]:
    """The astronaut portrait that scikit-image ships (NASA, public domain), swaying: `count` frames of (size, size, 3) uint8 RGB.

    The face is about a third of the frame; it moves by a tenth of it, turns by 15 degrees and grows by a tenth.
    """
    import skimage.data

    portrait = np.asarray(skimage.data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    frames: list[Image] = []
    for index in range(count):
        phase = 2.0 * np.pi * index / 50.0
        zoom = size / 280.0 * (1.0 + 0.1 * np.sin(0.7 * phase))
        matrix = cv2.getRotationMatrix2D((225.0, 130.0), 15.0 * np.sin(phase), zoom)
        matrix[:, 2] += np.array([0.5 * size - 225.0 + 0.1 * size * np.sin(1.3 * phase), 0.5 * size - 130.0])
        frame = cv2.warpAffine(portrait, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.asarray(frame, np.uint8))
    return frames


def face_clip(limit: int) -> list[Image]:
    """Consecutive 512 x 512 frames of one face: the talking man where present, else the portrait."""
    name = "talking_man_512"
    return clip_frames(name, limit=limit) if (DATA / f"{name}.mp4").exists() else moving_portrait(limit)

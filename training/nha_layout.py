"""Datasets in the layout of Neural Head Avatars (Grassal et al., CVPR 2022): a folder a frame, with its picture and, where there is one, its segmentation.

    root/frame_0000/image_0000.png
    root/frame_0000/seg_0000.png      optional: 101 where there is head, hair or neck
    root/split.json                   optional: {"train": [ids], "val": [ids]}

Landmarks, coefficients and everything else are found anew, by our own landmarker, so that training and the live loop see alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.video import MAX_PIXELS, MAX_SIDE_PX, Frame

FPS = 25.0
"""NHA's recommendation; the layout itself keeps no times."""
HEAD_VALUE = 101
MOST_FRAMES = 100_000
_FOLDER = re.compile(r"frame_(\d+)")
LAYOUT = "expected frame_0000/image_0000.png, frame_0001/image_0001.png and so on"


@dataclass(frozen=True, slots=True)
class NhaFolder:
    """Such a dataset; a source of pictures (training.source)."""

    path: Path
    width: int
    height: int
    ids: NDArray[np.int64]
    """(N,) the numbers of the frames, rising."""
    held_out: NDArray[np.bool_] | None
    """(N,) which of them the split keeps for validation; None: there is no split."""

    @property
    def pts_s(self) -> NDArray[np.float64]:
        return (self.ids - self.ids[0]) / FPS

    @property
    def seconds(self) -> float:
        return float(self.pts_s[-1] + self.frame_s)

    @property
    def frame_s(self) -> float:
        return float(np.median(np.diff(self.pts_s))) if len(self.ids) > 1 else 1.0 / FPS

    def read(self, wanted: NDArray[np.int64], scale: float, threads: int) -> Iterator[Frame]:
        """As training.source.PictureSource."""
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        for index in wanted.tolist():
            image = cv2.imread(str(self._file(index, "image")), cv2.IMREAD_COLOR_RGB)
            if image is not None:
                sized = image if size == image.shape[1::-1] else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                yield Frame(index, float(self.pts_s[index]), np.asarray(sized, np.uint8))

    def head(self, index: int) -> NDArray[np.uint8] | None:
        """(height, width): 1 where the segmentation says head, hair or neck; None where there is none."""
        segmentation = cv2.imread(str(self._file(index, "seg")), cv2.IMREAD_GRAYSCALE)
        return None if segmentation is None or segmentation.shape != (self.height, self.width) else (segmentation == HEAD_VALUE).astype(np.uint8)

    def _file(self, index: int, kind: str) -> Path:
        number = f"{self.ids[index]:04d}"
        return self.path / f"frame_{number}" / f"{kind}_{number}.png"


def open_nha(path: Path) -> NhaFolder:
    """Raises TrainingError: the folder is not in that layout."""
    found = (_FOLDER.fullmatch(folder.name) for folder in path.iterdir()) if path.is_dir() else iter(())
    ids = np.array(sorted(int(match[1]) for match in found if match and len(match[1]) < 9), np.int64)
    if not 0 < len(ids) <= MOST_FRAMES:
        raise TrainingError(f"{path} is not a dataset in NHA's layout: {LAYOUT}, found {len(ids)} such folders.")
    held_out = None
    if (path / "split.json").exists():
        train, val = _split(path / "split.json")
        ids = ids[np.isin(ids, train + val)]
        held_out = np.isin(ids, val)
        if not len(ids):
            raise TrainingError(f"{path}: split.json names none of the frames that are there.")
    folder = NhaFolder(path, 0, 0, ids, held_out)
    first = cv2.imread(str(folder._file(0, "image")), cv2.IMREAD_COLOR)
    if first is None:
        raise TrainingError(f"{path} is not a dataset in NHA's layout: {LAYOUT}, and the first picture cannot be read.")
    height, width = first.shape[:2]
    if max(height, width) > MAX_SIDE_PX or height * width > MAX_PIXELS:
        raise TrainingError(f"{path}: pictures of {width} x {height} pixels are too large; at most {MAX_SIDE_PX} a side are read.")
    return NhaFolder(path, width, height, ids, held_out)


def _split(path: Path) -> tuple[list[int], list[int]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [int(value) for value in stored["train"]], [int(value) for value in stored["val"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f'{path} should hold {{"train": [ids], "val": [ids]}}: {error!r}.') from error

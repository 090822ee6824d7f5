"""Parameters of an avatar frame by frame: what `python -m realtime.drive` and the fit stage of training write."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.head import HeadParams

Float = NDArray[np.float32]
USUAL_FPS = 30.0
TIMES = "pts_s"
NAMES = "expression_names"
PARTS: dict[str, tuple[int, ...]] = {"rotation": (3,), "neck": (3,), "jaw": (3,), "gaze": (2, 2), "translation": (3,)}
MAX_FRAMES = 1_000_000
LARGEST = 1e6
"""No parameter, and no time in seconds, is beyond."""


@dataclass(frozen=True, slots=True)
class Frames:
    """T frames, E expression shapes; rotations are axis-angle in radians (models/CONVENTIONS.md)."""

    time_s: NDArray[np.float64]
    """(T,) rising."""
    expression_names: tuple[str, ...]
    expression: Float
    """(T, E)."""
    rotation: Float
    """(T, 3) of the root."""
    neck: Float
    """(T, 3)."""
    jaw: Float
    """(T, 3)."""
    gaze: Float
    """(T, 2, 2) left and right eye's yaw, pitch."""
    translation: Float
    """(T, 3) metres, camera space."""

    def __len__(self) -> int:
        return len(self.time_s)

    def params(self, frame: int) -> HeadParams:
        """Of one frame; for the avatar, whose identity is baked in."""
        parts = {name: getattr(self, name)[frame] for name in PARTS}
        return HeadParams(np.zeros(0, np.float32), self.expression[frame], **parts)

    @staticmethod
    def of(params: HeadParams, expression_names: tuple[str, ...]) -> Frames:
        """A single frame, at zero seconds."""
        parts = {name: getattr(params, name)[None].astype(np.float32) for name in PARTS}
        return Frames(np.zeros(1), expression_names, params.expression[None].astype(np.float32), **parts)


def read_npz(path: Path, expression_names: tuple[str, ...], pts: Path | None = None) -> Frames:
    """Reads drive.npz or fit.npz.

    Args:
        expression_names: the avatar's, in its order: a file that names other shapes is refused, one that names none is taken to be the avatar's.
        pts: times of the frames, for a file that holds none: .npy (T,) seconds, or .npz with `pts_s`. None: 30 frames a second.

    Raises:
        BadFile: not such a file, or made for another avatar.
    """
    arrays = _load(path)
    missing = [name for name in ("expression", "neck", "jaw", "gaze", "translation") if name not in arrays]
    if missing:
        raise BadFile(f"{path.name}: expected per-frame parameters (drive.npz or fit.npz); '{missing[0]}' is missing")
    if NAMES in arrays and tuple(map(str, arrays[NAMES].ravel())) != expression_names:
        raise BadFile(f"{path.name}: its parameters are those of another avatar: the expression shapes have other names")
    count = len(arrays["expression"])
    times = arrays.get(TIMES) if pts is None else _times(pts)
    return checked(
        path.name,
        np.arange(count) / USUAL_FPS if times is None else times,
        expression_names,
        arrays["expression"],
        {name: arrays.get(name, np.zeros((count, *shape), np.float32)) for name, shape in PARTS.items()},
    )


def checked(source: str, times: NDArray[Any], expression_names: tuple[str, ...], expression: NDArray[Any], parts: dict[str, NDArray[Any]]) -> Frames:
    """Frames of arrays that were read from `source`.

    Raises:
        BadFile: their shapes do not fit, or they hold something that is no finite number.
    """
    count, shapes = len(times), len(expression_names)
    if not 1 <= count <= MAX_FRAMES:
        raise BadFile(f"{source}: 1 to {MAX_FRAMES} frames are read, there are {count}")
    if expression.ndim == 2 and expression.shape[1] != shapes:
        raise BadFile(f"{source}: its parameters are those of another avatar: {expression.shape[1]} expression shapes, the avatar has {shapes}")
    wanted = {"times": (times, (count,)), "expression": (expression, (count, shapes))}
    wanted |= {name: (parts[name], (count, *shape)) for name, shape in PARTS.items()}
    for name, (array, shape) in wanted.items():
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise BadFile(f"{source}: '{name}' should be {shape} numbers, it is {array.shape} {array.dtype}")
        if not (np.abs(array) < LARGEST).all():
            raise BadFile(f"{source}: '{name}' should hold finite numbers below {LARGEST:g}")
    if (np.diff(times) <= 0.0).any():
        raise BadFile(f"{source}: the frames' times should rise")
    held = {name: array.astype(np.float32) for name, array in parts.items()}
    return Frames(times.astype(np.float64), expression_names, expression.astype(np.float32), **held)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise BadFile(f"{path.name}: expected several arrays in a .npz file")
            wanted = {NAMES, TIMES, "expression", *PARTS}
            return {name: stored[name] for name in stored.files if name in wanted}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(f"{path.name}: expected per-frame parameters in a .npz, .csv or .json file ({type(error).__name__})") from error


def _times(path: Path) -> NDArray[Any]:
    try:
        stored = np.load(path, allow_pickle=False)
        return np.asarray(stored[TIMES] if isinstance(stored, np.lib.npyio.NpzFile) else stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(f"{path.name}: expected the frames' times, a .npy file or a .npz with '{TIMES}' ({type(error).__name__})") from error

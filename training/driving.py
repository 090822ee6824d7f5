"""What moves an avatar through a clip: the offline fit's parameters, or those of the live loop's own stages, which run as a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams
from training.errors import TrainingError
from training.fitted import Fitted
from training.progress import Progress

Float = NDArray[np.float32]
LIVE = (sys.executable, "-m", "realtime.drive")
"""The command that runs the live stages over a clip; a process, for training does not import the live loop."""
ROOT = Path(__file__).resolve().parents[1]
STAGE_END = "_ms"
LAST_LINES, LAST_WORDS = 20, 600
VOICE = "headcast: "
"""What the live stages' own errors begin with."""
_FRAME = re.compile(r"frame (\d+) of ")
Mode = Literal["auto", "relative"]


@dataclass(frozen=True, slots=True)
class Drive:
    """T frames of an avatar with E expression shapes."""

    pts_s: NDArray[np.float64]
    """(T,)."""
    expression: Float
    """(T, E) in the avatar's own order."""
    rotation: Float
    """(T, 3) of the root, axis-angle, radians."""
    neck: Float
    """(T, 3)."""
    jaw: Float
    """(T, 3)."""
    gaze: Float
    """(T, 2, 2)."""
    translation: Float
    """(T, 3) metres."""
    tracking: tuple[str, ...]
    """(T,) ok, lost or multiple."""
    stage_ms: dict[str, Float]
    """Stage → (T,) how long it took; empty for the offline fit."""

    def __len__(self) -> int:
        return len(self.pts_s)

    def params(self, frame: int) -> HeadParams:
        """Of one frame."""
        parts = (self.expression, self.rotation, self.neck, self.jaw, self.gaze, self.translation)
        return HeadParams(np.zeros(0, np.float32), *(part[frame] for part in parts))


def offline(fitted: Fitted, pts_s: NDArray[np.float64], head_names: Sequence[str] = (), avatar_names: Sequence[str] = ()) -> Drive:
    """The fit of every frame, held out or not.

    Args:
        head_names, avatar_names: the shapes of the head that was fitted and of the avatar; one that only the avatar has stays at zero. Without them both are
            taken to have the same.
    """
    count = len(pts_s)
    still, expression = np.zeros((count, 3), np.float32), fitted.expression
    if tuple(head_names) != tuple(avatar_names):
        expression = np.zeros((count, len(avatar_names)), np.float32)
        for place, name in enumerate(avatar_names):
            if name in head_names:
                expression[:, place] = fitted.expression[:, head_names.index(name)]
    return Drive(pts_s, expression, still, fitted.neck, fitted.jaw, fitted.gaze, fitted.translation, ("ok",) * count, {})


def live(
    source: Path,
    avatar: Path,
    progress: Progress,
    pts_s: NDArray[np.float64] | None = None,
    mode: Mode = "auto",
    command: Sequence[str] | None = None,
) -> Drive:
    """What the server would make of a clip, frame by frame and in order, as of a live stream: tracked, solved and retargeted to the avatar.

    Args:
        source: a video, or frames.npy (T, S, S, 3).
        avatar: the avatar file that is to be moved.
        progress: told how far it is.
        pts_s: (T,) for frames.npy, which has no times of its own.
        mode: whether the driver may be the avatar's own person, known from training (auto, as the server), or is somebody else (relative).
        command: what is run instead of the live stages, with `source --avatar FILE --out FILE --mode MODE [--pts FILE]` after it.

    Raises:
        TrainingError: the process failed, or what it wrote is no drive of this clip.
    """
    progress.start("live tracking", 0 if pts_s is None else len(pts_s))
    with tempfile.TemporaryDirectory(prefix="headcast-") as folder:
        out = Path(folder) / "drive.npz"
        call = [*(command or LIVE), str(source.resolve()), "--avatar", str(avatar.resolve()), "--out", str(out), "--mode", mode]
        if pts_s is not None:
            times = Path(folder) / "pts.npy"
            np.save(times, pts_s)
            call += ["--pts", str(times)]
        _run(call, source.name, progress)
        drive = read_drive(out)
    if pts_s is not None and len(drive) != len(pts_s):
        raise TrainingError(f"The live stages were given {len(pts_s)} frames of {source.name} and returned {len(drive)}.")
    return drive


def _run(call: Sequence[str], what: str, progress: Progress) -> None:
    """Runs it to its end; lines such as `frame 50 of 200` on its standard error move the progress."""
    said: deque[str] = deque(maxlen=LAST_LINES)
    frames = 0
    with subprocess.Popen(call, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if (told := _FRAME.match(line)) is not None:
                    progress.advance(int(told[1]) - frames)
                    frames = int(told[1])
                else:
                    said.append(line.strip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        words = next((line.removeprefix(VOICE) for line in said if line.startswith(VOICE)), " ".join(said)[-LAST_WORDS:])
        raise TrainingError(f"The live stages could not be run over {what}: {words or f'they ended with status {process.returncode} and said nothing'}")


def read_drive(path: Path) -> Drive:
    """Reads what `realtime.drive` wrote.

    Raises:
        TrainingError: an array is missing or of another shape.
    """
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path.name}: expected the arrays of a drive, it cannot be read: {error}") from error
    count = len(arrays.get("pts_s", ()))
    shapes = {"rotation": (count, 3), "neck": (count, 3), "jaw": (count, 3), "gaze": (count, 2, 2), "translation": (count, 3), "tracking": (count,)}
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise TrainingError(f"{path.name}: '{name}' should have shape {shape}, it has {arrays[name].shape if name in arrays else 'none'}")
    if "expression" not in arrays or arrays["expression"].ndim != 2 or len(arrays["expression"]) != count:
        raise TrainingError(f"{path.name}: 'expression' should have shape ({count}, shapes)")
    parts = {name: arrays[name].astype(np.float32) for name in ("expression", "rotation", "neck", "jaw", "gaze", "translation")}
    times = {name.removesuffix(STAGE_END): arrays[name].astype(np.float32) for name in arrays if name.endswith(STAGE_END) and arrays[name].shape == (count,)}
    return Drive(arrays["pts_s"].astype(np.float64), tracking=tuple(str(word) for word in arrays["tracking"]), stage_ms=times, **parts)

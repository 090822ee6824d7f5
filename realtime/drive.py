"""`python -m realtime.drive INPUT --avatar FILE --out OUT.npz`: what the server would make of a recording, frame by frame, without a browser or a picture.

The server's own stages, from the server's own factory, over a video, or over frames.npy (T, H, W, 3) uint8 RGB with --pts pts.npy (T,) seconds. OUT.npz:
    pts_s (T,) · the avatar's expression (T, E), rotation, neck, jaw, translation (T, 3), gaze (T, 2, 2) · tracking, mode (T,) text · expression_names (E,)
    track_ms, solve_ms, refine_ms, retarget_ms (T,)
    solved_expression (T, D) in the head model's order, solved_rotation, solved_neck, solved_translation (T, 3), solved_gaze (T, 2, 2): the driver's own
    parameters, before they are smoothed; NaN without a face; in the avatar's convention where the mode is `own`
"""

from __future__ import annotations

import os

# Read when numpy is loaded, as in server.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.head import HeadParams
from realtime.driving import Driven
from realtime.errors import HeadcastError
from realtime.packets import DriveMode, VideoPacket
from realtime.reenactor import HEAD, StageFactory, load_avatar

Image = NDArray[np.uint8]
PARTS = ("expression", "rotation", "neck", "jaw", "gaze", "translation")
SOLVED = ("expression", "rotation", "neck", "gaze", "translation")
STAGES = ("track", "solve", "refine", "retarget")
USUAL_FPS = 30.0
SIZE_PX = 512
TELL_EVERY = 50
PLAIN_FILES = {"protocol_whitelist": "file"}
"""No playlist makes a video open another address."""


class DriveError(Exception):
    """A recording or an avatar that cannot be used; one line."""


def frames_of(source: Path, pts: Path | None) -> tuple[int, Iterator[tuple[Image, float]]]:
    """How many frames there are (0: not known), and each with its time in seconds.

    Raises:
        DriveError: it is no recording, or `pts` does not belong to it.
    """
    if not source.is_file():
        raise DriveError(f"{source}: expected a video or frames.npy, there is no such file")
    if source.suffix == ".npy":
        return _stored_frames(source, pts)
    if pts is not None:
        raise DriveError("--pts belongs to frames in a .npy file; a video has its own times")
    return _video_frames(source)


def drive(source: Path, avatar: Path, mode: DriveMode, pts: Path | None = None, head: Path = HEAD) -> dict[str, NDArray[Any]]:
    """The arrays of OUT.npz.

    Raises:
        DriveError: the recording cannot be used, or the mode is `own` and the avatar does not know its own person.
        ModelError: the avatar cannot.
    """
    count, frames = frames_of(source, pts)
    worn = load_avatar(avatar)
    if mode is DriveMode.OWN and worn.driver is None:
        raise DriveError(f"{avatar.name}: --mode own needs an avatar that knows its own person; this one does not: use auto or relative")
    driving = StageFactory(lambda _: worn, avatar.stem, SIZE_PX, mode, head_file=head).driving(avatar.stem)
    done: list[Driven] = []
    times: list[float] = []
    for image, at_s in frames:
        done.append(driving.step(VideoPacket(image, at_s, at_s)))
        times.append(at_s)
        if len(done) % TELL_EVERY == 0:
            print(f"frame {len(done)} of {count or '?'}", file=sys.stderr, flush=True)
    if not done:
        raise DriveError(f"{source.name}: no frame of it can be decoded")
    return {"expression_names": np.array(worn.expression_names)} | _arrays(done, times)


def _arrays(done: list[Driven], times: list[float]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"pts_s": np.array(times, np.float64)}
    arrays |= {name: np.stack([getattr(frame.pose, name) for frame in done]) for name in PARTS}
    arrays["tracking"] = np.array([str(frame.observation.tracking) for frame in done])
    arrays["mode"] = np.array([str(DriveMode.OWN if frame.own else DriveMode.RELATIVE) for frame in done])
    arrays |= {f"{stage}_ms": np.array([frame.stage_ms.get(stage, 0.0) for frame in done], np.float32) for stage in STAGES}
    solved = [frame.solved for frame in done]
    seen = next((params for params in solved if params is not None), None) or HeadParams.neutral(0)
    for name in SOLVED:
        missing = np.full_like(getattr(seen, name), np.nan)
        arrays[f"solved_{name}"] = np.stack([missing if params is None else getattr(params, name) for params in solved])
    return arrays


def _stored_frames(source: Path, pts: Path | None) -> tuple[int, Iterator[tuple[Image, float]]]:
    frames = _array(source)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise DriveError(f"{source.name}: expected frames (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    times = np.arange(len(frames)) / USUAL_FPS if pts is None else _array(pts)
    if times.shape != (len(frames),) or times.dtype.kind not in "fiu" or not np.isfinite(times).all() or (np.diff(times) <= 0.0).any():
        raise DriveError(f"--pts: expected {len(frames)} rising times in seconds, got {times.shape} {times.dtype}")
    return len(frames), ((np.ascontiguousarray(image), float(at_s)) for image, at_s in zip(frames, times, strict=True))


def _array(path: Path) -> NDArray[Any]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DriveError(f"{path.name}: expected an array in a .npy file ({error})") from error
    if not isinstance(loaded, np.ndarray):
        raise DriveError(f"{path.name}: expected one array in a .npy file")
    return loaded


def _video_frames(source: Path) -> tuple[int, Iterator[tuple[Image, float]]]:
    try:
        with av.open(str(source.resolve()), metadata_errors="replace", options=PLAIN_FILES) as container:
            if not container.streams.video:
                raise DriveError(f"{source.name}: expected a video, it holds no picture track")
            return container.streams.video[0].frames, _decoded(source)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DriveError(f"{source.name}: not a video that can be read ({getattr(error, 'strerror', None) or error})") from error


def _decoded(source: Path) -> Iterator[tuple[Image, float]]:
    """Upright frames; those without a later time than the last are left out."""
    latest: float | None = None
    try:
        with av.open(str(source.resolve()), metadata_errors="replace", options=PLAIN_FILES) as container:
            for frame in container.decode(container.streams.video[0]):
                if frame.time is None or (latest is not None and frame.time <= latest):
                    continue
                latest = float(frame.time)
                turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90.0) % 4)
                yield np.ascontiguousarray(turned), latest
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DriveError(f"{source.name}: the video is broken ({getattr(error, 'strerror', None) or error})") from error


def write(out: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Whole or not at all.

    Raises:
        DriveError: it cannot be written there.
    """
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DriveError(f"{out}: cannot be written ({error.strerror})") from error


def main(arguments: Sequence[str]) -> int:
    """Returns the process's exit code: 0, or 2 where something given cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m realtime.drive", allow_abbrev=False, description="Drives an avatar with a recording, as the server would.")
    parser.add_argument("source", metavar="INPUT", type=Path, help="a video, or frames.npy (T, H, W, 3) uint8 RGB")
    parser.add_argument("--avatar", type=Path, required=True, help="avatar file")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--mode", type=DriveMode, choices=list(DriveMode), default=DriveMode.AUTO, help="who drives (default: auto)")
    parser.add_argument("--pts", type=Path, help="pts.npy (T,): times of the frames in seconds; default: 30 a second")
    parser.add_argument("--head", type=Path, default=HEAD, metavar="FILE", help="head model that the face is followed with (default: the open head)")
    given = parser.parse_args(arguments)
    try:
        if not given.out.parent.is_dir():
            raise DriveError(f"{given.out}: cannot be written (no such folder)")
        write(given.out, drive(given.source, given.avatar, given.mode, given.pts, given.head))
    except (DriveError, ModelError, HeadcastError) as error:
        print(f"headcast: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

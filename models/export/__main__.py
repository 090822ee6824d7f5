"""`python -m models.export AVATAR --out FILE`: an avatar for other programs, and its parameters frame by frame as tables.

FILE's suffix says what is written: .glb · .obj (with .mtl and .png beside it) · .zip (those three) · .csv and .json (the parameters in --params; without
them those at rest).
"""

from __future__ import annotations

import os

# Read when numpy is loaded, as in server.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from models.avatar_file import AvatarFile
from models.consent.opening import open_avatar
from models.consent.statement import Purpose
from models.errors import ModelError
from models.export.frames import Frames
from models.export.gltf import export_glb
from models.export.obj import export_obj, zipped
from models.export.tables import read_frames, write_csv, write_json
from models.rest_pose import rest_pose

SUFFIXES = (".glb", ".obj", ".zip", ".csv", ".json")


class ExportError(Exception):
    """Something given that cannot be used; one line."""


def export(avatar: AvatarFile, out: Path, frames: Frames | None, frame: int | None) -> dict[str, bytes]:
    """File name → contents, of everything that `out` stands for.

    Raises:
        ExportError: the arguments do not fit together.
        ModelError: the avatar cannot be used.
    """
    if frame is not None and (frames is None or not 0 <= frame < len(frames)):
        raise ExportError("--frame belongs to --params" if frames is None else f"--frame: expected 0 to {len(frames) - 1}, got {frame}")
    params = None if frames is None or frame is None else frames.params(frame)
    if out.suffix == ".glb":
        return {out.name: export_glb(avatar, params, frames if frame is None else None)}
    if out.suffix in (".csv", ".json"):
        if frame is not None:
            raise ExportError(f"{out.name}: a table has all frames: leave out --frame")
        table = frames or Frames.of(rest_pose(avatar.camera, avatar.ranges, avatar.weights), avatar.expression_names)
        return {out.name: write_csv(table) if out.suffix == ".csv" else write_json(avatar, table)}
    if frames is not None and params is None:
        raise ExportError(f"{out.name}: a mesh in {out.suffix} has one pose: choose it with --frame, 0 to {len(frames) - 1}")
    files = export_obj(avatar, out.stem, params)
    return {out.name: zipped(files)} if out.suffix == ".zip" else files


def write(folder: Path, files: dict[str, bytes]) -> None:
    """All of them or none: first beside their places, then into them.

    Raises:
        ExportError: they cannot be written there.
    """
    parts = {folder / f".{name}.part": folder / name for name in files}
    taken = [place for place in parts.values() if place.is_dir()]
    if taken:
        raise ExportError(f"{taken[0]}: cannot be written (it is a folder)")
    try:
        for part, data in zip(parts, files.values(), strict=True):
            part.write_bytes(data)
        for part, place in parts.items():
            os.replace(part, place)
    except OSError as error:
        raise ExportError(f"{folder / next(iter(files))}: cannot be written ({error.strerror})") from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Returns the process's exit code: 0, or 2 where something given cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m models.export", allow_abbrev=False, description="Writes an avatar for other programs.")
    parser.add_argument("avatar", metavar="AVATAR", type=Path, help="avatar file")
    parser.add_argument("--out", type=Path, required=True, help=f"file to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--params", type=Path, help="parameters frame by frame: .npz of realtime.drive or of a run's fit, or a .csv or .json made of it")
    parser.add_argument("--frame", type=int, help="pose of this frame of --params, from 0; without it a GLB gets all of them as an animation")
    parser.add_argument("--pts", type=Path, help="times of a fit.npz: the run's dataset/observations.npz, or .npy (T,) seconds; default: 30 a second")
    given = parser.parse_args(arguments)
    try:
        if given.out.suffix not in SUFFIXES:
            raise ExportError(f"{given.out.name}: expected a name that ends in {', '.join(SUFFIXES)}")
        if not given.out.parent.is_dir():
            raise ExportError(f"{given.out}: cannot be written (no such folder)")
        avatar = open_avatar(given.avatar, date.today(), Purpose.EXPORT)
        frames = None if given.params is None else read_frames(given.params, avatar, given.pts)
        write(given.out.parent, export(avatar, given.out, frames, given.frame))
    except (ExportError, ModelError) as error:
        print(f"headcast: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

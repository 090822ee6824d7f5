"""Per-frame parameters as CSV, with one column a number and units in the headers, and as JSON, with the avatar's card; written and read again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.errors import BadFile
from models.export.about import describe
from models.export.frames import PARTS, Frames, checked, read_npz
from models.export.poses import head_rotation, yaw_pitch_roll
from models.rotations import to_axis_angle

FORMAT, VERSION = "headcast-parameters", 1
DIGITS = 7
AXES = ("x", "y", "z")
PART_COLUMNS: dict[str, tuple[str, ...]] = {
    "rotation": tuple(f"root_{axis}_rad" for axis in AXES),
    "neck": tuple(f"neck_{axis}_rad" for axis in AXES),
    "jaw": tuple(f"jaw_{axis}_rad" for axis in AXES),
    "gaze": ("left_eye_yaw_rad", "left_eye_pitch_rad", "right_eye_yaw_rad", "right_eye_pitch_rad"),
    "translation": tuple(f"translation_{axis}_m" for axis in AXES),
}
TIME = "time_s"
HEAD_AXIS_ANGLE = tuple(f"head_{axis}_rad" for axis in AXES)
HEAD_TURNS = ("head_yaw_deg", "head_pitch_deg", "head_roll_deg")
MAX_BYTES = 512 * 1024 * 1024
UNITS = {
    "time_s": "seconds",
    "expression": "weights of the shapes, 0 to 1 in most, ARKit's names where the avatar has its shapes",
    "root, neck, jaw": "axis-angle in radians, right-hand rule about +x (the person's left), +y (up), +z (out of the face)",
    "left_eye, right_eye": "yaw and pitch in radians",
    "translation": "metres in camera space: +x image right, +y up, +z towards the viewer",
    "head": "root and neck together; axis-angle in radians, and degrees: rolled about +z first, then pitched about +x (down is positive), "
    "then yawed about +y (towards the person's own left is positive)",
}


def write_csv(frames: Frames) -> bytes:
    """Columns: frame, time_s, the expression's names, PART_COLUMNS, head's axis-angle and turns. UTF-8, comma, full stop."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [column for part in PARTS for column in PART_COLUMNS[part]]
    writer.writerow(["frame", TIME, *frames.expression_names, *columns, *HEAD_AXIS_ANGLE, *HEAD_TURNS])
    for index in range(len(frames)):
        numbers = [frames.expression[index], *(getattr(frames, part)[index].ravel() for part in PARTS), *_head(frames, index)]
        writer.writerow([index, _rounded(frames.time_s[index]), *(_rounded(number) for row in numbers for number in row)])
    return text.getvalue().encode()


def write_json(avatar: AvatarFile, frames: Frames) -> bytes:
    """An object: format, version, avatar (its card), units, expression_names, expression_ranges, frames."""
    ranges = zip(avatar.expression_names, avatar.ranges.expression, strict=True)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "avatar": describe(avatar),
        "units": UNITS,
        "expression_names": list(frames.expression_names),
        "expression_ranges": {name: [_rounded(low), _rounded(high)] for name, (low, high) in ranges},
        "frames": [_frame(frames, index) for index in range(len(frames))],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def read_frames(path: Path, avatar: AvatarFile, pts: Path | None = None) -> Frames:
    """Reads .npz, .csv or .json parameters for an avatar, in its own order.

    Raises:
        BadFile: not such a file, or made for another avatar.
    """
    if path.suffix == ".npz":
        return read_npz(path, avatar.expression_names, pts)
    if pts is not None:
        raise BadFile("--pts belongs to parameters in a .npz file; a .csv or .json file holds its times")
    readers = {".csv": _read_csv, ".json": _read_json}
    if path.suffix not in readers:
        raise BadFile(f"{path.name}: expected per-frame parameters in a .npz, .csv or .json file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(f"{path.name}: at most {MAX_BYTES} bytes are read")
        rows = readers[path.suffix](path.read_text(encoding="utf-8"))
        return _of_rows(path.name, rows, avatar.expression_names)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise BadFile(f"{path.name}: not parameters as models.export writes them ({type(error).__name__})") from error


def _frame(frames: Frames, index: int) -> dict[str, Any]:
    axis_angle, turns = _head(frames, index)
    frame: dict[str, Any] = {TIME: _rounded(frames.time_s[index])}
    frame["expression"] = {name: _rounded(weight) for name, weight in zip(frames.expression_names, frames.expression[index], strict=True)}
    for part in PARTS:
        frame |= {column: _rounded(value) for column, value in zip(PART_COLUMNS[part], getattr(frames, part)[index].ravel(), strict=True)}
    frame |= {column: _rounded(value) for column, value in zip(HEAD_AXIS_ANGLE + HEAD_TURNS, np.concatenate([axis_angle, turns]), strict=True)}
    return frame


def _head(frames: Frames, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axis-angle in radians; yaw, pitch, roll in degrees."""
    turned = head_rotation(frames.params(index))
    return to_axis_angle(turned), yaw_pitch_roll(turned)


def _rounded(number: float) -> float:
    return round(float(number), DIGITS) + 0.0


def _read_csv(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def _read_json(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    if document["format"] != FORMAT or document["version"] != VERSION:
        raise ValueError("another format")
    return [frame | frame["expression"] for frame in document["frames"]]


def _of_rows(source: str, rows: list[dict[str, Any]], expression_names: tuple[str, ...]) -> Frames:
    """Rows of columns by name → frames; what is derived is not read."""
    known = {"frame", TIME, "expression", *(column for columns in PART_COLUMNS.values() for column in columns), *HEAD_AXIS_ANGLE, *HEAD_TURNS}
    found = tuple(column for column in rows[0] if column not in known) if rows else expression_names
    if set(found) != set(expression_names):
        raise BadFile(f"{source}: its parameters are those of another avatar: the expression shapes have other names")

    def numbers(columns: tuple[str, ...]) -> NDArray[np.float64]:
        return np.array([[float(row[column]) for column in columns] for row in rows]).reshape(len(rows), len(columns))

    parts = {part: numbers(columns).reshape(len(rows), *PARTS[part]) for part, columns in PART_COLUMNS.items()}
    return checked(source, numbers((TIME,))[:, 0], expression_names, numbers(expression_names), parts)

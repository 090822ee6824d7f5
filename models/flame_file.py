"""`python -m models.flame_file convert generic_model.pkl --out my_flame.safetensors`: a user's own FLAME model → a head file.

Reads FLAME 2020, 2023 and 2023 Open, as .pkl (never executed: models/flame_pickle.py) or .npz. The model is the user's, under the licence they got it with;
nothing of it is part of Headcast.
"""

from __future__ import annotations

import argparse
import logging
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile, ModelError
from models.flame_pickle import MAX_FILE_BYTES, read_flame_pickle
from models.head import JOINT_PARENTS, LANDMARK_COUNT, LEFT_EYE, RIGHT_EYE, HeadModel, save_head

Float = NDArray[np.float32]
REGIONS = ("skin", "left_eye", "right_eye")
SHAPES = 400
IDENTITY_SHAPES = 300
POSE_FEATURES = 36
ARRAYS = ("v_template", "weights", "shapedirs", "posedirs", "J_regressor", "f", "kintree_table")
"""What is read of a model; f: the triangles."""
MOST_VERTICES = 100_000
MOST_OBJ_BYTES = 64 * 1024 * 1024
SIZE_M = (0.05, 2.0)
NO_SPREAD = 9.0
LICENCE = "the user's FLAME licence; not to be passed on with Headcast"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FlameArrays:
    """A FLAME model's arrays, checked: V vertices, N shapes, F triangles."""

    template: Float
    """(V, 3) metres."""
    shapes: Float
    """(V, 3, N): identity, then expression."""
    pose: Float
    """(V, 3, 36)."""
    regressor: Float
    """(5, V)."""
    weights: Float
    """(V, 5)."""
    faces: NDArray[np.int32]
    """(F, 3)."""


def read_flame(path: Path) -> FlameArrays:
    """Reads a .pkl or .npz.

    Raises:
        BadFile: with what was expected and what came.
    """
    content = _read_npz(path) if path.suffix.lower() == ".npz" else read_flame_pickle(path, ARRAYS)
    template = _numbers(content, path, "v_template", (None, 3))
    count = len(template)
    if not 4 <= count <= MOST_VERTICES:
        raise BadFile(f"{path.name}: v_template should hold 4 to {MOST_VERTICES} vertices, it holds {count}")
    size = float(np.ptp(template, axis=0).max())
    if not SIZE_M[0] <= size <= SIZE_M[1]:
        raise BadFile(f"{path.name}: v_template should be {SIZE_M[0]} to {SIZE_M[1]} m across, it is {size:.3g}")
    weights = _numbers(content, path, "weights", (count, 5))
    if (weights < -1e-3).any() or np.abs(weights.sum(1) - 1.0).max() > 1e-3:
        raise BadFile(f"{path.name}: the rows of weights should be shares that sum to one")
    _check_parents(content, path)
    return FlameArrays(
        template=template,
        shapes=_numbers(content, path, "shapedirs", (count, 3, None)),
        pose=_numbers(content, path, "posedirs", (count, 3, POSE_FEATURES)),
        regressor=_numbers(content, path, "J_regressor", (5, count)),
        weights=weights / weights.sum(1, keepdims=True),
        faces=_triangles(content, path, count),
    )


def to_head(flame: FlameArrays, name: str, identity_count: int | None = None, uv_obj: Path | None = None) -> HeadModel:
    """A FLAME model as a head, without landmarks.

    Args:
        identity_count: how many of the N shapes are identity; the others are expression. None: 300 of 400.
        uv_obj: FLAME's own head_template.obj, for its texture coordinates; None: the skin on a cylinder, the eyes as discs.

    Raises:
        BadFile: the shapes or the texture file do not fit.
    """
    total = flame.shapes.shape[2]
    if identity_count is None and total != SHAPES:
        raise BadFile(f"{name}: holds {total} shapes, not {SHAPES}; say how many of them are identity (--identity)")
    identity = IDENTITY_SHAPES if identity_count is None else identity_count
    if not 0 <= identity <= total:
        raise BadFile(f"{name}: holds {total} shapes; {identity} of them cannot be identity")
    regions = _regions(flame)
    uv, uv_faces = _default_uv(flame, regions) if uv_obj is None else read_obj_uv(uv_obj, flame.faces)
    shapes = np.ascontiguousarray(flame.shapes.transpose(2, 0, 1))
    return HeadModel(
        name=name,
        licence=LICENCE,
        template=flame.template,
        identity=shapes[:identity],
        expression=shapes[identity:],
        expression_names=tuple(f"expression{k:03d}" for k in range(total - identity)),
        pose_correctives=np.ascontiguousarray(flame.pose.transpose(2, 0, 1)),
        joint_regressor=flame.regressor,
        skinning_weights=flame.weights,
        faces=flame.faces,
        uv=uv,
        uv_faces=uv_faces,
        face_region=regions,
        region_names=REGIONS,
        landmark_faces=np.full(LANDMARK_COUNT, -1, np.int32),
        landmark_barycentrics=np.zeros((LANDMARK_COUNT, 3), np.float32),
        landmark_spread=np.full(LANDMARK_COUNT, NO_SPREAD, np.float32),
    )


def read_obj_uv(path: Path, faces: NDArray[np.int32]) -> tuple[Float, NDArray[np.int32]]:
    """Texture coordinates (T, 2), v down, and (F, 3) into them, for the triangles (F, 3), from an OBJ file of the same mesh.

    Raises:
        BadFile: it cannot be read, or lacks one of the triangles.
    """
    try:
        if path.stat().st_size > MOST_OBJ_BYTES:
            raise BadFile(f"{path.name}: {path.stat().st_size} bytes; a head's OBJ file has at most {MOST_OBJ_BYTES}")
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise BadFile(f"{path.name}: cannot be read ({error.strerror})") from error
    uv, corner_uv = [], {}
    try:
        for line in lines:
            kind, *words = line.split() or [""]
            if kind == "vt":
                uv.append((float(words[0]), 1.0 - float(words[1])))
            elif kind == "f":
                corners = [tuple(int(part) - 1 for part in word.split("/")[:2]) for word in words]
                corner_uv[frozenset(corner[0] for corner in corners)] = {corner[0]: corner[1] for corner in corners}
        table = np.array([[corner_uv[frozenset(face)][corner] for corner in face] for face in faces.tolist()], np.int32)
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise BadFile(f"{path.name}: should be an OBJ of the same triangles with texture coordinates ({type(error).__name__}: {error})") from error
    coordinates = np.array(uv, np.float32).reshape(-1, 2)
    if not np.isfinite(coordinates).all() or table.min() < 0 or table.max() >= len(coordinates):
        raise BadFile(f"{path.name}: its faces name texture coordinates that it does not have")
    return coordinates, table


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise BadFile(f"{path.name}: holds {size} bytes; a FLAME model has at most {MAX_FILE_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ARRAYS if name in arrays.files}
    except BadFile:
        raise
    except (Exception, MemoryError) as error:  # zip, its compressions and numpy's headers each raise their own
        raise BadFile(f"{path.name}: not a FLAME .npz of plain arrays, or damaged ({type(error).__name__}: {error!s:.200})") from error


def _numbers(content: dict[str, Any], path: Path, name: str, shape: tuple[int | None, ...]) -> Float:
    value = content.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise BadFile(f"{path.name}: should hold an array of numbers '{name}', it holds {_kind(value)}")
    if value.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, value.shape, strict=True)):
        wanted = tuple("any" if n is None else n for n in shape)
        raise BadFile(f"{path.name}: '{name}' should have shape {wanted}, it has {value.shape}")
    if not np.isfinite(value).all() or np.abs(value).max(initial=0.0) > 1e3:
        raise BadFile(f"{path.name}: '{name}' holds values that are not finite, or far too large")
    return np.ascontiguousarray(value, np.float32)


def _triangles(content: dict[str, Any], path: Path, count: int) -> NDArray[np.int32]:
    value = content.get("f")
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] != 3 or value.dtype.kind not in "iu" or not len(value):
        raise BadFile(f"{path.name}: should hold triangles 'f' of shape ('any', 3), it holds {_kind(value)}")
    if value.min() < 0 or value.max() >= count:
        raise BadFile(f"{path.name}: 'f' points outside 0…{count - 1}")
    return np.ascontiguousarray(value, np.int32)


def _check_parents(content: dict[str, Any], path: Path) -> None:
    table = content.get("kintree_table")
    if table is None:
        return
    parents = table[0] if isinstance(table, np.ndarray) and table.shape == (2, 5) else ()
    if [int(parent) for parent in parents[1:]] != list(JOINT_PARENTS[1:]):
        raise BadFile(f"{path.name}: kintree_table should name the parents {JOINT_PARENTS} of FLAME's five joints, it does not")


def _kind(value: Any) -> str:
    return f"{value.dtype.name} of shape {value.shape}" if isinstance(value, np.ndarray) else "nothing of the kind" if value is None else type(value).__name__


def _regions(flame: FlameArrays) -> NDArray[np.uint8]:
    """(F,) into REGIONS: eyes are what turns with the eye joints."""
    regions = np.zeros(len(flame.faces), np.uint8)
    for joint, name in ((LEFT_EYE, "left_eye"), (RIGHT_EYE, "right_eye")):
        regions[(flame.weights[flame.faces, joint] > 0.5).all(1)] = REGIONS.index(name)
    return regions


def _default_uv(flame: FlameArrays, regions: NDArray[np.uint8]) -> tuple[Float, NDArray[np.int32]]:
    """The skin unrolled from a cylinder about the vertical axis, its seam at the back, over the upper part; below it a disc for each eye."""
    joints = flame.regressor @ flame.template
    uv: list[NDArray[np.float64]] = []
    corners = np.zeros((len(flame.faces), 3), np.int32)
    for region in range(len(REGIONS)):
        chosen = np.flatnonzero(regions == region)
        if not len(chosen):
            continue
        points = flame.template[flame.faces[chosen]].astype(np.float64).reshape(-1, 3)
        unit = _cylinder(points) if region == 0 else _disc(points - joints[LEFT_EYE if region == 1 else RIGHT_EYE])
        low, size = ((0.01, 0.01), (0.98, 0.82)) if region == 0 else ((0.55 if region == 1 else 0.35, 0.85), (0.14, 0.14))
        corners[chosen] = sum(len(part) for part in uv) + np.arange(len(unit)).reshape(-1, 3)
        uv.append(np.array(low) + unit * size)
    table, shared = np.unique(np.concatenate(uv).round(7), axis=0, return_inverse=True)
    return table.astype(np.float32), shared.reshape(-1)[corners].astype(np.int32)


def _cylinder(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3 m, 3) corners of triangles in turn → the unit square."""
    middle = points.mean(0)
    turn = (np.arctan2(points[:, 0] - middle[0], points[:, 2] - middle[2]) / (2.0 * np.pi) + 0.5).reshape(-1, 3)
    across = np.ptp(turn, axis=1) > 0.5
    turn[across] += turn[across] < 0.5
    height = (points[:, 1].max() - points[:, 1]) / np.ptp(points[:, 1])
    return np.column_stack([turn.ravel() / turn.max(), height])


def _disc(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) about an eye's centre → the unit square, the distance from its middle growing with the angle from straight ahead."""
    around = np.hypot(points[:, 0], points[:, 1])
    share = np.arctan2(around, points[:, 2]) / (2.0 * np.pi)
    direction = points[:, :2] * [1.0, -1.0] / np.maximum(around, 1e-12)[:, None]
    disc: NDArray[np.float64] = 0.5 + direction * share[:, None]
    return disc


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m models.flame_file", description="Brings your own FLAME model into Headcast.")
    convert = parser.add_subparsers(dest="command", required=True).add_parser("convert", help="make a head file of a FLAME .pkl or .npz")
    convert.add_argument("model", type=Path, help="generic_model.pkl, flame2023.pkl, flame2023_Open.pkl, or an .npz")
    convert.add_argument("--out", type=Path, required=True, help="the head file to write")
    convert.add_argument("--identity", type=int, help=f"how many of its shapes are identity; default {IDENTITY_SHAPES} of {SHAPES}")
    convert.add_argument("--uv-obj", type=Path, help="FLAME's head_template.obj, for its texture coordinates")
    convert.add_argument("--landmarks", action="store_true", help="also compute where the 478 face landmarks are (about a minute)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        head = to_head(read_flame(options.model), options.model.stem, options.identity, options.uv_obj)
        if options.landmarks:
            from models.landmarks import compute_on_cpu

            head = compute_on_cpu(head).put_on(head)
        save_head(options.out, head)
    except (ModelError, ValueError, OSError) as error:
        print(f"flame_file: {error}", file=sys.stderr)
        return 1
    logger.info("%s: %d vertices, %d identity and %d expression shapes", options.out, len(head.template), len(head.identity), len(head.expression))
    if not options.landmarks:
        logger.info("without landmarks: add them with `python -m training.landmark_embedding %s`", options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small random head in FLAME's shape, and files as FLAME's, so that no test needs anybody's model."""

from __future__ import annotations

import pickle
import struct
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.flame_file import FlameArrays, to_head
from models.head import HeadModel
from models.landmarks import Embedding, closest_on_surface

Double = NDArray[np.float64]
EYES = ((0.032, 0.0, 0.0), (-0.032, 0.0, 0.0))
SKULL = (0.0, -0.02, -0.07)
SKULL_RADII = (0.075, 0.11, 0.085)
EYE_RADIUS = 0.014


def sphere(rings: int, segments: int) -> tuple[Double, NDArray[np.int32]]:
    """(rings * segments + 2, 3) of radius one, its poles on the z axis, and its triangles, counter-clockwise from outside."""
    polar = np.pi * np.arange(1, rings + 1) / (rings + 1)
    around = 2 * np.pi * np.arange(segments) / segments
    ring = [[np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)] for p in polar for a in around]
    vertices = np.array([[0.0, 0.0, 1.0], *ring, [0.0, 0.0, -1.0]])
    faces = []
    for k in range(segments):
        after = (k + 1) % segments
        faces.append((0, 1 + k, 1 + after))
        for r in range(rings - 1):
            a, b, c, d = (1 + r * segments + k, 1 + (r + 1) * segments + k, 1 + (r + 1) * segments + after, 1 + r * segments + after)
            faces += [(a, b, c), (a, c, d)]
        last = 1 + (rings - 1) * segments
        faces.append((last + k, len(vertices) - 1, last + after))
    return vertices, np.array(faces, np.int32)


def tiny_flame(seed: int = 0, identity: int = 6, expression: int = 4, rings: int = 9) -> dict[str, NDArray[Any]]:
    """Arrays named and shaped as in a FLAME file: an ellipsoid with two eyeballs that stand out of it, and random everything else."""
    rng = np.random.default_rng(seed)
    unit, faces = sphere(rings, 2 * rings)
    eye, eye_faces = sphere(5, 8)
    vertices = np.concatenate([unit * SKULL_RADII + SKULL, *(eye * EYE_RADIUS + centre for centre in EYES)])
    skull, ball = len(unit), len(eye)
    weights = np.zeros((len(vertices), 5))
    weights[:skull, :3] = rng.dirichlet((1.0, 4.0, 0.3), skull)
    weights[skull : skull + ball, 3] = weights[skull + ball :, 4] = 1.0
    regressor = np.zeros((5, len(vertices)))
    regressor[:3, :skull] = rng.dirichlet(np.ones(skull), 3)
    regressor[3, skull : skull + ball] = regressor[4, skull + ball :] = 1.0 / ball
    shapes = rng.normal(0.0, 0.001, (len(vertices), 3, identity + expression))
    return {
        "v_template": vertices,
        "f": np.concatenate([faces, eye_faces + skull, eye_faces + skull + ball]).astype(np.uint32),
        "shapedirs": shapes,
        "posedirs": rng.normal(0.0, 0.0005, (len(vertices), 3, 36)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
    }


def tiny_head(seed: int = 0, identity: int = 6, expression: int = 4, rings: int = 9) -> HeadModel:
    """The same as a head, with its 478 landmarks on random spots of its front (the last ten on the eyeballs)."""
    arrays = tiny_flame(seed, identity, expression, rings)
    template, shapes, pose, regressor, weights = (arrays[name].astype(np.float32) for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"))
    flame = FlameArrays(template, shapes, pose, regressor, weights, arrays["f"].astype(np.int32))
    head = to_head(flame, "tiny", identity)
    rng = np.random.default_rng(seed + 1)
    rows = [_spot(head, k, rng) for k in range(478)]
    embedding = Embedding(
        np.array([face for face, _ in rows], np.int32), np.array([weights for _, weights in rows], np.float32), np.full(478, 0.03, np.float32)
    )
    return embedding.put_on(head)


def _spot(head: HeadModel, landmark: int, rng: np.random.Generator) -> tuple[int, Double]:
    region = 0 if landmark < 468 else 2 if landmark < 473 else 1
    allowed = np.flatnonzero(head.face_region == region)
    if region:
        around = rng.normal(0.0, 0.004, 3) * (1, 1, 0)
        point = np.array(EYES[region - 1]) + around + (0.0, 0.0, EYE_RADIUS)
    else:
        point = np.array(SKULL) + SKULL_RADII * np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.75, -0.25), 0.9])
    return closest_on_surface(point, head.template, head.faces, allowed)


def write_flame_pickle(path: Path, arrays: dict[str, NDArray[Any]], protocol: int = 2, python2: bool = False) -> None:
    """As FLAME's files are: the regressor sparse by columns, the shapes a chumpy array, written by Python 2 or 3."""
    with _modules() as (csc_matrix, chumpy_array):
        regressor = arrays["J_regressor"]
        rows, columns = np.nonzero(regressor.T)
        content: dict[str, Any] = dict(arrays)
        content["J_regressor"] = csc_matrix(regressor[columns, rows], columns, np.searchsorted(rows, np.arange(regressor.shape[1] + 1)), regressor.shape)
        content["shapedirs"] = chumpy_array(arrays["shapedirs"])
        content["bs_style"], content["bs_type"] = "lbs", "lrotmin"
        content["J"] = np.zeros((5, 3))
        with path.open("wb") as file:
            if python2:
                Python2Pickler(file, 2).dump(content)
            else:
                pickle.dump(content, file, protocol)


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its strings."""

    dispatch: ClassVar[dict[Any, Callable[..., None]]] = dict(pickle._Pickler.dispatch)
    write: Callable[[bytes], None]
    memoize: Callable[[object], None]

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


@contextmanager
def _modules() -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Classes that pickle calls scipy.sparse.csc.csc_matrix and chumpy.ch.Ch, whether or not those are installed."""

    class csc_matrix:  # noqa: N801
        def __init__(self, data: Any, indices: Any, indptr: Any, shape: tuple[int, int]) -> None:
            self._shape = tuple(int(n) for n in shape)
            self.data, self.indices, self.indptr = data, indices.astype(np.int32), indptr.astype(np.int32)
            self.format, self.maxprint = "csc", 50

    class Ch:
        def __init__(self, x: Any) -> None:
            self.x = x
            self._dirty_vars: set[str] = set()

    names = {"scipy.sparse.csc": csc_matrix, "chumpy.ch": Ch}
    kept = {name: sys.modules.get(name) for name in ("scipy", "scipy.sparse", "chumpy", *names)}
    for name in kept:
        if name in names or kept[name] is None:
            sys.modules[name] = types.ModuleType(name)
    for name, kind in names.items():
        kind.__module__, kind.__qualname__ = name, kind.__name__
        setattr(sys.modules[name], kind.__name__, kind)
    try:
        yield csc_matrix, Ch
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module

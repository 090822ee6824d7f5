"""Reads GLB files for tests, apart from the code that writes them: chunks, accessors, and a head morphed and skinned as the specification says."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
Real = NDArray[np.float64]


@dataclass(frozen=True)
class Glb:
    """One file."""

    document: dict[str, Any]
    binary: bytes

    @staticmethod
    def of(data: bytes) -> Glb:
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        binary_size, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
        assert binary_kind == b"BIN\0"
        assert size % 4 == binary_size % 4 == 0
        assert 28 + size + binary_size == length
        return Glb(json.loads(data[20 : 20 + size]), data[28 + size :])

    def accessor(self, index: int) -> NDArray[Any]:
        """(N,) or (N, width)."""
        accessor = self.document["accessors"][index]
        width, count = WIDTHS[accessor["type"]], accessor["count"]
        dtype = DTYPES[accessor["componentType"]]
        values = np.zeros(count * width, dtype) if "bufferView" not in accessor else self._numbers(accessor["bufferView"], dtype)
        values = values.reshape(count, width).copy()
        if sparse := accessor.get("sparse"):
            rows = self._numbers(sparse["indices"]["bufferView"], DTYPES[sparse["indices"]["componentType"]])
            assert (np.diff(rows.astype(int)) > 0).all()
            values[rows] = self._numbers(sparse["values"]["bufferView"], dtype).reshape(sparse["count"], width)
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(0), np.array(accessor["min"], dtype))
            np.testing.assert_array_equal(values.max(0), np.array(accessor["max"], dtype))
        return values[:, 0] if width == 1 else values

    def view(self, index: int) -> bytes:
        view = self.document["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def _numbers(self, view: int, dtype: str) -> NDArray[Any]:
        return np.frombuffer(self.view(view), dtype)

    @property
    def target_names(self) -> list[str]:
        names: list[str] = self.document["meshes"][0]["extras"]["targetNames"]
        return names

    def positions(self, weights: Mapping[str, float], rotations: Mapping[str, Real]) -> list[Real]:
        """World positions (N, 3) of every primitive's vertices; `rotations` (4,) x, y, z, w by joint, none for the others."""
        moved = self._joint_matrices(rotations)
        return [self._primitive(primitive, weights, moved) for primitive in self.document["meshes"][0]["primitives"]]

    def _primitive(self, primitive: dict[str, Any], weights: Mapping[str, float], moved: Real) -> Real:
        attributes = {name: self.accessor(index) for name, index in primitive["attributes"].items()}
        points = attributes["POSITION"].astype(np.float64)
        for name, target in zip(self.target_names, primitive["targets"], strict=True):
            if weights.get(name):
                points += weights[name] * self.accessor(target["POSITION"])
        whole = np.concatenate([points, np.ones((len(points), 1))], 1)
        blended = np.einsum("nj,njab->nab", attributes["WEIGHTS_0"], moved[attributes["JOINTS_0"]])
        return np.einsum("nab,nb->na", blended, whole)[:, :3]

    def _joint_matrices(self, rotations: Mapping[str, Real]) -> Real:
        skin, nodes = self.document["skins"][0], self.document["nodes"]
        parents = {child: index for index, node in enumerate(nodes) for child in node.get("children", ())}
        inverse = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)

        def world(index: int) -> Real:
            local = np.eye(4)
            local[:3, :3] = turned(rotations.get(nodes[index]["name"], np.array([0.0, 0.0, 0.0, 1.0])))
            local[:3, 3] = nodes[index]["translation"]
            return world(parents[index]) @ local if index in parents else local

        return np.stack([world(joint) for joint in skin["joints"]]) @ inverse


def turned(quaternion: Real) -> Real:
    """(4,) x, y, z, w → (3, 3)."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )

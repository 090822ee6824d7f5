"""A glTF 2.0 binary file under construction: accessors into one buffer, and the container around them.

Khronos Group, "glTF 2.0 Specification" (ISO/IEC 12113:2022): buffers and accessors in section 3.6, the container in section 4.4.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, CONTAINER_VERSION = 0x46546C67, 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENT_TYPES = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
ELEMENT_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
LARGEST_UINT16_INDEX = 65_534
"""65535 restarts a primitive (section 3.7.2.1)."""


def index_array(values: NDArray[Any]) -> NDArray[Any]:
    """The same whole numbers, as narrow as glTF allows for indices into `values.max() + 1` vertices."""
    return values.astype(np.uint16 if values.max(initial=0) <= LARGEST_UINT16_INDEX else np.uint32)


class GlbBuilder:
    """Collects bytes, buffer views and accessors; `finish` puts the rest of the document around them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._zeros: dict[int, int] = {}

    def view(self, data: bytes, target: int | None = None) -> int:
        """Index of a new buffer view, aligned to four bytes."""
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        self._views.append({"buffer": 0, "byteOffset": len(self._bytes), "byteLength": len(data)} | ({} if target is None else {"target": target}))
        self._bytes += data
        return len(self._views) - 1

    def accessor(self, array: NDArray[Any], target: int | None = None, bounds: bool = False) -> int:
        """Index of a new accessor.

        Args:
            array: (N,), (N, 2), (N, 3), (N, 4), or (N, 4, 4) matrices, of float32, uint8, uint16 or uint32.
            target: ARRAY_BUFFER for vertex attributes, ELEMENT_ARRAY_BUFFER for indices.
            bounds: states the lowest and highest values, as glTF asks for positions and for the times of animations.
        """
        described = self._described(array.dtype.name, array.shape)
        if bounds:
            described |= _bounds(array.reshape(len(array), -1))
        return self._add(described | {"bufferView": self.view(_little_endian(array), target)})

    def sparse(self, count: int, indices: NDArray[np.int32], values: NDArray[np.float32]) -> int:
        """Index of a new accessor (`count`, 3), zero but for the rows `values` (N, 3) at the rising `indices` (N,). All zeros are the same accessor."""
        if not len(indices):
            if count not in self._zeros:
                self._zeros[count] = self._add(self._described("float32", (count, 3)) | {"min": [0.0] * 3, "max": [0.0] * 3})
            return self._zeros[count]
        narrow = index_array(indices)
        every = values if len(values) == count else np.concatenate([values, np.zeros((1, 3), np.float32)])
        place = {
            "count": len(indices),
            "indices": {"bufferView": self.view(_little_endian(narrow)), "componentType": COMPONENT_TYPES[narrow.dtype.name]},
            "values": {"bufferView": self.view(_little_endian(values))},
        }
        return self._add(self._described("float32", (count, 3)) | _bounds(every) | {"sparse": place})

    def finish(self, document: dict[str, Any]) -> bytes:
        """The whole file: `document` with the buffer, its views and the accessors added."""
        whole = document | {"buffers": [{"byteLength": len(self._bytes)}], "bufferViews": self._views, "accessors": self._accessors}
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self._bytes) + b"\0" * (-len(self._bytes) % 4)
        parts = struct.pack("<II", len(text), JSON_CHUNK) + text + struct.pack("<II", len(binary), BINARY_CHUNK) + binary
        return struct.pack("<III", MAGIC, CONTAINER_VERSION, 12 + len(parts)) + parts

    def _described(self, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"componentType": COMPONENT_TYPES[dtype], "count": shape[0], "type": ELEMENT_TYPES[shape[1:]]}

    def _add(self, accessor: dict[str, Any]) -> int:
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _little_endian(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _bounds(rows: NDArray[Any]) -> dict[str, list[float]]:
    """Of (N, C); exact: a float32 is a double."""
    return {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}

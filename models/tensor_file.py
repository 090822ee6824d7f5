"""Reads and writes one safetensors file with a JSON header, every array checked before it is used."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models import strict_json
from models.errors import BadFile

HEADER_KEY = "headcast"
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_HEADER_BYTES = 512 * 1024
"""Ours have some thousand. safetensors would take a hundred million, and half a minute over them."""
MAX_NAME = 100
"""Characters."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """Arrays by name, and the JSON object that describes them."""

    arrays: Mapping[str, NDArray[Any]]
    header: Mapping[str, Any]
    source: str

    def take(self, name: str, shape: tuple[int | None, ...], dtype: str | tuple[str, ...]) -> NDArray[Any]:
        """The array `name`, after its shape (None: any length), its dtype and, for floats, its finiteness were checked.

        Raises:
            BadFile: it is missing or not as described.
        """
        dtypes = (dtype,) if isinstance(dtype, str) else dtype
        if name not in self.arrays:
            raise BadFile(f"{self.source}: array '{name}' is missing")
        array = self.arrays[name]
        if array.dtype.name not in dtypes:
            raise BadFile(f"{self.source}: array '{name}' should be {' or '.join(dtypes)}, it is {array.dtype.name}")
        fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
        if not fits:
            wanted = tuple("any" if n is None else n for n in shape)
            raise BadFile(f"{self.source}: array '{name}' should have shape {wanted}, it has {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadFile(f"{self.source}: array '{name}' holds values that are not finite")
        return array

    def take_indices(self, name: str, shape: tuple[int | None, ...], below: int, lowest: int = 0) -> NDArray[np.int32]:
        """The int32 array `name`, every entry in [lowest, below)."""
        array = self.take(name, shape, "int32")
        if array.size and (array.min() < lowest or array.max() >= below):
            raise BadFile(f"{self.source}: array '{name}' points outside {lowest}…{below - 1}")
        return array

    def names(self, key: str) -> tuple[str, ...]:
        """The header's list of strings `key`."""
        value = self.header.get(key)
        if not isinstance(value, list) or not all(isinstance(name, str) and len(name) <= MAX_NAME for name in value):
            raise BadFile(f"{self.source}: the header should hold a list of names '{key}', it holds {type(value).__name__}")
        return tuple(value)


def read_tensor_file(path: Path, kind: str, version: int) -> TensorFile:
    """Reads `path`, whose header must say `kind` and at most `version`.

    Raises:
        BadFile: not such a file, a newer version, too large, or damaged.
    """
    source = path.name
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadFile(f"{source}: {size} bytes; at most {MAX_FILE_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{source}: cannot be read ({error.strerror})") from error
    header_bytes = header_length(data[:8], source)
    try:
        arrays = load(data)
        header = strict_json.loads(strict_json.loads(data[8 : 8 + header_bytes])["__metadata__"][HEADER_KEY])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{source}: not a Headcast {kind} file, or damaged ({type(error).__name__})") from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise BadFile(f"{source}: should be of kind '{kind}', it is {header.get('kind') if isinstance(header, dict) else header!r}"[:200])
    found = header.get("version")
    if not isinstance(found, int) or not 1 <= found <= version:
        raise BadFile(f"{source}: {kind} version {found!r:.40}; this Headcast reads 1 to {version}: update Headcast or make the file anew")
    return TensorFile(arrays, header, source)


def header_length(beginning: bytes, source: str) -> int:
    """What the first eight bytes say of the JSON that follows, in bytes.

    Raises:
        BadFile: too much for a file of ours; nothing of it was read.
    """
    length = int.from_bytes(beginning, "little")
    if length > MAX_HEADER_BYTES:
        raise BadFile(f"{source}: not a Headcast file, or damaged (its header should have at most {MAX_HEADER_BYTES >> 10} KB)")
    return length


def write_tensor_file(path: Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all; the same content gives the same bytes.

    Raises:
        BadFile: the header cannot be written: it is too long, or a text of it holds a lone surrogate, as JSON may.
    """
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    try:
        data = save(contiguous, metadata={HEADER_KEY: json.dumps(header, sort_keys=True, ensure_ascii=False)})
    except UnicodeEncodeError as error:
        raise BadFile(f"{path.name}: a text of its header holds half a character (a lone surrogate)") from error
    header_length(data[:8], path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)

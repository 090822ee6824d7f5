"""models/tensor_file.py: what is written comes back, and what is not as described is a BadFile that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from models import tensor_file
from models.avatar_file import read_card
from models.errors import BadFile
from models.tensor_file import HEADER_KEY, TensorFile, read_tensor_file, write_tensor_file

HEADER = {"kind": "thing", "version": 2, "names": ["ä", "b"]}


def write(path: Path, header: object = HEADER, **arrays: np.ndarray) -> Path:
    path.write_bytes(save(arrays or {"a": np.zeros(2, np.float32)}, metadata={HEADER_KEY: json.dumps(header)}))
    return path


def read(path: Path) -> TensorFile:
    return read_tensor_file(path, "thing", 2)


def test_round_trip(tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "bytes": np.arange(4, dtype=np.uint8),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    write_tensor_file(tmp_path / "deep" / "x.bin", arrays, HEADER)
    file = read(tmp_path / "deep" / "x.bin")
    assert file.header == HEADER
    assert file.names("names") == ("ä", "b")
    for name, array in arrays.items():
        np.testing.assert_array_equal(file.arrays[name], array)
        assert file.arrays[name].dtype == array.dtype
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.bin"], "no half-written file may stay behind"


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = np.arange(3, dtype=np.float32), np.arange(4, dtype=np.int32)
    write_tensor_file(tmp_path / "1", {"a": one, "b": two}, {"x": 1, "y": 2})
    write_tensor_file(tmp_path / "2", {"b": two, "a": one}, {"y": 2, "x": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x")
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError)):
        write_tensor_file(path, {"a": np.zeros(2, np.float32)}, {"cannot": object()})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"kind": "other", "version": 1}, "should be of kind 'thing', it is 'other'"),
        ({"kind": "thing", "version": 3}, "update Headcast"),
        ({"kind": "thing", "version": "2"}, "version '2'"),
        ({"kind": "thing", "version": 0}, "version 0"),
        ({"kind": "thing"}, "version None"),
        ([1, 2], "should be of kind"),
        ({"kind": "x" * 1000, "version": 1}, "should be of kind 'thing', it is 'x{100,200}$"),
        ({"kind": "thing", "version": int("9" * 4000)}, "version 9{40};"),
        ({**HEADER, "names": [[[]]] * 2, "deep": json.loads("[" * 40 + "]" * 40)}, "damaged"),
        ({**HEADER, "text": "\ud800"}, "damaged"),
        ({**HEADER, "number": float("nan")}, "damaged"),
    ],
)
def test_wrong_headers(tmp_path: Path, header: object, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        read(write(tmp_path / "x.bin", header))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": "thing", "version": 1, "version": 2}', "9" * 5000])
def test_headers_that_take_a_narrow_reader(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.bin").write_bytes(save({"a": np.zeros(2, np.float32)}, metadata={HEADER_KEY: text}))
    with pytest.raises(BadFile, match="damaged"):
        read(tmp_path / "x.bin")


def test_a_header_of_ten_thousands_of_arrays_is_not_begun(tmp_path: Path) -> None:
    """Nine hundred thousand of them, in a file that an avatar may be as large as, took 23 s and 1.8 GB."""
    listed = b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % number for number in range(20_000))
    header = b'{"__metadata__":{"headcast":"{}"},' + listed + b"}"
    (tmp_path / "x.bin").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadFile, match="its header should have at most 512 KB"):
        read(tmp_path / "x.bin")
    with pytest.raises(BadFile, match="its header should have at most 512 KB"):
        read_card(tmp_path / "x.bin")
    with pytest.raises(BadFile, match="its header should have at most 512 KB"):
        write_tensor_file(tmp_path / "y.bin", {}, {"text": "x" * tensor_file.MAX_HEADER_BYTES})
    assert not (tmp_path / "y.bin").exists()


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        read(tmp_path / "missing")
    whole = write(tmp_path / "whole").read_bytes()
    for length in (0, 4, 8, 20, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(BadFile, match="damaged"):
            read(tmp_path / "cut")
    (tmp_path / "plain").write_bytes(save({"a": np.zeros(1, np.float32)}))
    with pytest.raises(BadFile, match="not a Headcast thing file"):
        read(tmp_path / "plain")
    monkeypatch.setattr(tensor_file, "MAX_FILE_BYTES", len(whole) - 1)
    with pytest.raises(BadFile, match="at most"):
        read(tmp_path / "whole")


def test_arrays_are_checked(tmp_path: Path) -> None:
    arrays = {"a": np.zeros((2, 3), np.float32), "bad": np.array([0.0, np.nan], np.float32), "i": np.array([-1, 0, 4], np.int32)}
    file = read(write(tmp_path / "x.bin", **arrays))
    assert file.take("a", (None, 3), "float32").shape == (2, 3)
    assert file.take("a", (2, 3), ("float16", "float32")).shape == (2, 3)
    assert file.take_indices("i", (3,), 5, lowest=-1).tolist() == [-1, 0, 4]
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: file.take("missing", (1,), "float32"), "'missing' is missing"),
        (lambda: file.take("a", (2, 3), "float16"), "should be float16, it is float32"),
        (lambda: file.take("a", (3, None), "float32"), r"shape \(3, 'any'\), it has \(2, 3\)"),
        (lambda: file.take("a", (None,), "float32"), "should have shape"),
        (lambda: file.take("bad", (None,), "float32"), "not finite"),
        (lambda: file.take_indices("i", (3,), 5), "outside 0…4"),
        (lambda: file.take_indices("i", (3,), 4, lowest=-1), "outside -1…3"),
        (lambda: file.names("kind"), "list of names"),
        (lambda: file.names("none"), "list of names"),
        (lambda: TensorFile({}, {"names": ["x" * 101]}, "x").names("names"), "list of names"),
    ]
    for action, words in cases:
        with pytest.raises(BadFile, match=words):
            action()

"""Reads the arrays of a FLAME pickle without executing it.

A pickle is a little program that may call anything it can name. This reader lets it name numpy arrays, scipy's sparse matrices, chumpy's arrays and Python's
containers only, and gives it stand-ins of our own for each, which do nothing but keep and check what they are handed. Anything else is refused.
Old files were written by Python 2, whose strings are read as latin-1.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_READS = 2_000_000
"""Of the pickle's parts; FLAME's files have some thousands."""
MAX_TUPLE = 1000
"""Entries of a tuple with those of the tuples in it: a tuple of twice the same, forty times over, would keep us busy for hours where it is a key."""
MAX_DENSE_BYTES = 64 * 1024 * 1024
"""Of a sparse matrix with its zeros; the joint regressor has four million."""
MAX_AXES = 8
NUMBER_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


def read_flame_pickle(path: Path, names: Collection[str]) -> dict[str, Any]:
    """What the pickle's dictionary holds under these names; numeric, sparse and chumpy arrays are numpy arrays, what could not be one is None.

    Raises:
        BadFile: it cannot be read, names something that is not allowed, is damaged, or is no dictionary.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadFile(f"{path.name}: {path.stat().st_size} bytes; a FLAME model has at most {MAX_FILE_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path.name}: cannot be read ({error.strerror})") from error
    try:
        content = _Reader(data).load()
        if isinstance(content, dict):
            return {name: _plain(content[name]) for name in names if name in content}
    except _Refused as error:
        raise BadFile(f"{path.name}: refused: {error}; a FLAME model holds only arrays, nothing was executed") from error
    except (Exception, MemoryError) as error:
        raise BadFile(f"{path.name}: not a FLAME pickle, or damaged ({type(error).__name__}: {error!s:.200})") from error
    raise BadFile(f"{path.name}: should hold a dictionary of arrays, it holds {type(content).__name__}")


class _Refused(Exception):
    """The pickle asks for something that this reader does not give."""


class _CountedFile(io.BytesIO):
    """Ends the reading of a file that consists of endless little parts."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise _Refused(f"more than {MAX_READS} parts")
        return super().read(size)


class _Reader(pickle._Unpickler):
    """Python's own reader in Python, which can name only our stand-ins. Its time and memory grow with the file, not with the numbers in it nor with how often
    its parts are handed around."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_CountedFile(data), encoding="latin1")
        self._tuples: dict[int, tuple[int, tuple[Any, ...]]] = {}
        self._allowance = 4 * len(data) + MAX_READS

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _stand_in(module, name)
        if stand_in is None:
            raise _Refused(f"it names {module:.60}.{name:.60}")
        return stand_in

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def load_build(self) -> None:
        """Gives a stand-in its state; nothing else may be changed."""
        if not isinstance(self.stack[-2], (_Dtype, _Array, _Sparse, _Chumpy)):
            raise _Refused(f"it changes a {type(self.stack[-2]).__name__}")
        state = self.stack.pop()
        self._pay(state)
        self.stack[-1].__setstate__(state)

    dispatch[pickle.BUILD[0]] = load_build

    def load_reduce(self) -> None:
        """Calls a stand-in."""
        self._pay(self.stack[-1])
        super().load_reduce()  # type: ignore[misc]
        self._weigh(self.stack[-1])

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        """Makes a stand-in."""
        self._pay(self.stack[-1])
        super().load_newobj()  # type: ignore[misc]
        self._weigh(self.stack[-1])

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_frame(self) -> None:
        """Frames only say what may be read ahead; inside of one, nobody would count the parts."""
        self.read(8)  # type: ignore[attr-defined]

    dispatch[pickle.FRAME[0]] = load_frame

    def load_bytearray8(self) -> None:
        """Of what is there, not of how much there is said to be."""
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load_refused(self) -> None:
        """What no FLAME file has and what costs more than it is long: integers without end, instances of protocol 0 to 1, keyword arguments."""
        raise _Refused("it uses an instruction that arrays do not need")

    for _code in (pickle.LONG4, pickle.OBJ, pickle.INST, pickle.NEWOBJ_EX):
        dispatch[_code[0]] = load_refused

    def load_tuple(self) -> None:
        """As Python's, if it is no tower of tuples."""
        super().load_tuple()  # type: ignore[misc]
        self._weigh(self.stack[-1])

    def load_tuple1(self) -> None:
        """As `load_tuple`."""
        self.stack[-1] = (self.stack[-1],)
        self._weigh(self.stack[-1])

    def load_tuple2(self) -> None:
        """As `load_tuple`."""
        self.stack[-2:] = [tuple(self.stack[-2:])]
        self._weigh(self.stack[-1])

    def load_tuple3(self) -> None:
        """As `load_tuple`."""
        self.stack[-3:] = [tuple(self.stack[-3:])]
        self._weigh(self.stack[-1])

    dispatch[pickle.TUPLE[0]] = load_tuple
    dispatch[pickle.TUPLE1[0]] = load_tuple1
    dispatch[pickle.TUPLE2[0]] = load_tuple2
    dispatch[pickle.TUPLE3[0]] = load_tuple3

    def _weigh(self, made: Any) -> None:
        """Refuses tuples that would take long to compare or hash, which is done anew each time."""
        if not isinstance(made, tuple):
            return
        weight = len(made) + sum(self._tuples[id(each)][0] for each in made if id(each) in self._tuples)
        if weight > MAX_TUPLE:
            raise _Refused("it stacks up tuples")
        self._tuples[id(made)] = (weight, made)  # kept, so that its id stays its own

    def _pay(self, given: Any) -> None:
        """What a stand-in is handed may be copied by it: all in all not much more than the file is long."""
        parts = (given, *given) if isinstance(given, tuple) else (given,)
        self._allowance -= sum(len(each) for each in parts if isinstance(each, (str, bytes, bytearray, list, tuple, dict, set, frozenset)))
        if self._allowance < 0:
            raise _Refused("it copies its parts without end")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("it refers to objects outside the file")

    def get_extension(self, code: int) -> Any:
        raise _Refused(f"it uses the extension code {code}")


class _Dtype:
    """Stands for numpy.dtype: a type code and its byte order."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.order = order if order in ("<", ">") else "<"

    def numeric(self) -> np.dtype[Any] | None:
        """None where it is not a plain number."""
        code = self.code.lstrip("<>|=")
        return np.dtype(self.order + code) if code in NUMBER_TYPES else None


class _Array:
    """Stands for numpy.ndarray: made empty by _reconstruct, filled by its state."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _Sparse:
    """Stands for a scipy matrix of compressed columns or rows."""

    by_columns = False

    def __init__(self, *_: Any) -> None:
        self._state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self._state = dict(state)

    def dense(self) -> NDArray[Any] | None:
        """The matrix with its zeros."""
        data, indices, starts = (_plain(self._state.get(name)) for name in ("data", "indices", "indptr"))
        shape = self._state.get("_shape")
        if not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in (data, indices, starts)) or not isinstance(shape, tuple):
            return None
        rows, columns = (int(n) for n in shape)
        outer, inner = (columns, rows) if self.by_columns else (rows, columns)
        counts = np.diff(starts.astype(np.int64))
        fits = len(starts) == outer + 1 and (counts >= 0).all() and counts.sum() == len(indices) == len(data) and starts[0] == 0
        if not fits or (len(indices) and not 0 <= indices.min() <= indices.max() < inner) or rows * columns * 8 > MAX_DENSE_BYTES:
            raise ValueError("a sparse matrix whose parts do not fit together")
        dense = np.zeros((outer, inner), np.float64)
        np.add.at(dense, (np.repeat(np.arange(outer), counts), indices.astype(np.int64)), data)
        return dense.T if self.by_columns else dense


class _SparseByColumns(_Sparse):
    """Compressed columns."""

    by_columns = True


class _Chumpy:
    """Stands for a chumpy array: its values are the attribute `x`."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[Any, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)


def _stand_in(module: str, name: str) -> Callable[..., Any] | None:
    """What a name in a pickle means here; None: nothing."""
    if module.split(".")[0] == "numpy":
        return NUMPY_NAMES.get(name)
    if module.split(".")[:2] == ["scipy", "sparse"]:
        return SPARSE_FORMATS.get(name)
    if module.split(".")[0] == "chumpy":
        return _Chumpy
    if module in ("__builtin__", "builtins"):
        return CONTAINERS.get(name)
    return OTHER_NAMES.get((module, name))


class _Nothing:
    """Stands for `object` where a pickle names it as a base."""


def _reconstructor(kind: Any, *_: Any) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, (_Sparse, _Chumpy))):
        raise _Refused(f"it rebuilds {getattr(kind, '__name__', 'something')}")
    return kind()


def _bytes_only(raw: Any = b"", *_: Any) -> bytes:
    if not isinstance(raw, bytes):
        raise _Refused("it makes bytes of something else")
    return raw


def _latin1_bytes(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("it encodes in another way than latin1")
    return text.encode("latin1")


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    array = _from_bytes(raw, dtype, (), "C")
    return None if array is None else array.item()


def _array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.array = _from_bytes(raw, dtype, shape, "F" if order == "F" else "C")
    return made


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any] | None:
    """None where the elements are not plain numbers."""
    numeric = dtype.numeric() if isinstance(dtype, _Dtype) else None
    if numeric is None or not isinstance(raw, (bytes, bytearray, str)):
        return None
    data = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    lengths = tuple(int(n) for n in shape[: MAX_AXES + 1])
    if len(lengths) > MAX_AXES or min(lengths, default=0) < 0 or math.prod(lengths) * numeric.itemsize != len(data):
        raise ValueError(f"an array of shape {lengths} does not fit its {len(data)} bytes")
    flat = np.frombuffer(data, numeric)
    return flat.reshape(lengths, order="F") if order == "F" else flat.reshape(lengths)


def _plain(value: Any) -> Any:
    """Stand-ins → arrays or None; other values as they are."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, _Chumpy):
        return _plain(value.state.get("x"))
    if isinstance(value, _Sparse):
        return value.dense()
    return value


NUMPY_NAMES: dict[str, Callable[..., Any]] = {
    "_reconstruct": _Array,
    "ndarray": _Array,
    "dtype": _Dtype,
    "scalar": _scalar,
    "_frombuffer": _array_from_buffer,
}
SPARSE_FORMATS: dict[str, Callable[..., Any]] = {
    "csc_matrix": _SparseByColumns,
    "csc_array": _SparseByColumns,
    "csr_matrix": _Sparse,
    "csr_array": _Sparse,
}
CONTAINERS: dict[str, Callable[..., Any]] = {
    "object": _Nothing,
    "set": set,
    "frozenset": frozenset,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "bytearray": _bytes_only,
}
OTHER_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("_codecs", "encode"): _latin1_bytes,
    ("collections", "OrderedDict"): dict,
}

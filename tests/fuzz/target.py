"""What is fuzzed: a function that takes any bytes and may raise nothing but what it says, which it keeps to itself."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and what its inputs look like."""

    feed: Callable[[bytes], None]
    """Parses; catches the parser's documented errors and no others."""
    seeds: tuple[bytes, ...]
    """Valid inputs, made by code."""
    tokens: tuple[bytes, ...] = ()
    """Words of the format."""


def scratch() -> Path:
    """A new folder, in memory where the system has such, that is gone when the process ends."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="headcast-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, True)
    return Path(folder)

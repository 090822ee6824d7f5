"""Which part of the face an expression shape moves, by ARKit's names; what solver and retargeter agree on about the jaw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

JAW_OPEN = "jawOpen"
JAW_OPEN_RAD = 0.5
"""About how far a jaw joint opens for a `jawOpen` of one."""

_PREFIXES = {
    "brow": "brows",
    "eye": "lids",
    "jaw": "jaw",
    "mouthClose": "jaw",
    "mouth": "mouth",
    "cheek": "mouth",
    "nose": "mouth",
    "tongue": "mouth",
}


def group_of(name: str) -> str:
    """`brows`, `lids`, `jaw` (with `mouthClose`, which undoes it), `mouth`, or `other` for shapes without an ARKit name."""
    return next((group for prefix, group in _PREFIXES.items() if name.startswith(prefix)), "other")


def by_group(values: object, groups: Sequence[str]) -> NDArray[np.float64]:
    """For each group its attribute of `values`, as an array."""
    return np.array([getattr(values, group) for group in groups], np.float64)

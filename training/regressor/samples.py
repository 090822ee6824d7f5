"""What the regressor learns from: what the tracker saw, and what was there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """N frames. Pictures are square; coordinates in shares of their side."""

    landmarks: Float
    """(N, 478, 3): x right, y down from the picture's middle, z in the same scale, smaller is nearer; over the side."""
    coefficients: Float
    """(N, 52)."""
    focal: Float
    """(N,) over the side."""
    rotation: Float
    """(N, 3, 3) of the head, root and neck together, into camera space."""
    expression: Float
    """(N, E) weights."""
    gaze: Float
    """(N, 2, 2) yaw, pitch of the left and of the right eye in the head, radians."""
    jaw: Float
    """(N, 3) axis-angle; zero where jawOpen is a shape."""
    identity: Float
    """(N, I) weights of the head's identity shapes."""
    person: NDArray[np.int32]
    """(N,): whose face."""

    def __len__(self) -> int:
        return len(self.focal)

    def pick(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Samples:
        return Samples(*(getattr(self, part.name)[chosen] for part in fields(self)))

    @staticmethod
    def joined(parts: list[Samples]) -> Samples:
        return Samples(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Samples)))

    def save(self, path: Path) -> None:
        np.savez(path, **{part.name: getattr(self, part.name) for part in fields(self)})

    @staticmethod
    def load(path: Path) -> Samples:
        with np.load(path, allow_pickle=False) as file:
            return Samples(*(file[part.name] for part in fields(Samples)))

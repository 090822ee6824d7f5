"""How the tracker's landmarks miss the truth: what of it goes with the pose, how the rest varies together, and what is left.

Learned from drawn samples, where the truth is known, and kept in a small file: with it, samples of any head can be made without drawing it (projected.py).
In the normalised space of models/regressor_features.py, where a face is about as large as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.regressor_features import SEEN

Float = NDArray[np.float32]
Double = NDArray[np.float64]

COMPONENTS = 40
RIDGE = 10.0


@dataclass(frozen=True)
class Residuals:
    """Of M landmarks, D = 3 M values."""

    by_pose: Float
    """(10, D), for `pose_terms`."""
    components: Float
    """(K, D), each of the length of its standard deviation."""
    left: Float
    """(D,) standard deviation of what the components do not explain."""

    def draw(self, rotation: Double, rng: np.random.Generator) -> Double:
        """(N, M, 3) for heads of (N, 3) axis-angle against the camera that looks at them."""
        count = len(rotation)
        together = rng.standard_normal((count, len(self.components))) @ self.components
        alone = rng.standard_normal((count, len(self.left))) * self.left
        missed: Double = pose_terms(rotation) @ self.by_pose + together + alone
        return missed.reshape(count, -1, 3)

    @staticmethod
    def learned(rotation: Double, missed: Double) -> Residuals:
        """From (N, 3) rotations and (N, M, 3) residuals of drawn samples."""
        flat, terms = missed.reshape(len(missed), -1), pose_terms(rotation)
        by_pose = np.linalg.solve(terms.T @ terms + RIDGE * np.eye(terms.shape[1]), terms.T @ flat)
        rest = flat - terms @ by_pose
        _, sizes, directions = np.linalg.svd(rest, full_matrices=False)
        components = sizes[:COMPONENTS, None] * directions[:COMPONENTS] / np.sqrt(len(rest))
        left = np.sqrt(np.maximum((rest**2).mean(0) - (components**2).sum(0), 0.0))
        return Residuals(by_pose.astype(np.float32), components.astype(np.float32), left.astype(np.float32))

    def save(self, path: Path) -> None:
        np.savez_compressed(path, by_pose=self.by_pose.astype(np.float16), components=self.components.astype(np.float16), left=self.left.astype(np.float16))

    @staticmethod
    def load(path: Path) -> Residuals:
        """Raises ValueError where they are of other landmarks."""
        with np.load(path, allow_pickle=False) as file:
            loaded = Residuals(*(file[name].astype(np.float32) for name in ("by_pose", "components", "left")))
        if loaded.left.shape != (3 * len(SEEN),):
            raise ValueError(f"{path.name}: expected residuals of {len(SEEN)} landmarks, got {loaded.left.shape[0] // 3}")
        return loaded


def pose_terms(rotation: Double) -> Double:
    """(N, 10): one, the angles, their squares and products."""
    x, y, z = rotation.T
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z], 1)

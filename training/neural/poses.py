"""The poses that the networks are asked about when they are baked: frames of the clip, and mixtures of frames that the clip never shows.

A few dozen frames say little about what a face that does one thing does to a face that does another; fitted to them alone, a weight function guesses. The
networks have an answer for every pose. So the neck of one frame is put together with the gaze of a second, the brows of a third, the lids of a fourth, the
mouth of a fifth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import AvatarFile
from models.face_groups import group_of
from models.head_torch import Poses
from training.neural.frames import Frames, start_weights

JITTER = 0.3
"""Added to every parameter of a mixture, in standard deviations over the frames."""
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Asked:
    """A poses and what the start says of them."""

    poses: Poses
    conditions: Tensor
    """(A, 13 + E)."""
    texture_weights: Tensor
    """(A, G, K)."""
    dynamic_weights: Tensor
    """(A, D)."""

    @staticmethod
    def of(frames: Frames, chosen: NDArray[np.int64], mixed: int, start: AvatarFile, seed: int) -> Asked:
        """The chosen frames, then so many mixtures of them."""
        given = {name: getattr(frames.poses, name)[torch.from_numpy(chosen).to(frames.conditions.device)].cpu().numpy() for name in Poses.__slots__}
        rng = np.random.default_rng(seed)
        made = _mixed(given, mixed, start.expression_names, rng)
        both = {name: np.concatenate([given[name], made[name]]) for name in given}
        count = len(chosen) + mixed
        seen = np.concatenate([both[name].reshape(count, -1) for name in ("rotation", "neck", "jaw", "gaze", "expression")], 1)
        texture, dynamic = start_weights(start, seen)

        def tensor(array: Float) -> Tensor:
            return torch.from_numpy(array).to(frames.conditions)

        return Asked(Poses(**{name: tensor(array) for name, array in both.items()}), tensor(frames.standard(seen)), tensor(texture), tensor(dynamic))

    def __len__(self) -> int:
        return len(self.conditions)


def _mixed(given: dict[str, Float], count: int, expression_names: tuple[str, ...], rng: np.random.Generator) -> dict[str, Float]:
    def drawn(values: Float) -> Float:
        picked = values[rng.integers(0, len(values), count)]
        return (picked + JITTER * values.std(0) * rng.normal(0.0, 1.0, picked.shape)).astype(np.float32)

    made = {name: drawn(values) for name, values in given.items() if name not in ("expression", "jaw")}
    mouth = np.concatenate([given["jaw"], given["expression"]], 1)
    together = drawn(mouth)
    made["jaw"], made["expression"] = together[:, :3], together[:, 3:].copy()
    groups = np.array([group_of(name) for name in expression_names])
    for group in ("brows", "lids"):
        (members,) = np.nonzero(groups == group)
        made["expression"][:, members] = drawn(given["expression"][:, members])
    return made

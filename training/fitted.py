"""What the fit stage finds: who the person is, the camera, and the parameters of every frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    """T frames of a clip. The head turns at its neck; the root stays unturned, so that shoulders stay where they are; `translation` moves both."""

    focal: float
    """In picture sides; the principal point is the picture's centre."""
    identity: Float
    """(I,) weights of the head's identity shapes."""
    offsets: Float
    """(478, 3) metres, head space: where this person's landmarks lie off the head's; zero for landmarks that are not used."""
    expression: Float
    """(T, E) in the head's own order."""
    neck: Float
    """(T, 3) axis-angle, radians."""
    jaw: Float
    """(T, 3)."""
    gaze: Float
    """(T, 2, 2)."""
    translation: Float
    """(T, 3) metres."""

    def params(self, frame: int) -> HeadParams:
        """Of one frame; for the whole head, or for the avatar made of it (which needs no identity)."""
        return HeadParams(
            self.identity, self.expression[frame], np.zeros(3, np.float32), self.neck[frame], self.jaw[frame], self.gaze[frame], self.translation[frame]
        )

    def save(self, path: Path) -> None:
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(path: Path) -> Fitted:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Fitted(focal=float(arrays.pop("focal")), **arrays)

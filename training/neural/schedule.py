"""The plan of the neural road: sizes, stages, learning rates and weights. The defaults are NHA's published ones but for what docs/neural.md lists."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from models.networks import SMALL, Conditioning, NetworkSizes
from training.stages import Preset


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each term counts; zero: it is not computed. Colours are 0…1, so colour terms weigh twice what NHA's do, whose colours are -1…1."""

    colour: float = 0.0
    pyramid: float = 0.0
    silhouette: float = 0.0
    laplacian: float = 0.0
    edges: float = 0.0
    landmarks: float = 0.0
    eyes: float = 0.0
    consistency: float = 0.0
    prior: float = 0.0
    normals: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training. A learning rate of zero leaves that part as it is."""

    name: str
    epochs: int
    batch: int
    weights: LossWeights
    offset_rate: float = 0.0
    """Adam, offset network and vertex features."""
    texture_rate: float = 0.0
    """Adam, texture network, feature map and normal encoder."""
    parameter_rate: float = 0.0
    """Plain gradient descent, the frames' residual parameters; a tenth of it for the translation."""
    texture_decay: float = 0.0
    """L2, as Adam's weight decay."""

    @property
    def geometry(self) -> bool:
        return self.offset_rate > 0.0 or self.parameter_rate > 0.0


GEOMETRY = Stage(
    "geometry",
    150,
    16,
    LossWeights(silhouette=0.1, laplacian=0.05, edges=10.0, landmarks=1e-2, eyes=1e2, consistency=1e-4, prior=1e-3, normals=2e-2),
    offset_rate=1e-5,
    parameter_rate=1e-3,
)
TEXTURE = Stage("texture", 50, 2, LossWeights(colour=2.0, pyramid=2.0), texture_rate=5e-5, texture_decay=1e-4)
JOINT = Stage(
    "joint",
    50,
    2,
    LossWeights(colour=0.1, pyramid=0.1, silhouette=0.1, laplacian=0.05, edges=10.0, eyes=1e2, consistency=1e-4, prior=1e-3, normals=2e-2),
    offset_rate=2e-6,
    texture_rate=2e-5,
    parameter_rate=2e-4,
    texture_decay=5e-6,
)


@dataclass(frozen=True, slots=True)
class NeuralSettings:
    """Everything that can be set about a run of the neural road."""

    size: int = 512
    """Pixels a side at which pictures are compared."""
    networks: NetworkSizes = field(default_factory=NetworkSizes)
    conditioning: Conditioning = "paper"
    stages: tuple[Stage, ...] = (GEOMETRY, TEXTURE, JOINT)
    patience: int = 5
    """A stage ends when that many epochs have not lowered the loss of the watched frames."""
    condition_noise: float = 0.3
    """Added to the networks' conditions in training, in standard deviations of the features."""
    gradient_norm: float = 1.0
    """Longer gradients are shortened to this, each optimiser's apart."""
    max_frames: int = 750
    """At most so many frames are learned from, evenly spread."""
    bake_frames: int = 200
    """At most so many frames are looked at when the networks are baked."""
    bake_mixed: int = 400
    """So many made-up poses are looked at beside them; more is better for frames that were never seen (docs/neural.md)."""
    maps: int = 24
    """Texture maps of the baked avatar, at most."""
    map_side: int = 256
    """Texels a side of those maps, where the start has none."""
    file_bytes: int = 4_900_000
    """The baked avatar's file takes no more, if fewer maps can do it."""
    dynamic_shapes: int = 8
    """Dynamic offset shapes of the baked avatar, at most."""
    normals: Path | None = None
    """A NumPy file of int8 (frames, S, S, 3), camera space, 127 is one: what a network of the user's own says; without it no normals are compared."""
    seed: int = 0

    @staticmethod
    def of(preset: Preset, device: str) -> NeuralSettings:
        """`full` are NHA's stages; `quick` about a tenth of them. A CPU gets small networks and small pictures."""
        full = NeuralSettings()
        quick = replace(
            full,
            size=256,
            stages=(
                replace(GEOMETRY, epochs=10, offset_rate=4e-5),
                replace(TEXTURE, epochs=12, batch=4, texture_rate=2e-4),
                replace(JOINT, epochs=4, batch=4, offset_rate=1e-5, texture_rate=5e-5),
            ),
            patience=2,
            max_frames=300,
            bake_frames=120,
            bake_mixed=240,
        )
        chosen = full if preset == "full" else quick
        if device != "cpu":
            return chosen
        stages = tuple(replace(stage, epochs=min(stage.epochs, 12), batch=min(stage.batch, 4)) for stage in quick.stages)
        small = replace(quick, size=128, networks=SMALL, stages=stages, max_frames=60, bake_frames=40, bake_mixed=160)
        return replace(small, size=192, max_frames=120) if preset == "full" else small

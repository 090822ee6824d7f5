"""The networks of Neural Head Avatars: an offset for every vertex, a colour for every visible point.

Grassal et al., "Neural Head Avatars from Monocular RGB Videos", CVPR 2022; FiLM-SIREN: Chan et al., "pi-GAN", CVPR 2021, and Sitzmann et al., "Implicit Neural
Representations with Periodic Activation Functions", NeurIPS 2020. Written from the published description. N points, B frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Conditioning = Literal["paper", "released"]
FREQUENCY_SCALE, FREQUENCY_SHIFT = 15.0, 30.0
HIDDEN_DIVISOR = 25.0
MAPPING_LAST_GAIN = 0.25
LEAK = 0.2
VERTEX_FEATURE_SIGMA, TEXTURE_FEATURE_SIGMA = 0.02, 0.01
NECK_CONDITION = 9
ENCODER_KERNEL = 3


@dataclass(frozen=True, slots=True)
class NetworkSizes:
    """How large everything is; the defaults are NHA's."""

    vertex_features: int = 32
    offset_width: int = 128
    offset_layers: int = 6
    offset_reach_m: float = 1.0
    """No offset is longer than this a direction."""
    texture_features: int = 64
    texture_side: int = 256
    """Texels of the learned feature map."""
    texture_width: int = 256
    texture_layers: int = 8
    dynamic_width: int = 128
    code: int = 32
    """Channels of the normal code."""
    encoder_width: int = 128
    mapping_width: int = 256
    mapping_layers: int = 3


SMALL = NetworkSizes(8, 64, 3, 1.0, 16, 128, 64, 3, 32, 8, 16, 64, 2)
"""For a CPU."""
TINY = NetworkSizes(4, 16, 2, 1.0, 8, 32, 32, 2, 16, 4, 8, 16, 1)
"""For tests."""


class Mapping(nn.Module):
    """From a condition to frequencies and phases of all the layers of a network."""

    def __init__(self, condition: int, total_width: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [condition, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.last = nn.Linear(width, 2 * total_width)
        for layer in (*self.layers, self.last):
            nn.init.kaiming_normal_(layer.weight, a=LEAK, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.last.weight *= MAPPING_LAST_GAIN

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(B, condition) → frequencies and phases, (B, total width) each."""
        for layer in self.layers:
            condition = functional.leaky_relu(layer(condition), LEAK)
        frequency, phase = self.last(condition).chunk(2, -1)
        return FREQUENCY_SCALE * frequency + FREQUENCY_SHIFT, phase


class FilmSiren(nn.Module):
    """Layers of sin(frequency * (W x + b) + phase), frequency and phase given from outside."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        for index, layer in enumerate(self.layers):
            limit = 1.0 / layer.in_features if index == 0 else (6.0 / layer.in_features) ** 0.5 / HIDDEN_DIVISOR
            nn.init.uniform_(layer.weight, -limit, limit)

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor] | None = None, share: Tensor | None = None) -> Tensor:
        """(…, N, inputs) → (…, N, last width).

        Args:
            film: frequencies and phases that broadcast with (…, N, total width).
            other: another such pair.
            share: (N, 1), 0…1: how much of `other` each point takes.
        """
        parts = [each.split(self.widths, -1) for each in film]
        others = None if other is None else [each.split(self.widths, -1) for each in other]
        for index, layer in enumerate(self.layers):
            frequency, phase = parts[0][index], parts[1][index]
            if others is not None:
                frequency, phase = (torch.lerp(one, two[index], share) for one, two in zip((frequency, phase), others, strict=True))
            x = torch.sin(frequency * layer(x) + phase)
        return x


class OffsetNetwork(nn.Module):
    """Moves the vertices in their local frames: everywhere once and for all, at the neck with the neck."""

    def __init__(self, vertex_count: int, sizes: NetworkSizes) -> None:
        super().__init__()
        widths = [sizes.offset_width] * sizes.offset_layers
        self.reach_m = sizes.offset_reach_m
        self.features = nn.Parameter(VERTEX_FEATURE_SIGMA * torch.randn(vertex_count, sizes.vertex_features))
        self.mapping = Mapping(NECK_CONDITION, sum(widths), sizes.mapping_width, sizes.mapping_layers)
        self.siren = FilmSiren(3 + sizes.vertex_features, widths)
        self.last = _zero_linear(sizes.offset_width, 3)

    def forward(self, canonical: Tensor, neck: Tensor, label: Tensor) -> Tensor:
        """(B, V, 3) metres along the axes of each vertex's frame; zero before training.

        Args:
            canonical: (V, 3), -1…1: where the vertices lie.
            neck: (B, 3, 3) the neck's rotation.
            label: (V,), 0…1: how much a vertex belongs to the neck.
        """
        x = torch.cat([canonical, self.features], 1)
        still = self.last(self.siren(x, self.mapping(neck.new_zeros(1, NECK_CONDITION))))
        (moving,) = label.nonzero(as_tuple=True)
        if len(moving) == 0:
            return (self.reach_m * still.tanh()).expand(len(neck), -1, -1)
        frequency, phase = self.mapping(neck.detach().flatten(1))
        turned = self.last(self.siren(x[moving], (frequency[:, None], phase[:, None])))
        change = label[moving, None] * (turned - still[moving])
        return self.reach_m * (still + torch.zeros_like(still).expand(len(neck), -1, -1).index_add(1, moving, change)).tanh()


class NormalEncoder(nn.Module):
    """A code of what a small patch of the surface looks like from the camera: 7 x 7 pixels of normals."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        channels = (3, sizes.encoder_width, sizes.encoder_width, sizes.code)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, ENCODER_KERNEL, padding=ENCODER_KERNEL // 2, padding_mode="replicate") for before, after in pairwise(channels)
        )
        for index, layer in enumerate(self.convolutions[:-1]):
            inputs = layer.in_channels * ENCODER_KERNEL**2
            limit = 1.0 / inputs if index == 0 else (6.0 / inputs) ** 0.5 / HIDDEN_DIVISOR
            nn.init.uniform_(layer.weight, -limit, limit)
        self.frequency = nn.Parameter(torch.full((2, sizes.encoder_width, 1, 1), FREQUENCY_SHIFT))
        self.phase = nn.Parameter(torch.zeros(2, sizes.encoder_width, 1, 1))

    def forward(self, normals: Tensor) -> Tensor:
        """(B, 3, H, W) in camera space, zero in the background → (B, code, H, W)."""
        for index, layer in enumerate(self.convolutions[:-1]):
            normals = torch.sin(self.frequency[index] * layer(normals) + self.phase[index])
        return self.convolutions[-1](normals)


class TextureNetwork(nn.Module):
    """What to add to a visible point's colour. Zero before training, so that learning starts from the picture that is there.

    `conditioning`: "released" is what NHA's published program does: only the mouth is told how the face stands, and a wrinkle or a blush elsewhere has to be
    guessed from the normal code. "paper", the default, is what its paper says: the dynamic head is told expression and pose everywhere. With the open head that
    means named shapes (a brow's own weight) instead of principal components, few and independent, so that there is little to overfit; and as the conditions are
    exactly the inputs of an avatar's weight function, what is learned can be baked. The trunk stays blind outside the mouth: whose skin it is does not change.
    """

    def __init__(self, condition: int, mouth_condition: int, sizes: NetworkSizes, conditioning: Conditioning) -> None:
        super().__init__()
        trunk = [sizes.texture_width] * sizes.texture_layers
        self.blind = conditioning == "released"
        side = sizes.texture_side
        self.features = nn.Parameter(TEXTURE_FEATURE_SIGMA * torch.randn(1, sizes.texture_features, side, side))
        self.trunk_mapping = Mapping(mouth_condition, sum(trunk), sizes.mapping_width, sizes.mapping_layers)
        self.trunk = FilmSiren(3 + sizes.texture_features, trunk)
        self.static = _zero_linear(sizes.texture_width, 3)
        self.dynamic_mapping = Mapping(condition, sizes.dynamic_width, sizes.mapping_width, sizes.mapping_layers)
        self.dynamic_layer = FilmSiren(sizes.texture_width + sizes.code, [sizes.dynamic_width])
        self.dynamic = _zero_linear(sizes.dynamic_width, 3)

    def forward(self, canonical: Tensor, uv: Tensor, mouth: Tensor, code: Tensor, condition: Tensor, mouth_condition: Tensor) -> Tensor:
        """(N, 3), -1…1, of one frame's points.

        Args:
            canonical: (N, 3), -1…1: where the points lie on the neutral head.
            uv: (N, 2) texture space.
            mouth: (N,), 0…1: how much a point belongs to the mouth's inside.
            code: (N, code) of the normals around it.
            condition: (condition,) of the frame: standardised pose and expression.
            mouth_condition: (mouth condition,) the part of it that shapes the mouth.
        """
        x = torch.cat([canonical, self._sampled(uv)], 1)
        trunk = self._trunk(x, mouth, mouth_condition[None])
        film = self.dynamic_mapping(torch.zeros_like(condition[None]) if self.blind else condition[None])
        dynamic = self.dynamic(self.dynamic_layer(torch.cat([trunk, code], 1), film))
        return (self.static(trunk) + dynamic).tanh()

    def _sampled(self, uv: Tensor) -> Tensor:
        grid = (2.0 * uv - 1.0)[None, None]
        sampled = functional.grid_sample(self.features, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return sampled[0, :, 0].T

    def _trunk(self, x: Tensor, mouth: Tensor, mouth_condition: Tensor) -> Tensor:
        """Mouth points apart: theirs are the only parameters that differ from point to point, and they are few."""
        blind = self.trunk_mapping(torch.zeros_like(mouth_condition))
        inside = mouth > 0.0
        if not bool(inside.any()):
            return self.trunk(x, blind)
        outer, inner = (~inside).nonzero()[:, 0], inside.nonzero()[:, 0]
        told = self.trunk_mapping(mouth_condition)
        parts = torch.cat([self.trunk(x[outer], blind), self.trunk(x[inner], blind, told, mouth[inner, None])])
        return parts[torch.argsort(torch.cat([outer, inner]))]


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

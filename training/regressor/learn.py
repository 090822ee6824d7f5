"""Samples → the regressor's network: three hidden layers, taught to put the face's surface where it was, on faces, their mirror images, and worse ones.

What it says of its own uncertainty is taught afterwards, on people whom the first part never saw: on its own pupils everybody is sure. Loss of the second
part: the negative log-likelihood of a normal distribution (Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from models.face_groups import JAW_OPEN
from models.head import HeadModel, HeadParams
from models.landmark_groups import INNER_LIPS, LEFT_LIDS, OUTER_LIPS, RIGHT_LIDS
from models.regressor import Layout
from models.regressor_features import SEEN, mirrored, show
from models.rotations import to_axis_angle
from training.progress import Progress
from training.regressor.samples import Samples

Float = NDArray[np.float32]
Int = NDArray[np.int32]

LEAST_SCALE = 1e-3
UNEVEN = 0.1
"""Mean distance of a landmark of the mean face from its partner's mirror image, in the size of a face, past which there is no telling left from right."""
LEAST_SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class LearnSettings:
    width: int = 256
    steps: int = 6000
    spread_steps: int = 1200
    batch: int = 512
    rate: float = 1.5e-3
    decay: float = 1e-4
    dropout: float = 0.1
    jitter: float = 0.02
    """Largest standard deviation of noise on the landmarks, in the size of the face (about 6 cm)."""
    depth_tilt: float = 0.15
    """By how much the landmarks' depths may lean: they are the tracker's guess, and off by a constant of the person's."""
    weights: tuple[float, float, float, float] = (0.15, 0.03, 0.5, 0.1)
    """Of a squared degree of the head, a squared degree of gaze, a squared weight, a squared degree of the jaw, against a squared millimetre of the surface."""
    emphasis: float = 2.0
    """Of lips, and of lids, beside the whole face."""


@dataclass(frozen=True)
class Learned:
    """The network as arrays: `layers` of (weights (O, I), bias (O,)), the hidden ones with a GELU after them; two last layers, for mean and log of spread."""

    head: str
    layout: Layout
    partner: Int
    input_mean: Float
    input_scale: Float
    hidden: tuple[tuple[Float, Float], ...]
    mean: tuple[Float, Float]
    log_spread: tuple[Float, Float]


class _Network(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.hidden = nn.ModuleList([nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.mean = nn.Linear(width, outputs)
        self.log_spread = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.hidden:
            features = nn.functional.dropout(nn.functional.gelu(layer(features)), self.dropout, self.training)
        return features


def learn(head: HeadModel, samples: Samples, watched: NDArray[np.bool_], progress: Progress, settings: LearnSettings | None = None, seed: int = 0) -> Learned:
    """Teaches a network on `samples` of a head, its uncertainty on those that are `watched` (N,); the same for the same seed on the same machine."""
    chosen = settings or LearnSettings()
    torch.manual_seed(seed)
    layout = Layout(head.expression_names)
    features, targets = answers(samples)
    partner = partners(features)
    source, sign = layout.mirror()

    def both(kept: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        faces, goals = features[kept], targets[kept]
        return torch.from_numpy(np.concatenate([faces, mirrored(faces, partner)])), torch.from_numpy(np.concatenate([goals, goals[:, source] * sign]))

    faces, goals = both(~watched)
    input_mean, input_scale = faces.mean(0), faces.std(0) + LEAST_SCALE
    goal_mean, goal_scale = goals.mean(0), goals.std(0) + LEAST_SPREAD
    network = _Network(features.shape[1], layout.size, chosen.width, chosen.dropout)
    cost = _Cost(head, layout, chosen)
    optimiser = torch.optim.AdamW(network.parameters(), lr=chosen.rate, weight_decay=chosen.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, chosen.rate, total_steps=chosen.steps, pct_start=0.1)
    progress.start("regressor", chosen.steps)
    for _ in range(chosen.steps):
        picked = torch.randint(len(faces), (chosen.batch,))
        seen = (_worsened(faces[picked], chosen) - input_mean) / input_scale
        loss = cost(network.mean(network(seen)) * goal_scale + goal_mean - goals[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        progress.advance()
    network.eval()
    _teach_spread(network, *both(watched), (input_mean, input_scale, goal_mean, goal_scale), chosen, progress)
    return _learned(head, layout, partner, network, (input_mean, input_scale, goal_mean, goal_scale))


def answers(samples: Samples) -> tuple[Float, Float]:
    """(N, F) features, and (N, P) what the network should answer to them."""
    shown = show(samples.landmarks, samples.coefficients, samples.focal)
    turned = np.einsum("nji,njk->nik", shown.view, samples.rotation.astype(np.float64))
    rotation = np.array([to_axis_angle(matrix) for matrix in turned])
    flat = (rotation, samples.expression, samples.gaze.reshape(-1, 4), samples.jaw)
    return shown.features, np.concatenate(flat, 1).astype(np.float32)


def partners(features: Float) -> Int:
    """(M,): which landmark lies where each one does in the mirror image of the mean face.

    Raises:
        ValueError: the faces are too uneven to tell.
    """
    mean = features[:, : 3 * len(SEEN)].mean(0).reshape(-1, 3)
    apart = np.linalg.norm((mean * (-1.0, 1.0, 1.0))[:, None] - mean[None], axis=2)
    _, partner = linear_sum_assignment(apart)
    if (partner[partner] != np.arange(len(partner))).any() or apart[np.arange(len(partner)), partner].mean() > UNEVEN:
        raise ValueError("the samples' mean face should be nearly even; more samples are needed to tell left from right")
    return partner.astype(np.int32)


class _Cost:
    """What an error costs: squared millimetres of the landmarks' vertices that move wrongly, and squared angles."""

    def __init__(self, head: HeadModel, layout: Layout, settings: LearnSettings) -> None:
        count = len(layout.expression_names)
        everywhere = np.flatnonzero(head.landmark_faces >= 0)
        parts = ((everywhere, 1.0), (np.array([*OUTER_LIPS, *INNER_LIPS]), settings.emphasis), (np.array([*LEFT_LIDS, *RIGHT_LIDS]), settings.emphasis))
        moving = np.zeros((count + 1, count + 1))
        for landmarks, weight in parts:
            vertices = np.unique(head.faces[head.landmark_faces[landmarks]])
            by = 1e3 * np.concatenate([head.expression[:, vertices], by_jaw(head)[None, vertices]]).reshape(count + 1, -1)
            moving += weight * by @ by.T / len(vertices)
        turn, look, plain, jaw = settings.weights
        curvature = np.zeros((layout.size, layout.size))
        at = np.r_[np.arange(layout.size)[layout.expression], layout.jaw.start]
        curvature[np.ix_(at, at)] = moving
        for where, weight in ((layout.rotation, turn), (layout.gaze, look), (layout.jaw, jaw)):
            for index in range(where.start, where.stop):
                curvature[index, index] += weight * math.degrees(1.0) ** 2
        for index in range(layout.expression.start, layout.expression.stop):
            curvature[index, index] += plain
        self._curvature = torch.tensor(curvature, dtype=torch.float32)

    def __call__(self, error: Tensor) -> Tensor:
        """The mean over (B, P) errors."""
        return ((error @ self._curvature) * error).sum(1).mean()


def by_jaw(head: HeadModel) -> Float:
    """(V, 3) metres a radian: how the jaw joint opens the mouth; zero where a shape does."""
    if JAW_OPEN in head.expression_names:
        return np.zeros_like(head.template)
    step = 0.05
    still = HeadParams.neutral(0)
    opened = HeadParams(still.identity, still.expression, still.rotation, still.neck, np.array([step, 0, 0], np.float32), still.gaze, still.translation)
    return np.asarray((head.vertices(opened) - head.vertices(still)) / step, np.float32)


def _worsened(features: Tensor, settings: LearnSettings) -> Tensor:
    """Noisier landmarks, and depths that lean."""
    count, points = len(features), 3 * len(SEEN)
    shape = features[:, :points].reshape(count, -1, 3)
    shape = shape + settings.jitter * torch.rand(count, 1, 1) * torch.randn_like(shape)
    lean = settings.depth_tilt * torch.randn(count, 3, 1)
    depth = shape[:, :, 2] * (1.0 + lean[:, 0]) + lean[:, 1] * shape[:, :, 1] + 0.5 * lean[:, 2] * shape[:, :, 0]
    shape = torch.stack([shape[:, :, 0], shape[:, :, 1], depth], 2)
    return torch.cat([shape.reshape(count, points), features[:, points:]], 1)


def watched_people(person: Int, share: float) -> NDArray[np.bool_]:
    """(N,) samples of that share of the people, of those who come last."""
    people = np.unique(person)
    count = min(max(1, round(share * len(people))), len(people) - 1)
    return np.isin(person, people[len(people) - count :])


Scales = tuple[Tensor, Tensor, Tensor, Tensor]


def _teach_spread(network: _Network, faces: Tensor, goals: Tensor, scales: Scales, settings: LearnSettings, progress: Progress) -> None:
    """How far off the means are, in their scales; the rest of the network stays as it is."""
    input_mean, input_scale, goal_mean, goal_scale = scales
    with torch.no_grad():
        inner = network((faces - input_mean) / input_scale)
        error = (network.mean(inner) * goal_scale + goal_mean - goals) / goal_scale
        nn.init.zeros_(network.log_spread.weight)
        network.log_spread.bias.copy_(0.5 * torch.log((error**2).mean(0) + LEAST_SPREAD**2))
    optimiser = torch.optim.Adam(network.log_spread.parameters(), lr=1e-3, weight_decay=1e-3)
    progress.start("its uncertainty", settings.spread_steps)
    for _ in range(settings.spread_steps):
        picked = torch.randint(len(faces), (settings.batch,))
        log_spread = network.log_spread(inner[picked])
        loss = (log_spread + 0.5 * (error[picked] ** 2 + LEAST_SPREAD**2) * torch.exp(-2.0 * log_spread)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress.advance()


def _learned(head: HeadModel, layout: Layout, partner: Int, network: _Network, scales: Scales) -> Learned:
    input_mean, input_scale, goal_mean, goal_scale = (scale.numpy() for scale in scales)

    def layer(linear: nn.Linear) -> tuple[Float, Float]:
        return linear.weight.detach().numpy(), linear.bias.detach().numpy()

    weights, bias = layer(network.mean)
    spread_weights, spread_bias = layer(network.log_spread)
    hidden = tuple(layer(linear) for linear in network.hidden)
    mean = (weights * goal_scale[:, None], bias * goal_scale + goal_mean)
    return Learned(head.name, layout, partner, input_mean, input_scale, hidden, mean, (spread_weights, spread_bias + np.log(goal_scale)))

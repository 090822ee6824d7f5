"""The terms of the objective. Each is a plain function of tensors that returns a number without a unit; weights are training.neural.schedule's.

After Grassal et al., "Neural Head Avatars from Monocular RGB Videos", CVPR 2022. B frames, N points, V vertices, E edges.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.neural.sampling import blurred, sample

STRETCH = 1.5
"""An edge may be this much longer than at rest before it costs anything."""
TRUST_AZIMUTH_DEG, TRUST_ELEVATION_DEG = 30.0, 20.0
SILHOUETTE_SIGMA_PX = 2.0


def masked_l1(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (N, C), the points weighted by (N,)."""
    return ((predicted - target).abs().mean(1) * weight).sum() / weight.sum().clamp(min=1e-6)


def pyramid(difference: Tensor, weight: Tensor, levels: int = 4) -> Tensor:
    """Differences in detail at every scale, in place of NHA's face recognition features, whose network may not be used here.

    At each level of a pyramid of means, the absolute horizontal and vertical changes of the difference picture, averaged over what counts; the mean over the
    levels. A wrong edge costs at all scales, a wrong tone only where it ends; the colour term looks after tone.

    Args:
        difference: (C, H, W) predicted less true.
        weight: (H, W), 0…1; zero where the difference means nothing.
    """
    total = difference.new_zeros(())
    change, share = (difference * weight)[None], weight[None, None]
    count = 0
    for _ in range(levels):
        if min(change.shape[-2:]) < 2:
            break
        right, down = change.diff(dim=3).abs(), change.diff(dim=2).abs()
        right_share, down_share = torch.minimum(share[..., 1:], share[..., :-1]), torch.minimum(share[..., 1:, :], share[..., :-1, :])
        total = total + (right * right_share).sum() / (right_share.sum() * len(difference)).clamp(min=1e-6)
        total = total + (down * down_share).sum() / (down_share.sum() * len(difference)).clamp(min=1e-6)
        change, share = (functional.avg_pool2d(each, 2) for each in (change, share))
        count += 1
    return total / max(count, 1)


def silhouette(xy: Tensor, rendered: Tensor, truth: Tensor, counted: Tensor, sigma_px: float = SILHOUETTE_SIGMA_PX) -> Tensor:
    """How badly two outlines agree, 1 - intersection / union; backwards, the hole-filling loss: surface is drawn into holes, and spilt surface back.

    The hole-filling loss itself is no measure: it is largest where no hole is left. So only its gradient is taken; the value is one to judge training by.

    Args:
        xy: (N, 2) pixel positions of the visible points, one for each pixel of `rendered`, row by row; they carry the gradient.
        rendered: (H, W) bool, what the surface covers.
        truth: (H, W) bool, what the person covers.
        counted: (H, W) bool, where outlines are compared at all.
    """
    holes, spilt, union = truth & ~rendered & counted, ~truth & rendered & counted, truth | rendered
    fields = 1.0 - blurred(torch.stack([holes, union]).to(xy.dtype), sigma_px)
    seen = sample(fields, xy)
    kept, wrong = counted[rendered], spilt[rendered]
    pull = (seen[:, 0][kept].sum() + seen[:, 1][wrong].sum()) / (kept.sum() + wrong.sum()).clamp(min=1)
    value = (holes | spilt).sum() / (union & counted).sum().clamp(min=1)
    return value + pull - pull.detach()


def laplacian(offsets: Tensor, neighbours: Tensor, weight: Tensor, edge_m: float) -> Tensor:
    """Mean squared bending of (B, V, 3) offsets, in mean edge lengths.

    Args:
        neighbours: (V, V) sparse, rows sum to one: the mean of the vertices around.
        weight: (V,).
        edge_m: the mesh's mean edge.
    """
    flat = offsets.transpose(0, 1).flatten(1)
    bend = ((flat - torch.sparse.mm(neighbours, flat)) / edge_m).view(len(flat), -1, 3)
    return ((bend**2).sum(2).mean(1) * weight).mean()


def edge_length(vertices: Tensor, edges: Tensor, rest_m: Tensor) -> Tensor:
    """By how much edges (E, 2) of (B, V, 3) exceed `STRETCH` times their length at rest (E,), in metres, on average."""
    length = torch.linalg.vector_norm(vertices[:, edges[:, 0]] - vertices[:, edges[:, 1]], dim=-1)
    return (length - STRETCH * rest_m).clamp(min=0.0).mean()


def landmarks(points: Tensor, truth: Tensor, weight: Tensor, size: int) -> Tensor:
    """Mean absolute distance of (B, L, 2) in pixels from `truth`, in half picture sides; weighted by (L,)."""
    away = (points - truth).abs().mean(2) * (2.0 / size)
    return (away * weight).sum() / (weight.sum() * len(points)).clamp(min=1e-6)


def trust(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """0…1: how far the lids of a head turned that way (radians) can be believed."""
    side = torch.sigmoid(TRUST_AZIMUTH_DEG - torch.rad2deg(azimuth).abs())
    return side * torch.sigmoid(TRUST_ELEVATION_DEG - torch.rad2deg(elevation).abs())


def eye_closure(upper: Tensor, lower: Tensor, truth_px: Tensor, trusted: Tensor, size: int) -> Tensor:
    """How far lids stand open, against how far they should: (B, 2, 2) pixel positions of upper and of lower lids, (B, 2) distances; (B,) trust."""
    opening = lower[..., 1] - upper[..., 1]
    return ((opening - truth_px).abs().mean(1) * trusted).mean() / size


def consistency(offsets: Tensor) -> Tensor:
    """Mean absolute difference of the (B, V, 3) offsets of neighbouring frames of a batch, metres; zero for one frame."""
    return (offsets[1:] - offsets[:-1]).abs().mean() if len(offsets) > 1 else offsets.sum() * 0.0


def prior(residuals: Tensor) -> Tensor:
    """Half the squared length of (B, P) residual parameters, the mean over frames."""
    return 0.5 * (residuals**2).sum(1).mean()


def normals(rendered: Tensor, predicted: Tensor, weight: Tensor, sigma_px: float) -> Tensor:
    """Difference in fine relief: what a blur takes away of two (3, H, W) pictures of normals, where (H, W) counts."""

    def relief(picture: Tensor) -> Tensor:
        return (picture - blurred(picture, sigma_px)).flatten(1).T

    return masked_l1(relief(rendered), relief(predicted), weight.flatten())

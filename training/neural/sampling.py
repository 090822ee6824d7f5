"""Looking things up in pictures and on surfaces so that gradients reach the geometry.

A rasteriser has no gradient. Two ways round it: attributes are interpolated with barycentrics that are computed again from the projected corners; and a picture
is taken to be sampled where a visible point is projected to, so that moving the point changes what it sees by the picture's own gradient (the "projected image
gradients" of Grassal et al., CVPR 2022, section 4). Conventions: models/CONVENTIONS.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def bilinear(image: Tensor, xy: Tensor) -> Tensor:
    """(C, H, W) at (N, 2) pixel positions → (N, C); beyond the border the border's values."""
    size = xy.new_tensor([image.shape[2], image.shape[1]])
    grid = (2.0 * xy / size - 1.0)[None, None]
    return functional.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T


def central_differences(image: Tensor) -> Tensor:
    """(C, H, W) → (2, C, H, W): change a pixel to the right and down; half as steep at the border, where one neighbour is missing."""
    padded = functional.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    right = 0.5 * (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2])
    down = 0.5 * (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1])
    return torch.stack([right, down])


class ProjectedSample(torch.autograd.Function):
    """What a picture shows at pixel positions; backwards, how it would change if they moved."""

    @staticmethod
    def forward(ctx: Any, xy: Tensor, image: Tensor) -> Tensor:
        ctx.save_for_backward(xy, image)
        return bilinear(image, xy)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        xy, image = ctx.saved_tensors
        slopes = central_differences(image)
        along = torch.stack([(upstream * bilinear(slope, xy)).sum(1) for slope in slopes], 1)
        return along, None


def sample(image: Tensor, xy: Tensor) -> Tensor:
    """(C, H, W) at (N, 2) positions in pixels → (N, C), with gradients to the positions by the picture's central differences; none to the picture."""
    sampled: Tensor = ProjectedSample.apply(xy, image)
    return sampled


def interpolate(attributes: Tensor, corners: Tensor, barycentrics: Tensor) -> Tensor:
    """(V, C) of the corners (N, 3) weighted by (N, 3) → (N, C)."""
    return (attributes[corners] * barycentrics[..., None]).sum(1)


def barycentrics_at(points: Tensor, corners: Tensor, xy: Tensor) -> Tensor:
    """(N, 3) perspective-correct barycentrics, differentiable in the projected `points`.

    Args:
        points: (V, 3) x_px, y_px, depth.
        corners: (N, 3) the vertices of the triangle that each point lies in.
        xy: (N, 2) where, in pixels.
    """
    a, b, c = points[corners].unbind(1)

    def twice_area(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
        return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (r[:, 0] - p[:, 0]) * (q[:, 1] - p[:, 1])

    near = torch.stack([twice_area(xy, b, c) / a[:, 2], twice_area(a, xy, c) / b[:, 2], twice_area(a, b, xy) / c[:, 2]], 1)
    return near / near.sum(1, keepdim=True)


def blurred(image: Tensor, sigma_px: float) -> Tensor:
    """(C, H, W) under a Gaussian that is cut off at three sigma; beyond the border the border's values."""
    reach = max(round(3.0 * sigma_px), 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(image) / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    count = len(image)
    wide = functional.pad(image[None], (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(wide, kernel.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)
    return functional.conv2d(across, kernel.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)[0]

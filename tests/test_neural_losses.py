"""Each term of the neural objective: a value worked out by hand, and its gradient against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch
from torch import Tensor

from training.neural import losses
from training.neural.sampling import barycentrics_at, bilinear, blurred, central_differences, interpolate, sample

SEED = 5


def noise(*shape: int, seed: int = SEED) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(function: Callable[[Tensor], Tensor], at: Tensor) -> None:
    assert torch.autograd.gradcheck(function, (at.clone().requires_grad_(),))


def smooth_picture(height: int, width: int) -> Tensor:
    """(2, H, W): long waves, so that central differences come near the true slope."""
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([torch.sin(0.05 * column + 0.03 * row), torch.cos(0.04 * row)]).double()


def test_masked_l1() -> None:
    predicted = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.5, 0.5]], dtype=torch.float64)
    weight = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    assert float(losses.masked_l1(predicted, torch.zeros(3, 2).double(), weight)) == pytest.approx((1.0 * 0.5 + 3.0 * 0.5) / 4.0)
    assert float(losses.masked_l1(predicted, predicted + 1.0, 0.0 * weight)) == 0.0
    check(lambda x: losses.masked_l1(x, torch.zeros(3, 2).double(), weight), predicted + 0.1)


def test_pyramid() -> None:
    step = torch.zeros(1, 4, 4, dtype=torch.float64)
    step[:, :, 2:] = 1.0
    whole = torch.ones(4, 4, dtype=torch.float64)
    # Level 4 x 4: one of three changes to the right, in every row; level 2 x 2: the one there is; no change down anywhere.
    assert float(losses.pyramid(step, whole)) == pytest.approx((1.0 / 3.0 + 1.0) / 2.0)
    assert float(losses.pyramid(torch.ones_like(step), whole)) == 0.0
    half = whole.clone()
    half[:, 2:] = 0.0
    assert float(losses.pyramid(step, half)) == 0.0
    check(lambda x: losses.pyramid(x, whole), noise(2, 4, 4))


def test_silhouette_measures_disagreement() -> None:
    truth, rendered = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
    truth[2:6, 2:6], rendered[2:6, 3:7] = True, True
    counted = torch.ones(8, 8, dtype=torch.bool)
    row, column = rendered.nonzero().unbind(1)
    xy = torch.stack([column + 0.5, row + 0.5], 1).double()
    assert float(losses.silhouette(xy, rendered, truth, counted)) == pytest.approx(8.0 / 20.0)
    assert float(losses.silhouette(xy, rendered, truth, counted & (torch.arange(8)[:, None] < 4))) == pytest.approx(4.0 / 10.0)
    assert float(losses.silhouette(xy, rendered, rendered, counted)) == 0.0


def test_silhouette_draws_surface_into_holes_and_spilt_surface_back() -> None:
    truth, rendered = torch.zeros(24, 24, dtype=torch.bool), torch.zeros(24, 24, dtype=torch.bool)
    truth[4:20, 4:16], rendered[4:20, 8:20] = True, True
    row, column = rendered.nonzero().unbind(1)
    xy = torch.stack([column + 0.5, row + 0.5], 1).double().requires_grad_()
    losses.silhouette(xy, rendered, truth, torch.ones_like(truth)).backward()
    assert xy.grad is not None
    assert float(xy.grad[(column == 8) & (row == 12), 0]) > 1e-4, "the left rim should go left, into the hole"
    assert float(xy.grad[(column == 18) & (row == 12), 0]) > 1e-4, "what is spilt on the right should come back"
    assert float(xy.grad[(column == 13) & (row == 12)].abs().max()) < 1e-4, "the middle should stay"
    assert torch.isfinite(xy.grad).all()


def test_laplacian() -> None:
    neighbours = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64).to_sparse()
    offsets = torch.zeros(1, 3, 3, dtype=torch.float64)
    offsets[0, 1, 0] = 0.02
    weight = torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64)
    # In edges of 1 cm the middle sticks out by two, and so do its neighbours seen from themselves.
    assert float(losses.laplacian(offsets, neighbours, weight, 0.01)) == pytest.approx((4.0 + 10.0 * 4.0 + 0.0) / 3.0)
    assert float(losses.laplacian(offsets * 0.0 + 0.3, neighbours, weight, 0.01)) == pytest.approx(0.0, abs=1e-20)
    check(lambda x: losses.laplacian(x, neighbours, weight, 0.5), noise(2, 3, 3))


def test_edge_length() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [0.02, 0, 0], [0.02, 0.014, 0]]], dtype=torch.float64)
    edges, rest = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.01, 0.01], dtype=torch.float64)
    assert float(losses.edge_length(vertices, edges, rest)) == pytest.approx(0.005 / 2.0)
    check(lambda x: losses.edge_length(x, edges, rest), vertices + 0.01 * noise(1, 3, 3))


def test_landmarks() -> None:
    points, truth = torch.zeros(2, 2, 2, dtype=torch.float64), torch.zeros(2, 2, 2, dtype=torch.float64)
    points[0, 0] = torch.tensor([3.0, -5.0])
    points[1, 1] = 100.0
    weight = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert float(losses.landmarks(points, truth, weight, 64)) == pytest.approx(4.0 * (2.0 / 64.0) / 2.0)
    check(lambda x: losses.landmarks(x, truth, weight, 64), noise(2, 2, 2))


def test_trust_falls_with_the_turn() -> None:
    degrees = torch.tensor([0.0, 30.0, 45.0], dtype=torch.float64)
    found = losses.trust(torch.deg2rad(degrees), torch.zeros(3).double())
    assert found.tolist() == pytest.approx([1.0, 0.5, 1.0 / (1.0 + math.exp(15.0))], abs=1e-6)
    assert float(losses.trust(torch.zeros(1).double(), torch.deg2rad(torch.tensor([-20.0]).double()))) == pytest.approx(0.5)


def test_eye_closure() -> None:
    upper, lower = torch.zeros(2, 2, 2, dtype=torch.float64), torch.zeros(2, 2, 2, dtype=torch.float64)
    lower[..., 1] = torch.tensor([[6.0, 4.0], [2.0, 2.0]])
    truth = torch.tensor([[5.0, 7.0], [1.0, 1.0]], dtype=torch.float64)
    trusted = torch.tensor([1.0, 0.5], dtype=torch.float64)
    assert float(losses.eye_closure(upper, lower, truth, trusted, 32)) == pytest.approx((2.0 * 1.0 + 1.0 * 0.5) / 2.0 / 32.0)
    check(lambda x: losses.eye_closure(x, lower, truth, trusted, 32), noise(2, 2, 2))


def test_consistency() -> None:
    offsets = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)[:, None, None].expand(3, 4, 3)
    assert float(losses.consistency(offsets)) == pytest.approx(0.5)
    assert float(losses.consistency(offsets[:1])) == 0.0
    check(losses.consistency, noise(3, 2, 3))


def test_prior() -> None:
    assert float(losses.prior(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))) == pytest.approx(0.5 * 25.0 / 2.0)
    check(losses.prior, noise(3, 4))


def test_normals_compare_relief_not_slope() -> None:
    weight = torch.ones(12, 12, dtype=torch.float64)
    flat, dent = torch.zeros(3, 12, 12, dtype=torch.float64), torch.zeros(3, 12, 12, dtype=torch.float64)
    dent[2, 6, 6] = 1.0
    assert float(losses.normals(flat + 0.7, flat, weight, 1.0)) == pytest.approx(0.0, abs=1e-12)
    kernel = torch.exp(-0.5 * torch.arange(-3, 4, dtype=torch.float64) ** 2)
    middle = float(kernel[3] / kernel.sum()) ** 2
    # The dot loses what the blur spreads, the rest of the picture gains as much: 2 (1 - middle), over 3 channels and all pixels.
    assert float(losses.normals(dent, flat, weight, 1.0)) == pytest.approx(2.0 * (1.0 - middle) / 3.0 / 144.0)
    check(lambda x: losses.normals(x, flat[:, :5, :5], weight[:5, :5], 0.5), noise(3, 5, 5))


def test_projected_sample_looks_up_and_its_gradient_is_the_pictures() -> None:
    picture = smooth_picture(30, 40)
    xy = torch.tensor([[8.5, 9.5], [20.3, 11.7], [31.9, 22.2]], dtype=torch.float64)
    assert sample(picture, xy)[0].tolist() == pytest.approx(picture[:, 9, 8].tolist())
    # The look-up is linear between pixels, the gradient is the smooth picture's: they agree as far as the picture is smooth.
    assert torch.autograd.gradcheck(lambda at: sample(picture, at), (xy.requires_grad_(),), eps=1e-3, atol=2e-3, rtol=0.0)
    steep = 7.0 * torch.arange(40, dtype=torch.float64).expand(1, 30, 40)
    (gradient,) = torch.autograd.grad(sample(steep, xy).sum(), xy)
    assert gradient.flatten().tolist() == pytest.approx([7.0, 0.0] * 3)


def test_a_picture_is_looked_up_at_pixel_centres() -> None:
    picture = noise(1, 4, 6)
    xy = torch.tensor([[2.5, 1.5], [3.0, 2.0], [-9.0, 0.5]], dtype=torch.float64)
    found = bilinear(picture, xy)[:, 0].tolist()
    assert found == pytest.approx([float(picture[0, 1, 2]), float(picture[0, 1:3, 2:4].mean()), float(picture[0, 0, 0])])


def test_central_differences() -> None:
    picture = torch.tensor([[[0.0, 1.0, 4.0]]])
    right, down = central_differences(picture)
    assert right.flatten().tolist() == [0.5, 2.0, 1.5]
    assert not down.any()


def test_a_blur_keeps_what_there_is() -> None:
    dot = torch.zeros(1, 21, 21, dtype=torch.float64)
    dot[0, 10, 10] = 1.0
    wide = blurred(dot, 2.0)
    assert float(wide.sum()) == pytest.approx(1.0)
    offset = torch.arange(21, dtype=torch.float64) - 10.0
    assert float((wide[0].sum(0) * offset**2).sum()) == pytest.approx(4.0, rel=0.05)
    assert torch.allclose(blurred(torch.ones_like(dot), 3.0), torch.ones_like(dot))


def test_barycentrics_follow_the_corners() -> None:
    points = torch.tensor([[2.0, 3.0, 0.5], [20.0, 4.0, 0.8], [9.0, 22.0, 0.6], [0.0, 0.0, 1.0]], dtype=torch.float64)
    corners = torch.tensor([[0, 1, 2], [1, 2, 0]])
    truth = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], dtype=torch.float64)
    # A point in space is its corners' mean by the barycentrics; in the picture that weighs each corner by its depth too.
    share = truth * points[corners][..., 2]
    xy = (share[..., None] * points[corners][..., :2]).sum(1) / share.sum(1, keepdim=True)
    assert torch.allclose(barycentrics_at(points, corners, xy), truth)
    check(lambda at: barycentrics_at(at, corners, xy), points)
    check(lambda colour: interpolate(colour, corners, truth), noise(4, 2))

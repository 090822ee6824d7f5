"""NHA's networks: they change nothing before they have learned, and depend on what they should depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[neural]'")

import torch
from torch import Tensor

from models.head_torch import rotation_matrices
from models.networks import TINY, Conditioning, FilmSiren, Mapping, NetworkSizes, NormalEncoder, OffsetNetwork, TextureNetwork

POINTS, CONDITION, MOUTH = 12, 7, 3


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(1)


def stirred(module: torch.nn.Module) -> torch.nn.Module:
    """With last layers that are not zero, as after some training."""
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return module


def coloured(network: TextureNetwork, mouth: Tensor | None = None, code: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
    source = torch.Generator().manual_seed(2)
    points, uv = torch.randn(POINTS, 3, generator=source), torch.rand(POINTS, 2, generator=source)
    mouth = torch.zeros(POINTS) if mouth is None else mouth
    code = torch.zeros(POINTS, TINY.code) if code is None else code
    condition = torch.zeros(CONDITION) if condition is None else condition
    colour: Tensor = network(points, uv, mouth, code, condition, condition[:MOUTH]).detach()
    return colour


def texture_network(conditioning: Conditioning = "paper") -> TextureNetwork:
    return TextureNetwork(CONDITION, MOUTH, TINY, conditioning)


def test_a_film_layer_is_what_the_paper_says() -> None:
    siren = FilmSiren(2, [3])
    x, frequency, phase = torch.randn(4, 2), torch.full((1, 3), 30.0), torch.full((1, 3), 0.2)
    weight, bias = siren.layers[0].weight, siren.layers[0].bias
    assert torch.allclose(siren(x, (frequency, phase)), torch.sin(30.0 * (x @ weight.T + bias) + 0.2), atol=1e-5)
    frequency, _ = Mapping(2, 3, 4, 1)(torch.zeros(1, 2))
    assert frequency.tolist() == [[30.0] * 3], "a zero condition before training gives the plain frequency"


def test_mixed_parameters_lie_between_their_ends() -> None:
    siren = FilmSiren(2, [5, 5])
    x = torch.randn(3, 2)
    one, two = (torch.full((1, 10), 30.0), torch.zeros(1, 10)), (torch.full((1, 10), 33.0), torch.ones(1, 10))
    mixed = siren(x, one, two, torch.tensor([[0.0], [1.0], [0.5]]))
    half = (torch.full((1, 10), 31.5), torch.full((1, 10), 0.5))
    for row, film in enumerate((one, two, half)):
        assert torch.allclose(mixed[row], siren(x, film)[row], atol=1e-5)


def test_nothing_is_moved_or_coloured_before_training() -> None:
    offset = OffsetNetwork(POINTS, TINY)
    moved = offset(torch.randn(POINTS, 3), rotation_matrices(torch.randn(2, 3)), torch.linspace(0, 1, POINTS))
    assert moved.shape == (2, POINTS, 3)
    assert not moved.any()
    assert not coloured(texture_network()).any()


def test_only_the_neck_follows_the_neck() -> None:
    offset = stirred(OffsetNetwork(POINTS, TINY))
    label = torch.zeros(POINTS)
    label[8:] = 1.0
    moved = offset(torch.randn(POINTS, 3), rotation_matrices(torch.tensor([[0.0, 0, 0], [0.3, 0.2, 0]])), label).detach()
    assert torch.equal(moved[0, :8], moved[1, :8])
    assert float((moved[0, 8:] - moved[1, 8:]).abs().min(1).values.max()) > 1e-5
    assert float(moved.abs().max()) <= TINY.offset_reach_m


def test_offsets_stay_within_reach() -> None:
    offset = OffsetNetwork(POINTS, replace(TINY, offset_reach_m=0.02))
    torch.nn.init.constant_(offset.last.bias, 9.0)
    moved = offset(torch.randn(POINTS, 3), rotation_matrices(torch.zeros(1, 3)), torch.zeros(POINTS)).detach()
    assert float(moved.min()) == pytest.approx(0.02, rel=1e-3)


def test_only_the_mouth_is_told_in_the_released_way() -> None:
    network = stirred(texture_network("released"))
    mouth = torch.zeros(POINTS)
    mouth[9:] = 1.0
    still, told = coloured(network, mouth), coloured(network, mouth, condition=torch.ones(CONDITION))
    assert torch.equal(still[:9], told[:9])
    assert float((still[9:] - told[9:]).abs().min(1).values.min()) > 1e-6


def test_every_point_is_told_in_the_papers_way() -> None:
    network = stirred(texture_network("paper"))
    told = coloured(network, condition=torch.ones(CONDITION))
    assert float((coloured(network) - told).abs().max(1).values.min()) > 1e-6


def test_a_normal_code_changes_colours() -> None:
    network = stirred(texture_network())
    assert float((coloured(network) - coloured(network, code=torch.ones(POINTS, TINY.code))).abs().max(1).values.min()) > 1e-6


def test_the_order_of_points_does_not_matter() -> None:
    network = stirred(texture_network())
    mouth = torch.tensor([0.0, 0.4, 1.0] * 4)
    points, uv, code = torch.randn(POINTS, 3), torch.rand(POINTS, 2), torch.randn(POINTS, TINY.code)
    condition, order = torch.randn(CONDITION), torch.randperm(POINTS)
    found = network(points, uv, mouth, code, condition, condition[:MOUTH])
    turned = network(points[order], uv[order], mouth[order], code[order], condition, condition[:MOUTH])
    assert torch.allclose(found[order], turned, atol=1e-6)


def test_the_encoder_looks_three_pixels_far() -> None:
    encoder = NormalEncoder(TINY)
    picture = torch.zeros(1, 3, 15, 15)
    dot = picture.clone()
    dot[0, :, 7, 7] = 1.0
    changed = (encoder(dot) - encoder(picture))[0].abs().amax(0) > 1e-7
    row, column = changed.nonzero().unbind(1)
    assert (int(row.min()), int(row.max()), int(column.min()), int(column.max())) == (4, 10, 4, 10)


def test_gradcheck_of_the_networks() -> None:
    offset = stirred(OffsetNetwork(POINTS, TINY)).double()
    label = torch.linspace(0, 1, POINTS).double()
    points = torch.randn(POINTS, 3, dtype=torch.float64, requires_grad=True)
    neck = rotation_matrices(torch.randn(2, 3)).double()
    assert torch.autograd.gradcheck(lambda at: offset(at, neck, label), (points,), fast_mode=True)
    texture = stirred(texture_network()).double()
    uv, code = torch.rand(POINTS, 2).double(), torch.randn(POINTS, TINY.code, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(CONDITION, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, z: texture(points.detach(), uv, label, c, z, z[:MOUTH]), (code, condition), fast_mode=True)


def test_the_defaults_have_the_published_size() -> None:
    """About 7.9 million parameters, of which 4.2 are texture features."""
    sizes = NetworkSizes()
    modules = (OffsetNetwork(15135, sizes), NormalEncoder(sizes), TextureNetwork(115, 13, sizes, "paper"))
    count = sum(int(np.prod(parameter.shape)) for module in modules for parameter in module.parameters())
    assert 6.5e6 < count < 8.5e6

"""What normalisers keep of their inputs is read however they are written; what is none is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.problem.data.moments.normalisers import InputMoments, input_moments
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, Net, normal

MEAN, SPREAD = normal(6, 2, seed=1), normal(6, 2, seed=2).abs() + 0.5
SHAPE = (3, 6, 2)


def kept(compute: Callable[[Any, Tensor], Tensor], spec: str = POSE, shape: tuple[int, ...] = SHAPE, **parts: Any):
    """What is kept by a network that computes this before a linear layer over coordinates."""
    net = Net(lambda net, x: net.last(compute(net, x)), last=nn.Linear(2, 2), **parts).double().eval()
    network = prepare(net, parse_spec(spec), (normal(*shape),))
    return input_moments(network.graph(), network.resolved.input_centers)


def norm(size: int, mean: Tensor = MEAN, spread: Tensor = SPREAD) -> nn.BatchNorm1d:
    made = nn.BatchNorm1d(size, eps=0.0)
    with torch.no_grad():
        for own, values in (
            ("running_mean", mean),
            ("running_var", spread.square()),
            ("weight", SPREAD),
            ("bias", MEAN),
        ):
            getattr(made, own).copy_(values.flatten()[:size])
    return made


WRITTEN: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any]]] = {
    "buffers": (lambda net, x: (x - net.mean) / net.spread, {"mean": MEAN, "spread": SPREAD}),
    "of a batch": (lambda net, x: (x - net.mean) / net.spread, {"mean": MEAN[None], "spread": SPREAD[None]}),
    "flat": (
        lambda net, x: ((x.flatten(1) - net.mean) / net.spread).view_as(x),
        {"mean": MEAN.flatten(), "spread": SPREAD.flatten()},
    ),
    "a variance": (
        lambda net, x: (x - net.mean) / torch.sqrt(net.variance + 1e-12),
        {"mean": MEAN, "variance": SPREAD.square()},
    ),
    "a factor and a shift": (
        lambda net, x: torch.addcmul(net.shift, x, net.factor),
        {"shift": -MEAN / SPREAD, "factor": 1 / SPREAD},
    ),
    "then clipped": (
        lambda net, x: ((x - net.mean) / net.spread).clamp(-5, 5),
        {"mean": MEAN, "spread": SPREAD},
    ),
    "joints at the end": (
        lambda net, x: ((x.mT - net.mean) / net.spread).mT,
        {"mean": MEAN.mT, "spread": SPREAD.mT},
    ),
    "batch norm": (lambda net, x: net.norm(x.flatten(1)).view_as(x), {"norm": norm(12)}),
}


def check(found: list[InputMoments], shape: tuple[int, ...] = SHAPE) -> None:
    (own,) = found
    assert own.index == 0
    torch.testing.assert_close(own.mean, MEAN.expand(shape))
    torch.testing.assert_close(own.spread, SPREAD.expand(shape))


@pytest.mark.parametrize("way", WRITTEN)
def test_a_normaliser_is_read_however_it_is_written(way: str) -> None:
    compute, parts = WRITTEN[way]
    check(kept(compute, **parts))


def test_the_first_norm_of_a_graph_network() -> None:
    """Joints and coordinates are its channels, frames its places."""

    def compute(net: Any, x: Tensor) -> Tensor:
        channels = x.permute(0, 2, 3, 1).flatten(1, 2)
        return net.norm(channels).unflatten(1, (6, 2)).permute(0, 3, 1, 2)

    check(kept(compute, CLIP, (2, 5, 6, 2), norm=norm(12)), (2, 5, 6, 2))


def test_of_a_part_that_is_normalised_that_part_is_kept() -> None:
    def compute(net: Any, x: Tensor) -> Tensor:
        return torch.cat([x[:, :2], (x[:, 2:] - net.mean) / net.spread], 1)

    (own,) = kept(compute, mean=MEAN[2:], spread=SPREAD[2:])
    assert own.name == "its normaliser (mean, spread)"
    assert own.mean[:, :2].isnan().all() and own.spread[:, :2].isnan().all()
    torch.testing.assert_close(own.mean[:, 2:], MEAN[2:].expand(3, 4, 2))


OTHERS: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any]]] = {
    "means alone, which have no unit": (lambda net, x: x - net.mean, {"mean": MEAN}),
    "one number for all": (lambda net, x: (x - 0.5) / 0.2, {}),
    "trained numbers": (
        lambda net, x: (x - net.mean) / net.spread,
        {"mean": nn.Parameter(MEAN.clone()), "spread": nn.Parameter(SPREAD.clone())},
    ),
    "behind trained weights": (
        lambda net, x: (net.first(x) - net.mean) / net.spread,
        {"first": nn.Linear(2, 2), "mean": MEAN, "spread": SPREAD},
    ),
    "no line": (lambda net, x: (x.tanh() - net.mean) / net.spread, {"mean": MEAN, "spread": SPREAD}),
    "a table that the input looks up": (
        lambda net, x: x * net.table[x.abs().clamp(max=5).long()],
        {"table": normal(6, seed=4)},
    ),
    "a table that refuses far numbers": (lambda net, x: x * net.table[x.long()], {"table": normal(9, seed=4)}),
    "of two entries": (
        lambda net, x: (x + x.flip(1) - net.mean) / net.spread,
        {"mean": MEAN, "spread": SPREAD},
    ),
}


@pytest.mark.parametrize("way", OTHERS)
def test_what_is_no_normaliser_keeps_nothing(way: str) -> None:
    compute, parts = OTHERS[way]
    assert kept(compute, **parts) == []


SIZES = torch.tensor([960.0, 540.0]).double()
PIXELS = POSE.replace('inputs: [{layout: "b j d"', 'inputs: [{layout: "b j d", negate: x, reflect: {x: 960}')


@pytest.mark.parametrize("spec", [POSE, PIXELS])
@pytest.mark.parametrize("written", [
    lambda net, x: x / net.sizes - 1,
    lambda net, x: (x - net.middle) / net.sizes,
    lambda net, x: x / (2 * net.sizes),
    lambda net, x: x / net.sizes * 0.5 + 0.25,
])  # fmt: skip
def test_a_change_of_units_is_no_memory(spec: str, written: Callable[[Any, Tensor], Tensor]) -> None:
    """It says where the picture ends, not where bodies were in it."""
    assert not kept(written, spec, sizes=SIZES, middle=SIZES.clone())


def test_a_mean_at_the_centre_of_the_picture_is_one() -> None:
    """Its offset is 0 for what the graph reads, x - 960."""
    (own,) = kept(lambda net, x: (x - net.mean) / net.spread, PIXELS, mean=SIZES, spread=SIZES / torch.tensor([4, 3]))
    torch.testing.assert_close(own.mean, torch.tensor([0.0, 540.0]).double().expand(SHAPE))
    torch.testing.assert_close(own.spread, torch.tensor([240.0, 180.0]).double().expand(SHAPE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_hides_no_place(dtype: torch.dtype) -> None:
    """Whole numbers beyond 2,048 are not told apart in float16, nor beyond 256 in bfloat16."""
    size = 3000
    parts: dict[str, Any] = {"mean": normal(size, seed=1).to(dtype), "spread": (normal(size).abs() + 0.5).to(dtype)}
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), last=nn.Linear(size, 2), **parts).to(dtype).eval()
    spec = f"{{skeleton: coco, inputs: [{{fields: [{{scalar: {size}}}]}}], outputs: [invariant]}}"
    network = prepare(net, parse_spec(spec), (normal(2, size).to(dtype),))
    (moments,) = input_moments(network.graph())
    assert torch.allclose(moments.mean[0], parts["mean"].double(), atol=1e-3)

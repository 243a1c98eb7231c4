"""What normalisers and norms keep of their inputs is read however they are written; foreign inputs are told by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.problem.inputs import inputs_of
from chiralize.problem.memory import Likeness, Memory, memory_of
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from tests.support.small_body import CLIP, POSE, Net, normal, turned

MEAN, SPREAD = normal(6, 2, seed=1), normal(6, 2, seed=2).abs() + 0.5
SHAPE = (3, 6, 2)


def remembered(
    compute: Callable[[Any, Tensor], Tensor], spec: str = POSE, shape: tuple[int, ...] = SHAPE, **parts: Any
) -> Memory:
    """What is kept by a network that computes this before a linear layer over coordinates."""
    net = Net(lambda net, x: net.last(compute(net, x)), last=nn.Linear(2, 2), **parts).double().eval()
    return memory_of(prepare(net, (normal(*shape),), {}, parse_spec(spec)))


def norm(size: int) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(size, eps=0.0)
    values = {"running_mean": MEAN, "running_var": SPREAD.square(), "weight": SPREAD, "bias": MEAN}
    with torch.no_grad():
        for name, numbers in values.items():
            getattr(layer, name).copy_(numbers.flatten()[:size])
    return layer


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
    "then clipped": (lambda net, x: ((x - net.mean) / net.spread).clamp(-5, 5), {"mean": MEAN, "spread": SPREAD}),
    "joints at the end": (
        lambda net, x: ((x.mT - net.mean) / net.spread).mT,
        {"mean": MEAN.mT, "spread": SPREAD.mT},
    ),
    "batch norm": (lambda net, x: net.norm(x.flatten(1)).view_as(x), {"norm": norm(12)}),
}


def check(memory: Memory, shape: tuple[int, ...] = SHAPE) -> None:
    (moments,) = memory.entries.values()
    torch.testing.assert_close(moments.mean, MEAN.expand(shape))
    torch.testing.assert_close(moments.spread, SPREAD.expand(shape))


@pytest.mark.parametrize("way", WRITTEN)
def test_a_normaliser_is_read_however_it_is_written(way: str) -> None:
    compute, parts = WRITTEN[way]
    check(remembered(compute, **parts))


def test_the_first_norm_of_a_graph_network() -> None:
    """Joints and coordinates are its channels, frames its places."""

    def compute(net: Any, x: Tensor) -> Tensor:
        channels = x.permute(0, 2, 3, 1).flatten(1, 2)
        return net.norm(channels).unflatten(1, (6, 2)).permute(0, 3, 1, 2)

    check(remembered(compute, CLIP, (2, 5, 6, 2), norm=norm(12)), (2, 5, 6, 2))


def test_of_a_part_that_is_normalised_that_part_is_kept() -> None:
    def compute(net: Any, x: Tensor) -> Tensor:
        return torch.cat([x[:, :2], (x[:, 2:] - net.mean) / net.spread], 1)

    (moments,) = remembered(compute, mean=MEAN[2:], spread=SPREAD[2:]).entries.values()
    assert moments.mean[:, :2].isnan().all() and moments.spread[:, :2].isnan().all()
    torch.testing.assert_close(moments.mean[:, 2:], MEAN[2:].expand(3, 4, 2))


OTHERS: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Any]]] = {
    "means, which have no unit": (lambda net, x: x - net.mean, {"mean": MEAN}),
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
    "of two entries": (lambda net, x: (x + x.flip(1) - net.mean) / net.spread, {"mean": MEAN, "spread": SPREAD}),
}


@pytest.mark.parametrize("way", OTHERS)
def test_what_is_no_normaliser_keeps_nothing(way: str) -> None:
    compute, parts = OTHERS[way]
    assert not remembered(compute, **parts).entries


SIZES = torch.tensor([960.0, 540.0]).double()
PIXELS = POSE.replace('inputs: [{layout: "b j d"', 'inputs: [{layout: "b j d", negate: x, reflect: {x: 960}')


@pytest.mark.parametrize("spec", [POSE, PIXELS])
@pytest.mark.parametrize("written", [
    lambda net, x: x / net.sizes - 1,
    lambda net, x: x / (2 * net.sizes),
    lambda net, x: x / net.sizes * 0.5 + 0.25,
])  # fmt: skip
def test_a_change_of_units_is_no_memory(spec: str, written: Callable[[Any, Tensor], Tensor]) -> None:
    """It says where the picture ends, not where bodies were in it."""
    assert not remembered(written, spec, sizes=SIZES, middle=SIZES.clone()).entries


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_hides_no_position(dtype: torch.dtype) -> None:
    """Whole numbers beyond 2,048 are not told apart in float16, nor beyond 256 in bfloat16."""
    size = 3000
    parts: dict[str, Any] = {"mean": normal(size, seed=1).to(dtype), "spread": (normal(size).abs() + 0.5).to(dtype)}
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), last=nn.Linear(size, 2), **parts).to(dtype).eval()
    spec = parse_spec(f"{{skeleton: coco, inputs: [{{fields: [{{scalar: {size}}}]}}], outputs: [invariant]}}")
    (moments,) = memory_of(prepare(net, (normal(2, size).to(dtype),), {}, spec)).entries.values()
    assert torch.allclose(moments.mean[0], parts["mean"].double(), atol=1e-3)


# ---- inputs beside it -------------------------------------------------------------------------------------------
def poses(count: int = 1000, seed: int = 3) -> Tensor:
    """As the networks saw them, on a side of their x."""
    return 1.5 * normal(1, 6, 2, seed=8) + normal(count, 6, 2, seed=seed) * (0.3 + normal(1, 6, 2, seed=9).abs())


@cache
def trained(kind: str) -> Network:
    """With a batch norm behind a layer, or a normaliser before one."""
    x = poses(4000, 11)
    if kind == "norm":
        layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 40), nn.BatchNorm1d(40, momentum=None), nn.Linear(40, 12))
        net: nn.Module = nn.Sequential(*layers, nn.Unflatten(1, (6, 2))).double()
        for part in x.split(500):
            net.train()(part)
    else:
        parts = {"layer": nn.Linear(2, 2), "mean": x.mean(0), "spread": x.std(0)}
        net = Net(lambda net, x: net.layer((x - net.mean) / net.spread), **parts).double()
    return prepare(net.eval(), (normal(2, 6, 2),), {}, parse_spec(POSE))


def likeness(x: Tensor, kind: str) -> Likeness:
    network = trained(kind)
    found = memory_of(network).likeness(network, inputs_of(network, x)[0].table)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["norm", "normaliser"])
def test_inputs_as_in_training_are_like_them(kind: str) -> None:
    for x in (poses(), 1.2 * (poses() - poses().mean(0)) + poses().mean(0)):
        found = likeness(x, kind)
        assert not found.is_foreign and not found.is_narrow and found.scale == pytest.approx(1.1, abs=0.2)


FOREIGN: dict[str, Callable[[Tensor], Tensor]] = {
    "millimetres": lambda x: 1000 * x,
    "another scale": lambda x: x / 20,
    "y the other way": lambda x: x * torch.tensor([1.0, -1.0]).double(),
    "another order": lambda x: x[:, [2, 0, 4, 5, 1, 3]],
    "axes exchanged": lambda x: x.flip(-1),
}


@pytest.mark.parametrize("kind", ["norm", "normaliser"])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_inputs_are_told(name: str, kind: str) -> None:
    assert likeness(FOREIGN[name](poses()), kind).is_foreign


def test_one_person_is_narrow_to_a_norm_and_not_to_a_normaliser() -> None:
    """Robots in use vary less than while they learned."""
    x = poses()
    narrow = x.mean(0) + 0.3 * (x - x.mean(0))
    assert likeness(narrow, "norm").is_narrow and not likeness(narrow, "normaliser").is_narrow


def test_the_side_is_told() -> None:
    """Entries that T swaps and negates lie on a side in training, and so do mirror images; without the swap not."""
    flip = torch.tensor([-1.0, 1.0]).double()
    ours, image, other = (likeness(x, "normaliser").side for x in (poses(), turned(poses()), flip * poses()))
    assert ours is not None and image is not None and other is not None
    assert ours > 0.9 and image > 0.9 and other < -0.9


def test_without_a_graph_or_a_memory_nothing_is_told() -> None:
    network = prepare(nn.Linear(2, 2).double(), (normal(2, 6, 2),), {}, parse_spec(POSE))
    assert memory_of(network).likeness(network, inputs_of(network, poses())[0].table) is None
    fresh = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(2, 2)).double().eval()
    assert memory_of(prepare(fresh, (normal(2, 6, 2),), {}, parse_spec(POSE))).norm is None

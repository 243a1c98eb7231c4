"""Constants that the mirror changes, or that decide how an axis moves, and buffers that are no statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import AsymmetricConstantError, UnsupportedError
from tests.infer.nets import (
    IMAGE,
    JOINTS,
    PLANE,
    ROUNDING,
    Net,
    finished,
    graph_of,
    inferred,
    normal,
    rep,
    residual,
    trained,
    turn_of,
)

POSE, CLIP, WIDTH = rep(2, JOINTS, PLANE), rep(2, 4, JOINTS, PLANE), 16
FRAMES = [{0: "b", 1: "t"}]
BONES = [(0, 1), (1, 2), (0, 3), (3, 4), (0, 5)]


def adjacency(longer: float = 0.0) -> Tensor:
    """Bones both ways; the bone of the left leg may be longer than its mirror image."""
    matrix = torch.eye(6, dtype=torch.float64)
    for a, b in BONES:
        matrix[a, b] = matrix[b, a] = 0.5
    matrix[1, 2] += longer
    return matrix


def graph(matrix: Tensor) -> Net:
    """A graph convolution."""

    def compute(net: Net, x: Tensor) -> Tensor:
        return net.last(torch.einsum("vw,bwc->bvc", net.matrix, net.first(x)).relu())

    return trained(Net(compute, first=nn.Linear(2, WIDTH), last=nn.Linear(WIDTH, 2), matrix=matrix))  # type: ignore[return-value]


def test_a_lopsided_constant_is_refused_or_changed_if_asked() -> None:
    with pytest.raises(AsymmetricConstantError) as caught:
        finished(graph(adjacency(0.125)), normal(2, 6, 2), POSE, POSE)
    assert "matrix" in caught.value.facts and "0.125" in caught.value.facts
    _, repmap = finished(graph(adjacency(0.125)), normal(2, 6, 2), POSE, POSE, symmetrize=True)
    assert len(repmap.symmetrized) == 1
    result, repmap = finished(graph(adjacency()), normal(2, 6, 2), POSE, POSE)
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING and not repmap.symmetrized


def test_an_offset_of_one_number_is_no_offset_of_a_signed_axis() -> None:
    net = Net(lambda net, x: net.last(x.flatten(1)).view_as(x) + 3.0, last=nn.Linear(12, 12))
    with pytest.raises(UnsupportedError):
        finished(trained(net), normal(2, 6, 2), POSE, POSE)


# ---- axes of which a constant knows a part only ----------------------------------------------------------------------
def partitioned(free_of_signs: bool) -> nn.Module:
    """A graph convolution over several adjacencies: their number is a factor of hidden channels."""

    def run(net: Net, x: Tensor) -> Tensor:
        rows = net.first(x).unflatten(-1, (3, 8))
        rows = rows.relu() if free_of_signs else rows
        return net.last(torch.einsum("bwkc,kvw->bvc", rows, net.graphs))

    graphs = torch.stack([torch.eye(6, dtype=torch.float64), adjacency(), adjacency().mT @ adjacency()])
    return trained(Net(run, first=nn.Linear(2, 24), last=nn.Linear(8, 2), graphs=graphs))


@pytest.mark.parametrize("free_of_signs", [True, False])
def test_a_factor_of_hidden_channels_is_settled_by_a_constant(free_of_signs: bool) -> None:
    result, _ = finished(partitioned(free_of_signs), normal(2, 6, 2), POSE, POSE)
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING


def test_an_axis_of_scales_and_joints() -> None:
    """An adjacency of "scale joint" by "window joint", as multi-scale convolutions over short windows keep it."""

    def run(net: Net, x: Tensor) -> Tensor:
        windows = net.first(x).unfold(1, 2, 1).permute(0, 1, 4, 2, 3).flatten(2, 3)
        h = torch.einsum("vu,btuc->btvc", net.graphs, windows)
        return net.last(h.unflatten(2, (3, 12)).transpose(2, 3).flatten(3).relu()).unflatten(2, (2, 6)).mean(2)

    powers = [torch.kron(torch.ones(2, 2), torch.linalg.matrix_power(adjacency(), power)) for power in range(3)]
    net = trained(Net(run, first=nn.Linear(2, 8), last=nn.Linear(24, 2), graphs=torch.cat(powers).double()))
    result, _ = finished(net, normal(2, 4, 6, 2), CLIP, rep(2, 3, JOINTS, PLANE))
    assert residual(result, normal(2, 4, 6, 2), turn_of(CLIP), turn_of(CLIP)) <= ROUNDING


# ---- infinities ------------------------------------------------------------------------------------------------------
def attention_with(*hidden: tuple[int, int], number: float = 0.0, minus: float = -torch.inf) -> nn.Module:
    """Attention over the joints; `hidden`: which joint does not see which, by adding `minus`.  number: beside them."""
    mask = torch.zeros(6, 6, dtype=torch.float64)
    mask[4, 2] = number
    for reader, read in hidden:
        mask[reader, read] = minus

    def compute(net: Net, x: Tensor) -> Tensor:
        q = net.first(x)
        return net.last(torch.softmax(q @ q.mT + net.mask, -1) @ q)

    return trained(Net(compute, first=nn.Linear(2, 8), last=nn.Linear(8, 2), mask=mask))


def test_infinities_that_the_mirror_exchanges() -> None:
    result, _ = finished(attention_with((1, 2), (3, 4), (0, 5)), normal(2, 6, 2), POSE, POSE)
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING


@pytest.mark.parametrize(
    ("hidden", "number", "minus"),
    [
        ([(1, 2), (3, 4)], -7.0, -torch.inf),
        ([(1, 2), (0, 5)], 0.0, -torch.inf),
        ([(1, 2), (3, 4)], -3.0, float(torch.finfo(torch.float32).min)),
    ],
)
def test_infinities_that_it_does_not(hidden: list[tuple[int, int]], number: float, minus: float) -> None:
    """Beside an infinity every other entry is small, and minus it is no number: neither may hide what differs."""
    with pytest.raises(AsymmetricConstantError):
        finished(attention_with(*hidden, number=number, minus=minus), normal(2, 6, 2), POSE, POSE)


# ---- what the examples do not read -----------------------------------------------------------------------------------
def planted(entry: float) -> nn.Module:
    """A table of 64 frames, of which the examples read 4: all zeros there."""
    table = torch.zeros(64, 6, 2, dtype=torch.float64)
    table[40, 1, 0] = entry
    net = trained(Net(lambda net, x: torch.tanh(net.w(x)) + net.table[: x.shape[1]], w=nn.Linear(2, 2)))
    net.register_buffer("table", table)
    return net


def test_constants_are_checked_in_all_of_their_entries() -> None:
    with pytest.raises(AsymmetricConstantError):
        finished(planted(2.0), normal(2, 4, 6, 2), CLIP, CLIP, words=FRAMES)
    result, _ = finished(planted(0.0), normal(2, 4, 6, 2), CLIP, CLIP, words=FRAMES)
    assert residual(result, normal(2, 50, 6, 2), turn_of(CLIP), turn_of(CLIP)) <= ROUNDING


# ---- buffers with one axis -------------------------------------------------------------------------------------------
def standardised(net: Net, x: Tensor) -> Tensor:
    return net.last(torch.tanh(net.first((x.flatten(1) - net.mean) / (net.spread + 1e-5).sqrt()))).view_as(x)


def rotary(net: Net, x: Tensor) -> Tensor:
    h = net.first(x.flatten(1)).unflatten(1, (2, 2)).transpose(0, 1)
    angle = torch.arange(2, dtype=x.dtype)[:, None, None] * net.spread[:2]
    turned = h * angle.cos() + torch.cat([-h[..., 1:], h[..., :1]], -1) * angle.sin()
    return net.last(turned.transpose(0, 1).flatten(1)).view_as(x)


def of_fourier(net: Net, x: Tensor) -> Tensor:
    return net.last((x.flatten(1)[..., None] * net.spread[:4]).sin().flatten(1)).view_as(x)


KINDS: dict[str, tuple[Callable[[Net, Tensor], Tensor], int, int, str]] = {
    "a mean and a spread": (standardised, 12, 8, "statistic"),
    "frequencies of positions": (rotary, 12, 4, "constant"),
    "frequencies of coordinates": (of_fourier, 12, 48, "constant"),
}


@pytest.mark.parametrize("name", KINDS)
def test_statistics_are_what_meets_its_features(name: str) -> None:
    compute, entering, leaving, kind = KINDS[name]
    layers = {"first": nn.Linear(entering, leaving), "last": nn.Linear(leaving, 12)}
    net = trained(Net(compute, **layers))
    net.register_buffer("mean", normal(12))
    net.register_buffer("spread", normal(12, seed=1).abs() + 0.5)
    leaves = graph_of(net, normal(2, 6, 2)).leaves.values()
    assert {leaf.kind for leaf in leaves if "spread" in leaf.sources or "spread" in leaf.names} == {kind}


def test_frequencies_are_never_changed() -> None:
    """Paired with each other they would be a mean of two frequencies."""
    net = trained(Net(of_fourier, first=nn.Linear(12, 8), last=nn.Linear(48, 12)))
    net.register_buffer("spread", normal(4, seed=1).abs() + 0.5)
    result, repmap = finished(net, normal(2, 6, 2), POSE, POSE)
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING
    assert torch.equal(result.get_buffer("spread"), net.get_buffer("spread")) and not repmap.symmetrized


# ---- tables ----------------------------------------------------------------------------------------------------------
TABLE = torch.arange(20).double()[:, None] / 1e4 ** (torch.arange(WIDTH // 2).double() * 2 / WIDTH)
TABLE = torch.stack([TABLE.sin(), TABLE.cos()], -1).flatten(1)  # frame channel


def test_a_table_that_leaves_channels_nothing_but_to_stay_is_named() -> None:
    """Sinusoidal positions, equal in no two channels: weights tie these to what the mirror moves."""

    def compute(net: Net, x: Tensor) -> Tensor:
        return net.last(torch.relu(net.first(x.flatten(2)) + net.places[: x.shape[1]])).unflatten(2, (6, 2))

    net = trained(Net(compute, first=nn.Linear(12, WIDTH), last=nn.Linear(WIDTH, 12)))
    net.register_buffer("places", TABLE)
    inference = inferred(net, normal(2, 4, 6, 2), CLIP, CLIP, words=FRAMES)
    (name,) = inference.result().tables
    assert "places" in inference.captured.leaves[name].sources


def test_orders_of_a_graph_are_no_table() -> None:
    """A stack of adjacencies leaves its own axis nothing but to stay; channels are paired all the same."""

    def mixed(net: Net, x: Tensor) -> Tensor:
        once = torch.einsum("kij,bjc,kcd->bid", net.orders, x, net.first).relu()
        return torch.einsum("kij,bjc,kcd->bid", net.orders, once, net.last)

    ring = torch.eye(6, dtype=torch.float64) + (1 - torch.eye(6, dtype=torch.float64)) / 8
    weights = {"first": nn.Parameter(normal(3, 2, 8)), "last": nn.Parameter(normal(3, 8, 2, seed=1))}
    net = trained(Net(mixed, orders=torch.stack([torch.eye(6).double(), ring, ring @ ring]), **weights))
    result, repmap = finished(net, normal(2, 6, 2), POSE, POSE)
    assert repmap.tables == ()
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING


def test_the_image_is_the_one_that_t_is_written_with() -> None:
    assert torch.equal(turn_of(POSE)(normal(2, 6, 2)), normal(2, 6, 2)[:, list(IMAGE)] * torch.tensor([-1.0, 1.0]))

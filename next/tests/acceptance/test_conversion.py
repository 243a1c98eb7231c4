"""What `chiralize` hands back: it commutes with T, judged by hand in float64, and what went in is as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from cases import BY_NAME, CASES, COCO, EDGES, H36M, NTU, SMPL, Flat, Graph, perceptron
from judge import (
    ROUNDING,
    Case,
    flip_average,
    gap,
    pose,
    products,
    residual,
    rolled,
    state_of,
    unchanged,
)
from torch import Tensor, nn

import chiralize
from chiralize.errors import ChiralizeError, EquivarianceError

pytestmark = pytest.mark.spine
PAIRED = [(case, method) for case in CASES for method in case.methods]
_results: dict[tuple[str, str], tuple[nn.Module, dict[str, Tensor], nn.Module]] = {}


def converted(case: Case, method: str) -> tuple[nn.Module, dict[str, Tensor], nn.Module]:
    """The original, its state before, and the result; made once in a session."""
    key = case.name, method
    if key not in _results:
        model = case.model()
        before = state_of(model)
        result = chiralize.chiralize(model, case.spec, case.inputs(), method=method)
        _results[key] = model, before, result
    return _results[key]


@pytest.mark.parametrize(("case", "method"), PAIRED, ids=str)
def test_result_commutes_with_the_mirror(case: Case, method: str) -> None:
    model, before, result = converted(case, method)
    assert residual(model, case) > 1e-3, "the original must not commute by chance"
    assert residual(result, case, views=2 if method == "average" else 1) <= ROUNDING
    assert unchanged(model, before), "the original is not touched"
    assert result.chirality.method == method and not result.training


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_is_the_flip_average(case: Case) -> None:
    model, _, result = converted(case, "average")
    steps = [case.inputs(100 + step) for step in range(3)]
    assert gap(rolled(result, case, steps, views=2), flip_average(model, case, len(steps))) <= ROUNDING


@pytest.mark.parametrize(("case", "method"), [pair for pair in PAIRED if pair[1] != "average"], ids=str)
def test_class_and_names_stay(case: Case, method: str) -> None:
    model, before, result = converted(case, method)
    assert type(result) is type(model)
    assert {name: tensor.shape for name, tensor in result.state_dict().items()} == {
        name: tensor.shape for name, tensor in before.items()
    }
    again = case.build().double().eval()
    again.load_state_dict(result.state_dict(), strict=True)
    assert residual(again, case) <= ROUNDING


@pytest.mark.parametrize("name", ["linear", "temporal", "graph", "policy", "invariant", "two branches"])
def test_projection_of_a_projection_is_itself(name: str) -> None:
    case = BY_NAME[name]
    _, _, result = converted(case, "project")
    again = chiralize.chiralize(copy.deepcopy(result), case.spec, case.inputs(), method="project")
    assert unchanged(again, state_of(result))


@pytest.mark.parametrize("name", ["perceptron", "transformer", "state passed", "classes", "pixels"])
@pytest.mark.parametrize("method", ["match", "average"])
def test_results_verify(name: str, method: str) -> None:
    case = BY_NAME[name]
    _, _, result = converted(case, method)
    report = chiralize.verify(result)
    assert report.passed
    report.raise_for_failure()


def test_match_finds_planted_pairs() -> None:
    """A network that commutes already, its hidden units in an order that nobody knows: its answers stay."""
    case = BY_NAME["perceptron"]
    _, _, symmetric = converted(case, "project")
    net = copy.deepcopy(symmetric)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, tensor in net.body.state_dict().items():
            if name.startswith(("0.", "1.")) and tensor.ndim:
                tensor.copy_(tensor[order])
        net.body[3].weight.copy_(net.body[3].weight[:, order])
    result = chiralize.chiralize(net, case.spec, case.inputs(), method="match")
    steps = [case.inputs(seed) for seed in range(3)]
    assert gap(rolled(result, case, steps), rolled(symmetric, case, steps)) <= ROUNDING


def _one_weight(net: Any) -> None:
    net.body[0].weight[5, 3] += 1e-3


def _one_sign(net: Any) -> None:
    row = net.body[6].weight[7]
    row.neg_()


def _one_pair(net: Any) -> None:
    net.body[3].weight[:, [2, 9]] = net.body[3].weight[:, [9, 2]]


def _one_mean(net: Any) -> None:
    net.body[1].running_mean[4] += 1e-3


@pytest.mark.parametrize("fault", [_one_weight, _one_sign, _one_pair, _one_mean], ids=lambda fault: fault.__name__)
def test_planted_fault_fails(fault: Any) -> None:
    """One weight off by a thousandth, one sign, one pair exchanged, one statistic: `verify` says no."""
    case = BY_NAME["perceptron"]
    net = copy.deepcopy(converted(case, "match")[2])
    with torch.no_grad():
        fault(net)
    assert residual(net, case) > 1e-6
    report = chiralize.verify(net, case.spec, case.inputs())
    assert not report.passed
    with pytest.raises(EquivarianceError) as raised:
        report.raise_for_failure()
    assert raised.value.code == "CH501" and raised.value.exit_status == 1


def test_one_pass_costs_one_pass() -> None:
    """`match` multiplies as often as the original, `average` twice as often."""
    case = BY_NAME["perceptron"]
    cost = products(case.model(), *case.inputs())
    assert products(converted(case, "match")[2], *case.inputs()) == cost
    assert products(converted(case, "average")[2], *case.inputs()) == 2 * cost


@pytest.mark.parametrize("frames", [9, 20])
def test_other_lengths_and_batches(frames: int) -> None:
    """What was converted on nine frames holds for twenty, and for another batch."""
    case = BY_NAME["temporal"]
    other = Case(case.name, case.build, case.spec, ((5, frames, 17, 2),), case.turns_in, case.turns_out)
    for method in ("match", "average"):
        assert residual(converted(case, method)[2], other) <= ROUNDING


@pytest.mark.parametrize(
    ("skeleton", "joints", "pairs", "dims"),
    [("h36m", 17, H36M, 3), ("coco", 17, COCO, 2), ("ntu", 25, NTU, 3), ("smpl", 24, SMPL, 3)],
)
def test_shipped_skeletons(skeleton: str, joints: int, pairs: list[tuple[int, int]], dims: int) -> None:
    """Left and right of the data sets, from their definitions."""
    size, turn = joints * dims, (pose(pairs),)
    case = Case(skeleton, lambda: Flat(nn.Linear(size, size), (joints, dims)), {}, ((3, joints, dims),), turn, turn)
    layout = ["b j d"]
    result = chiralize.chiralize(
        case.model(), skeleton, case.inputs(), method="average", input_layouts=layout, output_layouts=layout
    )
    assert residual(result, case) <= ROUNDING


def test_joint_order_on_one_axis() -> None:
    """`(j d)` is joint by joint, `(d j)` coordinate by coordinate; T differs."""
    for layout, unflat in (("b (j d)", (17, 2)), ("b (d j)", (2, 17))):
        axes = (-2, -1) if layout == "b (j d)" else (-1, -2)

        def turn(x: Tensor, unflat: tuple[int, int] = unflat, axes: tuple[int, int] = axes) -> Tensor:
            return pose(H36M, *axes)(x.unflatten(-1, unflat)).flatten(-2)

        case = Case(layout, lambda: perceptron(34, 20, 34), {}, ((4, 34),), (turn,), (turn,))
        options = {"input_layouts": [layout], "output_layouts": [layout]}
        result = chiralize.chiralize(case.model(), "h36m", case.inputs(), method="match", **options)
        assert residual(result, case) <= ROUNDING


def test_one_sided_constant_is_refused_until_it_may_change() -> None:
    """An adjacency without one of its edges: CH304; with leave it is made symmetric."""
    case = Case("lopsided", lambda: Graph(EDGES[1:]), *_of("graph"))
    with pytest.raises(ChiralizeError) as raised:
        chiralize.chiralize(case.model(), case.spec, case.inputs(), method="match")
    assert raised.value.code == "CH304" and raised.value.exit_status == 3
    result = chiralize.chiralize(case.model(), case.spec, case.inputs(), method="match", symmetrize_constants=True)
    assert residual(result, case) <= ROUNDING


def _of(name: str) -> tuple[Any, ...]:
    case = BY_NAME[name]
    return case.spec, case.shapes, case.turns_in, case.turns_out

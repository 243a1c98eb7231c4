"""Results on pixels are trained as any other: from the point that T mirrors at. T is written with torch alone here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError, MethodUnavailableError
from chiralize.graph.running import Call
from chiralize.methods.refine.from_the_centre import FromTheCentre
from chiralize.methods.refine.imitation import Weights
from chiralize.methods.refine.ready import ready_for
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from tests.support.small_body import BODY, IMAGE, Net, normal
from tests.support.zoo.case import scrambled

WIDTH = 640.0
SPEC = BODY + (
    "negate: x\ninputs: [{layout: b j d, reflect: {x: 320}}]\noutputs: [{layout: b j d, reflect: {x: 320}}]\n"
)


def image(x: Tensor) -> Tensor:
    """The other way round in a picture of this width."""
    turned = x[:, list(IMAGE)].clone()
    turned[..., 0] = WIDTH - turned[..., 0]
    return turned


def poses(count: int, seed: int = 1) -> Tensor:
    """Poses in pixels that vary in few directions, as bodies do."""
    return 320 + 60 * normal(count, 5, seed=seed) @ normal(5, 12, seed=9).clone().reshape(5, 12)


def calls(count: int = 600, rows: int = 50) -> list[Call]:
    return [((part.unflatten(1, (6, 2)),), {}) for part in poses(count).split(rows)]


def in_bias(net: Any, x: Tensor) -> Tensor:
    return (net.b((net.a(x.flatten(1)) / 200).tanh()) * 200).unflatten(1, (6, 2))


def in_norm(net: Any, x: Tensor) -> Tensor:
    return (net.b(net.norm(net.a(x.flatten(1))).relu()) * 200).unflatten(1, (6, 2))


def in_normaliser(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a((x.flatten(1) - net.mean) / net.std).relu()).mul(200).unflatten(1, (6, 2))


CENTRE, SPREAD = torch.full((12,), 320.0), torch.full((12,), 60.0)
NETS = {
    "a bias": lambda: Net(in_bias, a=nn.Linear(12, 24), b=nn.Linear(24, 12)),
    "the mean of a norm": lambda: Net(
        in_norm, a=nn.Linear(12, 24, bias=False), norm=nn.BatchNorm1d(24), b=nn.Linear(24, 12)
    ),
    "a normaliser": lambda: Net(
        in_normaliser,
        a=nn.Linear(12, 24),
        b=nn.Linear(24, 12),
        mean=torch.full((12,), 320.0),
        std=torch.full((12,), 60.0),
    ),
}


def trained(kind: str) -> nn.Module:
    torch.manual_seed(0)
    net = NETS[kind]().double().eval()
    if "norm" in kind and hasattr(net, "norm"):
        with torch.no_grad():
            net.norm.running_mean.copy_(net.a(poses(200)).mean(0))
            net.norm.running_var.copy_(net.a(poses(200)).var(0))
    return net


@pytest.mark.parametrize("kind", NETS)
def test_the_same_function_seen_from_the_centre(kind: str) -> None:
    """What it computes before training, and what the network computes with the weights that are given back after it."""
    network = prepare(trained(kind), parse_spec(SPEC), (calls()[0][0][0][:3],))
    request = Request("project", calibration=calls(), force=True)
    problem = Problem.of(network, request, method_of("project"))
    draft = next(iter(method_of("project").drafts(problem)))  # type: ignore[misc]
    module = draft.converted.module
    seen, x = FromTheCentre(network, module, calls()), calls()[1][0][0]
    torch.testing.assert_close(seen(x)[0], module(x), atol=1e-9 * WIDTH, rtol=0)

    weights = Weights(seen, draft.converted.action)
    assert weights.parameters.keys() == dict(module.named_parameters()).keys()
    moved = {name: weight + 0.1 * normal(*weight.shape, seed=5) for name, weight in weights.copies().items()}
    weights.restore(weights.projected(moved))
    other, _ = network.holding(seen.weights())
    answer = other(x)
    torch.testing.assert_close(answer, seen(x)[0], atol=1e-9 * WIDTH, rtol=0)
    torch.testing.assert_close(other(image(x)), image(answer), atol=1e-8 * WIDTH, rtol=0)
    assert not torch.allclose(answer, module(x), atol=1.0)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("options", [{"rounds": 2}, {"rounds": 0, "distill": 60}], ids=["rounds", "distilled"])
def test_training_brings_a_result_on_pixels_nearer(kind: str, options: dict[str, int]) -> None:
    network = prepare(trained(kind), parse_spec(SPEC), (calls()[0][0][0][:3],))
    after = convert(network, "net", Request("reduce", calibration=calls(), samples=1, force=True, **options))
    losses = re.findall(r"held-out loss ([\d.e-]+) -> ([\d.e-]+)", " ".join(after.report.notes))
    assert len(losses) == 1 and float(losses[0][1]) < 0.9 * float(losses[0][0])
    assert after.module is not None
    x = calls()[2][0][0]
    torch.testing.assert_close(after.module(image(x)), image(after.module(x)), atol=1e-8 * WIDTH, rtol=0)


def test_pixels_are_trained_in_large_batches() -> None:
    """Inputs that came two at a time: one call after the other costs its overhead alone. All have one size."""
    network = prepare(trained("a bias"), parse_spec(SPEC), (calls()[0][0][0][:2],))
    request = Request("project", calibration=calls(606, 2), force=True)
    problem = Problem.of(network, request, method_of("project"))
    draft = next(iter(method_of("project").drafts(problem)))  # type: ignore[misc]
    ready = ready_for(problem, draft, "--rounds", 512)
    sizes = {len(call[0][0]) for call in (*ready.seen, *ready.held)}
    assert len(problem.batches.fitted) == 243 and len(problem.batches.fitted_held_out) == 60
    assert sizes == {12} and (len(ready.seen), len(ready.held)) == (40, 10)
    assert ready.batch(256) == 12
    x = ready.seen[39][0][0]
    inputs = torch.cat([call[0][0] for call in problem.batches.fitted])
    torch.testing.assert_close(x, inputs[39 * 12 : 40 * 12], atol=0, rtol=0)


def test_a_result_with_other_ops_is_not_trained_as_the_original() -> None:
    """As where parts of it run on both views."""
    network = prepare(trained("a bias"), parse_spec(SPEC), (calls()[0][0][0][:3],))
    seen = FromTheCentre(network, network.module, calls())
    seen.refuse_unlike(network.module, calls()[0], "--rounds")
    other = Net(lambda net, x: (net.inner(x) + image(net.inner(image(x)))) / 2, inner=network.module)
    with pytest.raises(MethodUnavailableError, match="--rounds: pixels .`reflect`. are trained where the result has"):
        seen.refuse_unlike(other, calls()[0], "--rounds")


def test_an_op_without_a_derivative_leaves_the_result_as_it_is() -> None:
    """Unasked, layers stay as they were fitted; asked for, it is said."""
    network = prepare(trained("a bias"), parse_spec(SPEC), (calls()[0][0][0][:3],))
    seen = FromTheCentre(network, network.module, calls())

    def fail(*args: Any, **kwargs: Any) -> Any:
        """As torch does."""
        raise RuntimeError("derivative for aten::histc is not implemented")

    seen.parameters["a.weight"].register_hook(fail)
    with pytest.raises(
        MethodUnavailableError, match="--rounds: its graph has no derivatives: derivative for aten::histc"
    ):
        seen.refuse_without_derivatives(calls()[0], "--rounds")
    assert all(parameter.grad is None for parameter in seen.parameters.values())


def test_a_program_on_pixels_is_trained(tmp_path: Path) -> None:
    """Its norm takes the offset up: statistics change together with the weights."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(trained("the mean of a norm"), (calls()[0][0][0],), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = torch.export.load(tmp_path / "net.pt2")
    chiral = chiralize.chiralize(
        loaded.module(),
        parse_spec(SPEC),
        (calls()[0][0][0],),
        calibration=[call[0][0] for call in calls()],
        method="reduce",
        rounds=1,
        force=True,
    )
    x = calls()[2][0][0]
    torch.testing.assert_close(chiral(image(x)), image(chiral(x)), atol=1e-8 * WIDTH, rtol=0)


class Counting(nn.Module):
    """A network with a state, which cannot be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pose", torch.zeros(1, 6, 2, dtype=torch.float64))
        self.mixed = scrambled(nn.Linear(2, 2).double(), 0)

    def forward(self, x: Tensor) -> Tensor:
        self.pose.copy_(0.5 * self.pose + 0.5 * x)
        return self.mixed(self.pose)


@pytest.mark.parametrize(("options", "option"), [({"distill": 100}, "--distill"), ({"rounds": 1}, "--rounds")])
def test_what_cannot_be_trained_is_refused_before_anything_is_run(options: dict[str, int], option: str) -> None:
    """Not after minutes of fitting."""
    told = list[str]()
    given = [((x[None],), {}) for x in normal(12, 6, 2)]
    request = Request("reduce", calibration=given, progress=lambda title, share=None: told.append(title))
    network = prepare(Counting(), parse_spec(SPEC.replace(", reflect: {x: 320}", "")), (normal(1, 6, 2),))
    with pytest.raises(ChiralizeError, match=f"{option}: the network carries states from call to call: it is"):
        convert(network, "net", replace(request, **options))
    assert not told

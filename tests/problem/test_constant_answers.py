"""Answers that do not depend on the inputs are said by every command, and no others are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import DataWarning, ModelRunError
from chiralize.problem.constant_answers import asked_again
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from tests.support.small_body import BODY, POSE, Net, normal, trained

SPEC = parse_spec(POSE)
TWO = parse_spec(BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}, {free: true}]\n')
ARGS = (normal(3, 6, 2),)
BRIEF = "its answers do not depend on its inputs"
FACTS = f"{BRIEF}: 8 random inputs got the same"


def _linear(compute: Any, **parts: Any) -> nn.Module:
    return trained(Net(compute, **{"last": nn.Linear(2, 2), **parts}))


def _by_zero() -> nn.Module:
    """As of a graph whose power is 0: I - A^0 = 0."""
    power = torch.linalg.matrix_power(torch.diag(torch.ones(5), 1), 0)
    return _linear(lambda net, x: net.last((net.hops @ x).relu()), hops=torch.eye(6) - power)


def _dead() -> nn.Module:
    """Units that no input of usual size wakes."""
    net = _linear(lambda net, x: net.last(net.first(x).relu()), first=nn.Linear(2, 4), last=nn.Linear(4, 2))
    nn.init.constant_(net.get_parameter("first.bias"), -1e3)
    return net


def _rounded() -> nn.Module:
    """Shares that add up to 1, but for rounding."""
    return _linear(lambda net, x: net.last(x.softmax(1).sum(1, keepdim=True).expand(x.shape)))


def outputs(net: nn.Module, spec: Any = SPEC, args: Any = ARGS) -> tuple[str, ...]:
    return prepare(net, spec, args).behaviour.constant.outputs


@pytest.mark.parametrize("build", [_by_zero, _dead, _rounded])
def test_constant(build: Any) -> None:
    constant = prepare(build(), SPEC, ARGS).behaviour.constant
    assert constant.is_all and constant.outputs == ("output 0",) and constant.facts == FACTS


@pytest.mark.parametrize(
    "compute",
    [
        lambda net, x: net.last(x),
        lambda net, x: net.last(x) * 1e-12 + 1,  # little of it, beside a large constant
        lambda net, x: net.last(x - x.mean(1, keepdim=True)),
        lambda net, x: net.last(x).half() if x.dtype == torch.float16 else net.last(x).tanh(),
        lambda net, x: net.last(x.mean((0, 1), keepdim=True)).expand(x.shape),
    ],
)
def test_not_constant(compute: Any) -> None:
    network = prepare(_linear(compute), SPEC, ARGS)
    assert not network.behaviour.constant.outputs and not any("depend" in note for note in network.notes)


def test_of_coarse_numbers_none_is_rounded_away() -> None:
    """64 of the last digits of bfloat16 are half of a number."""
    net = _linear(lambda net, x: (net.last(x) / 20 + 1).bfloat16())
    assert outputs(net) == ()


def test_networks_that_are_not_asked() -> None:
    """Integers are not drawn, so that nothing changes."""
    net = Net(lambda net, x: net.table(x).sum(2), table=nn.Embedding(4, 2))
    spec = parse_spec(BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n')
    assert outputs(trained(net), spec, (torch.zeros(3, 6, 2, dtype=torch.long),)) == ()


def test_integers_stay_as_they_are() -> None:
    class Steps(nn.Module):
        """Reads a step, and ignores the pose."""

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 12)

        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            return self.table(step).unflatten(1, (6, 2)) + 0 * x

    spec = parse_spec(BODY + 'inputs: [{layout: "b j d"}, {free: true}]\noutputs: [{layout: "b j d"}]\n')
    network = prepare(trained(Steps()), spec, (*ARGS, torch.zeros(3, dtype=torch.long)))
    assert network.behaviour.constant.tried == "8 random inputs, integers as in the examples,"


def test_one_of_several() -> None:
    """It is a warning that reaches the headline: the rest may be what is wanted."""
    net = _linear(lambda net, x: (net.last(x), net.table * 1), table=nn.Parameter(torch.ones(4)))
    network = prepare(net, TWO, ARGS)
    assert network.behaviour.constant.outputs == ("output 1",) and not network.behaviour.constant.is_all
    brief = "output 1 does not depend on the inputs"
    plan = chiralize.plan(net, TWO, ARGS)
    assert plan.passed and plan.verdict == f"can be converted, with warnings; {brief}"
    with pytest.warns(DataWarning, match=brief):
        audit = chiralize.audit(net, TWO, ARGS)
    assert brief in audit.verdict
    with pytest.warns(DataWarning, match=brief):
        report = chiralize.verify(chiralize.chiralize(net, TWO, ARGS, method="average"), TWO, ARGS)
    assert report.passed and brief in report.verdict


def test_what_commands_say() -> None:
    """Nothing to convert, nothing to measure, nothing that running it would show."""
    net = _by_zero()
    plan = chiralize.plan(net, SPEC, ARGS)
    assert not plan.passed and plan.verdict == f"NOT to be converted as it is: {FACTS}" and plan.rows
    for command in (chiralize.chiralize, chiralize.audit):
        with pytest.raises(ModelRunError) as raised:
            command(net, SPEC, ARGS)
        assert raised.value.facts == FACTS
        assert raised.value.remedy.startswith("look how it is built: an argument left at its default, a factor of 0")
        assert ("; --force converts it as it is" in raised.value.remedy) == (command is chiralize.chiralize)


def test_a_head_of_zeros_is_converted_by_force() -> None:
    """As policies have it before they are trained."""
    net = _linear(lambda net, x: net.last(net.first(x).tanh()) * 0, first=nn.Linear(2, 4), last=nn.Linear(4, 2))
    with pytest.warns(chiralize.errors.ChiralizeWarning):
        result = chiralize.chiralize(net, SPEC, ARGS, method="match", force=True)
    assert BRIEF in result.chirality.report.verdict


def test_verify_calls_it_no_defect() -> None:
    """One answer that its mirror image leaves alone passes whatever the weights are, and the proof does not."""
    net = _by_zero()
    net.get_parameter("last.bias").data[0] = 0
    with pytest.warns(DataWarning, match=BRIEF):
        report = chiralize.verify(net, SPEC, ARGS)
    assert (
        report.judgement.numeric.passed
        and report.judgement.certificate is not None
        and not report.judgement.certificate.passed
    )
    assert report.verdict.startswith(f"NOT proved equivariant, and running it shows nothing: {FACTS}")
    with pytest.raises(ModelRunError, match="So running it shows nothing of the mirror, and the certificate breaks at"):
        report.raise_for_failure()


def test_inputs_in_use_decide() -> None:
    """Units that random numbers leave asleep wake on inputs of another size."""
    network = prepare(_dead(), SPEC, ARGS)
    assert network.behaviour.constant.is_all
    awake: Network = asked_again(network, [((1e4 * normal(3, 6, 2),), {})])
    assert not awake.behaviour.constant.outputs and not any("depend" in note for note in awake.notes)
    asleep = asked_again(network, [((normal(5, 6, 2, seed=seed),), {}) for seed in range(3)])
    assert asleep.behaviour.constant.tried == "8 random inputs and 3 of yours" and asleep.behaviour.constant.is_all
    assert sum(BRIEF in note for note in asleep.notes) == 1


def test_units_that_wake_on_real_inputs_are_converted() -> None:
    """And nothing is said of constant answers then."""
    calibration = [((1e4 * normal(3, 6, 2, seed=seed),), {}) for seed in range(8)]
    report = convert(prepare(_dead(), SPEC, ARGS), "net", Request("match", calibration=calibration, force=True)).report
    assert report.passed and not any("depend" in note for note in report.notes)

"""What graph and specification rule out is refused before the network is run on many inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands import convert as steps
from chiralize.commands.convert import Request, convert
from chiralize.commands.several import converting as steps_of_several
from chiralize.errors import (
    AsymmetricConstantError,
    CaptureError,
    ExportError,
    NeverEquivariantError,
    NoRuleError,
    UnsupportedError,
)
from chiralize.methods import symmetric_norms
from chiralize.problem.mirror import Inferred, infer
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.report.verdict import verdict_of
from tests.support import four_legs
from tests.support.small_body import POSE, Net, normal, trained

CALIBRATION = [((normal(8, 6, 2, seed=seed),), {}) for seed in range(16)]
ONE_PASS = ("match", "project", "reduce")


def without_rule(net: Any, x: Tensor) -> Tensor:
    y = net.first(x.flatten(1))
    return net.last(torch.linalg.matrix_exp(y[:, :, None] * y[:, None, :] / 100).sum(-1)).unflatten(1, (6, 2))


def of_four_legs(net: Any, x: Tensor) -> Tensor:
    y = net.first(x)
    return net.last(torch.linalg.matrix_exp(y[:, :, None] * y[:, None, :] / 100).sum(-1))


def in_order(net: Any, x: Tensor) -> Tensor:
    """Heights added up joint after joint: which one comes first matters."""
    return x + net.last(x[..., 1].cumsum(-1)).unflatten(1, (6, 2))


def with_constant(net: Any, x: Tensor) -> Tensor:
    return net.last(torch.relu(net.first(torch.tanh(x + net.table).flatten(1)))).unflatten(1, (6, 2))


def with_offset(net: Any, x: Tensor) -> Tensor:
    """The mirror changes the constant, but weights make up for a symmetric one."""
    return net.last(torch.relu(net.first((x + net.table).flatten(1)))).unflatten(1, (6, 2))


def branching(net: Any, x: Tensor) -> Tensor:
    y = net.first(x.flatten(1))
    return net.last(y if y.sum() > 0 else 3 * y + 1).unflatten(1, (6, 2))


def converting(net: Any, x: Tensor) -> Tensor:
    return net.last(torch.relu(net.first(x.flatten(1)))).unflatten(1, (6, 2))


FORWARD = {
    NoRuleError: without_rule,
    NeverEquivariantError: in_order,
    AsymmetricConstantError: with_constant,
    CaptureError: branching,
}


@cache
def made(compute: Any, specification: str = POSE) -> Network:
    """The network made ready, once: no conversion changes it."""
    wide = 6 if compute is in_order else 12
    net = Net(compute, first=nn.Linear(12, 12), last=nn.Linear(wide, 12), table=normal(6, 2))
    return prepare(trained(net), parse_spec(specification), (normal(8, 6, 2),))


def asked(method: str, **options: Any) -> Request:
    return Request(method, calibration=CALIBRATION, samples=1, rounds=0, **options)


class ReachedError(Exception):
    """The comparison of mirrors was reached."""


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirrors are compared, and no inputs are looked at or drawn."""

    def reached(*arguments: Any, **options: Any) -> NoReturn:
        raise ReachedError

    monkeypatch.setattr(steps, "ask_network", reached)
    monkeypatch.setattr(steps.checks, "judged", reached)
    monkeypatch.setattr(steps_of_several, "ask_network", reached)


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Network]]:
    """The networks that were looked at in the beginning."""
    looked_at: list[Network] = []
    look = Inferred.of

    def counted(network: Network) -> Inferred:
        looked_at.append(network)
        return look(network)

    monkeypatch.setattr(Inferred, "of", staticmethod(counted))
    yield looked_at


def late(network: Network, method: str, monkeypatch: pytest.MonkeyPatch) -> UnsupportedError:
    """The refusal of the method itself, with nothing said in the beginning."""
    with monkeypatch.context() as patch:
        patch.setattr(steps, "refuse_ruled_out", lambda problem, method: None)
        patch.setattr(steps, "with_inferred", lambda problem: problem)
        with pytest.raises(UnsupportedError) as caught:
            convert(network, "net", asked(method))
    return caught.value


@pytest.mark.one_in(5)
@pytest.mark.parametrize("error", list(FORWARD))
@pytest.mark.parametrize("method", ONE_PASS)
def test_refused_before_anything_is_compared(
    method: str, error: type[UnsupportedError], stopped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = made(FORWARD[error])
    with pytest.raises(error) as caught:
        convert(network, "net", asked(method))
    monkeypatch.undo()
    assert _without_sizes(caught.value) == _without_sizes(late(network, method, monkeypatch))


def _without_sizes(error: UnsupportedError) -> str:
    """The message, but for the size of the batch, which is larger in fits."""
    return re.sub(r"\(\d+, ", "(8, ", str(error))


@cache
def under_two_mirrors() -> Network:
    net = Net(of_four_legs, first=nn.Linear(four_legs.SIZE, 12), last=nn.Linear(12, 4))
    return prepare(trained(net), parse_spec(four_legs.SPEC), (normal(8, four_legs.SIZE),))


def test_under_several_mirrors(stopped: None) -> None:
    assert under_two_mirrors().others.further
    with pytest.raises(NoRuleError):
        convert(under_two_mirrors(), "net", Request("match", samples=1))


def test_under_several_mirrors_one_width_is_tried() -> None:
    """What the op refuses at one width, it refuses at all."""
    calls = [((normal(8, four_legs.SIZE, seed=seed),), {}) for seed in range(8)]
    report = convert(under_two_mirrors(), "net", Request("auto", calibration=calls, samples=1, rounds=0)).report
    (note,) = [note for note in report.notes if "was not taken" in note]
    assert report.method == "average" and note.startswith("reduce at width ") and "linalg_matrix_exp" in note


# ---- what goes on ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("compute", "request_"),
    [
        (without_rule, asked("average")),
        (without_rule, asked("auto")),
        (without_rule, asked("match", on_blocked="average-all")),
        (without_rule, asked("match", on_blocked="average")),
        (without_rule, asked("reduce", width=1)),
        (with_constant, asked("match", symmetrize_constants=True)),
        (converting, asked("match")),
        (with_offset, asked("match")),
        (with_offset, asked("reduce")),
        (with_constant, asked("auto")),
    ],
)
def test_others_reach_the_comparison(compute: Any, request_: Request, stopped: None) -> None:
    with pytest.raises(ReachedError):
        convert(made(compute), "net", request_)


def test_average_asks_for_no_inference(inferred: list[Network]) -> None:
    convert(made(without_rule), "net", asked("average"))
    assert inferred == []


def test_other_activations_may_have_a_rule(stopped: None) -> None:
    network = made(without_rule, POSE + "activation: tanh\n")
    with pytest.raises(ReachedError):
        convert(network, "net", asked("match"))


@pytest.mark.parametrize("error", list(FORWARD))
def test_auto_still_averages_and_says_why(error: type[UnsupportedError], inferred: list[Network]) -> None:
    """The note names the op or the constant; nothing is drawn for fits that cannot come about."""
    network = made(FORWARD[error])
    report = convert(network, "net", asked("auto")).report
    assert report.method == "average" and len(inferred) == 1
    with pytest.raises(error) as caught:
        inference = infer(network)
        inference.check_constants()
    (note,) = [note for note in report.notes if "was not taken" in note]
    assert note.startswith(f"reduce at width 0.5 was not taken: {caught.value.where}: {caught.value.facts}")
    assert f"; one pass is ruled out at {caught.value.where}; " in verdict_of(report).sentence


def test_without_inputs_an_op_is_named_all_the_same(inferred: list[Network]) -> None:
    """Nobody gathers inputs in vain."""
    network = made(without_rule)
    report = convert(network, "net", Request(samples=1)).report
    (refusal,) = [Inferred.of(network).refusal]
    assert refusal is not None
    assert f"reduce was not tried: {refusal.where}: {refusal.facts}" in report.notes
    assert f"; one pass is ruled out at {refusal.where}; " in verdict_of(report).sentence


@pytest.mark.parametrize(("rounds", "is_said"), [(0, True), (1, False)])
def test_an_average_for_want_of_time(rounds: int, is_said: bool) -> None:
    report = convert(made(converting), "net", replace(asked("auto", max_drift=1e-6), rounds=rounds)).report
    assert report.method == "average"
    assert ("; without --fast one pass may do; " in verdict_of(report).sentence) == is_said


def test_one_pass_needs_no_reason() -> None:
    report = convert(made(converting), "net", asked("auto", max_drift=1e6)).report
    assert report.passes == 1 and not report.way.why_average


@pytest.mark.parametrize("compute", [without_rule, in_order])
def test_files_of_weights_alone(compute: Any, stopped: None) -> None:
    """No candidate of `auto` can succeed: both are named at once."""
    with pytest.raises(ExportError) as caught:
        convert(made(compute), "net", asked("auto", product="weights"))
    assert "reduce at width 0.5 was not taken: " in caught.value.facts
    assert "match was not taken: " in caught.value.facts


def test_the_record_is_used_again(inferred: list[Network], monkeypatch: pytest.MonkeyPatch) -> None:
    """Normalisers are looked at with what was inferred in the beginning, not with a second inference."""

    def again(network: Network) -> NoReturn:
        raise AssertionError("inferred twice")

    monkeypatch.setattr(symmetric_norms, "infer", again)
    network = made(converting)
    convert(network, "net", replace(asked("match"), force=True))
    assert [looked_at is network for looked_at in inferred] == [True]

"""Faults planted on purpose, each caught by name: the checks must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import chiralize.infer.hidden.impose as project
import chiralize.infer.inference as inference
import chiralize.infer.rules.recurrent as recurrent
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import (
    AsymmetricConstantError,
    CaptureError,
    ChiralizeError,
    DegenerateError,
    EquivarianceError,
    NegatedChannelsError,
    UnsupportedError,
    VerdictsDisagreeError,
)
from chiralize.graph import rewrite
from chiralize.infer.hidden.impose import Imposed
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.records import RepMap
from chiralize.infer.registry import Call, registry
from chiralize.nn.two_view import TwoView
from chiralize.problem.mirror import analyse, depth_of, mirror_of
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.symbolic import SymbolicRepresentation, evaluate
from chiralize.verification import certificate, numeric
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict
from tests.support.zoo import CASES
from tests.support.zoo.case import Case
from tests.support.zoo.judging import residual
from tests.support.zoo.structures import Graph

Verdicts = tuple[NumericVerdict, CertificateVerdict]


def prepared(case: Case, spec: str | None = None, model: nn.Module | None = None) -> Network:
    args, kwargs = case.steps(1)[0]
    return prepare(model or case.model(), parse_spec(spec or case.spec), args, kwargs, case.entry)


@cache
def analysed(name: str) -> tuple[Network, RepMap, dict[str, Tensor]]:
    """A case, its representations and its symmetric weights by name."""
    case = CASES[name]
    network = prepared(case)
    repmap, _ = analyse(network, Imposed(network.resolved.spec, FromWeights(network.graph())))
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in network.graph().weights}
    return network, repmap, rewrite.symmetric_weights(network.graph(), concrete, repmap.partners)[0]


def verdicts(name: str, changes: dict[str, Tensor]) -> Verdicts:
    """Both verdicts on a converted network in which some tensors were exchanged."""
    network, repmap, values = analysed(name)
    mirror = mirror_of(network, repmap)
    module = rewrite.with_weights(rewrite.with_weights(network.module, values), changes)
    numbers = numeric.judge(
        module, mirror, network.args, network.kwargs, samples=2, batches=(), depth=depth_of(network.captured)
    )
    captured = network.graph()
    held = {**values, **changes}
    leaves = {
        key: replace(leaf, tensor=held[leaf.names[-1]]) if leaf.is_weight else leaf
        for key, leaf in captured.leaves.items()
    }
    return numbers, certificate.judge(replace(captured, leaves=leaves), repmap)


def representation(name: str, weight: str) -> TensorRepresentation:
    network, repmap, _ = analysed(name)
    leaf = next(own for own in network.graph().weights if weight in own.names)
    return evaluate(repmap.leaves[leaf.name], {})


def assert_both_name(found: Verdicts, weight: str) -> None:
    numbers, proof = found
    assert not numbers.passed and not proof.passed
    assert proof.broken.startswith(weight + " "), proof.broken


# ---- weights that were left as they were, or projected wrongly ------------------------------------------------------
@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["temporal", "lstm", "gru cell loop", "policy, normalised", "grouped convolutions"])
def test_one_lopsided_weight(name: str) -> None:
    """A relative 1e-3 in any single weight fails both verdicts, and the proof names it."""
    values = analysed(name)[2]
    numbers, proof = verdicts(name, {})
    assert numbers.passed and proof.passed
    for weight, tensor in values.items():
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1), dtype=tensor.dtype)
        assert_both_name(verdicts(name, {weight: tensor * (1 + 1e-3 * noise)}), weight)


LEFT_ALONE = [
    ("statistics skipped", "temporal", "expand_bn.running_mean"),
    ("variance skipped", "temporal", "layers_bn.1.running_var"),
    ("bias of a negated output", "temporal", "shrink.bias"),
    ("statistics of observations", "policy, normalised", "mean"),
    ("hidden weight of a recurrent layer", "lstm", "rnn.weight_hh_l0"),
]


@pytest.mark.parametrize(("fault", "name", "weight"), LEFT_ALONE, ids=[fault for fault, _, _ in LEFT_ALONE])
def test_left_as_it_was(fault: str, name: str, weight: str) -> None:
    original = analysed(name)[0].module.state_dict()[weight]
    assert_both_name(verdicts(name, {weight: original}), weight)


def test_one_gate_unprojected() -> None:
    values, own = analysed("lstm")[2], analysed("lstm")[0].module.state_dict()["rnn.weight_ih_l0"]
    mixed = values["rnn.weight_ih_l0"].clone()
    mixed[10:20] = own[10:20]
    assert_both_name(verdicts("lstm", {"rnn.weight_ih_l0": mixed}), "rnn.weight_ih_l0")


def test_variance_projected_with_signs() -> None:
    """var moves with |T|, not with T: on negated channels the difference shows."""
    name, weight = "paper layout, 102", "bn.running_var"
    case = CASES[name]
    network = prepared(case, case.spec.replace("activation: tanh\n", ""), _tanh(case))
    repmap, _ = analyse(network, Imposed(network.resolved.spec, FromWeights(network.graph())))
    captured = network.graph()
    rep = {leaf.names[0]: evaluate(repmap.leaves[leaf.name], {}) for leaf in captured.weights}
    assert rep[weight].is_sign_free and not rep["bn.running_mean"].is_sign_free
    original = network.module.state_dict()[weight]
    wrong = reynolds.project(original, rep["bn.running_mean"])
    assert not torch.equal(reynolds.act(wrong, rep[weight]), wrong)


def _tanh(case: Case) -> nn.Module:
    return rewrite.with_tanh(case.model())[0]


def test_tied_weight_unprojected() -> None:
    own = analysed("shared and tied")[0].module.state_dict()["other.weight"]
    assert_both_name(verdicts("shared and tied", {"other.weight": own}), "shared.weight")


def test_shared_module_projected_for_another_place() -> None:
    name, weight = "shared and tied", "shared.weight"
    rep = representation(name, weight)
    other = TensorRepresentation((rep.axes[0], Representation.of(SignedPermutation.of([(0, 1)], size=16))))
    wrong = reynolds.project(analysed(name)[2][weight], other)
    assert_both_name(verdicts(name, {weight: wrong, "other.weight": wrong}), weight)


# ---- rules that are wrong -------------------------------------------------------------------------------------------
def _wrong_rule(monkeypatch: pytest.MonkeyPatch, target: str, apply: Callable[[Call], object]) -> None:
    table = registry()
    monkeypatch.setitem(table, target, replace(table[target], apply=apply))  # type: ignore[arg-type]


def _swallow_signs(call: Call) -> SymbolicRepresentation:
    return call.operands[0].rep


class _Signed(nn.Module):
    """Hidden channels without bias, so that they may carry signs up to the function in question."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Linear(34, 12, bias=False), nn.Linear(12, 51, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.a(x.flatten(1)))).view(-1, 17, 3)


WRONG = [
    ("relu called odd", torch.relu, "aten.relu.default"),
    ("gelu called odd", nn.functional.gelu, "aten.gelu.default"),
    ("softmax called odd", lambda h: torch.softmax(h, -1), "aten.softmax.int"),
    ("layer norm with signs", lambda h: nn.functional.layer_norm(h, (12,)), "aten.layer_norm.default"),
    ("square called odd", torch.square, "aten.square.default"),
]


@pytest.mark.parametrize(("fault", "function", "target"), WRONG, ids=[fault for fault, _, _ in WRONG])
def test_wrong_rule(fault: str, function: Callable, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict by numbers knows no rules, so it contradicts the proof."""
    case = replace(CASES["joint major"], name=fault, build=lambda: _Signed(function))
    case = replace(case, args=CASES["coco in, h36m out"].args)
    network = prepared(case, "skeleton: h36m\nhidden: {negated: 1/2}\n")
    assert target in {node.target for node in network.graph().nodes}
    _wrong_rule(monkeypatch, target, _swallow_signs)
    with pytest.raises(VerdictsDisagreeError, match="proves all"):
        convert(network, fault, Request("project", samples=1))


def test_candidate_of_a_gru_without_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepared(CASES["gru, negated"])

    def gates(hidden, solver):  # noqa: ANN001, ANN202
        gate = solver.absolute(hidden)
        return solver.concatenate([gate, gate, gate])

    monkeypatch.setattr(recurrent, "gru_gates", gates)
    with pytest.raises((VerdictsDisagreeError, UnsupportedError)) as caught:
        convert(network, "gru", Request("project", samples=1))
    assert isinstance(caught.value, ChiralizeError)


def test_mean_over_signed_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(17, 51)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.mean(-1)).view(-1, 17, 3)

    case = replace(CASES["coco in, h36m out"], name="mean", build=Mean)
    network = prepared(case, "skeleton: h36m\n")
    with pytest.raises(NegatedChannelsError, match="mean"):
        convert(network, "mean", Request("match", samples=1))
    _wrong_rule(monkeypatch, "aten.mean.dim", lambda call: SymbolicRepresentation(call.operands[0].rep.axes[:-1]))
    with pytest.raises(VerdictsDisagreeError):
        convert(network, "mean", Request("match", samples=1))


def test_lopsided_constant_taken_for_symmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASES["graph"], name="lopsided", build=lambda: Graph(lopsided=True))
    network = prepared(case)
    with pytest.raises(AsymmetricConstantError, match="mix"):
        convert(network, "graph", Request("match", samples=1))
    monkeypatch.setattr(inference, "deviation", lambda tensor, rep, partner: 0.0)
    with pytest.raises(VerdictsDisagreeError):
        convert(network, "graph", Request("match", samples=1))


def test_constant_symmetrised() -> None:
    """A symmetric result with another constant is not what was asked for: constants come through bit for bit."""
    case = CASES["graph"]
    model = case.model()
    network = prepared(case, model=model)
    for method in ("match", "project"):
        result = convert(network, "graph", Request(method, samples=1)).module
        assert torch.equal(result.state_dict()["mix"], model.state_dict()["mix"])


# ---- capture, mirror, average ---------------------------------------------------------------------------------------
def test_in_place_write_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExportedProgram, "run_decompositions", lambda self, table: self)
    network = prepared(CASES["writes in place"])
    with pytest.raises(CaptureError, match="writes in place"):
        network.graph()


BODY = "hip rhip rknee rfoot lhip lknee lfoot spine thorax neck head lsho lelb lwri rsho relb rwri".split()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("fault", ["", "sign missing", "one pair unswapped"])
def test_wrong_mirror(fault: str) -> None:
    """A wrong T approves its own result; T written independently does not."""
    joints = [f"joint{i}" if "knee" in name and "pair" in fault else name for i, name in enumerate(BODY)]
    pairs = [[name, "r" + name[1:]] for name in joints if name.startswith("l")]
    negate = [] if "sign" in fault else ["x"]
    case = CASES["coco in, h36m out"]
    case = replace(case, turns_in=case.turns_out)
    spec = f"joints: {joints}\npairs: {pairs}\ndims: [x, y, z]\nnegate: {negate}\n"
    found = convert(prepared(case, spec), fault, Request("match", samples=1))
    assert (residual(found.module, case) > 1e-2) if fault else (residual(found.module, case) <= 1e-10)


def _broken_average(monkeypatch: pytest.MonkeyPatch, change: Callable[[TwoView], None]) -> None:
    build = TwoView.__init__

    def init(self: TwoView, *args: object, **kwargs: object) -> None:
        build(self, *args, **kwargs)  # type: ignore[arg-type]
        change(self)

    monkeypatch.setattr(TwoView, "__init__", init)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("side", ["mirror_inputs", "mirror_outputs"])
def test_average_with_an_unmirrored_side(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _broken_average(monkeypatch, lambda lifted: setattr(lifted, side, nn.ModuleList([nn.Identity()])))
    with pytest.raises(EquivarianceError, match="output 0"):
        convert(prepared(CASES["coco in, h36m out"], None), "average", Request("average", samples=1, force=True))


def test_average_with_states_shared_between_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    _broken_average(monkeypatch, lambda lifted: setattr(lifted, "views", lifted.views[:1]))
    with pytest.raises(EquivarianceError):
        convert(prepared(CASES["policy, gru in buffers"]), "average", Request("average", samples=1))


def test_average_with_other_weights_in_one_view(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(lifted: TwoView) -> None:
        other = rewrite.with_weights(lifted.views[0], {})
        with torch.no_grad():
            next(other.parameters()).mul_(1.001)
        lifted.views.append(other)

    _broken_average(monkeypatch, change)
    with pytest.raises(EquivarianceError):
        convert(prepared(CASES["joint major"]), "average", Request("average", samples=1))


# ---- what travels along, precision, degenerate results --------------------------------------------------------------
def test_passport_with_other_hidden_representations() -> None:
    case = CASES["joint major"]
    found = convert(prepared(case), "net", Request("match", samples=1))
    hidden = dict(found.passport.hidden)
    for name, rep in hidden.items():
        hidden[name] = TensorRepresentation.trivial(rep.shape)
    network = prepared(case, model=found.module)
    assert judge(network, found.passport, samples=1).passed
    verdict = judge(network, replace(found.passport, hidden=hidden), samples=1)
    assert verdict.numeric.passed and verdict.certificate is not None and not verdict.certificate.passed


def test_cast_to_float32_inside_is_noticed() -> None:
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(34, 51)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.flatten(1)).float().to(x.dtype).view(-1, 17, 3)

    case = replace(CASES["coco in, h36m out"], name="casting", build=Casting)
    found = convert(prepared(case, "skeleton: h36m\n"), "casting", Request("project", samples=1))
    assert found.report.judgement.numeric is not None
    assert "float32" in " ".join((found.report.judgement.numeric.dtype, *found.report.judgement.numeric.notes))
    assert found.report.judgement.numeric.worst.bound > 1e-8


def test_result_that_forgot_left_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hidden unit its own mirror image: equivariant, and useless. Where nobody asked for it, another is taken."""
    monkeypatch.setattr(project, "impose", lambda size, *_: SignedPermutation.identity(size))
    case = CASES["policy, relu"]
    with pytest.raises(DegenerateError, match="odd"):
        convert(prepared(case, f"{case.spec}hidden: {{pairing: half}}\n"), "policy", Request("project", samples=1))
    found = convert(prepared(case), "policy", Request("project", samples=1))
    assert {own.reason for own in found.report.changes.choices} == {"matched by weights"}

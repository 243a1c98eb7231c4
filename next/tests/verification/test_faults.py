"""Faults planted on purpose, each caught by name: the checks must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.graph import rewrite
from chiralize.infer.hidden.choose import Imposed
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.records import RepMap, depth_of
from chiralize.infer.rule import registry, rule_of
from chiralize.infer.symbolic import evaluate
from chiralize.methods.average import averaged
from chiralize.problem.mirror import WeightAction, analyse, mirror_of
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.storage.passport import Passport
from chiralize.symmetry.action import act, project
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification import certificate, numeric
from chiralize.verification.judge import judge
from chiralize.verification.numeric import Setting
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict, Standing, Trial, Verdict
from tests.support.zoo import CASES
from tests.support.zoo.case import Case
from tests.support.zoo.judging import residual

Verdicts = tuple[NumericVerdict, CertificateVerdict]
TRIAL = Trial(samples=2, batches=())


def prepared(case: Case, model: nn.Module | None = None, spec: str | None = None) -> Network:
    args, kwargs = case.steps(1)[0]
    return prepare(model or case.model(), args, kwargs, parse_spec(spec or case.spec), entry=case.entry)


@cache
def analysed(name: str) -> tuple[Network, RepMap, dict[str, Tensor]]:
    """A case, its representations and its symmetric weights by name."""
    network = prepared(CASES[name])
    graph, spec = network.graph(), network.spec
    repmap = analyse(network, Imposed(spec.hidden, spec.skeleton, FromWeights(graph))).repmap
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in graph.weights}
    return network, repmap, rewrite.symmetric_weights(graph, concrete, repmap.partners)[0]


def verdicts(name: str, changes: dict[str, Tensor]) -> Verdicts:
    """Both verdicts on a converted network in which some tensors were exchanged."""
    network, repmap, values = analysed(name)
    held, captured = {**values, **changes}, network.graph()
    module = rewrite.with_weights(rewrite.with_weights(network.module, values), changes)
    mirror, setting = mirror_of(network, repmap), Setting(depth_of(captured))
    numbers = numeric.run(module, mirror, network.example, TRIAL, setting)
    leaves = {
        key: replace(leaf, tensor=held[leaf.names[-1]]) if leaf.is_weight else leaf
        for key, leaf in captured.leaves.items()
    }
    return numbers, certificate.prove(replace(captured, leaves=leaves), repmap)


def assert_both_name(found: Verdicts, weight: str) -> None:
    numbers, proof = found
    assert not numbers.passed and not proof.passed
    assert proof.broken.startswith(weight + " "), proof.broken


# ---- weights that were left as they were, or projected wrongly -------------------------------------------------------
@pytest.mark.parametrize("name", ["temporal", "lstm", "policy, normalised"])
def test_one_lopsided_weight(name: str) -> None:
    """A relative 1e-3 in any single weight fails both verdicts, and the proof names it."""
    numbers, proof = verdicts(name, {})
    assert numbers.passed and proof.passed
    for weight, tensor in analysed(name)[2].items():
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1), dtype=tensor.dtype)
        assert_both_name(verdicts(name, {weight: tensor * (1 + 1e-3 * noise)}), weight)


LEFT_ALONE = {
    "statistics skipped": ("temporal", "expand_bn.running_mean"),
    "variance skipped": ("temporal", "layers_bn.1.running_var"),
    "bias of a negated output": ("temporal", "shrink.bias"),
    "statistics of observations": ("policy, normalised", "mean"),
    "hidden weight of a recurrent layer": ("lstm", "rnn.weight_hh_l0"),
}


@pytest.mark.parametrize("fault", LEFT_ALONE)
def test_left_as_it_was(fault: str) -> None:
    name, weight = LEFT_ALONE[fault]
    original = analysed(name)[0].module.state_dict()[weight]
    assert_both_name(verdicts(name, {weight: original}), weight)


def test_one_gate_unprojected() -> None:
    original = analysed("lstm")[0].module.state_dict()["rnn.weight_ih_l0"]
    mixed = analysed("lstm")[2]["rnn.weight_ih_l0"].clone()
    mixed[10:20] = original[10:20]
    assert_both_name(verdicts("lstm", {"rnn.weight_ih_l0": mixed}), "rnn.weight_ih_l0")


def test_variance_projected_with_signs() -> None:
    """var moves with |T|, not with T: on negated channels the difference shows."""
    name, weight = "paper layout, 102", "bn.running_var"
    case = CASES[name]
    network = prepared(case, rewrite.with_tanh(case.model())[0], case.spec.replace("activation: tanh\n", ""))
    imposed = Imposed(network.spec.hidden, network.spec.skeleton, FromWeights(network.graph()))
    repmap = analyse(network, imposed).repmap
    actions = repmap.weight_representations(network.graph())
    assert actions[weight].is_sign_free and not actions["bn.running_mean"].is_sign_free
    wrong = project(network.module.state_dict()[weight], actions["bn.running_mean"])
    assert not torch.equal(act(wrong, actions[weight]), wrong)


def test_tied_and_shared_weights() -> None:
    """Unprojected under its second name, and projected for another axis than it is read by."""
    name, weight = "shared and tied", "shared.weight"
    network, repmap, values = analysed(name)
    assert_both_name(verdicts(name, {"other.weight": network.module.state_dict()["other.weight"]}), weight)
    rep = repmap.weight_representations(network.graph())[weight]
    elsewhere = Representation.of(SignedPermutation.of([(0, 1)], size=16))
    wrong = project(values[weight], TensorRepresentation((rep.axes[0], elsewhere)))
    assert_both_name(verdicts(name, {weight: wrong, "other.weight": wrong}), weight)


# ---- rules and mirrors that are wrong --------------------------------------------------------------------------------
class _Signed(nn.Module):
    """Hidden channels without bias, so that they may carry signs up to the function in question."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Linear(34, 12, bias=False), nn.Linear(12, 51, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.function(self.a(x.flatten(1)))).view(-1, 17, 3)


WRONG = {
    "aten.relu.default": torch.relu,
    "aten.square.default": torch.square,
    "aten.gelu.default": nn.functional.gelu,
    "aten.softmax.int": lambda h: torch.softmax(h, -1),
}


@pytest.mark.parametrize("target", WRONG)
def test_wrong_rule(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that swallows signs proves what is not so; the verdict by numbers knows no rules, and contradicts it."""
    (x,), spec = CASES["coco in, h36m out"].steps(1)[0][0], parse_spec("skeleton: h36m\nhidden: {negated: 1/2}\n")
    network = prepare(_Signed(WRONG[target]).double(), (x,), None, spec)
    assert target in {node.target for node in network.graph().nodes}
    rule = rule_of(target)
    assert rule is not None
    monkeypatch.setitem(registry(), target, replace(rule, apply=lambda call: call.operands[0].rep))  # type: ignore[arg-type]
    rule_of.cache_clear()
    repmap = analyse(network, Imposed(spec.hidden, spec.skeleton, FromWeights(network.graph()))).repmap
    actions = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in network.graph().weights}
    module = rewrite.with_weights(network.module, rewrite.symmetric_weights(network.graph(), actions, {})[0])
    action = WeightAction.of(network, repmap)
    verdict = judge(prepare(module, (x,), None, spec), Passport(spec, "project", "folded", action.hidden), trial=TRIAL)
    rule_of.cache_clear()
    assert verdict.certificate is not None and verdict.certificate.passed
    assert not verdict.numeric.passed and verdict.standing is Standing.DISAGREE


BODY = "hip rhip rknee rfoot lhip lknee lfoot spine thorax neck head lsho lelb lwri rsho relb rwri".split()


@pytest.mark.parametrize("fault", ["", "sign missing", "one pair unswapped"])
def test_wrong_mirror(fault: str) -> None:
    """A wrong T approves its own result; T written independently does not."""
    joints = [f"joint{i}" if "knee" in name and "pair" in fault else name for i, name in enumerate(BODY)]
    pairs = [[name, "r" + name[1:]] for name in joints if name.startswith("l")]
    negate = [] if "sign" in fault else ["x"]
    case = CASES["coco in, h36m out"]
    case = replace(case, turns_in=case.turns_out)
    spec = f"joints: {joints}\npairs: {pairs}\ndims: [x, y, z]\nnegate: {negate}\n"
    module = averaged(prepared(case, spec=spec)).module
    assert (residual(module, case) > 1e-2) if fault else (residual(module, case) <= 1e-10)


# ---- averages --------------------------------------------------------------------------------------------------------
def of_average(name: str, change: Callable[[nn.Module], None]) -> Verdict:
    """Both verdicts on an average that was changed."""
    network = prepared(CASES[name])
    module = averaged(network).module
    change(module)
    after = prepare(module, network.args, network.kwargs, network.spec)
    return judge(after, Passport(network.spec, "average", "two-view"), trial=TRIAL)


@pytest.mark.parametrize("side", ["mirror_inputs", "mirror_outputs"])
def test_average_with_an_unmirrored_side(side: str) -> None:
    verdict = of_average("coco in, h36m out", lambda two: getattr(two, side)[0].axes.clear())
    assert verdict.standing is Standing.FAILED
    assert verdict.certificate is not None and str(verdict.certificate.where) == "output 0"


def test_average_with_states_shared_between_the_views() -> None:
    verdict = of_average("policy, gru in buffers", lambda two: setattr(two, "views", two.views[:1]))  # type: ignore[index]
    assert verdict.standing is Standing.FAILED


def test_average_with_other_weights_in_one_view() -> None:
    """Off by as much as rounding shows: only the proof can see it."""

    def change(two: nn.Module, factor: float) -> None:
        other = rewrite.with_weights(two.views[0], {})  # type: ignore[index]
        with torch.no_grad():
            next(other.parameters()).mul_(factor)
        two.views.append(other)  # type: ignore[operator]

    assert of_average("joint major", lambda two: change(two, 1.001)).standing is Standing.FAILED
    assert of_average("joint major", lambda two: change(two, 1 + 4e-16)).standing is Standing.DISAGREE


# ---- what travels along ----------------------------------------------------------------------------------------------
def test_passport_with_other_hidden_representations() -> None:
    """What a passport claims has to hold itself; without one, another proof may be looked for."""
    network, repmap, values = analysed("joint major")
    module = rewrite.with_weights(network.module, values)
    after = prepare(module, network.args, network.kwargs, network.spec)
    action = WeightAction.of(network, repmap)
    passport = Passport(network.spec, "project", "folded", action.hidden, action.exchanged)
    assert judge(after, passport, trial=TRIAL).standing is Standing.PROVED
    assert judge(after, trial=TRIAL).standing is Standing.PROVED
    wrong = {name: TensorRepresentation.trivial(rep.shape) for name, rep in passport.hidden.items()}
    verdict = judge(after, replace(passport, hidden=wrong), trial=TRIAL)
    assert verdict.numeric.passed and verdict.certificate is not None and not verdict.certificate.passed
    assert verdict.standing is Standing.DISAGREE and not verdict.passed
    average = judge(after, replace(passport, form="two-view"), trial=TRIAL)
    assert average.standing is Standing.DISAGREE

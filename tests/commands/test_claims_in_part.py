"""Networks of which only some outputs are claimed: what is proved, what is left alone, and what is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import chiralize as ch
from chiralize.body.tensors import load_spec
from chiralize.body.tensors.claims import claimed, claimed_parts
from chiralize.cli.app import app
from chiralize.commands.completing import adapted
from chiralize.commands.convert import convert
from chiralize.commands.records import Conversion
from chiralize.commands.verify import verify
from chiralize.commands.writing import write
from chiralize.errors import ChiralizeError, EquivarianceError, MethodUnavailableError, SpecError, UsageError
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.partial import prepare
from chiralize.problem.request import Request
from chiralize.report import VerifyReport
from chiralize.report.document import plain
from chiralize.verification import numeric
from tests.support import partial_nets as nets
from tests.support.partial_nets import ARM, INPUTS, LEGS, spec_of

SPEC = spec_of()
EXAMPLE = (torch.zeros(2, INPUTS),)


def inputs(seed: int = 1, rows: int = 400) -> torch.Tensor:
    return torch.randn(rows, INPUTS, generator=torch.Generator().manual_seed(seed))


def converted(module: nn.Module, method: str, spec: Any = SPEC) -> Conversion:
    return convert(prepare(module, spec, EXAMPLE), "policy", Request(method, samples=2))


def verified(conversion: Conversion, spec: Any = SPEC) -> VerifyReport:
    """The verdict on the result, from nothing but the module and its passport."""
    return verify(prepare(conversion.module, spec, EXAMPLE), "result", conversion.passport, samples=2)


@pytest.fixture(scope="module")
def matched() -> Conversion:
    """A policy made equivariant in its legs."""
    return converted(nets.Policy(), "match")


def mirrored(x: torch.Tensor) -> torch.Tensor:
    """T on an input: legs swap, hips with a sign, and the arm's angles are kept."""
    return torch.cat([legs_mirrored(x[:, :LEGS]), x[:, LEGS:]], 1)


def legs_mirrored(legs: torch.Tensor) -> torch.Tensor:
    return legs[:, [2, 3, 0, 1]] * torch.tensor([-1.0, 1, -1, 1], dtype=legs.dtype)


def gaps(module: nn.Module) -> tuple[float, float]:
    """How far the legs are from equivariance, and the arm from invariance, worked out by hand."""
    module, x = module.double(), inputs().double()
    with torch.no_grad():
        plain, turned = module(x), module(mirrored(x))
    legs = (turned[:, :LEGS] - legs_mirrored(plain[:, :LEGS])).abs().max()
    return float(legs), float((turned[:, LEGS:] - plain[:, LEGS:]).abs().max())


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("net", "method"), [(nets.Policy, "match"), (nets.Squashed, "project")])
def test_legs_are_equivariant_and_the_arm_is_free(net: type[nn.Module], method: str) -> None:
    """In the original's class, with the original's keys and shapes; the arm is still handed."""
    original = net()
    conversion = converted(original, method)
    report = verified(conversion)
    assert report.passed and report.judgement.certificate is not None and report.judgement.certificate.passed
    assert type(conversion.module) is net
    shapes = {name: tensor.shape for name, tensor in original.state_dict().items()}
    assert {name: tensor.shape for name, tensor in conversion.module.state_dict().items()} == shapes
    legs, arm = gaps(conversion.module)
    assert legs < 1e-12 and arm > 1e-2
    sentence = "equivariant in 4 of 7 outputs"
    assert sentence in str(report) and "nothing is claimed of arm (3)" in str(report)
    assert sentence in str(conversion.report) and "nothing is claimed of arm (3)" in str(conversion.report)


def test_a_network_that_is_not_equivariant_fails_in_what_is_claimed() -> None:
    report = verify(prepare(nets.Policy(), SPEC, EXAMPLE), "policy")
    assert not report.passed
    assert "NOT equivariant" in str(report) and "nothing is claimed of arm (3)" in str(report)


@pytest.mark.thorough
def test_reduce_and_rows_that_are_fitted() -> None:
    """Rows of the arm are the least squares fit of the original's answers; keeping them as they were is worse."""
    original = nets.Policy()
    calls = [((batch,), {}) for batch in inputs().split(40)]
    request = Request("reduce", calibration=calls, samples=2, rounds=0)
    conversion = convert(prepare(original, SPEC, EXAMPLE), "policy", request)
    assert verified(conversion).passed
    x = inputs(5)
    with torch.no_grad():
        wanted = original(x)[:, LEGS:]
        fitted = conversion.module(x)[:, LEGS:]
        kept = conversion.module.trunk(x) @ original.head.weight[LEGS:].T + original.head.bias[LEGS:]
    error = float((fitted - wanted).square().mean())
    assert error < 0.5 * float((kept - wanted).square().mean())
    assert conversion.report.claims is not None
    (arm,) = conversion.report.claims.left_out
    spread = float(wanted.var(0, unbiased=False).sum().sqrt())
    measured = float((fitted - wanted).square().mean(0).sum().sqrt()) / spread
    assert arm.error == pytest.approx(measured, rel=0.3)


@pytest.mark.thorough
def test_the_average_leaves_the_arm_exactly_as_it_is() -> None:
    """Whatever the network mixes: legs are averaged over both views, the arm is the original's."""
    original = nets.LegsReadTheArm()
    conversion = converted(original, "average")
    assert verified(conversion).passed
    cost = conversion.report.cost
    assert conversion.report.passes == 3 and cost.macs_after > 2.5 * cost.macs_before
    assert gaps(conversion.module)[0] < 1e-12
    x = inputs(3).double()
    with torch.no_grad():
        plain, turned = original.double()(x), original(mirrored(x))
        answer = conversion.module.double()(x)
    torch.testing.assert_close(answer[:, LEGS:], plain[:, LEGS:], rtol=0, atol=1e-12)
    average = (plain[:, :LEGS] + legs_mirrored(turned[:, :LEGS])) / 2
    torch.testing.assert_close(answer[:, :LEGS], average, rtol=0, atol=1e-12)


MIXED = (
    nets.SoftmaxOverBoth,
    nets.ScaledByTheSum,
    nets.LegsReadTheArm,
    nets.LegsReadTheArmLater,
    nets.SharedWeights,
)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("net", MIXED)
def test_what_mixes_claimed_entries_with_others_is_refused(net: type[nn.Module]) -> None:
    """By the methods that move weights, with the line; `auto` averages; and verify judges it as it is."""
    network = prepare(net(), SPEC, EXAMPLE)
    with pytest.raises(MethodUnavailableError, match="entries of which nothing is claimed") as caught:
        adapted(network, Request("match"))
    assert caught.value.remedy == "use --method average"
    assert adapted(network, Request("auto")).method == "average"
    quick = mirror_if_known(network, None)
    assert quick is not None and numeric.plainly_differs(network.module, quick, network.args, network.kwargs)


def test_legs_that_secretly_read_a_free_arm_do_not_pass() -> None:
    """An equivariant policy, broken by what its arm computes: the legs' own layer is fine, their answer is not."""
    conversion = converted(nets.TwoHeads(), "match", spec_of({"unclaimed": ARM, "name": "arm"}, {"joints": "legs"}))
    fine = conversion.module

    class Broken(nn.Module):
        """The legs lean with the arm."""

        def __init__(self) -> None:
            super().__init__()
            self.fine = fine

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = self.fine(x)
            return torch.cat([answer[:, :ARM], answer[:, ARM:] + 1e-3 * answer[:, :1]], -1)

    spec = spec_of({"unclaimed": ARM, "name": "arm"}, {"joints": "legs"})
    assert verify(prepare(fine, spec, EXAMPLE), "fine", conversion.passport).passed
    report = verify(prepare(Broken(), spec, EXAMPLE), "broken")
    assert not report.passed


@pytest.mark.thorough
def test_a_module_is_run_itself_not_its_graph_alone(matched: Conversion) -> None:
    """What a graph does not hold shows when the whole network runs: a branch that no export takes."""
    fine = matched.module

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = fine

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = self.fine(x)
            if not torch.compiler.is_exporting() and bool(x.abs().max() > 0):
                answer = answer + x[:, :1]
            return answer

    network = prepare(Branching(), SPEC, EXAMPLE)
    assert network.handover.partial is not None and network.handover.partial.mixed is not None
    assert not verify(network, "branching", samples=2).passed


@pytest.mark.thorough
def test_entries_left_out_before_and_after_those_that_are_claimed() -> None:
    spec = spec_of({"unclaimed": ["grip", "lift"], "name": "arm"}, {"joints": "legs"}, {"unclaimed": 1, "name": "eye"})
    split = converted(nets.Policy(), "match", spec)
    assert verified(split, spec).passed
    assert split.report.claims is not None and split.report.claims.names == "arm (2), eye (1)"


def test_networks_that_keep_a_state_are_verified_and_not_converted() -> None:
    with pytest.raises(MethodUnavailableError, match="keeps a state"):
        converted(nets.FedBack(), "auto")


@pytest.mark.thorough
def test_an_equivariant_network_is_handed_back_as_it_is(matched: Conversion) -> None:
    again = converted(matched.module, "match")
    assert again.report.way.unchanged and "already equivariant in 4 of 7 outputs" in str(again.report)
    for name, tensor in matched.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name])


@pytest.mark.thorough
def test_the_claim_travels_with_the_file(tmp_path: Path) -> None:
    """A .pt2 knows of what nothing is claimed, and is proved again from its passport."""
    path = tmp_path / "policy.pt2"
    write(converted(nets.Policy(), "average"), path)
    result = CliRunner().invoke(app, ["verify", str(path), "--format", "json", "--samples", "2"])
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"] and report["certificate"]["passed"]
    left_out = [{"name": "arm", "size": ARM, "error": None}]
    assert report["claims"] == {"words": "4 of 7 outputs", "left_out": left_out}
    assert report["verdict"].startswith("equivariant in 4 of 7 outputs: proved op by op")


def test_weights_that_are_tampered_with_fail(matched: Conversion) -> None:
    """The legs' rows are held to the claim, the arm's are not."""
    module = deepcopy(matched.module)
    tampered = replace(matched, module=module)
    with torch.no_grad():
        module.get_parameter("head.weight")[LEGS:] += 1
    assert verified(tampered).passed
    with torch.no_grad():
        module.get_parameter("head.weight")[0, 0] += 1e-3
    assert not verified(tampered).passed


def test_commands_for_whole_networks_refuse() -> None:
    module = ch.chiralize(nets.Policy(), SPEC, EXAMPLE, method="match")
    x = inputs(rows=2)
    for refused in (
        lambda: ch.flip_test(nets.Policy(), SPEC, EXAMPLE),
        lambda: ch.save(module, "never.pt"),
        lambda: ch.attach(nets.Policy(), module),
        lambda: ch.keep_symmetric(module, torch.optim.SGD(module.parameters(), 0.1)),
        lambda: ch.Mirror.of(SPEC).outputs(torch.zeros(2, LEGS + ARM)),
    ):
        with pytest.raises((UsageError, SpecError), match="nothing is claimed"):
            refused()
    torch.testing.assert_close(ch.Mirror.of(SPEC)(x), mirrored(x))


def test_forms_that_hold_no_whole_network_are_refused() -> None:
    with pytest.raises(MethodUnavailableError, match="blocks layers cannot hold"):
        convert(prepare(nets.Policy(), SPEC, EXAMPLE), "policy", Request("match", form="blocks"))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("is_first", "method"), [(False, "match"), (True, "project"), (True, "average")])
def test_outputs_that_are_left_out_as_a_whole(is_first: bool, method: str) -> None:
    """Legs are equivariant, the answer has the original's structure; a head that nothing reads is fitted."""
    original, spec = nets.WithCode(is_first), nets.spec_of_legs(is_first)
    conversion = converted(original, method, spec)
    report = verified(conversion, spec)
    assert report.passed and report.judgement.certificate is not None and report.judgement.certificate.passed
    names = "the network's output 0 (3), beside (5)" if is_first else "the network's output 1 (3), beside (5)"
    assert (
        f"equivariant in 1 of 3 outputs: proved op by op, and run on 2 samples; nothing is claimed of {names}"
        in str(report)
    )
    assert any("outputs are numbered without those that are left out" in note for note in report.notes) == is_first
    module, x = conversion.module.double(), inputs().double()
    with torch.no_grad():
        plain, turned, before = module(x), module(mirrored(x)), original.double()(x)
    legs = 2 if is_first else 0
    assert [tensor.shape for tensor in plain] == [tensor.shape for tensor in before]
    assert float((turned[legs] - legs_mirrored(plain[legs])).abs().max()) < 1e-12
    assert float((turned[legs - 1] - plain[legs - 1]).abs().max()) > 1e-2
    if method == "average":
        assert torch.equal(plain[legs - 1], before[legs - 1])
        beside = next(note for note in conversion.report.notes if "runs once more" in note)
        assert "convert a subclass whose forward returns the other outputs alone" in beside
    else:
        assert type(conversion.module) is nets.WithCode


def test_the_headline_says_why_auto_averages_beside_the_original() -> None:
    conversion = converted(nets.SoftmaxOverBoth(), "auto", SPEC)
    report = conversion.report
    assert report.passes == 3
    assert "; one pass is ruled out by what is left out (arm (3)), at " in report.verdict
    assert not any("convert a subclass" in note for note in report.notes), "no whole output is left out"


def test_the_size_of_an_output_is_that_of_a_sample() -> None:
    """Of channels along frames neither the frames alone are counted, nor the samples."""
    spec = load_spec({**nets.ROBOT, "outputs": [{"fields": [{"joints": "legs"}]}, "unclaimed", "unclaimed"]})
    parts = claimed_parts(spec, [(2, 4), (2, 32, 4), (2, 3)])
    assert [part.names for part in parts] == [(("the network's output 1", 128),), (("the network's output 2", 3),)]
    assert parts[0].unclaimed == (0, 1, 2, 3)


def test_a_head_that_is_left_out_as_a_whole_is_fitted() -> None:
    """Nothing bounds it, but it is nearer to the original's answers than with the weights that it had."""
    original, spec = nets.WithCode(), nets.spec_of_legs()
    conversion, x = converted(original, "match", spec), inputs(7)
    with torch.no_grad():
        wanted, hidden = original(x)[2], conversion.module.trunk(x)
        fitted, kept = conversion.module(x)[2], original.beside(hidden)
    assert float((fitted - wanted).square().mean()) < float((kept - wanted).square().mean())
    assert conversion.report.claims is not None
    assert [part.name for part in conversion.report.claims.left_out] == ["the network's output 1", "beside"]
    # A code that the legs are made of is in another basis now.
    code = conversion.report.claims.left_out[0]
    assert [part.name for part in conversion.report.claims.moved] == [code.name] and code.error is not None
    share = f"{code.name} by {plain(code.error)} of its spread"
    assert f", and its answers are others than the original's ({share})" in conversion.report.verdict
    assert any(
        note.endswith("--method average keeps it as the original computes it") for note in conversion.report.notes
    )


def test_outputs_like_others_when_some_are_left_out() -> None:
    """`like` counts all outputs of the network, also those that are left out."""
    legs = {"fields": [{"joints": "legs"}]}
    left = claimed(load_spec({**nets.ROBOT, "outputs": ["unclaimed", legs, {"like": "output 1"}]}))
    assert [entry.like for entry in left.outputs or ()] == [None, "output 0"]
    read = claimed(load_spec({**nets.ROBOT, "inputs": [{"like": "output 1"}], "outputs": ["unclaimed", legs]}))
    assert [entry.like for entry in read.inputs or ()] == ["output 0"], "of what is read, too"
    code = {"unclaimed": True, "name": "code"}
    for name, io in (("output 0", "outputs"), ("code", "outputs"), ("output 0", "inputs")):
        wrong: dict[str, Any] = {**nets.ROBOT, "outputs": [code, legs]}
        wrong[io] = [*wrong.get(io, []), {"like": name}]
        with pytest.raises(SpecError, match=f"nothing is claimed of '{name}'"):
            claimed(load_spec(wrong))


def test_networks_of_which_nothing_is_claimed() -> None:
    """Not one output, or an input: there is no mirror to speak of."""
    fields = {"inputs": [{"fields": [{"joints": "q"}, {"scalar": ARM, "name": "arm_q"}]}]}
    with pytest.raises(SpecError, match="all outputs are `unclaimed`"):
        prepare(nets.Policy(), load_spec({**nets.ROBOT, **fields, "outputs": ["unclaimed"]}), EXAMPLE)
    with pytest.raises(SpecError, match="for all inputs"):
        prepare(nets.Policy(), load_spec({**nets.ROBOT, "inputs": ["unclaimed"]}), EXAMPLE)
    with pytest.raises(SpecError, match="both `free` and `unclaimed`"):
        load_spec({**nets.ROBOT, "outputs": [{"free": True, "unclaimed": True}]})


@pytest.mark.parametrize(
    ("io", "blocks", "facts"),
    [
        ("inputs", [{"joints": "q"}, {"unclaimed": 3, "name": "arm"}], "for all inputs"),
        ("outputs", [{"unclaimed": 7, "name": "arm"}], "left out as a whole"),
        ("outputs", [{"joints": "q"}, {"free": 3}], "two things"),
        ("outputs", [{"joints": "q"}, {"history": 2, "of": [{"unclaimed": 3}]}], "within `of`"),
        ("outputs", [{"joints": "q"}, {"unclaimed": 0}], "0 entries"),
    ],
)
def test_specifications_that_claim_nothing_or_too_much(io: str, blocks: list[dict[str, Any]], facts: str) -> None:
    with pytest.raises(SpecError, match=facts):
        load_spec({**nets.ROBOT, io: [{"fields": blocks}]})


def test_whatever_works_with_t_cannot_overlook_a_claim() -> None:
    """T has no action on entries that are left out: code that does not know of them fails, and never passes them."""
    from chiralize.body.tensors import resolve

    with pytest.raises(SpecError, match="nothing is claimed of 'arm'"):
        resolve(SPEC, [(1, INPUTS)], [(1, LEGS + ARM)])


def test_a_result_that_fails_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over is judged itself: rows put back wrongly are found."""
    from chiralize.commands import completing

    def wrong(*arguments: Any) -> dict[str, torch.Tensor]:
        """The right weights, one of the legs' entries changed."""
        values = dict(plain(*arguments))
        values["head.weight"] = values["head.weight"].clone()
        values["head.weight"][1, 1] += 0.1
        return values

    plain = completing._weights
    monkeypatch.setattr(completing, "_weights", wrong)
    with pytest.raises(EquivarianceError, match="what is handed over|claimed outputs"):
        converted(nets.Policy(), "match")


def test_errors_are_ours() -> None:
    """No odd output ends in a traceback."""
    for blocks in ([{"joints": "q"}], [{"joints": "q"}, {"unclaimed": 9, "name": "arm"}]):
        with pytest.raises(ChiralizeError):
            prepare(nets.Policy(), spec_of(*blocks), EXAMPLE)

"""The Python interface: what goes in, what comes back, what is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError, EquivarianceError, NoRuleError, UsageError
from chiralize.verification.verdicts import NumericVerdict
from tests.support.small_body import POSE
from tests.support.zoo import CASES
from tests.support.zoo.judging import residual

CASE = CASES["coco in, h36m out"]
SPEC = parse_spec(CASE.spec)
ARGS, _ = CASE.steps(1)[0]


@pytest.fixture(scope="module")
def result() -> Any:
    return chiralize.chiralize(CASE.model(), SPEC, ARGS, method="match", samples=2)


def test_a_module_that_knows_what_it_is(result: Any) -> None:
    assert isinstance(result, nn.Module) and residual(result, CASE) <= 1e-10
    assert result.chirality.method == "match" and result.chirality.form == "folded"
    assert set(result.chirality.hidden) >= {name for name, _ in result.named_parameters()}
    assert result.chirality.report.judgement.numeric.passed


def test_verify_without_a_specification(result: Any) -> None:
    report = chiralize.verify(result, example_inputs=ARGS, samples=1)
    assert report.passed
    report.raise_for_failure()


def test_verify_of_the_original_fails() -> None:
    with pytest.raises(EquivarianceError, match="CH501"):
        chiralize.verify(CASE.model(), SPEC, ARGS, samples=1).raise_for_failure()
    with pytest.raises(UsageError, match="no skeleton"):
        chiralize.verify(CASE.model(), example_inputs=ARGS)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("samples", [0, -1, 1.5, 10_001, 10**9])
def test_a_verdict_on_nothing_is_none(samples: Any) -> None:
    with pytest.raises(UsageError, match=f"--samples: {samples} is not a whole number from 1 to 10,000"):
        chiralize.verify(CASE.model(), SPEC, ARGS, samples=samples)
    assert not NumericVerdict((), "float64", 0).passed


@pytest.mark.thorough
def test_calibration_as_a_tensor_or_as_batches() -> None:
    data = torch.randn(30, 17, 2, dtype=torch.float64)
    for given in (data, [(part,) for part in data.split(3)]):
        found: Any = chiralize.chiralize(
            CASE.model(), SPEC, ARGS, method="match", calibration=given, samples=1, rounds=0
        )
        assert found.chirality.report.drift.source == "held-out calibration inputs"


def test_plan_and_audit_change_nothing() -> None:
    model = CASE.model()
    before = {name: own.clone() for name, own in model.state_dict().items()}
    for method in ("match", "average"):
        rows = chiralize.plan(model, SPEC, ARGS, method=method).rows
        assert len(rows) > 5
    audit = chiralize.audit(model, SPEC, ARGS)
    assert audit.network.gap > 0.1
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())


@pytest.mark.thorough
def test_an_exported_program() -> None:
    program = torch.export.export(CASE.model(), ARGS, strict=False)
    found = chiralize.chiralize(program, SPEC, ARGS, method="average", samples=1)
    assert residual(found, CASE) <= 1e-12


def test_example_inputs_as_one_tensor_or_as_nothing_of_use() -> None:
    """A tensor is the only argument of the call, not a sequence of its rows."""
    alone = chiralize.plan(CASE.model(), SPEC, ARGS[0], method="match")
    assert len(ARGS) == 1 and alone.rows == chiralize.plan(CASE.model(), SPEC, ARGS, method="match").rows
    for wrong, says in ((3, "int given"), ("poses.npy", "str given"), (ARGS[0].numpy(), "ndarray given")):
        with pytest.raises(UsageError, match=says):
            chiralize.plan(CASE.model(), SPEC, wrong)  # type: ignore[arg-type]


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_drift": float("nan")}, "--max-drift: nan is not a number"),
        ({"max_drift": "x"}, "--max-drift: 'x' is not a number"),
        ({"width": "half"}, "--width: 'half' is no share"),
        ({"mix_gaussian": "half"}, "--mix-gaussian: 'half' is no share"),
        ({"mix_gaussian": None}, "--mix-gaussian: None is no share"),
        ({"width": 0.5}, "--width: match has no width"),
        ({"mix_gaussian": 0.5, "method": "average"}, "--mix-gaussian: average fits nothing"),
        ({"distill_checkpoint": "run.pt"}, "--distill-checkpoint: nothing is distilled"),
        ({"distill": 1.5}, "--distill: 1.5 is not a whole number"),
        ({"distill": -5}, "--distill: -5 is not a whole number of at least 0"),
        ({"samples": 0}, "--samples: 0 is not a whole number from 1 to 10,000"),
        ({"samples": 10**9}, "--samples: 1000000000 is not a whole number from 1 to 10,000"),
        ({"rounds": -1}, "--rounds: -1 is not a whole number"),
    ],
    ids=str,
)
def test_options_that_are_none(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chiralize.chiralize(CASE.model(), SPEC, ARGS, **{"method": "match", **wrong})


def test_a_compiled_network() -> None:
    """What `torch.compile` returns has a length only where the network has one."""
    compiled: Any = torch.compile(CASE.model(), backend="eager")
    assert residual(chiralize.chiralize(compiled, SPEC, ARGS, method="match", samples=1), CASE) <= 1e-10


@dataclass
class Answer:
    pose: torch.Tensor


class Answering(nn.Module):
    def forward(self, x: torch.Tensor) -> Answer:
        return Answer(x)


@pytest.mark.parametrize(
    ("model", "example", "says"),
    [
        (Answering, ARGS, "model: the class Answering given\n *Fix: give an instance of a torch.nn.Module"),
        (lambda x: x, ARGS, "model: function given"),
        (Answering(), ([1.0],), r"there is no tensor among them\n.*torch.from_numpy takes arrays"),
        (Answering(), (ARGS[0].numpy(),), "there is no tensor among them"),
        (Answering(), ARGS, r"returns no tensor that can be found: Answer\n.*register_dataclass makes a class known"),
    ],
    ids=["class", "function", "list", "array", "dataclass"],
)
def test_what_is_no_network_or_no_tensor_is_said(model: Any, example: Any, says: str) -> None:
    with pytest.raises(ChiralizeError, match=says):
        chiralize.chiralize(model, SPEC, example, method="average")


def test_networks_that_do_not_return_themselves() -> None:
    """`train()` and `_apply()` without `return self`, as MDM has them."""

    class Silent(nn.Linear):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

        def _apply(self, fn: Any, recurse: bool = True) -> None:  # type: ignore[override]
            super()._apply(fn, recurse)

    net = Silent(34, 51)
    net.eval()
    spec = {
        "skeleton": "h36m-17",
        "inputs": [{"layout": "b (j d)", "dims": ["x", "y"]}],
        "outputs": [{"layout": "b (j d)"}],
    }
    for method in ("project", "average"):
        assert chiralize.chiralize(
            net, spec, torch.randn(2, 34), method=method, samples=1
        ).chirality.report.judgement.certificate.passed


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)).view(-1, 6, 2) + torch.randn_like(x)


def test_the_random_state_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    x, given = torch.randn(3, 6, 2), parse_spec(POSE)
    plain, random = nn.Sequential(nn.Flatten(1), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))), Random()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("generators of other devices"))
    before = torch.get_rng_state()
    for form in ("blocks", "fused"):  # their layers are made anew
        chiralize.chiralize(plain, given, (x,), method="project", form=form, samples=1)
    chiralize.audit(random, given, (x,))
    with pytest.raises(NoRuleError):
        chiralize.chiralize(random, given, (x,))
    assert torch.equal(before, torch.get_rng_state())

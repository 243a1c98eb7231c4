"""Outputs that are no poses: a number for each sample, for all of them, complex numbers, and integers alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import MethodUnavailableError
from chiralize.report import ConvertReport, to_text
from tests.support.small_body import BODY, normal, trained, turned

POSES = normal(320, 6, 2, seed=1)


class Net(nn.Module):
    """A hidden layer, and an answer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.last(torch.tanh(self.first(x.flatten(1))))
        match self.kind:
            case "a value":
                return y[:, 0]
            case "one value":
                return y[:, 0].mean()
            case "an answer":
                return y.argmax(-1)
            case "scores":
                return y
            case "an answer and scores":
                return y, y.argmax(-1)
            case _:
                return torch.complex(y[:, :2], y[:, 2:])


KINDS = ("a value", "one value", "an answer", "complex", "scores", "an answer and scores")


def spec_of(kind: str) -> Any:
    outputs = ", ".join(["{invariant: true}"] * (2 if kind == "an answer and scores" else 1))
    return parse_spec(BODY + f'inputs: [{{layout: "b j d"}}]\noutputs: [{outputs}]\n')


def converted(kind: str, method: str, **options: Any) -> ConvertReport:
    found: Any = chiralize.chiralize(
        trained(Net(kind)), spec_of(kind), (POSES[:8],), calibration=POSES, method=method, samples=1, force=True,
        **{"rounds": 0, **options},
    )  # fmt: skip
    with torch.no_grad():
        plain, there = found(POSES), found(turned(POSES))
    for own, other in zip(plain, there, strict=True) if isinstance(plain, tuple) else [(plain, there)]:
        assert float((own - other).abs().max()) < 1e-9
    return found.chirality.report


@pytest.mark.one_in(8)
@pytest.mark.parametrize(
    ("kind", "method"),
    [("a value", "auto"), ("a value", "match"), ("a value", "average"), ("an answer and scores", "reduce"),
     ("an answer and scores", "project")],
)  # fmt: skip
def test_converted(kind: str, method: str) -> None:
    report = converted(kind, method, distill=4 if method != "average" else 0)
    assert report.method in (method, "average", "reduce") and report.drift is not None
    assert [own.index for own in report.drift.outputs] == [0]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", KINDS)
def test_audited(kind: str) -> None:
    """Where nothing can be measured nobody says that it is equivariant."""
    found: Any = chiralize.audit(trained(Net(kind)), spec_of(kind), (POSES[:8],), calibration=POSES)
    measured = kind not in ("an answer", "complex")
    assert len(found.network.outputs) == measured
    nobody = found.advice.text.startswith("nobody can say: no output is a floating-point number")
    assert nobody == (not measured) and (measured or found.advice.kind == "unknown"), found.advice


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", ["an answer", "complex"])
def test_without_scores_units_cannot_be_chosen(kind: str) -> None:
    """`reduce` says why, `auto` averages."""
    with pytest.raises(MethodUnavailableError, match="the outputs: none of them is a floating-point number"):
        converted(kind, "reduce")
    report = converted(kind, "auto")
    assert report.method == "average" and any(
        "the outputs" in note and "was not taken" in note for note in report.notes
    )
    with pytest.raises(MethodUnavailableError, match="no output is a floating-point number that could be imitated"):
        converted(kind, "project", distill=4)


def test_complex_numbers_have_a_drift() -> None:
    report = converted("complex", "project")
    assert report.drift is not None and report.drift.rho > 0.1
    lifted = converted("complex", "average").drift
    assert lifted is not None and lifted.outputs[0].gap > 0.1 and lifted.rho < 1e-6


def test_what_is_not_measured_is_said() -> None:
    report = converted("an answer", "project")
    assert report.drift is not None and not report.drift.outputs
    says = "its distance from the original is unknown: nothing was measured: no output is a floating-point number"
    assert says in to_text(report)


@pytest.mark.thorough
def test_integers_are_not_imitated() -> None:
    """The loss is that of the scores, as without the answer beside them."""
    losses = [
        note
        for kind in ("an answer and scores", "scores")
        for note in converted(kind, "project", distill=4).notes
        if note.startswith("distilled on held-out loss ")
    ]
    assert len(losses) == 2 and losses[0] == losses[1]

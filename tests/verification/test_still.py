"""A network that answers nearly the same to everything is warned of in the headline, unless its inputs are alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit, chirality, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import MirrorWarning
from chiralize.report import to_text

SPEC = parse_spec("joints: [hip, left_knee, right_knee, nose]\npairs: [[1, 2]]\ndims: [x, y]\n")
SAYS = "the original answers nearly the same to everything, so that nothing confirms the mirror"


def collapsed(share: float) -> nn.Module:
    """A regressor whose answers vary by about this share of their size."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8), nn.Unflatten(1, (4, 2)))
    last = net[3]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight *= share
        last.bias.copy_(torch.randn(8))
    return net


def poses(spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 1 + spread * (torch.randn(128, 1, 2, generator=generator) + torch.randn(128, 4, 2, generator=generator))


def test_the_headline_says_so_first() -> None:
    with pytest.warns(MirrorWarning, match="its answers vary by < 0.1 % of their size, the inputs by 79.9 %"):
        result = chiralize(collapsed(1e-3), SPEC, example_inputs=(poses()[:4],), calibration=poses(), force=True)
    headline = str(chirality(result)).splitlines()[0]
    assert SAYS in headline and headline.index(SAYS) < headline.index("gap is")


def test_audit_does_not_judge_it() -> None:
    report = audit(collapsed(1e-3), SPEC, example_inputs=(poses()[:4],), data=poses())
    assert report.advice is not None and report.advice.kind == "unknown"
    assert report.advice.text.startswith("nobody can say: the network answers nearly the same to everything")


@pytest.mark.parametrize(("share", "spread"), [(1.0, 1.0), (1e-3, 1e-3)])
def test_answers_that_vary_and_inputs_that_do_not_are_no_such_network(share: float, spread: float) -> None:
    report = audit(collapsed(share), SPEC, example_inputs=(poses()[:4],), data=poses(spread))
    assert report.evidence.still == "" and SAYS not in str(report)


class Beside(nn.Module):
    """Two regressors, the second of which collapsed."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.one, self.other = collapsed(1.0), collapsed(share)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x), self.other(x)


@pytest.mark.parametrize(("share", "spread"), [(1e-3, 1.0), (1.0, 1.0), (1e-3, 1e-3)])
def test_one_output_of_several_is_warned_of(share: float, spread: float) -> None:
    report = audit(Beside(share), SPEC, example_inputs=(poses()[:4],), data=poses(spread))
    is_warned = (share, spread) == (1e-3, 1.0)
    assert bool(report.evidence.collapsed) == is_warned
    text = "vary by 79.9 % of their size, the original's answers hardly vary: output 1 by < 0.1 % of its size"
    assert (text in to_text(report)) == is_warned


def test_a_conversion_says_so_in_its_headline() -> None:
    with pytest.warns(MirrorWarning, match="hardly vary: output 1 by < 0.1 % of its size"):
        result = chiralize(
            Beside(1e-3), SPEC, example_inputs=(poses()[:4],), calibration=poses(), method="project", force=True
        )
    assert "an output of the original hardly changes with the inputs" in str(chirality(result)).splitlines()[0]

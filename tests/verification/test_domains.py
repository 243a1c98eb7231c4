"""Networks that take no negative numbers (logarithms, roots, angles): judged near the examples, no less strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError
from chiralize.graph.running import Around, placed
from tests.support.small_body import BODY, normal, trained, turned

SPEC = BODY + 'inputs: [{layout: "b t j d"}, {free: true}]\noutputs: [{layout: "b j d"}]\n'
FUNCTIONS = {
    "logarithm": lambda w: torch.log(w),
    "root": lambda w: w.sqrt(),
    "angle": lambda w: torch.acos(w / 2),
    "power": lambda w: w.pow(0.3),
}


class Weighted(nn.Module):
    """The mean over frames, weighted by what a function makes of their confidences."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = FUNCTIONS[function]
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = torch.tanh(self.first(x.flatten(2))) * self.function(w)[..., None]
        return self.last(y.mean(1)).unflatten(1, (6, 2))


def confidences(rows: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.5 + 0.5


def inputs(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return normal(rows, 5, 6, 2, seed=seed), confidences(rows, seed)


def residual(net: Any) -> float:
    x, w = inputs(7, 5)
    with torch.no_grad():
        return float((net(turned(x), w) - turned(net(x, w))).abs().max() / net(x, w).abs().max())


@pytest.mark.one_in(6)
@pytest.mark.parametrize(
    ("function", "method"),
    [("logarithm", "average"), ("root", "match"), ("angle", "project"), ("power", "reduce"), ("logarithm", "auto")],
)
def test_converted(function: str, method: str) -> None:
    calls = [inputs(8, 10 + seed) for seed in range(30)] if method in ("reduce", "auto") else None
    how: dict[str, Any] = {"method": method, "samples": 2, "force": True, "calibration": calls, "rounds": 0}
    found: Any = chiralize.chiralize(trained(Weighted(function)), parse_spec(SPEC), inputs(3), **how)
    report = found.chirality.report
    assert residual(found) < 1e-9 and report.judgement.numeric.passed and report.judgement.certificate.passed
    where = "the examples, each number of input 1 times 0.5 to 1.5, the others N(0, 1)"
    says = f"random inputs are {where}: N(0, 1) is more than the network takes"
    assert says in report.judgement.numeric.notes
    if calls is None:
        assert where in report.drift.source


@pytest.mark.one_in(2)
@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_lopsided_ones_fail(function: str) -> None:
    """A planted fault: what was never converted is not taken for equivariant."""
    report = chiralize.verify(trained(Weighted(function)), parse_spec(SPEC), inputs(3), samples=2)
    worst = report.judgement.numeric.worst
    assert not report.judgement.numeric.passed and worst.finite and worst.residual > 0.01 * worst.scale


class Strict(Weighted):
    """Looks at the range of what it is given."""

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not bool((w > 0).all()):
            raise ValueError("confidences are positive")
        return super().forward(x, w)


def test_refused_ranges() -> None:
    found: Any = chiralize.chiralize(trained(Strict("root")), parse_spec(SPEC), inputs(3), method="average", samples=2)
    assert residual(found) < 1e-9 and found.chirality.report.judgement.numeric.passed


class Beside(Weighted):
    """Lopsided where a confidence is low, which the examples' never are."""

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = super().forward(x, w)
        low = torch.tensor([1.0, 0.0]).to(y)
        return (y + turned(super().forward(turned(x), w))) / 2 + low * (w.amin(1) < 0.45).to(y)[:, None, None]


def test_what_only_other_inputs_show_is_found() -> None:
    report = chiralize.verify(trained(Beside("root")), parse_spec(SPEC), inputs(3), samples=4)
    assert not report.judgement.numeric.passed


def test_files(tmp_path: Path) -> None:
    """A file brings its examples along, and is judged near them."""
    from chiralize.commands.convert import Request, convert
    from chiralize.commands.writing import write
    from chiralize.problem.preparation import prepare

    network = prepare(trained(Weighted("logarithm")), parse_spec(SPEC), inputs(3))
    write(convert(network, "net", Request("match", samples=1)), tmp_path / "net.pt2")
    from chiralize.cli.opening import open_network
    from chiralize.cli.options import NetworkOptions
    from chiralize.commands.verify import verify

    network, loaded, passport = open_network(NetworkOptions(tmp_path / "net.pt2"))
    report = verify(network, loaded.source.name, passport, samples=2)
    assert report.passed and any(
        "the examples, each number of input 1 times" in note for note in report.judgement.numeric.notes
    )
    assert report.judgement.degeneracy is not None and not report.judgement.degeneracy.collapsed


@pytest.mark.parametrize(
    ("example", "remedy"),
    [("noise", "of other sizes; or look where it makes nan or inf"), ("mostly 0", "few of their numbers 0")],
)
def test_examples_must_be_taken_too(example: str, remedy: str) -> None:
    """Of noise nothing is finite, and of zeros nothing could be seen."""
    x, w = inputs(3)
    given = x, torch.randn_like(w) if example == "noise" else w * (torch.rand_like(w) > 0.8)
    with pytest.raises(ModelRunError, match=f"give examples that it was made for .--example., {remedy}"):
        chiralize.chiralize(trained(Weighted("root")), parse_spec(SPEC), given, method="match", samples=1)


def test_near() -> None:
    """Each number of the example, repeated in other shapes, times 0.5 to 1.5; integers are left alone."""
    examples = (torch.tensor([[1.0, -2.0, 0.0]]), torch.tensor([4]), torch.tensor([1 + 2j]))
    drawn = (normal(500, 3).float(), torch.tensor([7]), torch.randn(500, dtype=torch.complex64))
    (found, whole, complex_), _ = placed((drawn, {}), Around(near=examples))
    ratio = found[:, :2] / examples[0][:, :2]
    assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5 and not found[:, 2].any()
    assert torch.equal(whole, torch.tensor([7])) and complex_.shape == (500,)
    assert float((complex_ / examples[2]).imag.abs().max()) < 1e-6
    assert str(Around()) == "N(0, 1) in the shape of the example"
    assert str(Around(near=examples[:1])) == "the examples, each number of input 0 times 0.5 to 1.5"

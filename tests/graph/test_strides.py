"""Networks that look at how their inputs lie in memory: no graph shows it, the numeric verdict tries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.errors import EquivarianceError
from chiralize.graph.running import Runner
from chiralize.graph.strides import LAYOUTS, answers_by_layout, restrided
from chiralize.report import raise_for_failure
from tests.support.small_body import Net

BODY = {
    "joints": ["head", "l", "r"], "pairs": [["l", "r"]], "dims": ["x", "y"], "negate": ["x"],
    "outputs": [{"layout": "b j d"}],
}  # fmt: skip


def lopsided(x: Tensor) -> Tensor:
    return torch.cat([x[..., :1] + 1.8, x[..., 1:]], -1)


BRANCHES: dict[str, Callable[[Tensor], Tensor]] = {
    "is_contiguous": lambda x: x if x.is_contiguous() else lopsided(x),
    "is_contiguous, the other way round": lambda x: x if not x.is_contiguous() else 2 * x,
    "stride of the last axis": lambda x: x if x.stride(-1) == 1 else lopsided(x),
    "order of strides": lambda x: lopsided(x) if x.stride(0) < x.stride(1) else x,
    "an offset into the storage": lambda x: torch.as_strided(x, x.shape, (6, 2, 1)) * 1.5,
}


class Asking(nn.Module):
    """Equivariant on contiguous inputs, by a branch in Python."""

    def __init__(self, branch: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) * 2


CASES = [(name, rows) for name in BRANCHES for rows in (1, 3) if (name, rows) != ("order of strides", 1)]
"""One row has no order; of a tensor of one row, any stride along it is contiguous."""


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("name", "rows"), CASES)
def test_a_branch_by_strides_is_no_equivariant_network(name: str, rows: int) -> None:
    report = chiralize.verify(Asking(BRANCHES[name]), BODY, (torch.randn(rows, 3, 2),), samples=1)
    assert not report.passed and report.judgement.numeric.layout in LAYOUTS
    assert report.verdict.startswith("NOT equivariant: its answers depend on how its inputs lie in memory (")
    assert report.judgement.certificate is None or not report.judgement.certificate.passed  # as_strided has no rule
    with pytest.raises(EquivarianceError, match="begin with x = x.contiguous") as caught:
        report.raise_for_failure()
    assert "output 0 with other strides of the inputs: max" in str(caught.value)


def test_an_image_by_its_memory_format() -> None:
    """Four axes have a format of their own, which neither gaps nor a reversed order show."""

    def branch(x: Tensor) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        return lopsided(x) if last else x

    spec = {**BODY, "inputs": [{"layout": "b t j d"}], "outputs": [{"layout": "b t j d"}]}
    report = chiralize.verify(Asking(branch), spec, (torch.randn(2, 4, 3, 2),), samples=1)
    assert not report.passed and report.judgement.numeric.layout == "channels last"


ORDINARY: dict[str, Callable[[Tensor], Tensor]] = {
    "refuses what it cannot view": lambda x: x.view(-1, 6).view(-1, 3, 2),
    "makes them contiguous": lambda x: x.contiguous() * 2,
    "sums that round otherwise": lambda x: x * x.reshape(len(x), -1).square().sum(1).sqrt()[:, None, None],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_networks_pass(name: str) -> None:
    report = chiralize.verify(Asking(ORDINARY[name]), BODY, (torch.randn(4, 3, 2),), samples=2)
    raise_for_failure(report)
    assert report.judgement.numeric.layout == ""


def test_a_conversion_does_not_hide_it() -> None:
    """Neither one pass nor two: the branch is still in the module."""

    def branch(net: Any, x: Tensor) -> Tensor:
        y = net.layer(x.flatten(1)).unflatten(1, (3, 2))
        return y if x.is_contiguous() else lopsided(y)

    for method in ("average", "project"):
        with pytest.raises(EquivarianceError, match="other strides of the inputs"):
            chiralize.chiralize(Net(branch, layer=nn.Linear(6, 6)), BODY, (torch.randn(2, 3, 2),), method=method)


def test_layouts_hold_the_same_numbers() -> None:
    x = torch.arange(120.0).reshape(2, 3, 4, 5)
    for layout in LAYOUTS:
        call = restrided(((x,), {"mask": x[0, 0] > 3}), layout)
        assert call is not None
        (other,), kwargs = call
        assert torch.equal(other, x) and other.stride() != x.stride()
        assert torch.equal(kwargs["mask"], x[0, 0] > 3)
    assert restrided(((torch.zeros(4),), {}), "axes in reversed order") is None
    assert restrided(((torch.zeros(1),), {}), "channels last") is None


def test_constants_of_forward_are_no_difference() -> None:
    """0.8 in float32 is not 0.8 in float64: all layouts are run in the same precision."""
    net = Net(lambda s, x: x * torch.linspace(-0.8, 0.8, len(x))[:, None, None].exp())
    assert chiralize.verify(net, BODY, (torch.randn(3, 3, 2),), samples=1).numeric.layout == ""


def test_what_is_drawn_and_made_in_forward_is_the_same_in_every_layout() -> None:
    """The draws begin anew, in the dtype of the verdict; the random numbers of the process stay as they are."""
    before = torch.get_rng_state()
    net = Asking(lambda x: x + torch.rand(2) + torch.tensor([0.1, 0.7]))
    with Runner(net, double=True) as runner:
        answers = dict(answers_by_layout(runner, ((torch.ones(4, 3, 2),), {}), few=False))
    assert set(answers) == {"", "gaps between the numbers", "axes in reversed order"}
    assert all(torch.equal(value, answers[""]) and value.dtype == torch.float64 for value in answers.values())
    assert torch.equal(torch.get_rng_state(), before)

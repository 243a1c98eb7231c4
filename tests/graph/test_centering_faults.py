"""Pixels: what is wrong by a thousandth is found, another centre is found, what cannot be converted is refused."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize, verify
from chiralize.body.tensors import ConversionSpec
from chiralize.commands.convert import Request, convert
from chiralize.commands.plan import plan
from chiralize.commands.verify import verify as judged
from chiralize.errors import OffsetError
from chiralize.problem.preparation import prepare
from tests.support.reflect_nets import NETS, PIXELS_OUT, Trunk, pixels, report_of, residual, spec, trained


# ---- faults ---------------------------------------------------------------------------------------------------------
def _place(net: Any, key: str) -> int:
    """The largest entry that T takes to another one."""
    size = np.abs(net.state_dict()[key].numpy())
    numbers = np.arange(1.0, size.size + 1).reshape(size.shape)
    return int(np.argmax(np.where(np.abs(net.chirality.hidden[key].act(numbers)) == numbers, 0.0, size)))


@pytest.mark.one_in(6)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("scaled", torch.float32), ("temporal", torch.float32), ("pixels out", torch.float64),
     ("statistics", torch.float32), ("recurrent", torch.float64)],
)  # fmt: skip
def test_a_moved_entry_fails_both_verdicts(name: str, dtype: torch.dtype) -> None:
    """One entry of one tensor, of every other one, moved by a thousandth of itself."""
    build, shape, given, _ = NETS[name]
    x = pixels(*shape, dtype=dtype)
    good = chiralize(trained(build(), dtype), given, (x,), method="project", samples=2)
    keys = [key for key, own in good.state_dict().items() if own.is_floating_point() and own.ndim]
    for key in [key for key in keys if not any(word in key for word in ("running_var", "deviation", "reverse"))][::2]:
        bad = copy.deepcopy(good)
        with torch.no_grad():
            bad.state_dict()[key].view(-1)[_place(good, key)] *= 1.001
        report = verify(bad, None, (x,), samples=2)  # the mirror and the hidden spaces of the conversion
        assert not report.judgement.numeric.passed, key
        assert report.judgement.certificate is not None and not report.judgement.certificate.passed, key
        assert key in report.judgement.certificate.broken


@cache
def converted(method: str, name: str) -> Any:
    """A network that is equivariant about the centre; to be copied before it is changed."""
    build, shape, given, _ = NETS[name]
    return chiralize(trained(build()), given, (pixels(*shape),), method=method, samples=2)


@pytest.mark.one_in(6)
@pytest.mark.parametrize(
    ("method", "name"),
    [("project", "scaled"), ("project", "temporal"), ("project", "pixels out"), ("project", "refining"),
     ("average", "scaled"), ("average", "pixels out")],
)  # fmt: skip
def test_another_centre_fails(method: str, name: str) -> None:
    _, shape, given, _ = NETS[name]
    good, x = converted(method, name), pixels(*shape)
    text = given.to_dict()
    text["inputs"][0]["reflect"] = {"x": "310"}  # type: ignore[index]
    report = verify(good, ConversionSpec.from_dict(text), (x,), samples=2)
    assert not report.judgement.numeric.passed
    assert report.judgement.certificate is not None and not report.judgement.certificate.passed
    linear = verify(good, spec(*_layouts(given), center=0.0), (x,), samples=2)
    assert not linear.numeric.passed


def _layouts(given: ConversionSpec) -> tuple[str, str]:
    assert given.inputs and given.outputs
    return str(given.inputs[0].layout), f"{{layout: {given.outputs[0].layout}}}"


def test_a_view_mirrored_elsewhere_is_no_proof() -> None:
    """In an averaged network 2 c is a constant like any other: moved, both verdicts see it."""
    good, x = converted("average", "scaled"), pixels(2, 17, 2)
    for moved in (1.0, 0.01):
        bad = copy.deepcopy(good)
        bad.mirror_inputs[0].shift += moved  # type: ignore[index, operator]
        report = verify(bad, None, (x,), samples=2)
        assert not report.judgement.numeric.passed
        assert report.judgement.certificate is not None and report.judgement.certificate.where is not None
        assert not report.judgement.certificate.passed and str(report.judgement.certificate.where) == "output 0"


# ---- what cannot be taken out ------------------------------------------------------------------
class Normed(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(34)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(self.norm(x.flatten(1))))


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv1d(34, 16, 3, padding=1), nn.Conv1d(16, 51, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.conv(x.flatten(2).transpose(1, 2)))
        return self.last(h).transpose(1, 2).reshape(*x.shape[:2], 17, 3)


class Biasless(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Linear(34, 34, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(torch.relu(self.free(x.flatten(1)))))


class NoPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(34, 34), nn.Linear(34, 34, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(0.01 * x.flatten(1)))).view(-1, 17, 2)


REFUSED = {
    "norm": (Normed, (2, 17, 2), spec(), "norm (test_centering_faults.py:", "aten.layer_norm.default is not linear"),
    "padding": (
        Padded,
        (2, 5, 17, 2),
        spec("b t j d", "{layout: b t j d}"),
        "conv (test_centering_faults.py:",
        "zero padding",
    ),
    "no bias": (Biasless, (2, 17, 2), spec(), "test_centering_faults.py:", "aten.relu.default is not linear"),
    "no bias out": (NoPlace, (2, 17, 2), spec(outputs=PIXELS_OUT), "output 0 (", "cannot be put into a bias"),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_where_and_average_is_left(name: str) -> None:
    build, shape, given, where, facts = REFUSED[name]
    network = prepare(trained(build()), given, (pixels(*shape),))
    with pytest.raises(OffsetError) as caught:
        convert(network, "net", Request("project"))
    assert where in caught.value.where and facts in caught.value.facts
    assert "--method average" in caught.value.remedy and caught.value.exit_status == 3
    assert facts in "".join(plan(network, "net", "project").blocked)
    lifted = convert(network, "net", Request("average", samples=2))
    assert residual(lifted.module, pixels(64, *shape[1:]), 500.0 if name == "no bias out" else 0.0) < 1e-12
    assert lifted.report.judgement.certificate is not None and lifted.report.judgement.certificate.passed
    report = judged(network, "net")
    assert not report.passed and "no proof" in "".join(report.notes)


def test_a_shared_bias_that_sees_two_offsets() -> None:
    class Twice(Trunk):
        def forward(self, x: Tensor) -> Tensor:
            h = 0.01 * x.flatten(1)
            return self.tail(self.first(h) + self.first(torch.tanh(self.first(h))[:, :34]))

    with pytest.raises(OffsetError, match="first.bias is read more than once"):
        chiralize(trained(Twice()), spec(), (pixels(2, 17, 2),), method="project")


def test_products_of_two_values_in_pixels() -> None:
    class Squared(Trunk):
        def forward(self, x: Tensor) -> Tensor:
            return self.tail(self.first((0.01 * x * x).flatten(1)))

    with pytest.raises(OffsetError, match=r"aten.mul.Tensor is not linear"):
        chiralize(trained(Squared()), spec(), (pixels(2, 17, 2),), method="project")


def test_a_state_in_pixels_is_refused() -> None:
    class Remembering(Trunk):
        before: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("before", torch.zeros(1, 17, 2, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            moved = x - self.before
            self.before.copy_(x[:1])
            return self.tail(self.first(moved.flatten(1)))

    with pytest.raises(OffsetError, match="state before keeps coordinates"):
        chiralize(trained(Remembering()), spec(), (pixels(1, 17, 2),), method="project")


class Recentred(nn.Module):
    """What every joint is counted from differs from their mean; `layer` gives it a bias."""

    def __init__(self, layer: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2) if layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x - self.layer(x.sum(1, keepdim=True) / 16)


def test_offsets_of_values_that_are_repeated() -> None:
    given = spec(outputs="{layout: b j d, dims: [x, y]}")
    report = verify(Recentred(layer=False).eval(), given, (pixels(2, 17, 2),))
    assert not report.passed and "cannot be put into a bias" in "".join(report.notes)
    found = chiralize(trained(Recentred(layer=True)), given, (pixels(2, 17, 2),), method="project")
    assert residual(found, pixels(64, 17, 2)) < 1e-12 and report_of(found).judgement.certificate.passed

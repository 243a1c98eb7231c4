"""Coordinates divided by the size of a picture or a pitch, which is a buffer: the centre is in what is subtracted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import AsymmetricConstantError, OffsetError
from tests.support.cases import mainly
from tests.support.reflect_nets import C, Trunk, pixels, report_of, residual, spec, trained, turned

Form = Callable[[Tensor, Tensor], Tensor]
WIDE = torch.tensor([640.0, 480.0], dtype=torch.float64)


def two_sums(x: Tensor, size: Tensor) -> Tensor:
    """The centre and the scale from one value."""
    half = size / 2
    return (x - half) / half


def computed(x: Tensor, size: Tensor) -> Tensor:
    """A size that is read twice at each of 30 steps: as many ways to it as 2^30."""
    for _ in range(30):
        size = size / 2 + size / 2
    return two_sums(x, size)


FORMS: dict[str, Form] = {
    "(x - computed) / computed": computed,
    "(x - size / 2) / size, by alpha": lambda x, size: torch.sub(x, size, alpha=0.5) * 2 / size,
    "2 x / size - 1": lambda x, size: x / size * 2 - 1,
    "x / size - 0.5": lambda x, size: (x / size - 0.5) * 2,
    "1 - 2 x / size": lambda x, size: -(1 - x / size * 2),
    "-1 + 2 x / size": lambda x, size: -1 + 2 * (x / size),
    "x / half - 1": lambda x, size: x / (size / 2) - 1,
    "(x - half) / half": two_sums,
    "(half - x) / half": lambda x, size: -(size * 0.5 - x) / (size * 0.5),
    "(x - half) / 320": lambda x, size: (x - size / 2) / (WIDE / 2),
}


class Sized(Trunk):
    """Coordinates in [-1, 1] by a form and a stored size."""

    size: Tensor

    def __init__(self, form: Form, size: Tensor = WIDE) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("size", size.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(self.form(x, self.size).flatten(1)))


class Centred(Trunk):
    """The same of coordinates that are counted from C: y alone has a point that it is counted from."""

    def forward(self, x: Tensor) -> Tensor:
        u = x * 2 / WIDE - torch.tensor([0.0, 1.0], dtype=x.dtype)
        return self.tail(self.first(u.flatten(1)))


@pytest.mark.parametrize("name", mainly([(name,) for name in FORMS], [(name,) for name in (*FORMS,)[::2]]))
def test_the_result_is_that_of_the_centred_network(name: str) -> None:
    """f(x) = h(x - c), entry by entry, and the size stays what it is."""
    net, x = trained(Sized(FORMS[name])), pixels(4, 17, 2)
    centred = trained(Centred())
    missing = centred.load_state_dict(net.state_dict(), strict=False)
    assert not missing.missing_keys
    c = torch.tensor([C, 0.0], dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(net(x), centred(x - c), rtol=1e-10)
    linear = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n")
    ours: Any = chiralize(net, spec(), (x,), method="project", samples=2)
    theirs = chiralize(centred, linear, (x - c,), method="project", samples=2)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x - c), rtol=1e-9, atol=1e-9)
    assert torch.equal(ours.size, WIDE)
    assert residual(ours, pixels(64, 17, 2)) < 1e-12


@pytest.mark.parametrize("name", ["2 x / size - 1", "x / half - 1", "(x - half) / half"])
@pytest.mark.parametrize("is_even", [True, False])
def test_sizes_of_single_joints(name: str, is_even: bool) -> None:
    """A size that differs from joint to joint is exact or refused: half of it is no centre of all joints."""
    sizes = WIDE + torch.rand(17, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 40
    if is_even:
        sizes = (sizes + torch.from_numpy(turned(sizes.numpy(), 0.0)) * torch.tensor([-1.0, 1.0])) / 2
    net, x = trained(Sized(FORMS[name], sizes)), pixels(4, 17, 2)
    try:
        ours = chiralize(net, spec(), (x,), method="project", samples=2)
    except (AsymmetricConstantError, OffsetError):
        assert not is_even or name == "(x - half) / half"
    else:
        assert residual(ours, pixels(64, 17, 2)) < 1e-11


OUT: dict[str, Form] = {
    "(y + 1) size / 2": lambda y, size: (y + 1) * size / 2,
    "y half + half": lambda y, size: y * (size / 2) + size / 2,
}


class Back(Trunk):
    """Answers in pixels, of numbers in [-1, 1]."""

    size: Tensor

    def __init__(self, form: Form) -> None:
        super().__init__(out=2)
        self.form = form
        self.register_buffer("size", WIDE.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self.tail(self.first((x / self.size * 2 - 1).flatten(1))), self.size)


@pytest.mark.parametrize("name", OUT)
def test_answers_in_pixels(name: str) -> None:
    net, x = trained(Back(OUT[name])), pixels(4, 17, 2)
    given = spec(outputs=f"{{layout: b j d, dims: [x, y], reflect: {{x: {C}}}}}")
    ours: Any = chiralize(net, given, (x,), method="project", samples=2)
    assert torch.equal(ours.size, WIDE) and residual(ours, pixels(64, 17, 2), C) < 1e-12
    assert report_of(ours).judgement.certificate.passed

"""Coordinates in pixels: the mirror is affine, T x = 2 c - x, and written here with numpy."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chiralize import audit, chiralize, verify
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import DriftError, EquivarianceError, OffsetError, UsageError
from chiralize.nn.training import keep_symmetric
from chiralize.problem.preparation import prepare
from tests.support.reflect_nets import (
    NETS,
    PIXELS_OUT,
    C,
    Scaled,
    Trunk,
    center_of,
    pixels,
    report_of,
    residual,
    spec,
    trained,
    turned,
)

CASES = [
    *(("project", name) for name in NETS),
    *(("match", name) for name in ("scaled", "tokens", "recurrent", "temporal")),
    *(("average", name) for name in ("scaled", "pixels out", "temporal", "half a pixel")),
]
"""The offset's way through every network; all units matched; two views, with centres in, out, in frames, between."""


@pytest.mark.one_in(12)
@pytest.mark.parametrize(("method", "name"), CASES, ids=[" ".join(own) for own in CASES])
def test_networks_in_pixels(method: str, name: str) -> None:
    """Exactly equivariant under the affine T by an independent check; both verdicts, class and keys as they were."""
    build, shape, given, center_out = NETS[name]
    dtype, bound = (torch.float64, 1e-11) if method == "match" else (torch.float32, 3e-6)
    net = trained(build(), dtype)
    x = pixels(*shape, dtype=dtype)
    many = pixels(64, *shape[1:], seed=3)
    center = center_of(given)
    assert residual(net, many, center_out, center) > 1e-2
    found = chiralize(net, given, (x,), method=method, samples=2)
    assert residual(found, many, center_out, center) < bound
    report = report_of(found)
    assert report.judgement.certificate.passed and report.judgement.numeric.passed
    assert not report.judgement.degeneracy.dead_inputs and not report.judgement.degeneracy.collapsed
    if method != "average":
        assert type(found) is type(net) and list(found.state_dict()) == list(net.state_dict())
        return
    with torch.no_grad():
        back = turned(net(torch.from_numpy(turned(x.numpy(), center)).to(dtype)).numpy(), center_out)
        assert np.allclose(found(x).numpy(), (net(x).numpy() + back) / 2, rtol=1e-6, atol=1e-4)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["pixels out", "recurrent", "temporal", "refining"])
def test_layers_that_hold_an_offset_stay_dense(name: str) -> None:
    """Blocks in the others, and both verdicts; what takes the centre up is not symmetric itself."""
    build, shape, given, center_out = NETS[name]
    found = chiralize(trained(build()), given, (pixels(*shape),), method="project", form="blocks", samples=2)
    assert residual(found, pixels(64, *shape[1:], seed=3), center_out, center_of(given)) < 1e-11
    report = report_of(found)
    assert report.form == "blocks" and report.judgement.certificate.passed and report.judgement.numeric.passed
    assert any("its weights make up for where coordinates are mirrored" in note for note in report.notes)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", ["scaled", "temporal", "unscaled", "statistics"])
def test_the_function_is_kept(name: str) -> None:
    """A network that is equivariant already goes through the centre and back unmoved."""
    build, shape, given, _ = NETS[name]
    net = trained(build())
    first = chiralize(net, given, (pixels(*shape),), method="project", samples=2)
    network = prepare(first, given, (pixels(*shape),))
    weights = {leaf.names[0]: leaf.tensor for leaf in network.graph().weights}
    for key, value in network.restored(weights).items():
        assert torch.allclose(value, first.state_dict()[key], rtol=1e-12, atol=1e-12)
    again = convert(network, "net", Request("project", samples=2))
    assert again.report.way.unchanged


@cache
def scaled() -> Any:
    """A network in pixels, projected, for tests that only read it."""
    return chiralize(trained(Scaled()), spec(), (pixels(2, 17, 2),), method="project", samples=2)


def test_centre_zero_is_the_linear_mirror() -> None:
    net, x = trained(Scaled()), torch.randn(2, 17, 2, dtype=torch.float64)
    linear = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n")
    ours, theirs = (
        chiralize(net, own, (x,), method="match", samples=2).state_dict() for own in (spec(center=0.0), linear)
    )
    assert all(torch.equal(own, theirs[key]) for key, own in ours.items())


def test_weights_are_those_of_the_centred_network() -> None:
    """f(x) = h(x - c): converting f in pixels and h in centred coordinates gives the same network."""
    net = trained(Scaled())
    other = copy.deepcopy(net)
    with torch.no_grad():
        c = torch.tensor([C, 0.0] * 17, dtype=torch.float64)
        other.first.bias += net.first.weight @ (0.01 * c)  # type: ignore[union-attr]
    x = pixels(2, 17, 2)
    linear = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n")
    theirs = chiralize(other, linear, (x - c.view(17, 2),), method="project", samples=2)
    with torch.no_grad():
        assert torch.allclose(scaled()(x), theirs(x - c.view(17, 2)), rtol=1e-10, atol=1e-10)


def test_an_odd_activation_behind_exact_numbers() -> None:
    """Nothing is left of the centre behind x / 320 - 1, so tanh may see it; half a pixel off, it may not."""

    class Squashed(Trunk):
        def forward(self, x: Tensor) -> Tensor:
            return self.tail(self.first(torch.tanh(x / 320 - 1).flatten(1)))

    class Signed(Squashed):
        def forward(self, x: Tensor) -> Tensor:
            return self.tail(self.first(torch.tanh(x / 320 - torch.tensor([1.0, 0.75], dtype=x.dtype)).flatten(1)))

    for build in (Squashed, Signed):
        net, x = trained(build()), pixels(2, 17, 2)
        found = chiralize(net, spec(), (x,), method="project", samples=2)
        assert residual(found, pixels(64, 17, 2)) < 1e-12
        with pytest.raises(OffsetError, match="aten.tanh.default is not linear"):
            chiralize(net, spec(center=319.5), (x,), method="project", samples=2)


# ---- missing joints, data, commands ---------------------------------------------------------------------------------
def test_missing_joints_are_named() -> None:
    given = parse_spec(
        "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y], reflect: {x: 320}, missing: zero}]\n"
        "outputs: [{layout: b j d}]\n"
    )
    x = pixels(2, 17, 2)
    found = chiralize(trained(Scaled()), given, (x,), method="project", samples=2)
    for notes in (report_of(found).notes, verify(found, given, (x,), samples=2).notes):
        assert any("missing: zero" in note and "no joint is missing" in note for note in notes)
    assert not any("missing" in note for note in verify(found, spec(), (x,), samples=2).notes)


def test_calibration_in_pixels_and_the_guard() -> None:
    net, x = trained(Scaled()), pixels(2, 17, 2)
    data = pixels(60, 17, 2, seed=5)
    found = chiralize(net, spec(), (x,), method="match", calibration=data, samples=2)
    assert {choice.reason for choice in report_of(found).changes.choices} == {"matched by activations"}
    assert residual(found, data) < 1e-11
    with pytest.raises(DriftError):
        chiralize(net, spec(), (x,), method="project", calibration=data, max_drift=1e-6)


@pytest.mark.thorough
def test_audit_counts_from_the_centre() -> None:
    x = pixels(400, 17, 2)
    net = trained(Scaled(out=2))
    report = audit(net, spec(outputs=PIXELS_OUT), (x[:2],), calibration=x)
    gaps = {own.label: own for own in report.data}
    assert abs(gaps["hip.x"].mean - 330) < 30 and abs(gaps["hip.x"].mirrored - 310) < 30
    assert "hip.y" not in gaps
    good = chiralize(net, spec(outputs=PIXELS_OUT), (x[:2],), method="project", samples=2)
    assert audit(good, spec(outputs=PIXELS_OUT), (x[:2],), calibration=x).network.gap < 1e-9
    assert audit(good, spec(outputs=PIXELS_OUT), (x[:2],)).source == "N(c, c/2) in the shape of the example"


def test_fine_tuning_is_refused() -> None:
    found = scaled()
    with pytest.raises(UsageError, match="affine"):
        keep_symmetric(found, torch.optim.SGD(found.parameters(), 0.1))


def test_a_failing_check_says_so(assert_equivariant: Any) -> None:
    net, x = trained(Scaled()), pixels(2, 17, 2)
    with pytest.raises(EquivarianceError):
        verify(net, spec(), (x,)).raise_for_failure()
    assert assert_equivariant(scaled(), spec(), example_inputs=(x,)).passed


def test_a_skeleton_alone_stays_linear() -> None:
    assert not prepare(trained(Scaled()), parse_spec("skeleton: h36m\n"), (pixels(2, 17, 2),)).resolved.is_affine

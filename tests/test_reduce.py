"""`reduce` on networks of every kind: symmetric whatever the width, exact where nothing is left out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from chiralize.pipeline.options import Options
from chiralize.pipeline.reducing import reduced
from chiralize.records import Converted
from chiralize.reduction.lifting import Lifting
from tests.reduce_nets import KINDS, calls_for, flip_average, original, subject_of
from tests.small_body import normal, residual, stored, verified_file

CLOSE = 1e-11


@cache
def smaller(kind: str, width: float, mirrored: bool = False) -> Converted:
    shape = KINDS[kind].shape
    options = Options("reduce", calibration=calls_for(shape, mirrored=mirrored))
    return reduced(subject_of(original(kind), shape), options, width)[0]


def batch(kind: str) -> tuple[int, ...]:
    return (4, *KINDS[kind].shape)


# ---- whatever the width ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [0.35, 0.5, 0.707])
@pytest.mark.parametrize("kind", KINDS)
def test_commutes_with_the_mirror(kind: str, width: float) -> None:
    """T is written out in the test; the original is far from symmetric."""
    assert residual(original(kind), batch(kind)) > 0.1
    assert residual(smaller(kind, width).module, batch(kind)) <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_half_fits_into_the_original_class(kind: str) -> None:
    """The same keys and shapes; the class itself computes the same with these weights, and is symmetric."""
    found = smaller(kind, 0.5)
    assert found.form == "folded"
    state = found.module.state_dict()
    assert {name: own.shape for name, own in state.items()} == {
        name: own.shape for name, own in original(kind).state_dict().items()
    }
    fresh = KINDS[kind].make().double()
    fresh.load_state_dict(state, strict=True)
    x = normal(*batch(kind), seed=9)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), found.module(x))
    assert residual(fresh, batch(kind)) <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_is_left_alone(kind: str) -> None:
    net = original(kind)
    before = {name: own.clone() for name, own in net.state_dict().items()}
    for width in (0.5, 0.707):
        smaller.__wrapped__(kind, width) if kind == "residual" else smaller(kind, width)
    assert all(torch.equal(own, before[name]) for name, own in net.state_dict().items())
    twin = KINDS[kind].make()
    from tests.small_body import trained

    assert all(torch.equal(own, before[name]) for name, own in trained(twin, 3).state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_less_width_costs_less(kind: str) -> None:
    """Parameters and multiplications grow with the width; the outputs stay what they were."""
    small, half, wide = (smaller(kind, width) for width in (0.35, 0.5, 0.707))
    sizes = [sum(own.numel() for own in found.module.parameters()) for found in (small, half, wide)]
    assert sizes == sorted(set(sizes)) and sizes[1] == sum(own.numel() for own in original(kind).parameters())
    assert small.macs < 0 < wide.macs and half.macs == 0
    x = normal(*batch(kind), seed=9)
    assert {found.module(x).shape for found in (small, half, wide)} == {original(kind)(x).shape}


@pytest.mark.parametrize("kind", KINDS)
def test_better_than_random_weights(kind: str) -> None:
    """The results are nearer to the flip average than a network that says its mean."""
    x = normal(64, *KINDS[kind].shape, seed=9)
    wanted = flip_average(original(kind), x)
    for width in (0.5, 0.707):
        with torch.no_grad():
            off = (smaller(kind, width).module(x) - wanted).square().mean() / wanted.var()
        assert off < 0.5, width


# ---- where nothing is left out --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_all_units_are_fitted_exactly(kind: str) -> None:
    """Every hidden weight meets what the original does on x and on T x; only the head has the original's asymmetry."""
    found = {own.weight: own.error for own in smaller(kind, 1.0).fitted}
    assert found and set(found) <= set(original(kind).state_dict())
    for name, error in found.items():
        exact = name != "last.weight" and name not in KINDS[kind].inexact
        assert error <= 1e-12 if exact else error > 1e-6, (name, error)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("forecaster", "transformer")])
def test_all_units_on_symmetric_poses_are_the_flip_average(kind: str) -> None:
    """With every sample's mirror image beside it, the head that is fitted is that of the flip average."""
    x = normal(16, *KINDS[kind].shape, seed=9)
    wanted = flip_average(original(kind), x)
    found = smaller(kind, 1.0, mirrored=True).module(x).detach()
    assert float((found - wanted).abs().max() / wanted.abs().max()) <= 1e-6


def test_forgetting_the_mirror_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: what units do on T x is taken as it is, without T."""
    plain = Lifting.value

    def forgetful(self: Lifting, own: torch.Tensor, turned: torch.Tensor, rep: object) -> torch.Tensor:
        return plain(self, own, own, rep)  # type: ignore[arg-type]

    monkeypatch.setattr(Lifting, "value", forgetful)
    found = smaller.__wrapped__("residual", 1.0)
    assert max(own.error for own in found.fitted if own.weight != "last.weight") > 1e-3
    x = normal(16, 6, 2, seed=9)
    wanted = flip_average(original("residual"), x)
    assert float((found.module(x).detach() - wanted).abs().max() / wanted.abs().max()) > 1e-3


# ---- files ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["residual", "temporal", "gru, two layers", "forecaster"])
def test_other_sizes_are_written_and_proved(kind: str, tmp_path: Path) -> None:
    """A graph with other sizes as .pt2: the file's own verdicts, and the batch stays open."""
    from tests.small_body import CLIP, POSE

    shape = KINDS[kind].shape
    options = {"method": "reduce", "width": 0.707, "calibration": calls_for(shape), "force": True}
    spec = CLIP if len(shape) == 3 else POSE
    path = stored(original(kind), tmp_path, spec, (8, *shape), **options)
    passport, report = verified_file(path, (8, *shape))
    assert (passport.method, passport.form) == ("reduce", "dense")
    assert report.numeric.passed and report.certificate is not None and report.certificate.passed
    net = torch.export.load(path).module()
    for rows in (1, 5):
        assert residual(net, (rows, *shape)) <= CLOSE

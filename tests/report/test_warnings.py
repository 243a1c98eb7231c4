"""What the command line warns of is a Python warning: one per topic, in the report's words, at the user's line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.errors import Caution, warn_of
from tests.support.small_body import Net, normal, trained
from tests.support.zoo import CASES

CASE = CASES["coco in, h36m out"]
SPEC = parse_spec(CASE.spec)
ARGS, _ = CASE.steps(1)[0]
TOPICS = ("MirrorWarning", "DriftWarning", "SidesWarning", "ConstantsWarning", "StateWarning", "DataWarning")


@contextmanager
def recorded() -> Iterator[list[warnings.WarningMessage]]:
    """All warnings, also those that the suite ignores."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def nearly_even(rows: int = 1000) -> tuple[nn.Module, ConversionSpec, Tensor]:
    """A network whose two sides differ by little, its mirror, and inputs of it."""
    mix = nn.Linear(6, 6, bias=False)
    with torch.no_grad():
        mix.weight.copy_(torch.eye(6) + 0.05 * normal(6, 6, seed=3))
    network = Net(lambda own, x: own.mix(x.flatten(1)).unflatten(1, (3, 2)), mix=mix).double()
    return network, parse_spec("{joints: [head, l, r], pairs: [[l, r]], dims: [x, y], negate: [x]}"), normal(rows, 3, 2)


def test_nothing_is_warned_of_where_nothing_is_wrong() -> None:
    """Both views are the flip average by construction, and on these inputs they agree."""
    network, spec, inputs = nearly_even()
    options: dict[str, Any] = {"method": "average", "samples": 1, "output_layouts": ["b j d"]}
    with recorded() as caught:
        found: Any = chiralize.chiralize(network, spec, (inputs[:2],), calibration=inputs, **options)
    assert not caught and found.chirality.report.standing == "good"
    assert "the same answers as the original's flip average" in found.chirality.report.verdict


def test_nobody_knows_what_an_average_does_without_inputs() -> None:
    """That it is the average is sure on any inputs, and what the average is worth on none of these."""
    with recorded() as caught:
        found: Any = chiralize.chiralize(CASE.model(), SPEC, ARGS, method="average", samples=1)
    assert [warning.category for warning in caught] == [chiralize.DriftWarning]
    assert str(caught[0].message).startswith("nothing is known of whether the flip average does the task: no real")
    assert "the same answers as the original's flip average" in found.chirality.report.verdict


def test_a_result_of_unknown_distance() -> None:
    with recorded() as caught:
        found: Any = chiralize.chiralize(CASE.model(), SPEC, ARGS, method="match", samples=1)
    assert [warning.category for warning in caught] == [chiralize.DriftWarning]
    report = found.chirality.report
    assert str(caught[0].message) == "; ".join(report.warnings)
    assert str(caught[0].message).startswith("its distance from the original is unknown: only random inputs were")
    assert caught[0].filename == __file__, "the warning is at the line that called"
    assert report.verdict.startswith("converted with warnings: equivariant; its distance from the original is unknown")


def test_calibration_inputs() -> None:
    """Two topics, two warnings, each of which can be silenced or made an error by its class."""
    data = torch.randn(30, 17, 2, dtype=torch.float64)
    options: dict[str, Any] = {"method": "match", "calibration": data, "samples": 1, "rounds": 0}
    with recorded() as caught:
        chiralize.chiralize(CASE.model(), SPEC, ARGS, **options)
    assert [warning.category for warning in caught] == [chiralize.DriftWarning, chiralize.DataWarning]
    assert str(caught[1].message).startswith("the calibration inputs are few: 30 samples")
    network, spec, few = nearly_even(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error", chiralize.DataWarning)
        with pytest.raises(chiralize.DataWarning, match="are few: 30 samples"):
            chiralize.chiralize(network, spec, (few[:2],), output_layouts=["b j d"], **{**options, "calibration": few})


def named_wrongly() -> ConversionSpec:
    """A mirror that leaves the hands where they are, though their names tell a side."""
    return parse_spec("{joints: [head, left_hand, right_hand], pairs: [], negate: [x], dims: [x, y]}")


class Even(nn.Module):
    """Commutes with that mirror."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_a_mirror_that_names_speak_against() -> None:
    """In all three: conversion, verification, audit."""
    x = normal(2, 3, 2)
    for call in (
        lambda: chiralize.chiralize(Even(), named_wrongly(), (x,), output_layouts=["b j d"]),
        lambda: chiralize.verify(Even(), named_wrongly(), (x,), output_layouts=["b j d"], samples=1),
        lambda: chiralize.audit(Even(), named_wrongly(), (x,), output_layouts=["b j d"]),
    ):
        with recorded() as caught:
            call()
        assert [warning.category for warning in caught] == [chiralize.MirrorWarning]
        assert "left_hand" in str(caught[0].message) and caught[0].filename == __file__


def test_constants_that_were_changed() -> None:
    """Asked for, and still another network than the original."""
    net = trained(Net(lambda own, x: own.mix(x.flatten(1)).unflatten(1, (3, 2)) + own.offset, mix=nn.Linear(6, 6)))
    net.offset = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.4, 2.0]], dtype=torch.float64)
    spec = parse_spec("{joints: [head, l, r], pairs: [[l, r]], dims: [x, y], negate: [x]}")
    options: dict[str, Any] = {"output_layouts": ["b j d"], "method": "project", "symmetrize_constants": True}
    with recorded() as caught:
        found: Any = chiralize.chiralize(net, spec, (normal(2, 3, 2),), **options)
    assert chiralize.ConstantsWarning in [warning.category for warning in caught]
    assert "constants were changed" in found.chirality.report.verdict
    assert any(text.startswith("constants were changed: offset (") for text in found.chirality.report.warnings)


def test_one_warning_per_topic() -> None:
    with recorded() as caught:
        warn_of([Caution("states", "a"), Caution("mirror", "b"), Caution("states", "c"), Caution("states", "a")], 1)
    texts = [(warning.category, str(warning.message)) for warning in caught]
    assert texts == [(chiralize.MirrorWarning, "b"), (chiralize.StateWarning, "a; c")]


@pytest.mark.parametrize("name", [*TOPICS, "PrecisionWarning", "LoopWarning"])
def test_all_are_of_one_kind(name: str) -> None:
    assert issubclass(getattr(chiralize, name), chiralize.ChiralizeWarning) and name in chiralize.__all__
    assert issubclass(chiralize.ChiralizeWarning, UserWarning)

"""Passports that were edited: damaged ones are named, and a T that does nothing is called that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelFileError
from chiralize.graph.mirror import AgainstNames, MirrorFit
from chiralize.report import to_text
from chiralize.storage.passport import Passport, _mirror_fit, figures_of
from chiralize.verification.evidence import IDLE
from tests.support.small_body import POSE, Net, converted, normal, trained

STILL = """\
joints: [hip, l_arm, l_leg, r_arm, r_leg, head]
pairs: []
dims: [x, y]
negate: []
inputs: [{layout: "b j d"}]
outputs: [{layout: "b j d"}]
"""


def lopsided() -> nn.Module:
    return trained(Net(lambda s, x: s.layer(x.flatten(1)).view(-1, 6, 2), layer=nn.Linear(12, 12)))


@pytest.fixture(scope="module")
def written() -> str:
    return converted(lopsided()).chirality.passport.to_json()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("averaged", ["a"]),
        ("averaged", "conv#0"),
        ("averaged", 3),
        ("figures", 5),
        ("figures", {"odd": ["a"]}),
        ("figures", {"odd": 1}),
        ("figures", {"odd_random": "12"}),
        ("figures", {"odd_random_by_mirror": {"left_right": [None]}}),
        ("figures", {"odd_random_by_mirror": [0.5]}),
        ("hidden", {"layer.weight": [1, 99]}),
        ("hidden", {"layer.weight": [None, 0]}),
        ("hidden", {"layer.weight": [[], 0]}),
        ("hidden", {"layer.weight": "x"}),
        ("hidden", {"layer.weight": [2, 0]}),
        ("exchanged", ["a"]),
    ],
)
def test_damaged_passports_are_named(written: str, key: str, value: Any) -> None:
    Passport.from_json(written, "a.pt2")
    with pytest.raises(ModelFileError, match="CH201  a.pt2: chirality.json cannot be read"):
        Passport.from_json(json.dumps({**json.loads(written), key: value}), "a.pt2")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_shares_that_are_no_numbers_are_refused(written: str, number: str) -> None:
    """A share that is not finite would never be lost: nothing is less than a tenth of it."""
    record = json.loads(written)
    assert record["figures"]["odd_random"]
    record["figures"]["odd_random"] = ["NUMBER"]
    text = json.dumps(record).replace('"NUMBER"', number)
    with pytest.raises(ModelFileError, match="figures: odd_random has a number that is not finite"):
        Passport.from_json(text, "a.pt2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "it has no 'chirality'"),
        ("null", "it is no table"),
        ("[]", "it is no table"),
        (100_000 * "[", "recursion"),
    ],
    ids=["empty", "null", "number", "nest"],
)
def test_what_is_no_passport(text: str, says: str) -> None:
    with pytest.raises(ModelFileError, match=rf"chirality.json cannot be read \(.*{says}"):
        Passport.from_json(text, "a.pt2")


def test_a_mirror_that_does_nothing_is_called_that() -> None:
    args, still = (normal(3, 6, 2),), parse_spec(STILL)
    report = chiralize.verify(lopsided(), still, args, samples=1)
    assert report.passed and IDLE in report.evidence.warnings
    assert f"warning: {IDLE}" in to_text(report)
    found: Any = converted(lopsided(), STILL)
    assert IDLE in found.chirality.report.evidence.warnings
    assert IDLE in chiralize.plan(lopsided(), still, args).notes
    assert IDLE not in chiralize.plan(lopsided(), parse_spec(POSE), args).notes


def test_what_went_against_names_is_kept() -> None:
    fit = MirrorFit(0.5, real=True, against=AgainstNames(("l_arm and r_arm",), ("l_arm with l_leg",)))
    assert _mirror_fit(json.loads(json.dumps(figures_of(fit)))) == fit

"""A converted network that is judged by another mirror than its own: what differs is said, and how to go on."""

from __future__ import annotations

import pytest
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import EquivarianceError
from tests.support.small_body import BODY, POSE, Net, converted, normal, trained


def policy() -> nn.Module:
    """A result for the mirror that `POSE` describes."""
    plain = trained(Net(lambda net, x: net.layer(x.flatten(1)).view_as(x), layer=nn.Linear(12, 12)))
    return converted(plain)


@pytest.mark.parametrize(
    ("line", "difference"),
    [
        (
            "pairs: [[l_arm, r_leg], [l_leg, r_arm]]",
            "l_arm.x of input 0 changes with r_arm.x under the file's, and changes with r_leg.x under the given one",
        ),
        ("negate: [y]", "hip.x of input 0 is negated under the file's, and stays under the given one"),
    ],
)
def test_what_differs_first(line: str, difference: str) -> None:
    key = line.partition(":")[0]
    given = [one for one in BODY.splitlines() if not one.startswith(key)]
    spec = parse_spec("\n".join([*given, line, *POSE.removeprefix(BODY).splitlines()]))
    report = chiralize.verify(policy(), spec, (normal(3, 6, 2),), samples=2)
    with pytest.raises(EquivarianceError) as caught:
        report.raise_for_failure()
    remedy = caught.value.remedy
    assert f"converted for another mirror than the one given: {difference}." in remedy
    assert "Leave --skeleton (spec) out" in remedy and "makes it exact" not in remedy


def test_entries_that_both_files_call_differently_are_numbered() -> None:
    """Names of the one say nothing of the other: cos, sin, cos, sin, and cos, cos, sin, sin."""
    body = "joints: [l_hip, r_hip]\npairs: [[l_hip, r_hip]]\ndims: [q]\nnegate: []\n"
    outputs = "outputs: [{fields: [{joints: action}]}]\n"
    clocks = "legs: [l, r], each: [{phase: cos_sin, shift: none}]"
    by_entries = f"inputs: [{{fields: [{{joints: q}}, {{{clocks}, major: entries, name: clock}}]}}]\n"
    by_legs = f"inputs: [{{fields: [{{joints: q}}, {{{clocks}, name: clock}}]}}]\n"
    plain, example = nn.Linear(6, 2).double(), (normal(3, 6),)
    net = chiralize.chiralize(plain, parse_spec(body + by_entries + outputs), example, method="project")
    report = chiralize.verify(net, parse_spec(body + by_legs + outputs), example, samples=2)
    assert not report.passed
    remedy = report.circumstances.remedy
    assert "entry 2 of input 0 changes with entry 3 under the file's, and changes with entry 4 under the" in remedy
    assert "the file has `{legs: [l, r], " in remedy and "major: entries, name: clock}` there" in remedy


def test_the_same_mirror_in_other_words() -> None:
    """A network that was changed after the conversion fails under its own mirror: there is nothing else to name."""
    net = policy()
    next(net.parameters()).data[0, 1] += 1.0
    report = chiralize.verify(net, parse_spec(POSE.replace("x, y", "x, height")), (normal(3, 6, 2),), samples=2)
    assert not report.passed and not report.circumstances.remedy

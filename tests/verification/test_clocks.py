"""Clocks of legs that are grouped otherwise than the specification says: sin² + cos² shows it in the samples."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize import audit, chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.fields import grouped_clocks
from chiralize.errors import VerificationError
from chiralize.verification.evidence.clocks import clock_findings
from chiralize.verification.evidence.neighbours import nearby
from tests.support.small_body import normal

BODY = """\
joints: [l_hip, l_knee, r_hip, r_knee]
pairs: [[l_hip, r_hip], [l_knee, r_knee]]
dims: [q]
negate: []
"""
EACH = "legs: [l, r], each: [{phase: cos_sin, shift: none}]"
BY_ENTRIES = f"{{{EACH}, major: entries, name: clock}}"
BY_ITEMS = f"{{{EACH}, name: clock}}"


def specification(block: str) -> str:
    return f"{BODY}inputs: [{{fields: [{{joints: q}}, {block}]}}]\noutputs: [{{fields: [{{joints: action}}]}}]\n"


def seen(count: int = 400, *, by_entries: bool = True) -> Tensor:
    """Angles, and clocks half a period apart as cos, cos, sin, sin; or as cos, sin, cos, sin."""
    angle = torch.linspace(0, 40, count, dtype=torch.float64)
    clocks = [angle.cos(), (angle + pi).cos(), angle.sin(), (angle + pi).sin()]
    order = [0, 1, 2, 3] if by_entries else [0, 2, 1, 3]
    return torch.cat([normal(count, 4), torch.stack(clocks, 1)[:, order]], 1)


def warned(block: str, values: Tensor) -> tuple[str, ...]:
    resolved = resolve(parse_spec(specification(block)), [(values.shape[0], values.shape[-1])], [(1, 4)])
    return clock_findings(resolved, [((values,), {})]).warnings


@pytest.mark.parametrize("is_by_entries", [True, False])
def test_the_other_grouping_is_named_with_its_line(is_by_entries: bool) -> None:
    """And the right one is not doubted."""
    blocks = (BY_ITEMS, BY_ENTRIES) if is_by_entries else (BY_ENTRIES, BY_ITEMS)
    wrong, right = blocks
    values = seen(by_entries=is_by_entries)
    assert warned(right, values) == ()
    (warning,) = warned(wrong, values)
    assert "'clock' of input 0 is grouped wrongly: clock.l.phase.cos² + clock.l.phase.sin² is not" in warning
    line = warning.partition("`")[2].partition("`")[0]
    assert ("major: entries" in line) == is_by_entries
    assert warned(line, values) == ()


def test_nothing_is_said_where_the_samples_do_not_tell() -> None:
    """Inputs divided by a spread each; clocks that stand still; no clock at all."""
    values = seen()
    assert warned(BY_ITEMS, values * torch.linspace(0.5, 2, 8)) == ()
    still = values.clone()
    still[:, 4:] = 0.0
    assert warned(BY_ITEMS, still) == ()
    assert warned("{items: [l, r], each: [{scalar: 2, name: load}], name: load}", values) == ()


def test_clocks_that_are_switched_off_at_times_are_judged_by_the_rest() -> None:
    """Many environments write zeros while the robot stands."""
    values = seen()
    values[::3, 4:] = 0.0
    assert warned(BY_ENTRIES, values) == ()
    assert len(warned(BY_ITEMS, values)) == 1


def test_clocks_lie_where_blocks_and_frames_say() -> None:
    """Within a history, and with sine and cosine in blocks of their own."""
    each = "legs: [l, r], each: [{phase: sin, shift: none}, {phase: cos, shift: none}], name: clock"
    blocks = f"[{{history: 2, of: [{{joints: q}}, {{{each}}}]}}]"
    spec = parse_spec(f"{BODY}inputs: [{{fields: {blocks}}}]\n")
    assert spec.inputs is not None and spec.inputs[0].fields is not None
    (clocks,) = grouped_clocks(spec.inputs[0].fields, spec.skeleton)
    assert np.array_equal(clocks.stated, [[4, 5], [6, 7], [12, 13], [14, 15]])
    assert np.array_equal(clocks.regrouped, [[4, 6], [5, 7], [12, 14], [13, 15]])
    terms = blocks.replace("history: 2", "history: 2, major: terms")
    spec = parse_spec(f"{BODY}inputs: [{{fields: {terms}}}]\n")
    assert spec.inputs is not None and spec.inputs[0].fields is not None
    (clocks,) = grouped_clocks(spec.inputs[0].fields, spec.skeleton)
    assert np.array_equal(clocks.stated, [[8, 9], [10, 11], [12, 13], [14, 15]])


def test_the_other_grouping_is_among_the_mirrors_that_are_tried() -> None:
    resolved = resolve(parse_spec(specification(BY_ITEMS)), [(1, 8)], [(1, 4)])
    assert "`major: entries` in clock of input 0" in {neighbour.name for neighbour in nearby(resolved)}


class Walker(nn.Module):
    """A policy that is exactly equivariant where the clocks stand as cos, cos, sin, sin, whatever its weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)).double()
        for weight in self.one.parameters():  # else it counts as untrained, and nothing is asked of it
            nn.init.normal_(weight, 0.0, 0.63)

    def forward(self, x: Tensor) -> Tensor:
        turned = x[:, [2, 3, 0, 1, 5, 4, 7, 6]]
        return self.one(x) + self.one(turned)[:, [2, 3, 0, 1]] + 0.2 * self.one(x.flip(1))


def test_convert_and_audit_say_so() -> None:
    """Whatever else they find: in what `convert` refuses or reports, and in what `audit` reports."""
    data = [seen()[start : start + 8] for start in range(0, 400, 8)]
    spec = parse_spec(specification(BY_ITEMS))
    report = audit(Walker(), spec, data[0], calibration=data)
    assert any("is grouped wrongly" in text for text in report.evidence.warnings)
    with pytest.raises(VerificationError, match="is grouped wrongly"):
        chiralize(Walker(), spec, data[0], method="auto", calibration=data)

"""Figures of every joint: against a computation of its own, and what the bounds and the reports do with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import DriftError, UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.report.encoding import to_dict
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.drift_sums import Tally
from chiralize.verification.verdicts import OutputDrift
from tests.support.small_body import BODY, POSE, Net, converted, normal, trained, turned

JOINTS, ROWS, HELD = 6, 40, 8
SCORES = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{invariant: true}]\n'


def moved(net: Net, x: Tensor) -> Tensor:
    return x + net.layer(x.flatten(1)).view_as(x)


def network() -> nn.Module:
    return trained(Net(moved, layer=nn.Linear(12, 12)))


def made(**options: Any) -> nn.Module:
    return converted(network(), calibration=normal(ROWS, JOINTS, 2).split(HELD), **options)


def figures(net: nn.Module) -> OutputDrift:
    return net.chirality.report.drift.outputs[0]


def test_against_a_computation_of_its_own() -> None:
    """gap, drift, rho and shift of every joint on the held-out inputs, to 1e-9."""
    original, result = network(), made()
    given = normal(ROWS, JOINTS, 2)
    held = torch.cat([given[8:12], given[28:32]])  # a fifth of the forty, from both of their halves
    with torch.no_grad():
        own, back = original(held), turned(original(turned(held)))
        off = result(held) - (own + back) / 2
    spread = float((own - own.mean(0)).square().mean().sqrt())
    whole = float((own - back).square().mean().sqrt()) / spread
    found = figures(result)
    assert [told.name for told in found.joints] == ["hip", "l_arm", "l_leg", "r_arm", "r_leg", "head"]
    for joint, told in enumerate(found.joints):
        gap, drift = (float(value[:, joint].square().mean().sqrt()) / spread for value in (own - back, off))
        shift = float(off[:, joint].square().sum(-1).mean().sqrt())
        wanted = gap, drift, drift / max(gap / 2, whole / 4, 0.01), shift
        assert (told.gap, told.drift, told.rho, told.shift) == pytest.approx(wanted, rel=1e-9)
    assert found.shift == max(told.shift for told in found.joints)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["b t j d", "b j d t"])
def test_parts_add_up_whatever_the_batches_and_the_layout(order: tuple[int, ...]) -> None:
    """The mean square of all entries is the mean of those of the joints' coordinates."""
    sizes = (ROWS, 5, JOINTS, 2)
    swap = parse_spec(POSE).skeleton.joint_action()
    axes = [Representation.trivial(ROWS), Representation.trivial(5), Representation.of(swap), Representation.trivial(2)]
    mirror = NetworkMirror((), (TensorRepresentation(tuple(axes[place] for place in order)),))
    tally = Tally(mirror)
    values = [normal(*sizes, seed=seed).permute(order).split(7) for seed in range(3)]
    for rows in zip(*values, strict=True):
        tally.add(*([own] for own in rows))
    found = tally.result("here")[0].outputs[0]
    assert len(found.joints) == JOINTS
    for name in ("gap", "drift"):
        parts = [getattr(own, name) ** 2 for own in found.joints]
        assert np.mean(parts) == pytest.approx(getattr(found, name) ** 2, rel=1e-12)


def test_the_worst_joint_is_named_in_every_report() -> None:
    bent = trained(
        Net(lambda net, x: moved(net, x.tanh()) + net.layer(x.flatten(1)).tanh().view_as(x), layer=nn.Linear(12, 12))
    )
    result = converted(bent, calibration=normal(ROWS, JOINTS, 2).split(HELD))
    report = result.chirality.report
    joints = report.drift.outputs[0].joints
    worst = max(joints, key=lambda own: own.rho)
    assert f"worst of {JOINTS} in output 0: {worst.name} (rho " in report.to_text()
    assert f"worst of {JOINTS} in output 0: {worst.name} (rho " in report.to_html()
    told = to_dict(report)["drift"]["outputs"][0]["joints"]
    assert [own["name"] for own in told] == [own.name for own in joints]


def test_of_joints_that_rounding_alone_tells_apart_none_is_the_worst() -> None:
    """An average is the flip average by construction."""
    report = made(method="average").chirality.report
    assert max(joint.rho for joint in report.drift.outputs[0].joints) < 1e-4
    assert "worst of" not in report.to_text()


def test_outputs_that_the_mirror_leaves_alone_have_no_joints() -> None:
    scores = trained(Net(lambda net, x: net.layer(x.flatten(1)), layer=nn.Linear(12, 3)))
    result = converted(scores, SCORES, method="average")
    found = figures(result)
    assert not found.joints and found.shift < 1e-12
    assert "worst of" not in result.chirality.report.to_text()


def test_max_shift() -> None:
    """Refused beyond it with the joint's name, written within it; a number or nothing."""
    free = figures(made()).shift
    with pytest.raises(
        DriftError, match=rf"\w+ of output 0 is off by \S+ \(RMS\), which exceeds --max-shift {free / 2:g}"
    ):
        made(max_shift=free / 2)
    assert made(max_shift=2 * free).chirality.report.passed
    forced = made(max_shift=free / 2, force=True).chirality.report
    assert not forced.passed and "too far from the original (--max-shift " in forced.verdict
    with pytest.raises(UsageError, match="--max-shift"):
        made(max_shift=-1.0)

"""Means and variances that a conversion changes are named in every report; `keep_statistics` refuses to change them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import AsymmetricConstantError, ExportError
from chiralize.problem.preparation import prepare
from chiralize.report import to_html, to_json, to_text
from tests.support.small_body import normal, trained

SPEC = parse_spec(
    "name: body\nskeleton: {name: body, joints: [a, l, r], pairs: [[l, r]], dims: [x, y], negate: [x]}\n"
    "inputs: [{layout: b (j d)}]\noutputs: [{layout: b (j d)}]\n"
)
ONE_SIDED = torch.tensor([0.3, 1.0, 0.5, 0.2, 0.1, 0.4], dtype=torch.float64)
SYMMETRIC = torch.tensor([0.0, 1.0, 0.5, 0.2, -0.5, 0.2], dtype=torch.float64)
REMEDY = "use --method average, which keeps them at the cost of two passes a call; or leave --keep-statistics out"


class Observer(nn.Module):
    """A policy behind a normaliser that a wrapper holds, as a buffer or as a plain tensor."""

    def __init__(self, mean: Tensor, is_buffer: bool, norm: bool = False) -> None:
        super().__init__()
        if is_buffer:
            self.register_buffer("mean", mean)
        else:
            self.mean = mean
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 6)
        self.norm: nn.Module = nn.BatchNorm1d(8) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x - self.mean))))


def ready(mean: Tensor, is_buffer: bool, norm: bool = False) -> Observer:
    net = Observer(mean.clone(), is_buffer, norm)
    trained(net)
    net.mean = mean.clone()  # `trained` scrambles buffers
    return net


def found(net: nn.Module, method: str, **options: Any) -> Any:
    return chiralize.chiralize(net, SPEC, normal(2, 6), method=method, force=True, samples=1, rounds=0, **options)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("method", "is_buffer"), [("match", False), ("reduce", True)])
def test_every_report_names_what_has_to_be_put_back_together(method: str, is_buffer: bool) -> None:
    """Also where weights make up for a symmetric normaliser, and for one that is a plain tensor."""
    net = ready(ONE_SIDED, is_buffer)
    result = found(net, method, calibration=normal(60, 6))
    report = result.chirality.report
    distance = float((ONE_SIDED - result.mean).norm() / ONE_SIDED.norm())
    moved = {entry.name: entry for entry in report.changes.moved if entry.kind == "statistic"}
    assert moved["mean"].distance == pytest.approx(distance) and distance > 0.1
    sentence = f"normaliser statistics changed: mean ({100 * distance:.1f} %). Put them back together with the weights"
    assert sentence in " ".join(to_text(report).split()) and sentence in " ".join(to_html(report).split())
    assert '"mean"' in to_json(report)
    assert "normaliser statistics changed: deploy them together with the weights" in report.verdict


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["reduce", "match", "project"])
def test_statistics_that_are_kept(method: str) -> None:
    options: dict[str, Any] = {"calibration": normal(60, 6), "keep_statistics": True}
    with pytest.raises(AsymmetricConstantError, match=rf"--keep-statistics, but {method} would have to") as caught:
        found(ready(ONE_SIDED, method == "match"), method, **options)
    assert "change mean (43.3 %)" in caught.value.facts and caught.value.remedy.startswith(REMEDY)
    with pytest.raises(AsymmetricConstantError, match=r"norm\.running_mean \(.* %\), norm\.running_var"):
        found(ready(SYMMETRIC, True, norm=True), method, **options)
    kept = found(ready(SYMMETRIC, True), method, **options)
    assert torch.equal(kept.mean, SYMMETRIC), "what is symmetric stands in nobody's way"


def test_auto_averages_and_says_what_keeping_costs() -> None:
    result = found(ready(ONE_SIDED, True), "auto", calibration=normal(60, 6), keep_statistics=True)
    report = result.chirality.report
    assert report.method == "average" and "2 passes" in report.verdict and "statistics" not in report.verdict
    assert any("reduce at width 0.5 was not taken" in note and "--keep-statistics" in note for note in report.notes)


def test_a_file_of_weights_cannot_hold_a_plain_tensor_that_changed() -> None:
    """`match` would have been written, with the original's normaliser beside weights that make up for another one."""
    network = prepare(ready(ONE_SIDED, False), SPEC, (normal(2, 6),))
    calls = [((normal(30, 6),), {})]
    with pytest.raises(ExportError, match="mean changed, which no state_dict holds"):
        convert(network, "net", Request(calibration=calls, product="weights", force=True, samples=1, rounds=0))

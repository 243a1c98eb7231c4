"""Sizes of open axes at which a network has no answer are none to judge on; its least size is said, early."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.onnx import write_module
from chiralize.errors import EquivarianceError, ModelRunError
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from chiralize.report import VerifyReport, raise_for_failure
from chiralize.storage.passport import LEAST_SIZES, Passport
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import Judgement
from tests.support.small_body import BODY, Net, normal, trained

SPEC = parse_spec(BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{invariant: true}]\n')
NAN = "its answers are not finite (output 0 is nan at [0, 0])"


def recogniser(pooled: Callable[[Tensor], Tensor], **parts: Any) -> nn.Module:
    """Units of every frame, put together to scores of the clip."""

    def compute(net: Any, x: Tensor) -> Tensor:
        units = net.first(x.flatten(2)).relu()
        return net.last(pooled(net.over(units.mT).mT if parts else units))

    return trained(Net(compute, first=nn.Linear(12, 8), last=nn.Linear(8, 3), **parts))


def spread(units: Tensor) -> Tensor:
    return torch.cat([units.mean(1)[:, :4], units.std(1)[:, 4:]], 1)


def ready(net: nn.Module, frames: int = 9, batch: int = 2, is_float: bool = False) -> Network:
    x = normal(batch, frames, 6, 2)
    return prepare(net, SPEC, (x.float() if is_float else x,))


@pytest.mark.parametrize(
    ("pooled", "parts", "note"),
    [
        (spread, {}, f"frames: judged from 2 on, since at 1 {NAN}; the result is for 2 and more"),
        (lambda units: (units[:, 1:] - units[:, :-1]).mean(1), {}, f"frames: judged from 2 on, since at 1 {NAN}"),
        (lambda units: units[:, ::4].var(1), {}, f"frames: judged from 5 on, since at 1, 2, 4 {NAN}"),
        (lambda units: units.topk(3, 1).values.mean(1), {}, "frames: judged from 3 on, since at 1, 2 it fails (select"),
        (torch.Tensor.mean, {"over": nn.Conv1d(8, 8, 5)}, "frames: judged from 5 on, since at 1, 2, 4 it fails (Calc"),
        (lambda units: units.mean(1), {}, ""),
        (lambda units: (units[:, 1:].softmax(1) * units[:, 1:]).sum(1), {}, ""),
    ],
    ids=["std", "differences", "strided", "topk", "convolution", "mean", "softmax"],
)
def test_the_least_size_is_said(pooled: Any, parts: Any, note: str) -> None:
    """Where one frame has an answer nothing is said, also of a sum over no frames, which is 0."""
    if parts:
        pooled = lambda units: units.mean(1)  # noqa: E731
    network = ready(recogniser(pooled, **parts))
    notes = [text for text in network.notes if "judged from" in text]
    assert len(notes) == bool(note) and "".join(notes).startswith(note)
    assert network.floors == ({"frames": int(note.split()[3])} if note else {})


def test_it_is_converted_and_its_file_says_from_where_on() -> None:
    conversion = convert(ready(recogniser(spread)), "net", Request(method="project", samples=1))
    numeric = conversion.report.judgement.numeric
    assert conversion.report.passed and numeric is not None and numeric.tried["frames"][0] == 2
    assert any(text.startswith("frames: judged from 2 on") for text in conversion.report.notes)
    text = conversion.passport.to_json()
    assert Passport.from_json(text, "net").figures[LEAST_SIZES] == {"frames": 2}
    record = json.loads(text)
    record["figures"][LEAST_SIZES] = {"frames": "2"}
    with pytest.raises(chiralize.ChiralizeError, match="least_sizes is no table of sizes"):
        Passport.from_json(json.dumps(record), "net")


def test_samples_are_an_axis_like_any_other() -> None:
    net = recogniser(lambda units: units.mean(1) / (1 + units.mean(1).std(0)))
    network = ready(net, batch=3)
    assert network.floors == {"batch": 2}
    report = chiralize.verify(net, SPEC, (normal(3, 9, 6, 2),), samples=1)
    numeric = report.judgement.numeric
    assert numeric is not None and numeric.tried["batch"][0] == 2


def test_examples_without_an_answer_are_refused_before_anything_is_fitted() -> None:
    """With the least size that has one, or those that were tried."""
    steps = list[str]()
    request = Request(method="project", progress=lambda what, done=0.0: steps.append(what))
    with pytest.raises(ModelRunError) as caught:
        convert(ready(recogniser(lambda units: units[:, ::4].diff(dim=1).mean(1)), frames=2), "net", request)
    assert caught.value.facts == (
        f"on all inputs tried of the examples' sizes {NAN}; so it is with frames 1, 2, 4, and not with frames 5"
    )
    assert caught.value.remedy == "give examples with frames 5 or more: --input-shape, --example"
    with pytest.raises(ModelRunError) as caught:
        convert(ready(recogniser(lambda units: units.mean(1) / (units - units).mean(1)), frames=2), "net", request)
    assert caught.value.facts == (
        f"on all inputs tried of the examples' sizes {NAN}; so it is with batch 1, 2, 4, 8, 16; frames 1, 2, 4, 8, 16"
    )
    assert not steps


def test_answers_that_are_off_at_the_least_size_fail() -> None:
    """Lopsided at two frames alone: nothing is left out but what has no answer."""
    weights = normal(6, 2)

    def compute(net: Any, x: Tensor) -> Tensor:
        even = x[..., 1].sum((1, 2))[:, None] * net.last.weight[:, 0]
        lopsided = (x * weights).sum((1, 2, 3))[:, None] * (x.shape[1] // 2 == 1)
        return even + lopsided + x[..., 1].sum(2).std(1)[:, None]

    with pytest.raises(EquivarianceError):
        chiralize.verify(trained(Net(compute, last=nn.Linear(2, 3))), SPEC, (normal(2, 9, 6, 2),)).raise_for_failure()


def test_a_result_without_an_answer_where_its_original_has_one_fails() -> None:
    """The sizes are those of the network as it was handed in."""

    def even(x: Tensor) -> Tensor:
        return x[..., 1].sum(2)

    network = ready(Net(lambda _, x: even(x).mean(1, keepdim=True)))
    broken = replace(network, module=Net(lambda _, x: even(x).std(1, keepdim=True)))
    verdict = judge(broken, samples=1)
    assert not verdict.numeric.passed
    with pytest.raises(ModelRunError, match="nan for x, with frames 1\n") as caught:
        raise_for_failure(VerifyReport("net", Judgement(verdict.numeric, verdict.certificate)))
    assert caught.value.where == "output 0"


def test_entries_that_are_finite_for_some_inputs_are_judged() -> None:
    """A logarithm of what is sometimes negative has nothing to do with the size."""
    net = recogniser(lambda units: units.mean(1) + (units[:, 0] - 0.05).log())
    assert "frames" not in ready(net).floors


def test_the_file_is_verified_from_there_on(tmp_path: Path) -> None:
    x = normal(2, 9, 6, 2)
    chiral = chiralize.chiralize(recogniser(spread), SPEC, (x,), method="project", samples=1)
    chiralize.save(chiral, tmp_path / "net.pt2")
    report = chiralize.verify(torch.export.load(tmp_path / "net.pt2"), SPEC, (x,), samples=1)
    numeric = report.judgement.numeric
    assert report.passed and numeric is not None and numeric.tried["frames"][0] == 2


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_an_onnx_file_is_compared_from_there_on(tmp_path: Path) -> None:
    """What onnxruntime answers to one frame is no number of torch's."""
    pytest.importorskip("onnxruntime")
    conversion = convert(ready(recogniser(spread).float(), is_float=True), "net", Request(method="project", samples=1))
    network = ready(recogniser(spread).float(), is_float=True)
    parity = write_module(conversion, network, network.example, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").exists() and parity.sizes["t"] == (2, 3, 5)

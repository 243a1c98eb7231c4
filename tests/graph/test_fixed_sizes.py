"""A program that fixes its sizes takes no others: its kernels would read past the end."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError
from chiralize.graph.export import export
from chiralize.graph.fixed_sizes import check_sizes, fixed_sizes
from chiralize.infer.capture import capture
from chiralize.problem.axes import batch_axes
from chiralize.problem.preparation import prepare

LAYOUT = "{layout: b t (j d), dims: [x, y]}"
SPEC = parse_spec(f"skeleton: h36m\ninputs: [{LAYOUT}]\noutputs: [{LAYOUT}]\n")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.run, self.out = nn.LSTM(34, 32, batch_first=True), nn.Linear(32, 34)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.run(x)[0])


def poses(rows: int, frames: int = 4) -> Tensor:
    return torch.randn(rows, frames, 34, generator=torch.Generator().manual_seed(rows))


@pytest.fixture
def program() -> ExportedProgram:
    """As torch exports by default: the sizes of the example alone."""
    torch.manual_seed(0)
    return export(Recurrent().eval(), (poses(2),), {})


def refused(x: Tensor) -> str:
    facts = f"its sizes are {tuple(x.shape)}, the network as it was exported takes (2, 4, 34) alone"
    return f"CH208  input x: {re.escape(facts)}\n *Fix: give inputs of these sizes, or leave sizes open when you export"


@pytest.mark.one_in(3)
@pytest.mark.parametrize("form", ["fused", "blocks", "dense"])
def test_converted_programs_refuse_other_sizes(program: ExportedProgram, form: str) -> None:
    """Copies of them, too; the fused kernel of an LSTM would corrupt memory."""
    calls = [(poses(2),)] * 3 + [(poses(2) + 1,)] * 3
    how: dict[str, Any] = {"method": "reduce", "width": 0.5, "calibration": calls, "force": True, "rounds": 0}
    how = how if form == "dense" else {"method": "match"}
    found = chiralize(program, SPEC, (poses(2),), form=form, samples=1, **how)
    for module in (found, copy.deepcopy(found)):
        assert module(poses(2)).shape == (2, 4, 34)
        for other in (poses(1), poses(3), poses(64), poses(2, 5), poses(2)[:, :, :30], poses(2)[0]):
            with pytest.raises(
                (ModelRunError, RuntimeError), match=r"takes \(2, 4, 34\) alone|Expected input|of dimensions"
            ):
                module(other)


@pytest.mark.thorough
@pytest.mark.parametrize(("rows", "held"), [(3, 2), (8, 6)])
def test_calibration_is_cut_to_the_size_that_a_program_takes(program: ExportedProgram, rows: int, held: int) -> None:
    """held: of 13 or 36 batches of two samples; a fifth of 36 is 7, of which two processes could not have as many."""
    calls = [(poses(rows) + place,) for place in range(9)]
    how: dict[str, Any] = {"method": "reduce", "samples": 1, "force": True, "rounds": 0}
    found: Any = chiralize(program, SPEC, (poses(2),), calibration=calls, **how)
    drift = found.chirality.report.drift
    assert found(poses(2)).shape == (2, 4, 34) and drift.samples == 2 * held


def test_calibration_of_other_sizes_is_refused(program: ExportedProgram) -> None:
    with pytest.raises(ModelRunError, match=r"CH208[\s\S]*x.size\(\)\[1\] == 4"):
        chiralize(program, SPEC, (poses(2),), method="reduce", calibration=[(poses(2, 5),)] * 9)


@pytest.mark.thorough
def test_calibration_is_not_put_together(program: ExportedProgram) -> None:
    """Batches of more samples are tried, and not taken by a program of one size."""
    calls = [(poses(2) + place,) for place in range(12)]
    found = chiralize(program, SPEC, (poses(2),), method="reduce", calibration=calls, samples=1, force=True, rounds=0)
    assert found(poses(2)).shape == (2, 4, 34)


def test_open_sizes_stay_open() -> None:
    torch.manual_seed(0)
    net = Recurrent().eval()
    found: Any = chiralize(net, SPEC, (poses(2),), method="match", form="fused", samples=1)
    assert found(poses(7)).shape == (7, 4, 34)
    assert export(found, (poses(3),), {}).module()(poses(3)).shape == (3, 4, 34)
    assert found(poses(2, 9)).shape == (2, 9, 34)
    with pytest.raises(ModelRunError, match=r"takes \(any, any, 34\) alone"):
        found(poses(2)[:, :, :30])


def test_a_batch_between_joints_and_coordinates_stays_open() -> None:
    """Where there are no frames, the batch is what is opened, whichever axis it is."""
    spec = parse_spec('skeleton: h36m\ninputs: [{layout: "j b d"}]\noutputs: [{layout: "j b d"}]\n')
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).eval()
    example = (torch.randn(17, 3, 2),)
    program = prepare(net, spec, example).program_of(net, (example, {}))
    assert program.module()(torch.randn(17, 5, 2)).shape == (17, 5, 2)


def test_capture_refuses_other_sizes(program: ExportedProgram) -> None:
    with pytest.raises(ModelRunError, match=refused(poses(3))):
        capture(program, (poses(3),), {})
    assert prepare(program, SPEC, (poses(2),)).captured is not None


def test_what_is_fixed() -> None:
    open_batch = torch.export.export(nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=({0: Dim("rows")},))
    values = {node.name: node.meta.get("val") for node in open_batch.graph.nodes}
    assert fixed_sizes(values["input"]) == (None, 3)
    assert fixed_sizes(3) is None
    check_sizes(torch.ones(9, 3), "x", (None, 3))
    check_sizes(torch.ones(9, 3), "x", None)
    for other in (torch.ones(9, 2), torch.ones(3), torch.ones(9, 3, 1)):
        with pytest.raises(ModelRunError):
            check_sizes(other, "x", (None, 3))


class Tail(nn.Module):
    """Its history is a view of a slice, which torch takes for another one where the batch is one."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.out = nn.Linear(34, 20), nn.Linear(40, 68)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.each(x[:, 34:].view(-1, 2, 34)))
        return self.out(h.reshape(h.shape[0], -1))


@pytest.mark.thorough
@pytest.mark.parametrize("width", [0.5, 0.7])
def test_a_batch_that_one_sample_closes(width: float) -> None:
    spec = parse_spec(f"skeleton: h36m\ninputs: [{LAYOUT}]\noutputs: [{LAYOUT}]\n".replace("b t (j d)", "b (t j d)"))
    torch.manual_seed(0)
    net, calls = Tail().eval(), [(torch.randn(32, 102),) for _ in range(8)]
    found = chiralize(
        net,
        spec,
        (torch.randn(1, 102),),
        method="reduce",
        width=width,
        calibration=calls,
        samples=1,
        force=True,
        rounds=0,
    )
    x = torch.randn(7, 102)
    torch.testing.assert_close(found(x), torch.cat([found(own[None]) for own in x]), rtol=1e-3, atol=1e-4)


class Conditioned(nn.Module):
    """Frames first; a text of shape (1, batch, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.said, self.out = nn.Linear(34, 20), nn.Linear(8, 20), nn.Linear(20, 34)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        return self.out(torch.tanh(self.into(x).mean(0) + self.said(text)[0]))


@pytest.mark.thorough
def test_a_batch_that_is_not_the_first_axis() -> None:
    spec = parse_spec(
        "skeleton: h36m\ninputs: [{layout: t b (j d), dims: [x, y]}, {free: true}]\n"
        "outputs: [{layout: b (j d), dims: [x, y]}]\n"
    )
    torch.manual_seed(0)
    net = Conditioned().eval()

    def inputs(rows: int) -> tuple[Tensor, Tensor]:
        return torch.randn(4, rows, 34), torch.randn(1, rows, 8)

    assert batch_axes(prepare(net, spec, inputs(2)).resolved) == [(1,), (1,)]
    calls = [inputs(2) for _ in range(60)]
    found: Any = chiralize(
        net, spec, inputs(2), method="reduce", width=0.7, calibration=calls, samples=1, force=True, rounds=0
    )
    assert found(*inputs(5)).shape == (5, 34)


def test_what_the_user_did_not_export_is_not_said_to_be(program: ExportedProgram) -> None:
    with pytest.raises(ModelRunError, match=r"as it was captured takes \(2, 4, 34\) alone\n.*two samples or more"):
        capture(program, (poses(3),), {}, origin="captured")

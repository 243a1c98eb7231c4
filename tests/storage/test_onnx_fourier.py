"""Fourier transforms as matrix products: the numbers of torch, where those of onnxruntime are not exact enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.onnx import write_onnx
from chiralize.errors import ParityError
from chiralize.problem.preparation import prepare
from chiralize.storage import onnx_export
from chiralize.storage.onnx_fourier import as_products, transforms
from chiralize.storage.onnx_reopening import open_axes
from tests.support.small_body import CLIP, Net, normal

CASES = [
    *((kind, size, norm) for kind in ("fft", "ifft") for size, norm in ((7, "backward"), (8, "ortho"), (6, "forward"))),
    *((kind, size, norm) for kind in ("rfft", "irfft") for size, norm in ((7, "backward"), (6, "forward"))),
    ("fft2", 7, "backward"), ("irfft2", 8, "ortho"), ("irfft2", 7, "forward"), ("fftn", 6, "forward"),
]  # fmt: skip
"""Both directions by every norm, halves of odd and even sizes, and several axes at once."""


def program_of(kind: str, size: int, norm: str) -> tuple[torch.export.ExportedProgram, Tensor]:
    """One transform of frames, or of frames and joints."""
    axes: dict[str, Any] = {"dim": (1, 2)} if kind.endswith(("2", "n")) else {"dim": 1}
    if kind == "irfft":
        axes["n"] = size

    def compute(_: Net, x: Tensor) -> Tensor:
        found = getattr(torch.fft, kind)(torch.complex(x, x.flip(1)) if "i" in kind else x, norm=norm, **axes)
        return torch.view_as_real(found) if found.is_complex() else found

    x = normal(2, size // 2 + 1 if kind == "irfft" else size, 6)
    return torch.export.export(Net(compute), (x,), strict=False), x


@pytest.mark.one_in(24)
@pytest.mark.parametrize(("kind", "size", "norm"), CASES)
def test_the_same_numbers(kind: str, size: int, norm: str) -> None:
    program, x = program_of(kind, size, norm)
    products = as_products(program, ((x,), {}))
    assert transforms(program) and not transforms(products)
    torch.testing.assert_close(products.module()(x), program.module()(x), rtol=0, atol=1e-12)


def test_long_ones_stay() -> None:
    program, x = program_of("rfft", 2048, "ortho")
    assert as_products(program, ((x,), {})) is program


def test_open_lengths_are_closed() -> None:
    """Those of the transforms alone, and as long as the example."""
    net, x = Net(lambda _, x: torch.fft.rfft(x, dim=1).abs()), normal(2, 7, 6)
    axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    products = as_products(torch.export.export(net, (x,), dynamic_shapes=(axes,), strict=False), ((x,), {}))
    assert not transforms(products) and open_axes(products) == [(0, 0)]
    torch.testing.assert_close(products.module()(normal(5, 7, 6)), net(normal(5, 7, 6)), rtol=0, atol=1e-12)


@pytest.mark.thorough
def test_where_the_runtime_is_not_exact_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """243 frames: the file holds no DFT, where it was refused before. It takes these frames alone, and any batch."""

    def compute(s: Net, x: Tensor) -> Tensor:
        waves = torch.view_as_real(torch.fft.fft(s.first(x), dim=1))
        return s.last(waves.flatten(3))

    net = Net(compute, first=nn.Linear(2, 4, bias=False), last=nn.Linear(8, 2, bias=False))
    spec = parse_spec(CLIP)
    network = prepare(net.eval(), spec, (normal(1, 243, 6, 2).float(),))
    found = convert(network, "net", Request("project", samples=1))
    written = write_onnx(found, network, tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert "DFT" not in {node.op_type for node in graph.node}
    batch, frames, *_ = graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, frames.dim_value) == ("b", 243)
    assert any("onnxruntime is at most" in note for note in written.report.notes)
    monkeypatch.setattr(onnx_export, "transforms", lambda program: False)
    with pytest.raises(ParityError, match="CH403"):
        write_onnx(found, network, tmp_path / "other.onnx")

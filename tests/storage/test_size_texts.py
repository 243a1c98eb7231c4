"""Texts of sizes are parsed once each, to the sizes that torch makes of them by itself."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._export.serde import serialize

from chiralize.storage.read_pt2 import load_program
from chiralize.storage.size_texts import parsed_once


class Temporal(nn.Module):
    """Convolutions along an open axis, and slices of it beside them: sizes are nested maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv1d(4, 4, 3) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution in self.convolutions:
            x = x[..., 1:-1] + convolution(x)
        return x


@pytest.fixture(scope="module")
def file() -> bytes:
    open_axes = {"x": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
    program = torch.export.export(Temporal().eval(), (torch.randn(2, 4, 20),), dynamic_shapes=open_axes)
    stream = io.BytesIO()
    torch.export.save(program, stream)
    return stream.getvalue()


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that torch parses from here on."""
    texts: list[str] = []
    parse: Callable[..., Any] = serialize.GraphModuleDeserializer._parse_sym_expr

    def counted(self: Any, text: Any, hint: Any = None) -> Any:
        if isinstance(text, str):
            texts.append(text)
        return parse(self, text, hint)

    monkeypatch.setattr(serialize.GraphModuleDeserializer, "_parse_sym_expr", counted)
    return texts


def sizes_of(program: torch.export.ExportedProgram) -> list[str]:
    values = [node.meta.get("val") for node in program.graph.nodes]
    return [str((*value.shape, *value.stride())) for value in values if isinstance(value, torch.Tensor)]


def test_every_text_is_parsed_once_to_the_same_sizes(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = torch.export.load(io.BytesIO(file))
    texts = counting(monkeypatch)
    ours, _ = load_program(io.BytesIO(file), "net.pt2")
    assert texts
    # once without the value that the example has, once with it
    assert max(map(texts.count, texts)) <= 2
    assert sizes_of(ours) == sizes_of(theirs)
    assert ours.range_constraints.keys() == theirs.range_constraints.keys()
    x = torch.randn(3, 4, 31)
    assert torch.equal(ours.module()(x), theirs.module()(x))


def test_another_program_has_symbols_of_its_own(file: bytes) -> None:
    modes = []
    for _ in range(2):
        program, _ = load_program(io.BytesIO(file), "net.pt2")
        (output,) = program.graph.find_nodes(op="output")
        modes.append(output.args[0][0].meta["val"].fake_mode)
    assert modes[0].shape_env is not modes[1].shape_env


def test_torch_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = serialize.GraphModuleDeserializer._parse_sym_expr
    with pytest.raises(KeyError), parsed_once():
        raise KeyError
    assert serialize.GraphModuleDeserializer._parse_sym_expr is before
    monkeypatch.delattr(serialize.GraphModuleDeserializer, "_parse_sym_expr")
    with parsed_once():
        assert not hasattr(serialize.GraphModuleDeserializer, "_parse_sym_expr")

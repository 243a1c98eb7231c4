"""Exported programs as graphs of ops that have a rule; an op without one becomes what torch says it consists of.

`graph` knows no rules, so it is told here which ops may stay whole.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram

from chiralize.graph.capture import read_graph
from chiralize.graph.functionalize import functionalize
from chiralize.graph.model import CapturedModel
from chiralize.infer.registry import registry


def capture(
    program: ExportedProgram,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    notes: Sequence[str] = (),
    tables: Container[str] = (),
    origin: str = "exported",
) -> CapturedModel:
    """The graph of an exported program at the sizes of the example inputs; arguments and errors as of `read_graph`.

    origin: how the program was made, for messages about sizes.
    """
    return read_graph(functional(program), args, kwargs, notes, tables, origin)


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place writes, of ops that have a rule. Raises CaptureError."""
    return functionalize(program, registry())

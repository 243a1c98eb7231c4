"""What a method hands back: the converted network, and what became of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.graph.model import CapturedModel, Where
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice, RepMap
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Fitted:
    """A weight fitted by least squares: the share of its targets' energy that is left over on held-out samples."""

    name: str
    error: float
    where: Where


@dataclass(frozen=True)
class Converted:
    """A converted network before it is verified.

    method, form: as asked for or chosen.  hidden: representation of every weight and state by name.
    exchanged: weights that the mirror takes to another one, and that one's name.  averaged: stretches of the graph
    that both views run through.  macs: multiplications that the result does on top of the original's.
    lost: rows and columns of weights that can only be zero.  fitted: weights found by least squares.
    tables: constants that left hidden channels no pairing.  earlier: representations of the weights under other mirrors
    that the result commutes with, in the order of the network's.
    """

    module: torch.nn.Module
    method: str
    form: str
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    macs: int = 0
    lost: int = 0
    fitted: tuple[Fitted, ...] = ()
    tables: tuple[str, ...] = ()
    earlier: tuple[Mapping[str, TensorRepresentation], ...] = ()

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"


@dataclass(frozen=True)
class Draft:
    """A converted network with its program, before it is verified.

    program: None where it was not exported yet.  graph: of the program, where that was captured already.
    repmap: what inference found of the original; None where it was not asked, or where sizes have changed since.
    """

    converted: Converted
    program: ExportedProgram | None = None
    repmap: RepMap | None = None
    graph: CapturedModel | None = None

    def with_record(self, **changes: Any) -> Draft:
        """With other fields of `Converted`, by name; the network itself stays."""
        return replace(self, converted=replace(self.converted, **changes))

    def with_notes(self, *notes: str) -> Draft:
        """With more for the report to say."""
        return self.with_record(notes=(*self.converted.notes, *notes))

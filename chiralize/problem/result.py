"""What a method hands back: the converted network, and what became of its weights.

`Draft` is what methods yield, one by one; commands verify one, measure its distance from the flip average, and take it
or the next. `Converted` within it is the record that reports are made of.
"""

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
class WeightAction:
    """How mirrors act on the weights and states of a network, by name.

    hidden: representation of every one.  exchanged: those that the mirror takes to another one, and that one's name.
    earlier: representations under other mirrors that the network commutes with, in the order of the network's.
    """

    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[Mapping[str, TensorRepresentation], ...] = ()

    @property
    def on_itself(self) -> dict[str, TensorRepresentation]:
        """Representations of the weights that the mirror takes to none but themselves."""
        return {name: rep for name, rep in self.hidden.items() if name not in self.exchanged}

    def with_hidden(self, hidden: Mapping[str, TensorRepresentation]) -> WeightAction:
        """The action where other weights are in place of those `on_itself`: the exchanged ones stay as they are."""
        exchanged = {name: self.hidden[name] for name in self.exchanged if name in self.hidden}
        return replace(self, hidden={**hidden, **exchanged})


@dataclass(frozen=True)
class Converted:
    """A converted network before it is verified.

    method, form: as asked for or chosen.  action: of the mirror on the weights and states.  averaged: stretches of the
    graph that both views run through.  macs: multiplications that the result does on top of the original's.
    lost: rows and columns of weights that can only be zero.  fitted: weights found by least squares.
    tables: constants that left hidden channels no pairing.
    """

    module: torch.nn.Module
    method: str
    form: str
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    action: WeightAction = WeightAction()
    averaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    macs: int = 0
    lost: int = 0
    fitted: tuple[Fitted, ...] = ()
    tables: tuple[str, ...] = ()

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

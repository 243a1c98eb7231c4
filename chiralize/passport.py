"""What travels with a converted network (`chirality.json`): its mirror, its hidden representations, its figures.

With it `verify` needs no skeleton, and the certificate needs no search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chiralize.errors import ModelFileError
from chiralize.regions import is_region
from chiralize.representation import Representation, TensorRepresentation
from chiralize.spec import ConversionSpec

FORMAT = 1


@dataclass(frozen=True)
class Passport:
    """The record of a conversion.

    spec: the mirror.  method, form: how the network was made.  hidden: representation of every weight and state by
    name.  exchanged: weights that the mirror takes to another one, and that one's name.  entry: the method that is
    called.  averaged: the stretches of the graph that both views run through.  figures: gap, drift, residuals and the
    like, for people and tools.
    """

    spec: ConversionSpec
    method: str
    form: str
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    entry: str = "forward"
    figures: Mapping[str, Any] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As text; equal axis representations are written once."""
        table: dict[str, int] = {}
        hidden = {
            name: [rep.sign, *(table.setdefault(str(axis), len(table)) for axis in rep.axes)]
            for name, rep in self.hidden.items()
        }
        return json.dumps(
            {
                "chirality": FORMAT,
                "method": self.method,
                "form": self.form,
                "entry": self.entry,
                "spec": self.spec.to_dict(),
                "representations": list(table),
                "hidden": hidden,
                "exchanged": dict(self.exchanged),
                "averaged": list(self.averaged),
                "figures": self.figures,
            }
        )

    @staticmethod
    def from_json(text: str, where: str) -> Passport:
        """The inverse of `to_json`. Raises ModelFileError for text that is not a passport."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("it is no table")
            if found["chirality"] != FORMAT:
                raise ValueError(f"format {found['chirality']!r}, this version reads {FORMAT}")
            axes = [Representation.parse(item) for item in found["representations"]]
            hidden = {
                name: TensorRepresentation(tuple(axes[place] for place in places), sign)
                for name, (sign, *places) in found["hidden"].items()
            }
            if odd := [name for name, own in hidden.items() if own.sign not in (1, -1)]:
                raise ValueError(f"hidden: {odd[0]!r} has a sign that is neither 1 nor -1")
            spec = ConversionSpec.from_dict(found["spec"])
            averaged = tuple(str(name) for name in found.get("averaged", ()))
            if odd := [name for name in averaged if not is_region(name)]:
                raise ValueError(f"averaged: {odd[0]!r} names no stretch of a graph")
            figures = {key: tuple(map(float, own)) if key == "odd" else own for key, own in found["figures"].items()}
            exchanged = {str(name): str(other) for name, other in found.get("exchanged", {}).items()}
            return Passport(
                spec, found["method"], found["form"], hidden, str(found["entry"]), figures, exchanged, averaged
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            facts = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ModelFileError(
                where, f"chirality.json cannot be read ({facts})", "convert the network again, or give --skeleton"
            ) from error

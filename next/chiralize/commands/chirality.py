"""The attribute `chirality` of a module: all that tells a converted module from any other `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.fx.graph_module import _USER_PRESERVED_ATTRIBUTES_KEY

from chiralize.body.spec import Spec
from chiralize.graph.run import Call, unwrapped
from chiralize.report.records import ConvertReport
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import TensorRepresentation


class Chirality:
    """The mirror of a converted module, how it was made, and what was measured of it.

    report: None where the module was read from a file, which holds the passport alone.  example: a call of the module.
    """

    def __init__(self, passport: Passport, report: ConvertReport | None = None, example: Call | None = None) -> None:
        self.passport = passport
        self.report = report
        self.example = example

    @property
    def spec(self) -> Spec:
        """The specification of the mirror."""
        return self.passport.spec

    @property
    def method(self) -> str:
        """The method as asked for or chosen; `unchanged` where the network was equivariant already."""
        return self.passport.method

    @property
    def form(self) -> str:
        """How the result is written: `folded`, `two-view` or `original`."""
        return self.passport.form

    @property
    def hidden(self) -> Mapping[str, TensorRepresentation]:
        """How the mirror acts on every weight, by name."""
        return self.passport.hidden

    def __str__(self) -> str:
        if self.report is not None:
            return self.report.verdict
        return f"mirror of {self.spec.skeleton.name}, made by {self.method}; verify says whether it still holds"

    def __repr__(self) -> str:
        return f"<Chirality of {self.spec.skeleton.name}, {self.method}: {self}>"


def put_on(module: torch.nn.Module, chirality: Chirality) -> torch.nn.Module:
    """The module, with the attribute from now on."""
    module.chirality = chirality  # type: ignore[assignment]
    if isinstance(module, torch.fx.GraphModule):  # its copies keep nothing else
        module.meta[_USER_PRESERVED_ATTRIBUTES_KEY] = {"chirality": chirality}
    return module


def chirality_of(module: object) -> Chirality | None:
    """The attribute of a module, compiled or in DataParallel or not; None where it has none."""
    if not isinstance(module, torch.nn.Module):
        return None
    chirality = getattr(unwrapped(module), "chirality", None)
    return chirality if isinstance(chirality, Chirality) else None

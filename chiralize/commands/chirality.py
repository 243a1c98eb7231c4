"""The attribute `chirality` of a module: its mirror, and how it is put on and found again.

A converted module stays an ordinary `nn.Module`; this attribute is all that tells it from one. `chiralize`, `load` and
`attach` put it on; `verify`, `save` and `keep_symmetric` read it.
"""

from __future__ import annotations

from html import escape

import torch
from torch.fx.graph_module import _USER_PRESERVED_ATTRIBUTES_KEY

from chiralize.errors import UsageError
from chiralize.graph.copies import unwrapped
from chiralize.graph.running import Call
from chiralize.nn.deploy.loading import takes_blocks
from chiralize.nn.two_view import TwoView
from chiralize.report import ConvertReport
from chiralize.storage.passport import Passport


class Chirality:
    """The attribute `chirality` of a converted module: how it was made, and what was measured of it.

    spec: the mirror.  method, form: how it was made.  hidden: representation of every weight by name.
    exchanged: weights that the mirror takes to another one, and that one's name.  others: `hidden` under further
    mirrors, where there are several.
    report: everything that was measured; None where the module was read from a file, which holds the passport alone.
    example: a call of the module, for `save`; None where nobody knows one.
    """

    def __init__(self, passport: Passport, report: ConvertReport | None = None, example: Call | None = None) -> None:
        self.passport = passport
        self.report = report
        self.example = example
        self.spec = passport.spec
        self.method = passport.method
        self.form = passport.form
        self.hidden = passport.hidden
        self.exchanged = passport.exchanged
        self.others = passport.others

    def __str__(self) -> str:
        if self.report is not None:
            return self.report.verdict
        rho = self.passport.figures.get("rho")
        distance = f", rho {rho:.3g} when it was made" if isinstance(rho, float) else ""
        return (
            f"mirror of {self.spec.skeleton.name}, made by {self.method}{distance}; verify says whether it still holds"
        )

    def __repr__(self) -> str:
        model = f"{self.report.model}, " if self.report is not None else ""
        return f"<Chirality of {model}{self.spec.skeleton.name}, {self.method}: {self}>"

    def _repr_html_(self) -> str:
        """The page of the report; of a module that was read from a file, what its file says."""
        if self.report is None:
            return f"<p>{escape(str(self))}</p>"
        return self.report._repr_html_()


def put_on(module: torch.nn.Module, chirality: Chirality) -> torch.nn.Module:
    """The module, with the attribute from now on; where weights may be in blocks elsewhere, it takes those as well."""
    module.chirality = chirality  # type: ignore[assignment]
    if isinstance(module, torch.fx.GraphModule):  # its copies keep nothing else
        module.meta[_USER_PRESERVED_ATTRIBUTES_KEY] = {"chirality": chirality}
    elif not isinstance(module, TwoView) and chirality.hidden:
        takes_blocks(module, chirality.hidden)
    return module


def chirality_of(module: object) -> Chirality | None:
    """The attribute of a module, compiled or in DataParallel or not; None where it has none."""
    if not isinstance(module, torch.nn.Module):
        return None
    chirality = getattr(unwrapped(module), "chirality", None)
    return chirality if isinstance(chirality, Chirality) else None


def chirality(module: torch.nn.Module) -> Chirality:
    """What is known of a converted network's mirror. As the last line of a notebook's cell it shows the report.

    module: a result of `chiralize`, `load` or `attach`, compiled or in DataParallel or not. `str` gives the verdict in
    a sentence, `.report` all that was measured; it is None where the module was read from a file.
    Raises UsageError where the module does not know its mirror.
    """
    known = chirality_of(module)
    if known is None:
        remedy = "give a result of chiralize(...), or put its mirror on first: chiralize.attach(module, path)"
        raise UsageError(type(module).__name__, "it does not know its mirror", remedy)
    return known

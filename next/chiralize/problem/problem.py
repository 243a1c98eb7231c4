"""What a method is given, what a method is, and what it hands back.

Commands put a `Problem` together step by step: network, request, then the inputs. Each step takes a problem and
returns another one. A method is a function from the last of them to drafts.

    Problem -> method.drafts -> Draft, Draft, ...: commands verify one, measure it, and take it or the next
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.errors import Finding
from chiralize.graph.model import Where
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice, RepMap
from chiralize.problem.inputs import Inputs
from chiralize.problem.mirror import WeightAction
from chiralize.problem.network import Network
from chiralize.problem.request import Progress, Request, silent

__all__ = ["MAX_DRIFT", "Draft", "Fitted", "Method", "Problem", "Progress", "silent"]
MAX_DRIFT = 1.25
"""The bound on rho of methods that choose how many units stay, where the user gives none (docs: results)."""


@dataclass(frozen=True)
class Method:
    """A way to make a network equivariant: how hidden spaces transform, and how weights are filled in for that.

    name: as on the command line.  drafts: its results, the likeliest first, each made when it is asked for.
    is_fitted: weights are fitted to inputs, or pairs chosen by them.  takes_width: it keeps a share of the units.
    is_average: the whole network runs on both views, so that no op stops it.  keeps_units: hidden units stay as they
    are, and only weights are moved.  is_trained_on: its result is a start for training, not to be used as it is.
    max_drift: the bound on rho that holds where the user gives none.
    """

    name: str
    drafts: Callable[[Problem], Iterator[Draft]]
    is_fitted: bool = False
    takes_width: bool = False
    is_average: bool = False
    keeps_units: bool = False
    is_trained_on: bool = False
    max_drift: float | None = None


@dataclass(frozen=True)
class Fitted:
    """A weight fitted by least squares: the share of its targets' energy that is left over on held-out samples."""

    name: str
    error: float
    where: Where


@dataclass(frozen=True)
class Draft:
    """A converted network before it is verified, and what became of its weights.

    program: None where it was not exported yet.  action: of the mirror on the weights and states.  method, form: as
    asked for or chosen.  choices: of hidden spaces.  moved: how far each weight went.  fitted: weights found by least
    squares.  macs: multiplications on top of the original's.
    repmap: what inference found of the original; None where it was not asked, or where sizes have changed since.
    """

    module: torch.nn.Module
    program: ExportedProgram | None
    action: WeightAction
    method: str
    form: str
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    findings: tuple[Finding, ...] = ()
    repmap: RepMap | None = None
    fitted: tuple[Fitted, ...] = ()
    macs: int = 0

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"

    def with_findings(self, *findings: Finding) -> Draft:
        """With more for the report to say."""
        return replace(self, findings=(*self.findings, *findings))


@dataclass(frozen=True)
class Problem:
    """A network, what the user asked for, and the inputs that there are.

    method: the one that is tried; None before `auto` has chosen a candidate.
    inputs: the user's, or drawn ones; None where there are none.
    """

    network: Network
    request: Request
    method: Method | None
    findings: tuple[Finding, ...] = ()
    inputs: Inputs | None = None

    @property
    def max_drift(self) -> float | None:
        """The bound on rho that is in force: the user's, else the method's."""
        of_method = self.method.max_drift if self.method is not None else None
        return of_method if self.request.max_drift is None else self.request.max_drift

    @property
    def is_fitted(self) -> bool:
        """Whether anything may be fitted to inputs."""
        return self.method is None or self.method.is_fitted

    def asking(self, **changes: Any) -> Problem:
        """The problem with other wishes: fields of its request by name."""
        return replace(self, request=replace(self.request, **changes))

    def with_findings(self, *findings: Finding) -> Problem:
        """The problem with more for the report to say of it."""
        return replace(self, findings=(*self.findings, *findings))

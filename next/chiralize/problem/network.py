"""A network made ready for analysis: a copy in eval mode, its examples, its graph if there is one, its mirror.

`Network` is the record that every later step takes. It holds the same function three times: as a module to run, as an
exported program to write, and as a flat graph of ops to reason about. `holding` gives all of them other weights, so
that they stay one function.

Mirrors at a point c other than 0 are affine: T x = c + S (x - c) with a signed permutation S. Steps that work with S
alone use `graph()`, which reads x - c and answers y - c'; `centered`, `uncentered` and `restored` go between the two.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.resolve import Resolved
from chiralize.body.spec import Spec
from chiralize.errors import ChiralizeError, Finding
from chiralize.graph import affine, rewrite
from chiralize.graph.model import CapturedModel
from chiralize.graph.run import Arguments, Around, Call, Runner
from chiralize.infer.capture import captured
from chiralize.infer.rule import traits
from chiralize.problem.sequences import Carried


@dataclass(frozen=True)
class Network:
    """A network made ready: the copy that is analysed, its program and graph, its specification.

    module: a copy that may be run and edited freely.  program: the exported program it came from or gave, None where
    it cannot be exported.  captured: its graph at the examples' sizes, None if it has none; `problem` says why.
    from_program: the user gave the exported program.  entry: the method that is called.  symmetrize: constants that the
    mirror changes are projected like weights.
    """

    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    resolved: Resolved
    program: ExportedProgram | None = None
    captured: CapturedModel | None = None
    problem: ChiralizeError | None = None
    findings: tuple[Finding, ...] = ()
    from_program: bool = False
    entry: str = "forward"
    symmetrize: bool = False

    @property
    def spec(self) -> Spec:
        """The specification as the user wrote it."""
        return self.resolved.spec

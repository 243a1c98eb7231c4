"""The records that commands hand on: an equivariant network, and a finished conversion.

`convert` returns a `Conversion`. `writing`, `onnx`, `scripts` and `bench.with_times` take one and return it with more
in its report. `save` writes a `Result`, of which there is no report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram

from chiralize.graph.mirror import NetworkMirror
from chiralize.report import ConvertReport
from chiralize.storage.passport import Passport


@dataclass(frozen=True)
class Result:
    """An equivariant network as a module and, where it can be exported, as a program; and its passport.

    mirror: T on the result's inputs and outputs, states included.
    """

    module: torch.nn.Module
    program: ExportedProgram | None
    passport: Passport
    mirror: NetworkMirror | None


@dataclass(frozen=True)
class Conversion(Result):
    """A finished conversion: the result, and its report."""

    report: ConvertReport


Trial = Callable[[Conversion, bool], Conversion]
"""Tries a conversion in use, and returns it with what was seen in its report. Raises DriftError where it does worse
than the original, unless the second argument, `force`, is true.
"""

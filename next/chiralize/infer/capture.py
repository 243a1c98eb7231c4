"""Which graph does an exported program become? One of ops that have a rule, each spelled in one way.

`graph` knows no rules, so it is told here which ops may stay whole; of all others torch says what they consist of.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram

from chiralize.graph.capture import read
from chiralize.graph.model import CapturedModel
from chiralize.graph.writes import functional
from chiralize.infer.spelling import WHOLE, spelled_graph


def captured(
    program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any], tables: Container[str] = ()
) -> CapturedModel:
    """The graph of an exported program at the sizes of the example inputs. Raises CaptureError.

    tables: keys of constants that are to transform as a hidden axis does.
    """
    return spelled_graph(read(functional(program, WHOLE), args, kwargs, tables))

"""From what the user hands in to a `Network`: a copy in eval mode, run once, its graph captured, its T known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.spec import Spec
from chiralize.problem.network import Network


def prepare(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    spec: Spec,
    *,
    program: ExportedProgram | None = None,
    entry: str = "forward",
) -> Network:
    """Make a network ready for analysis. The user's module is never written to.

    A program that cannot be captured is no error: the reason is `Network.problem`.
    Raises UsageError, ModelRunError, SpecError.
    """
    raise NotImplementedError

"""One call of a network that nobody gave an example of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiralize.body.resolve import Resolved
from chiralize.body.spec import Spec
from chiralize.errors import Finding
from chiralize.graph.run import Call

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """One call of a network, and what the specification says of its tensors.

    findings: the sizes that were used, where nobody gave them.
    """

    call: Call
    spec: Spec
    findings: tuple[Finding, ...] = ()


def example_for(
    module: torch.nn.Module,
    spec: Spec,
    dtype: torch.dtype,
    *,
    shapes: Sequence[Shape] = (),
    file: Path | None = None,
    brought: Call | None = None,
    arrays: Mapping[str, Tensor] | None = None,
) -> Reading:
    """One call."""
    raise NotImplementedError

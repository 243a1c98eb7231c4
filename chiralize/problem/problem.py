"""What a method is given: a network, what is wanted of it, and inputs to fit on and to judge by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chiralize.problem.data.batches import Batches
from chiralize.problem.network import Network
from chiralize.problem.request import Request


@dataclass(frozen=True)
class Problem:
    """A network, what the user asked for, and the inputs that there are.

    both_views: fits aim at the mean of the original's two views, not at its answers to the inputs as they are.
    """

    network: Network
    request: Request
    batches: Batches
    both_views: bool = False

    @staticmethod
    def of(network: Network, request: Request) -> Problem:
        """With the inputs as the user gave them."""
        return Problem(network, request, Batches(request.calibration, request.sequences, remarks=request.remarks))

    def with_batches(self, **changes: Any) -> Problem:
        """The problem with other inputs: fields of `Batches` by name."""
        return replace(self, batches=replace(self.batches, **changes))

    def with_remarks(self, *remarks: str) -> Problem:
        """The problem with more for the report to say of its inputs."""
        return self.with_batches(remarks=(*self.batches.remarks, *remarks))

"""Errors of a propagation that cannot go on: in the user's words, at the user's line.

A `Conflict` says what cannot be. It often shows at another op than the one that is to blame: ReLU demands that H
carries no signs, and the output layer finds that it does. The solver remembers whose demand it was (`Conflict.site`).
"""

from __future__ import annotations

from chiralize.errors import NegatedChannelsError, NeverEquivariantError, UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.model import Where
from chiralize.infer.solver.unify import Conflict


def site_of(where: Where, target: str) -> str:
    """How a rule that runs there is called in what it demands."""
    return f"{where}: {target}"


def refusal(where: Where, target: str, conflict: Conflict, at: str) -> UnsupportedError:
    """A conflict as an error, at the operation that makes the demand, which may not be the one where it fails.

    at: node where it fails.
    """
    here = site_of(where, target)
    demand = conflict.site or here
    if conflict.negated:
        site, _, op = demand.rpartition(": ")
        signs = when(demand != here, f" (signs of {where})")
        error: UnsupportedError = NegatedChannelsError(
            site,
            f"{op}: {conflict}{signs}, and the operation is not odd",
            "keep signs away from it (hidden.negated: 0, activation: tanh), or average: this part alone with "
            "--on-blocked average (match, project), the whole network with --on-blocked average-all",
        )
    else:
        order = when(demand != here, f"; {demand} keeps such an axis in order")
        error = NeverEquivariantError(
            str(where),
            f"{target}: {conflict}{order}",
            "check the layouts, or average: this part alone with --on-blocked average (match, project), the whole "
            "network with --method average",
        )
    error.at, error.sized = at, conflict.sized
    return error

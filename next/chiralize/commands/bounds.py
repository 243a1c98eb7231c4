"""The bounds that a conversion is held to before it is handed over, in this order, and what is raised beyond them:

both verdicts pass                        EquivarianceError and the like, whatever --force says
rho <= --max-drift                        DriftError, unless forced; so the next two
the shift of every joint <= --max-shift   DriftError
left and right are still told apart       DegenerateError: odd share 0.3 before, 0.00 after
"""

from __future__ import annotations

from collections.abc import Mapping

from chiralize.errors import DegenerateError, DriftError
from chiralize.methods.auto import MeasuredDraft
from chiralize.problem.problem import Problem
from chiralize.report.failure import error_of
from chiralize.verification.verdicts import Degeneracy, Measured, Standing, Verdict


def hold(problem: Problem, name: str, measured: MeasuredDraft, verdicts: Mapping[str, Verdict]) -> None:
    """Raise where a result is beyond the bounds. Raises EquivarianceError, DriftError, DegenerateError and the like."""
    for verdict in verdicts.values():
        # An average is equivariant by construction, also of networks without a graph; any other result is proved.
        if not verdict.passed and not (measured.draft.is_average and verdict.standing is Standing.UNPROVED):
            raise error_of(verdict, name)
    if problem.request.force:
        return
    if measured.figures.measured is not None and not measured.draft.is_average:
        _refuse_far(problem, name, measured.draft.method, measured.figures.measured)
    if measured.figures.degeneracy is not None:
        _refuse_degenerate(name, measured.draft.method, measured.figures.degeneracy)


def _refuse_far(problem: Problem, name: str, method: str, distance: Measured) -> None:
    """Raise DriftError where the result, or a joint of it, is too far from the original."""
    remedy = "use --method average (rho 0), or raise the bound, or --force"
    rho, bound, shift = distance.rho, problem.max_drift, problem.request.max_shift
    if rho is not None and bound is not None and not rho <= bound:
        facts = f"{method}: rho {rho:.3g} exceeds {bound:g} ({distance.source})"
        raise DriftError(name, facts, remedy)
    if shift is not None and distance.shift > shift:
        facts = f"{method}: an output is off by {distance.shift:.3g} (RMS), bound {shift:g}"
        raise DriftError(name, f"{facts} ({distance.source})", remedy)


def _refuse_degenerate(name: str, method: str, degeneracy: Degeneracy) -> None:
    """Raise DegenerateError where left and right get lost, or much of what the original reacts to."""
    others = "--method project or average" if method == "match" else "--method match or average"
    remedy = f"use {others}, or another hidden layout; --force writes it all the same"
    if degeneracy.collapsed:
        index = degeneracy.collapsed[0]
        before, after = degeneracy.odd_before[index], degeneracy.odd_after[index]
        facts = f"the left/right (odd) share fell from {before:.3g} to {after:.3g}"
        raise DegenerateError(f"{name}, output {index}", facts, remedy)
    if degeneracy.ignores_much:
        dead, live = len(degeneracy.dead_inputs), degeneracy.live_inputs
        facts = f"the result ignores {dead} of {live} input entries that the original reacts to"
        raise DegenerateError(name, facts, remedy)

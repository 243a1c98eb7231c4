"""The best draft of one method: candidates measured beside each other, then brought closer to the original.

`commands` calls `best` with the problem and a method; the drafts come from `drafts`, the figures from verification and
the training that may follow from `refine`. Drafts are compared before they are trained, so that one of them is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chiralize.graph.copies import is_large
from chiralize.methods.drafts import drafts_of
from chiralize.methods.refine.refine import distilled, refined
from chiralize.methods.statistics import refuse_changed_statistics, with_statistics
from chiralize.methods.within_minutes import takes_minutes
from chiralize.problem.problem import Method, Problem
from chiralize.problem.result import Draft
from chiralize.verification.figures import Figures, figures_of, loss, with_dead_inputs

_NOT_TRAINED = "not trained: an averaged network keeps the original's weights"


@dataclass(frozen=True)
class Measured:
    """A draft and its figures."""

    draft: Draft
    figures: Figures

    @property
    def loss(self) -> tuple[bool, bool, bool, float]:
        """What candidates are ordered by."""
        return loss(self.draft.converted, self.figures)


def best(problem: Problem, method: Method) -> Measured:
    """The draft with the smallest loss, fitted further where that is worth its time.

    Candidates are tried in order, two of them, or as many as it takes to keep what is odd. Imposed layouts, large
    networks and those whose fit takes minutes stop at the first that does.
    """
    chosen: Measured | None = None
    is_costly = is_large(problem.network.module) or takes_minutes(problem)
    for number, draft in enumerate(drafts_of(problem, method)):
        problem.request.progress("measuring the drift")
        tried = Measured(draft, figures_of(problem, draft))
        # loss: three faults, the worst first, and only then rho. Where there is a fault, whole inputs may be lost too.
        if any(tried.loss[:3]):
            tried = replace(tried, figures=with_dead_inputs(problem, draft, tried.figures))
        if chosen is None or tried.loss < chosen.loss:
            chosen = tried
        # however many were tried, it goes on while the best so far would be refused or loses what is odd
        is_enough = number > 0 or not method.is_fitted or is_costly
        if is_enough and not any(chosen.loss[:2]):
            break
    assert chosen is not None
    nearer = _nearer(problem, chosen)
    refuse_changed_statistics(nearer.draft.converted, problem)
    converted = with_statistics(nearer.draft.converted, problem.network)
    return replace(nearer, draft=replace(nearer.draft, converted=converted))


def _nearer(problem: Problem, measured: Measured) -> Measured:
    """A draft of one pass with all of its weights fitted together, towards the original."""
    request, draft = problem.request, measured.draft
    if draft.converted.is_average:
        notes = (_NOT_TRAINED,) if request.distill or request.rounds else ()
        return replace(measured, draft=draft.with_notes(*notes))

    def rho_of(result: Draft) -> float:
        """How far a result is from the original; of the draft that is known."""
        return (measured.figures if result is draft else figures_of(problem, result)).rho

    nearer = refined(problem, draft, rho_of)
    if request.distill:
        nearer = distilled(problem, nearer)
    if nearer is draft:
        return measured
    return Measured(nearer, figures_of(problem, nearer))

"""Which draft of a method is taken, and which method `auto` takes.

Drafts are measured beside each other. Whoever loses left and right, or much of it, comes last; the others go by rho:

    draft                     collapsed   keeps little   loses rows   rho
    units as fixed points     no          yes            no           0.8
    pairs alone               no          no             no           0.9     taken

`auto` tries its candidates from the cheapest result to the costliest, and takes the first that `commands` accept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chiralize.errors import Finding, UnsupportedError, VerificationError
from chiralize.methods import method_of
from chiralize.problem.problem import Draft, Method, Problem
from chiralize.verification.measure import Figures, figures, with_dead_inputs

KEPT = 0.6
"""Share of what is odd that a draft has to keep, or come last: above one half, since few samples measure it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """A draft and its figures."""

    draft: Draft
    figures: Figures

    @property
    def loss(self) -> tuple[bool, bool, bool, float]:
        """What drafts are ordered by, the best first: three faults, the worst one first, and only then rho."""
        degeneracy = self.figures.degeneracy
        refused = degeneracy is not None and (bool(degeneracy.collapsed) or degeneracy.ignores_much)
        little = degeneracy is not None and degeneracy.odd_kept < KEPT
        return refused, little, self.draft.lost > 0, self.figures.rho


def best(problem: Problem, method: Method) -> Measured:
    """The draft with the smallest loss: of the first, or of the first two where pairs are chosen by weights, and of as
    many as it takes until one keeps what is odd. Raises UnsupportedError.
    """
    network, chosen = problem.network, None
    for number, draft in enumerate(method.drafts(problem)):
        problem.request.progress("measuring how far it is from the original")
        tried = Measured(draft, _figures_of(problem, draft))
        if any(tried.loss[:3]):  # where left and right suffer, whole inputs may be lost, too
            tried = Measured(draft, with_dead_inputs(network, draft.module, draft.repmap, tried.figures))
        if chosen is None or tried.loss < chosen.loss:
            chosen = tried
        if (number > 0 or not method.is_fitted) and not any(chosen.loss[:2]):
            break
    assert chosen is not None
    return chosen


def _figures_of(problem: Problem, draft: Draft) -> Figures:
    """How far a draft is from the original's average of both views, and what it still tells left from right by."""
    forced = draft.repmap.forced if draft.repmap is not None else ()
    zeroed = tuple(weight.name for weight in draft.moved if weight.zeroed)
    module = draft.module
    return figures(problem.network, module, draft.repmap, is_average=draft.is_average, forced=forced, zeroed=zeroed)


def candidates(problem: Problem) -> tuple[str, ...]:
    """The methods that are tried, the cheapest result first: the one that was asked for, or those of `auto`.

    Without inputs of the user nothing tells how near one pass would be, so that `auto` runs both views.
    """
    if problem.request.method != "auto":
        return (problem.request.method,)
    return ("average",)


def first_accepted(problem: Problem, attempt: Callable[[Problem, Method], T]) -> tuple[T, tuple[Finding, ...]]:
    """What `attempt` makes of the first candidate that it accepts, and why the others were not taken.

    attempt: raises UnsupportedError or VerificationError for what it does not accept; the last error is raised on.
    """
    names, refused = candidates(problem), list[Finding]()
    for number, name in enumerate(names):
        method = method_of(name)
        problem.request.checked_for(method)
        try:
            return attempt(problem, method), tuple(refused)
        except (UnsupportedError, VerificationError) as error:
            if number + 1 == len(names):
                raise
            refused.append(Finding("drift", "note", f"{name} was not taken: {error.where}: {error.facts}"))
    raise AssertionError("auto has no candidates")

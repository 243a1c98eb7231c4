"""Which draft of a method is taken, and which candidate `auto` takes.

Drafts are measured on the same inputs. Those that lose left and right, or much of it, come last, and rho orders the
others:

    draft                     collapsed   keeps little   rho
    units as fixed points     no          yes            0.8
    pairs alone               no          no             0.9     taken

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
WIDTHS = (0.5, 0.707)
"""Widths of `reduce` that `auto` tries: as many units as the original has, and as many as cost what both views do."""
T = TypeVar("T")


@dataclass(frozen=True)
class MeasuredDraft:
    """A draft and its figures."""

    draft: Draft
    figures: Figures

    @property
    def loss(self) -> tuple[bool, bool, float]:
        """What drafts are ordered by, the best first: two faults, the worse one first, and only then rho."""
        degeneracy = self.figures.degeneracy
        refused = degeneracy is not None and (bool(degeneracy.collapsed) or degeneracy.ignores_much)
        little = degeneracy is not None and degeneracy.odd_kept < KEPT
        return refused, little, self.figures.rho


def best(problem: Problem, method: Method) -> MeasuredDraft:
    """The draft with the smallest loss: of the first, or of the first two where pairs are chosen by weights, and of as
    many as it takes until one keeps what is odd. Raises UnsupportedError.
    """
    network, chosen = problem.network, None
    for number, draft in enumerate(method.drafts(problem)):
        problem.request.progress("measuring how far it is from the original")
        tried = MeasuredDraft(draft, _figures_of(problem, draft))
        if any(tried.loss[:2]):  # where left and right suffer, whole inputs may be lost, too
            tried = MeasuredDraft(draft, with_dead_inputs(network, draft.module, draft.repmap, tried.figures))
        if chosen is None or tried.loss < chosen.loss:
            chosen = tried
        if (number > 0 or not method.is_fitted) and not any(chosen.loss[:2]):
            break
    assert chosen is not None
    return chosen


def _figures_of(problem: Problem, draft: Draft) -> Figures:
    """How far a draft is from the original's average of both views, and what it still tells left from right by.

    On inputs that were held out where there are any, else on random ones.
    """
    forced = draft.repmap.forced if draft.repmap is not None else ()
    zeroed = tuple(weight.name for weight in draft.moved if weight.zeroed)
    return figures(
        problem.network,
        draft.module,
        draft.repmap,
        is_average=draft.is_average,
        forced=forced,
        zeroed=zeroed,
        inputs=problem.inputs,
    )


@dataclass(frozen=True)
class Candidate:
    """What `auto` tries.  width: of `reduce`."""

    method: str
    width: float | None = None

    @property
    def title(self) -> str:
        """In words, for the report: `reduce at width 0.5`."""
        return self.method if self.width is None else f"{self.method} at width {self.width:g}"

    def put(self, problem: Problem) -> Problem:
        """The problem with this candidate asked for. An average takes neither a width nor a target."""
        if problem.request.method != "auto":
            return problem
        target = None if self.method == "average" else problem.request.target
        return problem.asking(width=self.width, target=target)


def candidates(problem: Problem) -> tuple[Candidate, ...]:
    """What is tried, the cheapest result first: the method that was asked for, or the candidates of `auto`.

    Without inputs nothing tells how near one pass would be, so that `auto` runs both views.
    """
    request = problem.request
    if request.method != "auto":
        return (Candidate(request.method),)
    widths = WIDTHS if request.width is None else (request.width,)
    fitted = [] if problem.inputs is None else [Candidate("reduce", width) for width in widths]
    return (*fitted, Candidate("average"))


def first_accepted(problem: Problem, attempt: Callable[[Problem, Method], T]) -> tuple[T, tuple[Finding, ...]]:
    """What `attempt` makes of the first candidate that it accepts, and why the others were not taken.

    attempt: raises UnsupportedError or VerificationError for what it does not accept; the last error is raised on.
    """
    tried, refused = candidates(problem), list[Finding]()
    for number, candidate in enumerate(tried):
        method, asked = method_of(candidate.method), candidate.put(problem)
        asked.request.checked_for(method)
        try:
            return attempt(asked, method), tuple(refused)
        except (UnsupportedError, VerificationError) as error:
            if number + 1 == len(tried):
                raise
            facts = f"{candidate.title} was not taken: {error.where}: {error.facts}"
            refused.append(Finding("drift", "note", facts))
    raise AssertionError("auto has no candidates")

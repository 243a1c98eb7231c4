"""The drafts of a method, of which the best is chosen by measuring; the average where an op stops it, if asked.

`best` asks for one after the other, and stops when it has enough. `match` gives one with fixed points, one without, and
then the layouts of `project`, its fallback.
"""

from __future__ import annotations

from collections.abc import Iterator

from chiralize.errors import UnsupportedError
from chiralize.methods.fill.both_views import averaged
from chiralize.methods.registry import method_of
from chiralize.methods.statistics import refuse_changed_statistics
from chiralize.problem.problem import Method, Problem
from chiralize.problem.result import Draft


def drafts_of(problem: Problem, method: Method) -> Iterator[Draft]:
    """What to choose from: the method's own drafts, then those of its fallback, where nobody named pairs of units.

    Each is made when it is asked for: a large network has no room for two.
    """
    try:
        for draft in _drafts(problem, method):
            refuse_changed_statistics(draft.converted, problem)
            yield draft
    except UnsupportedError as error:
        if problem.request.on_blocked != "average-all":
            raise
        note = f"averaged as a whole: {error.where}: {error.facts}"
        yield Draft(averaged(problem.network.with_notes(note)))


def _drafts(problem: Problem, method: Method) -> Iterator[Draft]:
    """The method's own drafts, then those of its fallback under its name, with a note."""
    assert method.drafts is not None, f"{method.name} has no drafts of its own"
    ready = method.prepare(problem)
    yield from method.drafts(ready)
    fallback = method.fallback
    if fallback is None or ready.network.resolved.spec.hidden.is_named:
        return
    other = method_of(fallback.method)
    assert other.drafts is not None
    for draft in other.drafts(ready.with_batches(given=())):
        yield draft.with_record(method=fallback.title).with_notes(fallback.note)

"""Policies whose walks lean, by a method that was named: fitted to both views, or to their answers as they are.

The environment decides (`auto` tries both in turn). A gait that leans by chance goes on without its lean; one that
rests on it is lost with the flip average, and may live on where only its walks are fitted.
"""

from __future__ import annotations

from collections.abc import Callable

from chiralize.commands.records import Conversion
from chiralize.errors import DriftError
from chiralize.methods.targets import with_target
from chiralize.problem.problem import Problem


def of_better_target(problem: Problem, attempt: Callable[[Problem], Conversion]) -> Conversion:
    """The conversion for both views; where that may return less than it should, the better of the two.

    attempt: fits the problem, and runs the result in its environment.
    Raises what `attempt` raises; of two refusals the first.
    """
    if not problem.leaning:
        return attempt(problem)
    refusals = list[DriftError]()
    converted = list[Conversion]()
    for both_views in (True, False):
        try:
            converted.append(attempt(with_target(problem, both_views)))
        except DriftError as error:
            refusals.append(error)
            continue
        rollout = converted[-1].report.rollout
        # Good enough: the second target is not tried.
        if rollout is None or not (rollout.is_lost or rollout.may_be_short):
            return converted[-1]
    if not converted:
        raise refusals[0]
    return max(converted, key=_returned)


def _returned(conversion: Conversion) -> float:
    """The mean return of the result over both sides."""
    rollout = conversion.report.rollout
    assert rollout is not None and rollout.result is not None
    return rollout.result.mean.mean

"""What rules out every result of one pass, asked of the graph and the specification before anything is run.

To compare mirrors, to draw inputs and to fit takes minutes. That there is no graph, an op without a rule, one that
cannot commute with the mirror, and a constant that the mirror changes are known without: inference finds them. Its
record goes on with the problem, so that it does not run again.
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.errors import UnsupportedError
from chiralize.methods.fill.whole_answers import refuse_unaveraged
from chiralize.problem.mirror import Inferred
from chiralize.problem.problem import Method, Problem


def with_inferred(problem: Problem) -> Problem:
    """The problem with what inference says of its network; as it is where no method that may be tried would ask."""
    network = problem.network
    has_answer = network.captured is not None or isinstance(network.origin.problem, UnsupportedError)
    if not has_answer or _is_average(problem, problem.method):
        return problem
    problem.request.progress("looking how every tensor transforms")
    return replace(problem, inferred=Inferred.of(network))


def why_ruled_out(problem: Problem, method: Method) -> UnsupportedError | None:
    """The refusal in which a method is bound to end; None where it may succeed, or where nobody knows yet.

    None as well where something else is asked for than a refusal: both views, or other ops or constants in place of
    those that there are. Of `auto`, which changes nothing itself, constants are not asked.
    """
    network, inferred, request = problem.network, problem.inferred, problem.request
    if inferred is None or inferred.network is not network or _is_average(problem, method):
        return None
    if request.on_blocked != "refuse" or network.resolved.spec.activation == "tanh":
        return None
    if inferred.repmap is None:
        return inferred.refusal
    # From here on no op is in the way. A constant may be, for a method that leaves constants as they are.
    if inferred.asymmetric is None or method.drafts is None or request.symmetrize_constants:
        return None
    prepared = method.prepare(problem).network
    if prepared.captured is not network.captured:  # a constant may have been a normaliser, which weights make up for
        inferred = Inferred.of(prepared)
    if method.takes_width and inferred.repmap is not None and inferred.repmap.tables:
        return None  # tables become weights
    return inferred.asymmetric


def refuse_ruled_out(problem: Problem, method: Method) -> None:
    """Raises UnsupportedError where a method is bound to end in it."""
    if _is_average(problem, method):
        refuse_unaveraged(problem.network)
    error = why_ruled_out(problem, method)
    if error is not None:
        raise error


def _is_average(problem: Problem, method: Method) -> bool:
    """Whether a method runs both views of the whole network, and nothing else."""
    is_auto = method.drafts is None
    return (method.averages == "whole" and not is_auto) or problem.request.width == 1

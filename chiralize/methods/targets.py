"""What a result is fitted to: the original's answers as they are, or the mean of both of its views.

A network g that is equivariant answers x and T x alike. So least squares against f's answers to the inputs as they are
looks for

    g(x) = (p(x) f(x) + p(T x) T f(T x)) / (p(x) + p(T x)),        p: how often an input occurs

Where an input and its mirror image occur alike, that is the mean of both views, (f(x) + T f(T x)) / 2, and aiming at it
leaves out what is merely asymmetric in f, which few samples do not average away. Where everybody faces one side, p(T x)
is 0; and the answers to T x of a network that knows one side only are no target. Then f(x) alone is the target. A
network may know one side better although no direction of its inputs shows it; that is seen in the spread of its answers
(`asymmetry.spreads`). Where a normaliser remembers the one side that was trained on, p is known, and inputs are turned
to that side (`methods.known_side`). Of a policy whose walks lean either may be right, and where it is tried in its
environment both are (decision 0090).

`commands.convert` calls `aimed` before any method looks at the inputs. What comes out of it is `both_views` of the
problem, a remark on why not, or `leaning`, which makes `auto` try both targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log, sqrt

from chiralize.graph import processes
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.cutting import in_rows, thinned
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.verification.asymmetry import asymmetry, leanings
from chiralize.verification.asymmetry.advice import ONE_SIDED, UNEVEN, spread_in_words
from chiralize.verification.asymmetry.records import Asymmetry, Spread

WIDEST_ON_BUILT_IN = 0.3
"""Networks that know both sides, and see what they were trained on, are less far apart (decision 0040)."""
FITTED = "fitted to the"
"""How a remark begins that is about a fit alone."""
_ADD = "the mirror images of the inputs in --calibration"
_ALONE = "answers to unmirrored inputs alone"
_TRIED = {True: "fitted to both views, though {}", False: f"{FITTED} {_ALONE}, since {{}}"}
_DECIDES = ": of these two targets the environment decides"
_LEAN = "walks from mirrored starts, as `--rollout` records them, are none: their gait leans as it did"
_LOOKED_AT = 2_000
_ROWS = 64
_WORK, _LEAST = 5e10, 96
"""Multiplications that this may cost, but so many samples at least: of fewer, spreads are hardly known."""
_FEW, _NEAR = 32, 0.2
"""Samples of a costly network that suffice where its gap on them is no larger: spreads count from 0.25 on."""


def aimed(problem: Problem, is_tried: bool = False) -> Problem:
    """The problem with what is aimed at, and why where that is one view alone.

    is_tried: results are run in the policy's environment, which decides between the two.

    Built-in poses go where the network answers their two sides far apart: no user's data excuse that.
    """
    network, request, batches = problem.network, problem.request, problem.batches
    mirror = mirror_if_known(network, None)
    if not batches.inputs or not problem.is_fitted or mirror is None:
        return problem
    request.progress("choosing whether to fit the flip average or the answers as they are")
    calls, measured = _measured(network, mirror, batches.seen)
    apart = _mean(measured.gap)
    # "not <=": a gap that is no number counts as large
    if batches.are_built_in and not apart <= WIDEST_ON_BUILT_IN:
        facts = f"on built-in poses its two sides are {apart:.2g} of its spread apart, and 0.1 to 0.25 are usual"
        return problem.with_batches(drawn=(), origin=facts, are_built_in=False)
    if problem.one_sided:
        return problem.with_remarks(f"{FITTED} original's answers on the side that it saw in training")
    why, remedy = _one_sided(problem, mirror, calls, measured)
    if not why:
        return replace(problem, both_views=True)
    if is_tried:
        return replace(problem, leaning=why)
    return problem.with_remarks(f"{FITTED} {_ALONE}: {why}. {remedy}")


def with_target(problem: Problem, both_views: bool) -> Problem:
    """A problem that leans, aiming at the mean of both views, or at the answers to the inputs as they are."""
    remark = _TRIED[both_views].format(problem.leaning) + _DECIDES
    return replace(problem, both_views=both_views).with_remarks(remark)


def _measured(network: Network, mirror: NetworkMirror, seen: Sequence[Call]) -> tuple[Sequence[Call], Asymmetry]:
    """Some of the inputs, and how far both views are apart on them.

    Of costly networks a few at first: where both views are near each other, more of them would change nothing.
    """
    # `affordable` alone for cheap networks (the loop ends at once); of costly ones 32, then 96 where 32 leave it open
    affordable = affordable_samples(network, _WORK)
    for count in (max(affordable, _FEW), max(affordable, _LEAST)):
        count = min(count, _LOOKED_AT)
        calls = thinned(network, in_rows(network, seen, min(_ROWS, count)), count)
        measured = asymmetry(network.module, mirror, calls)
        if affordable >= _LEAST or _mean(measured.gap) <= _NEAR:
            break
    return calls, measured


def _one_sided(problem: Problem, mirror: NetworkMirror, calls: Sequence[Call], measured: Asymmetry) -> tuple[str, str]:
    """Why T f(T x) is no good target, and what helps; empty where it is one. The same in all processes of a group.

    Inputs of one side, as of one person who leans, say nothing of a network that remembers both.
    """
    # 1. The network: its two sides are far apart, and its answers to one of them are spread less.
    apart, spread = _mean(measured.gap), _spread(measured)
    if apart > UNEVEN and spread.differs:
        figures = f"gap {apart:.2g}; {spread_in_words(spread)}"
        remedy = f"With {_ADD} it is fitted to both views ({_LEAN})"
        return f"the original knows one side better ({figures})", remedy
    # 2. The inputs: a plane tells most of them from their mirror images.
    if problem.two_sided:
        return "", ""
    lean = leanings(mirror, calls, problem.network.resolved.input_tensors)
    side = _mean(lean[0].side or 0.5) if lean else 0.5
    if side >= ONE_SIDED:
        remedy = f"If it knows both sides, give {_ADD} as well ({_LEAN})"
        return f"{side:.0%} of the inputs can be told from mirrored ones (50 % is symmetric)", remedy
    return "", ""


def _spread(measured: Asymmetry) -> Spread:
    """How the spreads of the answers to both views compare. The same in all processes of a group."""
    # The mean of n independent figures has an n-th of their mean variance; ratios are averaged as factors.
    spread = measured.spread or Spread(1.0, 0.0)
    return Spread(exp(_mean(log(spread.ratio))), sqrt(_mean(spread.error**2) / processes.count()))


def _mean(figure: float) -> float:
    """The mean of a figure over all processes."""
    return processes.total(figure) / processes.count()

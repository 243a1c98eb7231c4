"""Conditions that T leaves as they are, such as the numbers of a text, and that decide to which side answers lean.

Where a text says "turn left", its mirror image says "turn right". Nobody can mirror 512 numbers of a text, and a
specification that calls them invariant is proved as easily as a right one. What shows it is the difference between
both views, d = f(x, c) - T f(T x, c): where c carries a side, d goes with c, whatever x it comes with. So every
condition is handed to another sample, and the two d of one condition are compared:

    c        d beside its own x    beside another x
    left         0.8                   0.7
    right       -0.7                  -0.9            together by 0.6, of 0.6 and 0.7 that there are: c carries a side

A habit of the network is in d as well, but lies to one side under all conditions (a speed scales it), or goes with x.
The mean is taken out, and has to be less than what goes with c. Asked is only a network with a wide gap: where T fits,
nothing leans. `mirror_evidence` adds the warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import percent
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.cutting import tensors
from chiralize.verification.evidence.answers import Answers

_FEWEST = 64
"""Samples that tell."""
_SHARE, _LEAST = 0.5, 0.5
"""How much of what both views differ by goes with the condition, of its squares, and how far that is, in spreads of the
answers."""


def sided_conditions(
    resolved: ResolvedSpec, mirror: NetworkMirror, calls: Sequence[Call], ask: Callable[[Sequence[Call]], Answers]
) -> tuple[str, ...]:
    """A warning of every input that T leaves as it is and that answers lean with; none where samples are few.

    calls: the user's, of which those count that are as large as the first.  ask: answers to other calls.
    Raises ModelRunError.
    """
    conditions = [tensor for tensor in resolved.input_tensors if _is_condition(tensor)]
    alike = [call for call in calls if _shapes(call) == _shapes(calls[0])]
    if not conditions or len(conditions) == len(resolved.input_tensors):
        return ()
    if sum(len(tensors(call)[conditions[0].index]) for call in alike) < _FEWEST:
        return ()
    beside_their_own, texts = ask(alike), list[str]()
    for tensor in conditions:
        beside_others = ask(_exchanged(alike, tensor.index))
        shares = (_goes_with(index, mirror, beside_their_own, beside_others) for index in beside_their_own.indices)
        if share := max(shares, default=0.0):
            texts.append(_in_words(tensor, share))
    return tuple(texts)


def _shapes(call: Call) -> list[torch.Size]:
    """The shapes of a call's tensors."""
    return [tensor.shape for tensor in tensors(call)]


def _is_condition(tensor: ResolvedTensor) -> bool:
    """Whether T leaves an input of one value or more a sample as it is."""
    representation = tensor.representation
    is_left = representation is not None and representation.is_trivial and tensor.center is None
    return is_left and tensor.kind != "state" and tensor.has_rows and prod(tensor.shape[1:]) > 0


def _exchanged(calls: Sequence[Call], index: int) -> list[Call]:
    """The calls with one input of each sample handed to one far away, since samples beside each other are alike.

    Sample i of call k gets that of sample i + half a call in call k + half of all, both round about.
    """
    exchanged = list[Call]()
    for number, call in enumerate(calls):
        given = tensors(calls[(number + len(calls) // 2) % len(calls)])[index]
        arguments = Arguments.of(*call)
        whole = list(arguments.tensors)
        whole[index] = given.roll(-(len(given) // 2), 0)
        exchanged.append(arguments.filled(whole))
    return exchanged


def _goes_with(index: int, mirror: NetworkMirror, given: Answers, others: Answers) -> float:
    """The share of what both views of an output differ by that goes with a condition; 0 where that is no side of it."""
    if index not in others.indices:
        return 0.0
    differences = list[list[torch.Tensor]]()
    for answers in (given, others):
        plain, turned = answers.pairs(mirror, index)
        differences.append([(one - other).flatten(1) for one, other in zip(plain, turned, strict=True)])
    # Those of other conditions, put where their condition is at home.
    here, away = differences
    home = [here[(number + len(here) // 2) % len(here)] for number in range(len(here))]
    one = torch.cat([part.roll(-(len(part) // 2), 0) for part in home])
    other = torch.cat(away)
    lean = (one.mean(0).square().sum() + other.mean(0).square().sum()) / 2
    together = ((one - one.mean(0)) * (other - other.mean(0))).sum(1).mean()
    whole = (((one - one.mean(0)).square() + (other - other.mean(0)).square()).sum(1) / 2).mean()
    answered = torch.cat([part.flatten(1) for part in given.pairs(mirror, index)[0]])
    spread = (answered - answered.mean(0)).square().sum(1).mean()
    if together <= max(float(lean), _SHARE * float(whole), _LEAST**2 * float(spread)):
        return 0.0
    return float(together / whole)


def _in_words(tensor: ResolvedTensor, share: float) -> str:
    """The warning."""
    return (
        f"answers lean to one side or the other with {tensor.where}, which T leaves as it is: handed to other samples, "
        f"it takes {percent(min(share, 1.0))} of what the answers to x and T x differ by along. Where it names a side "
        "('turn left', as a text or a number of a class), the mirror is wrong, since T x needs the other side's: leave "
        "such samples out, or give the sides as an input of their own (`classes: {swap: [[left, right]]}`, or a number "
        "with a sign). Where it names none, the network has a habit of one side for each"
    )

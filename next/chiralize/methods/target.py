"""What is aimed at: the mean of both views of the original, or its answers as they are?

A network g that is equivariant answers x and T x alike. So least squares against f's answers to the inputs as they are
looks for

    g(x) = (p(x) f(x) + p(T x) T f(T x)) / (p(x) + p(T x)),        p: how often an input occurs

Where an input and its mirror image occur alike, that is the mean of both views, (f(x) + T f(T x)) / 2, and aiming at it
leaves out what is merely asymmetric in f, which few samples do not average away. Where everybody faces one side, p(T x)
is 0; and the answers to T x of a network that knows one side only are no target. Then f(x) alone is the target. A
network may know one side better although no direction of its inputs shows it; that is seen in the spread of its
answers: one that knows one side of two answers mirrored inputs by what it knows, 0.6 of the spread.
"""

from __future__ import annotations

from enum import Enum
from math import log, sqrt
from typing import Any

import numpy as np
import torch

from chiralize.errors import Finding
from chiralize.graph.run import Arguments, Call, Runner, results
from chiralize.problem.mirror import NetworkMirror, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.action import act, wide

_LOOKED_AT, _WORK, _LEAST = 2_000, 5e10, 96
"""Samples that are run, at most; the multiplications that they may cost; and how many show a spread at all."""
_UNEVEN = 0.25
"""A gap above what networks have that learned both sides (docs: results, 0.09 to 0.2)."""
_UNLIKE = 0.015
"""ln of the ratio of both spreads from which on they differ, where twice its error explains less (docs: audit)."""
_BLOCKS = 8
"""Blocks of inputs that are left out in turn, to see how far chance moves the ratio of both spreads (jackknife)."""
_ONE_SIDED = 0.85
"""The share of samples that a plane tells from their mirror images, from which on data show one side (docs: audit)."""
_RIDGE = 1e-2
"""Of the mean variance of the entries, added to each before that plane is fitted."""


class Target(Enum):
    """The mean of both views, or the answers to the inputs as they are."""

    VIEWS = "views"
    ANSWERS = "answers"


def aimed(problem: Problem) -> tuple[Target, tuple[Finding, ...]]:
    """What a fit aims at: what the user says, else what network and inputs tell; and why, where that is one view."""
    network, asked = problem.network, problem.request.target
    mirror = mirror_if_known(network, None)
    if asked is not None or mirror is None or problem.inputs is None:
        return Target(asked or "views"), ()
    most = network.affordable(_WORK, _LEAST, _LOOKED_AT)
    calls = problem.inputs.fitted(network.rows, most)[: -(-most // network.rows)]
    why = _one_sided_network(network, mirror, calls) or _one_sided_inputs(mirror, calls)
    if not why:
        return Target.VIEWS, ()
    facts = f"fitted to the answers to unmirrored inputs alone: {why}"
    remedy = "if it knows both sides, give inputs of both, or --target views"
    return Target.ANSWERS, (Finding("sides", "note", facts, remedy),)


def _one_sided_network(network: Network, mirror: NetworkMirror, calls: Any) -> str:
    """Why T f(T x) is no good target: views far apart, of which one is spread less. Empty where it is one."""
    plain: list[list[torch.Tensor]] = []
    turned: list[list[torch.Tensor]] = []
    with Runner(network.module) as runner:
        for call in calls:
            for answers, other in ((plain, call), (turned, mirror.turned(call))):
                answers.append([wide(each.detach()) for each in results(runner.run([other]).steps[0])[0]])
    ratios: list[float] = []
    gaps: list[float] = []
    for index in range(len(mirror.outputs)):
        if index in mirror.state_outputs or not plain[0][index].is_floating_point():
            continue
        first = torch.cat([mirror.in_rows(answer[index]) for answer in plain]).flatten(1)
        second = torch.cat([mirror.in_rows(mirror.turned_output(index, answer[index])) for answer in turned]).flatten(1)
        spread = float(first.var(0, correction=0).sum())
        if len(first) < _LEAST or spread <= 0:
            continue
        gaps.append(sqrt(float((first - second).square().sum(1).mean()) / spread))
        ratios += [_ratio(first, second)] if _differs(first, second) else []
    if not ratios or max(gaps) <= _UNEVEN:
        return ""
    return f"the original knows one side better (gap {max(gaps):.2g}; spreads differ by {max(map(abs, ratios)):.0%})"


def _ratio(first: torch.Tensor, second: torch.Tensor) -> float:
    """ln of the spread of some answers, "sample entry", over that of others."""
    squares = [float(answers.var(0, correction=0).sum()) for answers in (second, first)]
    return log(max(squares[0], 1e-300) / max(squares[1], 1e-300)) / 2


def _differs(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether both spreads differ by more than chance explains, as leaving out one block after the other tells."""
    blocks = torch.arange(len(first)) * _BLOCKS // len(first)
    others = [_ratio(first[blocks != block], second[blocks != block]) for block in range(_BLOCKS)]
    mean = sum(others) / _BLOCKS
    error = sqrt((_BLOCKS - 1) / _BLOCKS * sum((other - mean) ** 2 for other in others))
    return abs(_ratio(first, second)) > max(_UNLIKE, 2 * error)


def _one_sided_inputs(mirror: NetworkMirror, calls: Any) -> str:
    """Why inputs show one side only: a plane tells most of them from their mirror images. Empty where none does.

    Along a direction that T negates, an image has the value of the original with the other sign: a share of values of
    one sign is the share that is told apart. The direction is fitted to every other sample and judged by the rest.
    """
    shares: list[float] = []
    for index, (representation, center) in enumerate(mirror.turns_in):
        if representation.is_trivial or index in mirror.state_inputs:
            continue
        odd = [_odd(mirror, _tensor(call, index), representation, center) for call in calls]
        rows = np.concatenate(odd)
        if len(rows) < _LEAST:
            continue
        seen, held = rows[::2], rows[1::2]
        spread = seen.T @ seen / len(seen)
        spread += _RIDGE * np.trace(spread) / max(len(spread), 1) * np.eye(len(spread))
        shares.append(float((held @ np.linalg.solve(spread + 1e-300 * np.eye(len(spread)), seen.mean(0)) > 0).mean()))
    side = max(shares, default=0.5)
    return f"{side:.0%} of the inputs can be told from mirrored ones (50 % is symmetric)" if side >= _ONE_SIDED else ""


def _tensor(call: Call, index: int) -> torch.Tensor:
    """One tensor of a call."""
    return Arguments.of(*call).tensors[index]


def _odd(mirror: NetworkMirror, tensor: torch.Tensor, representation: Any, center: Any) -> np.ndarray:
    """x - T x of every sample, "sample entry", averaged over axes that the mirror leaves alone, such as frames."""
    tensor = wide(tensor.detach())
    odd = tensor - act(tensor, representation, center)
    for axis in representation.still_axes:
        if axis > 0 or mirror.is_single:  # the first one counts samples
            odd = odd.mean(axis, keepdim=True)
    return mirror.in_rows(odd).flatten(1).numpy()

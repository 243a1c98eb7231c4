"""What a fit is followed by unasked: rounds of Gauss-Newton for a small network, up to a minute of training for a
larger one.

`refine` asks. An estimate from multiplications, so that a machine's load does not change a result:

    250,000 a sample or fewer       12 rounds, whatever rho is; where 0.4 < rho <= 5 is left, 600 steps after them
    more, 0.4 < rho <= 5            as many steps as 1.2e12 multiplications hold, 200 to 1,500, of 16 to 256 samples
    else                            nothing

Small networks can be slow all the same: read op by op, called one sample at a time, unrolled over many steps. Rounds
are measured, too, and end after a minute of the processor (`SECONDS`), on fewer inputs where these are too many. Of
training, which the estimate holds to about a minute, there are as many steps as three minutes hold (`OF_TRAINING`);
after rounds as many as one does. A lifter of 128 units has 0.995 of the original's error after its rounds, 0.984 after
these steps too (decision 0112).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from chiralize.graph.model import CapturedModel
from chiralize.graph.traits import Product, Recurrence
from chiralize.infer.registry import traits
from chiralize.problem.cost import multiplications_a_sample
from chiralize.problem.network import Network

_ROUNDS = 12
SECONDS = 60.0
"""That all of these rounds may take; most networks need a tenth of it."""
OF_TRAINING = 180.0
"""Seconds that training may take: enough more than estimated that they are short for slow networks alone."""
FEWEST_IN_TIME = 50
"""Steps below which training is not begun."""
_QUICK = 250_000
"""Multiplications of a sample up to which a network gets these rounds: they take seconds."""
_LEFT_OVER = 0.4
"""rho above which a fit layer by layer leaves enough for larger networks to be trained as well."""
_HOPELESS = 5.0
"""rho above which a result stays too far from the flip average, whatever follows."""
_WORK = 1.2e12  # multiplications: about a minute of one core
_PASSES = 5  # of the network on every sample of a step, derivatives counted by what they cost
_ORTHOGONAL = 5  # iterations in which Muon makes singular values equal
_CHEAPER = 5  # by which their products are, in bfloat16
_USES = 1000  # of a weight in a step: enough for gradients of little noise
_FEWEST_ROWS, _MOST_ROWS = 16, 256
_FEWEST_STEPS, _MOST_STEPS = 200, 1500
_AFTER_ROUNDS = 600  # steps: seconds of a small network; 1,500 bring 0.002 of its error more (decision 0112)
_FEWEST_ALONG = 50  # steps along sequences, each of which has many samples
_STEPS_OF_TIME, _BESIDE = 36_000, 40
"""Steps of time that training goes through along sequences, about a minute, mostly of overhead; and what every step of
training takes beside them, in steps of time.
"""
_RATE, _LOWEST = 5e-3, 0.1
"""Of a parameter's size: the rate that training begins with, and what is left of it at least where errors add up."""


@dataclass(frozen=True)
class Extra:
    """Rounds of Gauss-Newton, or steps of training on so many rows each that begin at a rate, in so many seconds."""

    rounds: int = 0
    steps: int = 0
    rows: int = 0
    rate: float = _RATE
    seconds: float = OF_TRAINING


def unasked(network: Network, rho: float) -> Extra:
    """What is worth its time for this network. rho: after its fit."""
    work, shapes = _sizes(network)
    extra = affordable(work, shapes, rho)
    return replace(extra, rate=_rate_for(network)) if extra.steps else extra


def unasked_after_rounds(network: Network, rho: float) -> Extra:
    """What is worth its time for a small network that had its rounds. rho: after these."""
    if not _LEFT_OVER < rho <= _HOPELESS:
        return Extra()
    steps = min(_AFTER_ROUNDS, _MOST_STEPS)
    return Extra(steps=steps, rows=rows_for(network), rate=_rate_for(network), seconds=SECONDS)


def _rate_for(network: Network) -> float:
    """The rate that training begins with."""
    assert network.captured is not None  # only graphs have weights that are trained unasked
    return _RATE * max(1 / most_in_a_row(network.captured), _LOWEST)


def unasked_along(network: Network, frames: int, rho: float) -> Extra:
    """The same for a network that carries states, trained along sequences of so many steps.

    Training has no limit of rho above which it is hopeless: a fit of single steps may leave ten times what it takes.
    """
    if rho <= _LEFT_OVER:
        return Extra()
    work = frames * max(multiplications_a_sample(network), 1.0)
    # The least of three: what overhead lets through in a minute, what arithmetic does, and what is ever worth it.
    steps = int(min(_STEPS_OF_TIME / (frames + _BESIDE), _WORK / (_PASSES * _FEWEST_ROWS * work), _MOST_STEPS))
    return Extra(steps=steps, rows=_FEWEST_ROWS) if steps >= _FEWEST_ALONG else Extra()


def rows_for(network: Network) -> int:
    """Samples of a step of training for this network."""
    return rows_of_a_step(*_sizes(network))


def _sizes(network: Network) -> tuple[float, list[tuple[int, ...]]]:
    """Multiplications of a sample, and the shapes of all weights."""
    shapes = [tuple(weight.shape) for weight in network.module.parameters() if weight.is_floating_point()]
    return multiplications_a_sample(network), shapes


def rows_of_a_step(work: float, shapes: Iterable[Sequence[int]]) -> int:
    """As many samples as use every weight about a thousand times, within limits."""
    rows = round(_USES * sum(map(prod, shapes)) / max(work, 1))
    return min(max(rows, _FEWEST_ROWS), _MOST_ROWS)


def affordable(work: float, shapes: Iterable[Sequence[int]], rho: float) -> Extra:
    """The same for a network of so many multiplications a sample, and weights of these shapes.

    A step reads as many samples as use every weight about a thousand times: few where a weight works on all joints or
    frames of a sample. It reads fewer where a minute would not hold steps enough.
    """
    if work <= _QUICK:
        return Extra(rounds=_ROUNDS)
    if not _LEFT_OVER < rho <= _HOPELESS:
        return Extra()
    # A step costs its samples, and what Muon does to every weight however few samples there are. First the samples
    # that leave room for 200 steps, then as many steps as there is room for with no more than these.
    shapes = list(shapes)
    orthogonal = sum(map(_orthogonalised, shapes)) / _CHEAPER
    possible = int((_WORK / _FEWEST_STEPS - orthogonal) / (_PASSES * work))
    rows = max(min(rows_of_a_step(work, shapes), possible), _FEWEST_ROWS)
    steps = int(_WORK / (_PASSES * rows * work + orthogonal))
    return Extra() if steps < _FEWEST_STEPS else Extra(steps=min(steps, _MOST_STEPS), rows=rows)


def most_in_a_row(captured: CapturedModel) -> int:
    """How often a layer works on what it made itself, in one call: 1 but for networks that read their own answers.

    Errors add up along such a row. Not counted are steps within a recurrent layer, since one op takes them all, and
    weights that several layers add, such as tables of positions.
    """
    # made_of: by value, the weights that it is nothing but a function of (a transpose, a reshape).  users: by weight,
    # the layers that multiply by it. A network that is called ten times on its own answers has ten of each.
    known = traits()
    made_of = {leaf.name: {leaf.name} for leaf in captured.leaves.values() if leaf.kind == "parameter"}
    users: dict[str, set[str]] = {name: set() for name in made_of}
    for node in captured.nodes:
        weights = set[str]().union(*(made_of.get(name, ()) for name in node.names_read))
        if node.name in captured.fixed:
            made_of[node.name] = weights
        elif isinstance(known.get(node.target), (Product, Recurrence)):
            for weight in weights:
                users[weight].add(node.name)
    # weights of one layer have the same users, and are counted once
    shared = {frozenset(nodes) for nodes in users.values() if len(nodes) > 1}
    return max((_most_on_a_path(captured, nodes) for nodes in shared), default=1)


def _most_on_a_path(captured: CapturedModel, counted: Collection[str]) -> int:
    """How many of these nodes lie on one path through the graph, at most."""
    passed: dict[str, int] = {}
    for node in captured.nodes:
        before = max((passed.get(name, 0) for name in node.names_read), default=0)
        passed[node.name] = before + (node.name in counted)
    return max(passed.values())


def _orthogonalised(shape: Sequence[int]) -> float:
    """Multiplications in which the singular values of a weight are made equal."""
    if len(shape) < 2:
        return 0.0
    short, long = sorted((shape[0], prod(shape[1:])))
    return _ORTHOGONAL * (2.0 * short**2 * long + short**3)

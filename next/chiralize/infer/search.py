"""Which repairs are tried where an attempt is refused?

A rule that refuses may be right, or may have met what a guess made earlier has spoiled. So an attempt is repeated with
one more thing taken for granted, a `Repair`, and a repair stays if the attempt then comes further in the graph:

    a bias along channels that change sign     let it be zero
    entry 5 of an unknown axis of 17           take the axis for the joints

Each attempt is a whole `Run` from the start, since nothing is ever unbound. A repair may be wrong: the last run of all
rules (`Inference.finish`) finds that out, and refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from chiralize.errors import NegatedChannelsError, NeverEquivariantError, UnsupportedError
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Sum
from chiralize.infer.records import Known, Repair
from chiralize.infer.rule import traits
from chiralize.infer.run import Run
from chiralize.infer.symbolic import known_axis

_TRIALS = 16
"""Biases that are tried after a refusal, those nearest to the op that refused; the first one is nearly always it."""
_MOST_ATTEMPTS = 60
"""Attempts on one network; of 60 networks of the field 57 took one. Over 600 ops each takes half a second."""


def settled(known: Known) -> Run:
    """The attempt that comes to rest. Where the plain one does not, repairs are tried that let it get further.

    Raises the refusal of the plain attempt where nothing helps: errors of repairs speak of guesses that the user never
    made.
    """
    run, first = _attempt(known, Repair(_zero_already(known)))
    refusal, attempts = first, 1
    while first is not None and refusal is not None:
        # A repair that helps stays, and the next ones are tried on top of it.
        for repair in list(chain.from_iterable(option(run, refusal) for option in REPAIRS)):
            if attempts >= _MOST_ATTEMPTS:
                raise first
            trial, later = _attempt(known, repair)
            attempts += 1
            # To take axes for the joints is progress even where it comes no further: the attempt may meet more axes of
            # that kind, and all of them are needed. There are finitely many, so the search ends.
            is_level = trial.position == run.position and repair.singles != run.repair.singles
            if later is None or trial.position > run.position or is_level:
                run, refusal = trial, later
                break
        else:
            raise first
    return run


def _attempt(known: Known, repair: Repair) -> tuple[Run, UnsupportedError | None]:
    """One run with a repair, and the error that stops it, None if it comes to rest."""
    run = Run(known, repair)
    try:
        run.settle()
    except (NeverEquivariantError, NegatedChannelsError) as error:
        return run, error
    return run, None


def _singles(run: Run, refusal: UnsupportedError) -> Iterator[Repair]:
    """Axes of which nothing is known but that entries or parts are read, as the joints, all of one size at once."""
    singles = run.repair.singles
    for action in run.known.actions:
        labels = [label for label, size in run.solver.singles.items() if size == action.size]
        if not singles.keys() >= set(labels):
            yield replace(run.repair, singles={**singles, **dict.fromkeys(labels, known_axis(action))})


def _zero(run: Run, refusal: UnsupportedError) -> Iterator[Repair]:
    """A bias along negated channels can only be zero. That gives up numbers, so it is tried only where signs refuse."""
    if isinstance(refusal, NegatedChannelsError):
        nodes = run.captured.until(refusal.at)[::-1]
        biases = chain.from_iterable(_added_weights(node, run.captured) for node in nodes)
        for name in islice((name for name in biases if name not in run.repair.zero), _TRIALS):
            yield replace(run.repair, zero=run.repair.zero | {name, run.exchange.of(name)})


REPAIRS: Sequence[Callable[[Run, UnsupportedError], Iterator[Repair]]] = (_singles, _zero)
"""What may be taken for granted after a refusal, in the order in which it is tried."""


def _added_weights(node: Node, captured: CapturedModel) -> Iterator[str]:
    """Weights that an op adds along an axis that they do not have: with signs there they can only be zero."""
    refs = list(node.reads) if isinstance(traits().get(node.target), Sum) else []
    if "bias" in node.arguments:
        refs = [node.arguments["bias"]]
    for ref in refs:
        leaf = captured.leaf_of(ref)
        if leaf is not None and leaf.kind == "parameter" and leaf.shape != node.shapes[0]:
            yield leaf.name


def _zero_already(known: Known) -> frozenset[str]:
    """Weights of which it is given that the mirror negates them whole: T w = -w, so that they are zero."""
    given = {name for name, rep in known.given.items() if rep.sign < 0 and replace(rep, sign=1).is_trivial}
    return frozenset(leaf.name for leaf in known.captured.weights if given & set(leaf.names))
